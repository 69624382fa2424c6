//! RAFT snapshots and the log entries after them, from a real directory that has both.
use std::{fs, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use offloom_fixtures::Fixture;
use offloom_weaviate_schema::{
    Agreement, ClusterSchema, Foreign, ReadFrom, SchemaError, SchemaWarning, ShardStatus, stored,
};
use serde_json::{Value, json};

use crate::{
    log::{Log, field},
    real::open,
};

const NEWEST: &str = "2-9-1795408308542";
const OLDER: &str = "2-3-1795408306746";

/// The fixture `options`, to be damaged.
struct Options {
    fixture: Fixture,
}

impl Options {
    fn unpack() -> Options {
        Options { fixture: offloom_fixtures::unpack("options").unwrap() }
    }

    fn raft(&self) -> PathBuf {
        self.fixture.data_dir().join("raft")
    }

    fn snapshot(&self, name: &str) -> PathBuf {
        self.raft().join("snapshots").join(name)
    }

    fn read(&self) -> Result<ClusterSchema, SchemaError> {
        Ok(stored::read(&open(&self.fixture.data_dir()))?.unwrap())
    }

    fn flip(&self, snapshot: &str) {
        let path = self.snapshot(snapshot).join("state.bin");
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    }

    /// Puts `state` in the newest snapshot, with its checksum.
    fn replace(&self, state: &Value, index: u64) {
        let state = state.to_string();
        let crc = crc::Crc::<u64>::new(&crc::CRC_64_XZ).checksum(state.as_bytes());
        let meta = json!({
            "Version": 1,
            "ID": NEWEST,
            "Index": index,
            "Term": 2,
            "Size": state.len(),
            "CRC": STANDARD.encode(crc.to_be_bytes()),
        });
        fs::write(self.snapshot(NEWEST).join("meta.json"), meta.to_string()).unwrap();
        fs::write(self.snapshot(NEWEST).join("state.bin"), state).unwrap();
    }
}

fn skipped(schema: &ClusterSchema) -> Vec<(&str, &str)> {
    let skipped = schema.warnings.iter().map(|warning| match warning {
        SchemaWarning::SnapshotSkipped { snapshot, reason } => (snapshot.as_str(), reason.as_str()),
        other => panic!("{other}"),
    });
    skipped.collect()
}

#[test]
fn an_older_snapshot_or_the_log_alone_gives_the_same_classes() {
    let options = Options::unpack();
    let whole = options.read().unwrap();
    options.flip(NEWEST);
    let older = options.read().unwrap();
    assert_eq!(older.classes, whole.classes);
    let from = |snapshot: Option<&str>, entries| ReadFrom::Raft {
        snapshot: snapshot.map(str::to_owned),
        entries: Some(entries),
    };
    assert_eq!(older.read_from, from(Some(OLDER), 4..=9));
    let [(NEWEST, reason)] = skipped(&older)[..] else { panic!("{:?}", older.warnings) };
    assert!(reason.starts_with("the checksum of state.bin is "), "{reason}");

    fs::remove_file(options.snapshot(OLDER).join("state.bin")).unwrap();
    let log = options.read().unwrap();
    assert_eq!(log.classes, whole.classes);
    assert_eq!(log.read_from, from(None, 1..=9));
    assert_eq!(skipped(&log)[1], (OLDER, "state.bin is missing"));
}

#[test]
fn unfinished_snapshots_are_ignored() {
    let options = Options::unpack();
    let unfinished = options.raft().join("snapshots").join("3-99-1795408308599.tmp");
    fs::create_dir(&unfinished).unwrap();
    fs::write(unfinished.join("meta.json"), "{").unwrap();
    let schema = options.read().unwrap();
    assert_eq!(schema.warnings, []);
    assert!(
        matches!(schema.read_from, ReadFrom::Raft { snapshot: Some(name), .. } if name == NEWEST)
    );
}

#[test]
fn a_snapshot_without_log_is_enough() {
    let options = Options::unpack();
    let whole = options.read().unwrap();
    fs::remove_file(options.raft().join("raft.db")).unwrap();
    let alone = options.read().unwrap();
    let last = |schema: &ClusterSchema| schema.history.as_ref().unwrap().last();
    assert_eq!(last(&alone), last(&whole));
    assert_eq!(ClusterSchema { history: whole.history.clone(), ..alone }, whole);
}

#[test]
fn a_log_that_does_not_follow_is_an_error_and_no_smaller_schema() {
    let options = Options::unpack();
    let mut log = Log::new();
    for _ in 0..10 {
        log = log.entry(4, None);
    }
    // Entries 10 and 11 follow snapshot 9, but not snapshot 3.
    fs::write(options.raft().join("raft.db"), log.file(10)).unwrap();
    let schema = options.read().unwrap();
    assert_eq!(
        schema.read_from,
        ReadFrom::Raft { snapshot: Some(NEWEST.to_owned()), entries: Some(10..=12) }
    );
    options.flip(NEWEST);
    let error = options.read().unwrap_err();
    assert!(matches!(error, SchemaError::LogGap { expected: 4, found: 10, .. }), "{error}");
    assert!(error.to_string().contains("GET /v1/schema"), "{error}");
}

#[test]
fn snapshots_of_the_first_versions_and_tenants_in_transfer() {
    let options = Options::unpack();
    let class = json!({
        "Class": {
            "class": "Shelf",
            "multiTenancyConfig": {"enabled": true},
            "properties": [],
            "replicationConfig": {"factor": 1},
        },
        "ClassVersion": 5,
        "Sharding": {
            "physical": {
                "a": {"name": "a", "belongsToNodes": ["n1"], "status": "FREEZING"},
                "b": {"name": "b", "belongsToNode": "n2"},
            },
            "replicationFactor": 2,
        },
        "ShardVersion": 5,
        "ShardProcesses": {
            "a-ACTION_FREEZING": {"n1": {"op": 1, "tenant": {"name": "a", "status": "FROZEN"}}},
        },
    });
    let mut log = Log::new();
    for _ in 0..7 {
        log = log.entry(4, None);
    }
    let log = log.report("Shelf", "n1", 1, 2, ("a", "FROZEN"));
    fs::write(options.raft().join("raft.db"), log.file(1)).unwrap();
    let schema = STANDARD.encode(json!({"Shelf": class}).to_string());
    for state in [
        json!({"node_id": "n1", "classes": {"Shelf": class}}),
        json!({"node_id": "n1", "classes": null, "schema": schema}),
    ] {
        options.replace(&state, 9);
        let schema = options.read().unwrap();
        assert_eq!(schema.warnings, []);
        let shelf = &schema.classes["Shelf"];
        assert!(shelf.multi_tenant);
        assert_eq!(shelf.replication_factor, 2);
        assert_eq!(shelf.shards["a"].status, ShardStatus::Frozen);
        assert_eq!(shelf.shards["b"].status, ShardStatus::Hot);
        assert_eq!(*shelf.shards["b"].nodes, ["n2".into()]);
    }
}

#[test]
fn states_without_a_schema_are_skipped() {
    let options = Options::unpack();
    for (state, part) in [
        (json!({"classes": null}), "state.bin has no schema"),
        (json!({"schema": "?"}), "is not base64"),
        (json!({"schema": STANDARD.encode("{")}), "state.bin: EOF while parsing"),
        (
            json!({"classes": {"A": {"Class": {"class": "B"}}}}),
            "class A: its definition is that of class B",
        ),
        (json!([]), "state.bin: "),
    ] {
        options.replace(&state, 9);
        let schema = options.read().unwrap();
        let reason = skipped(&schema)[0].1;
        assert!(reason.contains(part), "{reason}");
        assert!(!schema.classes.is_empty());
    }
}

#[test]
fn a_snapshot_has_the_id_of_its_cluster() {
    let options = Options::unpack();
    options.replace(&json!({"classes": {}, "cluster_id": "one"}), 9);
    let history = options.read().unwrap().history.unwrap();
    let other = Log::new().command(400, "", &field(1, b"two")).read().history.unwrap();
    let (left, right) = ("one".to_owned(), "two".to_owned());
    let foreign = Agreement::Foreign(Foreign::ClusterIds { left, right });
    assert_eq!(history.agreement(&other), foreign);
    // Before 1.40 there is none, and so no reason to be of another cluster.
    options.replace(&json!({"classes": {}, "cluster_id": ""}), 9);
    let history = options.read().unwrap().history.unwrap();
    assert!(!matches!(history.agreement(&other), Agreement::Foreign(Foreign::ClusterIds { .. })));
}

#[test]
fn what_is_there_and_cannot_be_read_is_an_error_and_not_absent() {
    for name in ["raft", "raft/raft.db", "raft/snapshots"] {
        let options = Options::unpack();
        let path = options.fixture.data_dir().join(name);
        fs::rename(&path, options.fixture.data_dir().join("moved")).unwrap();
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        let error = stored::read(&open(&options.fixture.data_dir())).unwrap_err();
        assert!(matches!(error, SchemaError::Read { .. }), "{name}: {error}");
    }
    // An older snapshot must not stand in for one that may be whole.
    let options = Options::unpack();
    let state = options.snapshot(NEWEST).join("state.bin");
    fs::remove_file(&state).unwrap();
    fs::create_dir(&state).unwrap();
    let error = options.read().unwrap_err();
    assert!(matches!(error, SchemaError::Read { .. }), "{error}");
}
