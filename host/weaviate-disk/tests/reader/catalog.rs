//! What schema and directory say together, and where they disagree.
use std::fs;

use offloom_weaviate_disk::{
    DataDirectory, DiskError, Examples, Shard, ShardSummary, SkipReason, Warning,
    schema::{SchemaError, ShardStatus},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    log::Log,
    rows::{self, LIMITS},
    shard::{add, put_one, schema},
};

/// A data directory with a RAFT log.
pub struct Server {
    pub root: TempDir,
}

impl Server {
    pub fn new(log: &Log) -> Server {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("raft")).unwrap();
        fs::write(root.path().join("raft/raft.db"), log.file(1)).unwrap();
        fs::write(root.path().join("migration1.22.fs.hierarchy"), b"").unwrap();
        Server { root }
    }

    pub fn add(&self, class: &str, shard: &str) {
        add(self.root.path(), class, shard, class);
    }

    /// Adds an object with this number to a shard, instead of what it had.
    pub fn put(&self, class: &str, shard: &str, number: u8) {
        put_one(self.root.path(), class, shard, number);
    }

    fn open(&self) -> DataDirectory {
        DataDirectory::open(self.root.path(), None).unwrap()
    }
}

/// Adds a class whose shards lie on these nodes.
pub fn class(log: Log, name: &str, multi_tenant: bool, shards: &[(&str, &str)]) -> Log {
    let definition = json!({"class": name, "multiTenancyConfig": {"enabled": multi_tenant}});
    let shards = shards.iter().map(|(shard, node)| {
        ((*shard).to_owned(), json!({"name": shard, "belongsToNodes": [node]}))
    });
    let physical: serde_json::Map<String, Value> = shards.collect();
    log.add_class(&definition, &json!({"physical": physical}))
}

pub fn examples(names: &[&str]) -> Examples {
    let first = names.iter().map(|&name| name.to_owned()).collect();
    Examples { first, total: names.len() }
}

fn skipped(directory: &DataDirectory, class: &str) -> Vec<(String, Option<String>)> {
    let class = rows::class(directory, class);
    let read = rows::read(directory, class, 1 << 20, LIMITS).unwrap();
    // A summary's index is that of the class's shard.
    for ShardSummary { shard, index, .. } in &read.shards {
        assert_eq!(*class.shards[*index as usize].name, **shard);
    }
    read.shards.into_iter().map(|shard| (shard.shard, shard.skip_reason)).collect()
}

// Over 60 lines: one assertion for each status of a tenant.
#[test]
fn tenants_are_skipped_by_their_status_and_those_without_directory_are_reported() {
    let log = class(Log::new(), "Shelf", true, &[]).add_tenants(
        "Shelf",
        &["n1"],
        &[
            ("active", "HOT"),
            ("asleep", "COLD"),
            ("frozen", "FROZEN"),
            ("gone", "FROZEN"),
            ("leaving", "FREEZING"),
            ("coming", "UNFREEZING"),
            ("never", "HOT"),
            ("new", "MELTING"),
        ],
    );
    let node = Server::new(&log);
    for tenant in ["active", "asleep", "frozen", "leaving", "coming", "new", "dropped"] {
        node.add("Shelf", tenant);
    }
    let directory = node.open();
    let reason = |text: &str| Some(text.to_owned());
    let expected = [
        ("active", None),
        ("asleep", None),
        ("coming", reason("tenant status is UNFREEZING")),
        ("dropped", reason("not in the schema")),
        ("frozen", reason("tenant status is FROZEN")),
        ("gone", reason("tenant status is FROZEN")),
        ("leaving", reason("tenant status is FREEZING")),
        ("never", reason("tenant has no data on disk")),
        ("new", reason("tenant status is MELTING")),
    ];
    let expected = expected.map(|(shard, reason)| (shard.to_owned(), reason));
    assert_eq!(skipped(&directory, "Shelf"), expected);
    let shelf = rows::class(&directory, "Shelf");
    let read = rows::read(&directory, shelf, 1 << 20, LIMITS).unwrap().all();
    let tenants: Vec<_> = read.iter().map(|row| row.tenant.clone().unwrap()).collect();
    assert_eq!(tenants, ["active", "asleep"]);
    let dropped =
        Warning::ShardsNotInSchema { class: "Shelf".to_owned(), shards: examples(&["dropped"]) };
    assert_eq!(directory.warnings(), [dropped]);

    // What is skipped is in the survey, and adds nothing to it.
    let survey = directory.survey(shelf);
    let objects: Vec<_> = survey
        .shards
        .iter()
        .map(|shard| (shard.shard.as_str(), shard.objects_estimate()))
        .collect();
    assert_eq!(objects[..4], [("active", 1), ("asleep", 1), ("coming", 0), ("dropped", 0)]);
    assert_eq!(survey.shards[2].status, Some(ShardStatus::Unfreezing));
    assert_eq!(survey.shards[2].skip_reason, Some(SkipReason::Status(ShardStatus::Unfreezing)));

    // A schema file says nothing of tenants: the server's own files still do.
    let file = schema(
        node.root.path(),
        r#"{"classes": [{"class": "Shelf", "multiTenancyConfig": {"enabled": true}}]}"#,
    );
    let described = DataDirectory::open(node.root.path(), Some(file)).unwrap();
    let shards = |directory: &DataDirectory| format!("{:?}", directory.classes()[0].shards);
    assert_eq!(shards(&described), shards(&directory));
}

#[test]
fn classes_are_those_of_raft_and_both_sides_of_a_disagreement_are_reported() {
    let log = class(Log::new(), "Article", false, &[("s1", "n1"), ("s2", "n1"), ("s3", "n2")]);
    let log = class(log, "NOWHERE", false, &[("s4", "n1")]);
    let log = class(log, "Others", false, &[("s5", "n2"), ("s6", "n3")]);
    let log = class(log, "EmptyMT", true, &[]);
    let log = class(log, "Moved", false, &[("s7", "n2")]);
    let node = Server::new(&log);
    node.add("Article", "s1");
    node.add("Article", "s9");
    node.add("Moved", "s7");
    node.add("Deleted", "s8");
    // Two for n1, so that this is n1 and not n2.
    let log = class(log, "More", false, &[("s10", "n1"), ("s11", "n1")]);
    fs::write(node.root.path().join("raft/raft.db"), log.file(1)).unwrap();
    node.add("More", "s10");
    node.add("More", "s11");
    let directory = node.open();
    let names: Vec<_> = directory
        .classes()
        .iter()
        .map(|class| {
            let shards = class.shards.iter().map(|shard| &*shard.name);
            (&*class.name, shards.collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(
        names,
        [
            ("Article", vec!["s1", "s2", "s9"]),
            ("EmptyMT", vec![]),
            ("More", vec!["s10", "s11"]),
            ("Moved", vec!["s7"]),
            ("NOWHERE", vec!["s4"]),
            ("Others", vec![]),
        ]
    );
    let texts: Vec<String> = directory.warnings().iter().map(Warning::to_string).collect();
    assert_eq!(
        texts,
        [
            "class Article: 1 shard (s2) is in the schema and not on disk",
            "class Article: 1 shard (s9) is on disk and not in the schema, and left out",
            "class Article: 1 shard (s3) is only on other nodes (n2), whose data directories were \
             not given",
            "class Moved: 1 shard (s7) is on disk, although the schema places them on other \
             nodes: a copy that was being made may not be whole",
            "class NOWHERE: 1 shard (s4) is in the schema and not on disk; the class has no \
             directory either",
            "class Others: 2 shards (s5, s6) are only on other nodes (n2, n3), whose data \
             directories were not given",
            "directory deleted is left out: the schema has no such class",
        ]
    );
    let article = rows::class(&directory, "Article");
    let reasons: Vec<_> = article.shards.iter().map(|shard| shard.skip_reason.clone()).collect();
    assert_eq!(reasons, [None, Some(SkipReason::NoData), Some(SkipReason::NotInSchema)]);
    assert_eq!(SkipReason::NotInSchema.to_string(), "not in the schema");
    let error = rows::read(&directory, article, 1 << 20, LIMITS).err().unwrap().to_string();
    assert!(
        error.starts_with("class Article, shard s2: it is in the schema and has no"),
        "{error}"
    );
    assert_eq!(skipped(&directory, "Moved"), [("s7".to_owned(), None)]);
}

#[test]
fn very_many_shards_are_counted_and_a_few_named() {
    let log = class(Log::new(), "Shelf", true, &[]).add_tenants("Shelf", &["n1"], &[("a", "")]);
    let node = Server::new(&log);
    node.add("Shelf", "a");
    for tenant in 0..8 {
        node.add("Shelf", &format!("t{tenant}"));
    }
    let [warning] = node.open().warnings().to_vec().try_into().unwrap();
    assert_eq!(
        warning.to_string(),
        "class Shelf: 8 shards (t0, t1, t2, t3, t4 and 3 more) are on disk and not in the schema, \
         and left out"
    );
}

#[test]
fn a_broken_raft_store_is_an_error_unless_a_schema_file_stands_in() {
    let node = Server::new(&class(Log::new(), "Article", false, &[("s1", "n1")]));
    node.add("Article", "s1");
    fs::write(node.root.path().join("raft/raft.db"), [7; 8192]).unwrap();
    let error = DataDirectory::open(node.root.path(), None).unwrap_err();
    let DiskError::ServerSchema { source, .. } = &error else { panic!("{error}") };
    assert!(matches!(source, SchemaError::NoMetaPage { .. }), "{source}");
    let text = error.to_string();
    assert!(text.contains("raft/raft.db") && text.contains("--schema"), "{text}");
    let file = schema(node.root.path(), r#"{"classes": [{"class": "Article"}]}"#);
    let directory = DataDirectory::open(node.root.path(), Some(file)).unwrap();
    let [Warning::ServerSchema { reason, tenants_known: false, .. }] = directory.warnings() else {
        panic!("{:?}", directory.warnings())
    };
    assert!(reason.contains("raft/raft.db"), "{reason}");
    let [Shard { name, status: None, skip_reason: None, .. }] = &*directory.classes()[0].shards
    else {
        panic!("{:?}", directory.classes())
    };
    assert_eq!(&**name, "s1");
}

#[test]
fn what_was_odd_in_raft_is_reported() {
    let log = class(Log::new(), "Article", false, &[("s1", "n1")]);
    let node = Server::new(&class(log, "ARTICLE", false, &[("s2", "n1")]));
    node.add("Article", "s1");
    let [warning] = node.open().warnings().to_vec().try_into().unwrap();
    assert_eq!(
        warning.to_string(),
        "RAFT log entry 4, ADD_CLASS of class ARTICLE: class Article exists"
    );
}

#[test]
fn a_schema_db_without_classes_tells_nothing_without_raft() {
    // A copy of a data directory of today that lacks `raft`.
    let fixture = offloom_fixtures::unpack("basic").unwrap();
    fs::remove_dir_all(fixture.data_dir().join("raft")).unwrap();
    let directory = DataDirectory::open(&fixture.data_dir(), None).unwrap();
    assert_eq!(directory.schema_from().to_string(), "objects and directory names");
    let names: Vec<_> = directory.classes().iter().map(|class| &*class.name).collect();
    assert_eq!(
        names,
        ["AllTypes", "Empty", "NamedVectors", "NoVector", "Note", "Note_Draft", "Target"]
    );
}

#[test]
fn one_node_of_a_cluster_tells_what_lies_on_the_others() {
    let fixture = offloom_fixtures::unpack("cluster").unwrap();
    let directory = DataDirectory::open(&fixture.data_dir().join("node1"), None).unwrap();
    let texts: Vec<String> = directory.warnings().iter().map(Warning::to_string).collect();
    let [copied, shelf, spread] = texts.as_slice() else { panic!("{texts:?}") };
    assert!(copied.starts_with("class Copied: 1 shard (rA3mHyC3vKL0) is on"), "{copied}");
    assert!(shelf.starts_with("class Shelf: 5 shards (t1, t2, t4, t5, t6) are on"), "{shelf}");
    assert!(spread.starts_with("class Spread: 4 shards ("), "{spread}");
    assert!(spread.contains("(node2, node3)"), "{spread}");
    for class in directory.classes() {
        assert!(class.shards.iter().all(|shard| shard.skip_reason.is_none()), "{}", class.name);
    }
}
