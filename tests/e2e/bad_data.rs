//! Data that cannot be read: policies for objects, shards that fail alone, partial exports.
use std::path::{Path, PathBuf};

use offloom_fixtures::{Fixture, unpack};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{Said, offloom, python};
use crate::server::{Server, serve_filesystem};

/// A fixture of which some files are damaged.
pub struct Damaged {
    fixture: Fixture,
    pub to: TempDir,
}

impl Damaged {
    pub fn new(fixture: &str) -> Damaged {
        Damaged { fixture: unpack(fixture).unwrap(), to: tempfile::tempdir().unwrap() }
    }

    pub fn data_dir(&self) -> PathBuf {
        self.fixture.data_dir()
    }

    /// The segments of a class, largest last.
    pub fn segments(&self, class: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for shard in std::fs::read_dir(self.fixture.data_dir().join(class)).unwrap() {
            let objects = shard.unwrap().path().join("lsm/objects");
            for file in std::fs::read_dir(objects).into_iter().flatten() {
                let file = file.unwrap();
                if file.file_name().to_string_lossy().ends_with(".db") {
                    found.push((file.metadata().unwrap().len(), file.path()));
                }
            }
        }
        found.sort();
        found.into_iter().map(|(_, path)| path).collect()
    }

    pub fn change(&self, file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(file).unwrap();
        change(&mut bytes);
        std::fs::write(file, bytes).unwrap();
    }

    /// Breaks the first object of a class's largest segment: its marshaller version.
    pub fn break_object(&self, class: &str) -> PathBuf {
        let segment = self.segments(class).pop().unwrap();
        self.change(&segment, |bytes| bytes[25] = 9);
        segment
    }

    pub fn export(&self, id: &str, more: &[&str]) -> Said {
        let data_dir = self.fixture.data_dir().display().to_string();
        let to = self.to.path().display().to_string();
        let start = ["export", "--data-dir", &data_dir, "--to", &to, "--id", id];
        offloom(start.iter().chain(more))
    }

    fn manifest(&self, id: &str) -> Value {
        let path = self.to.path().join(id).join("export_metadata.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    fn lines(&self, id: &str, class: &str) -> Vec<Value> {
        let path = self.to.path().join(id).join(format!("quarantine/{class}.jsonl"));
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn verify(&self, id: &str) {
        offloom(["verify".as_ref(), self.to.path().join(id).as_os_str()]).expect_success();
    }
}

fn name(file: &Path) -> String {
    file.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn a_bad_object_ends_the_export_or_is_left_out_or_listed() {
    let damaged = Damaged::new("basic");
    let whole = damaged.export("whole", &[]);
    whole.expect_success();
    let rows = |id: &str| damaged.manifest(id)["progress"]["Note"]["objectsExported"].clone();
    let segment = damaged.break_object("note");

    // What cannot be decoded is no matter of allowed parts.
    for more in [&[][..], &["--allow-partial"]] {
        let id = format!("fail-{}", more.len());
        let error = damaged.export(&id, more).expect_error();
        for part in ["class Note", "shard", &name(&segment), "offset 25", "version 9"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert_eq!(damaged.manifest(&id)["status"], "FAILED");
    }

    damaged.export("skip", &["--on-bad-object", "skip"]).expect_partial();
    let manifest = damaged.manifest("skip");
    assert_eq!(manifest["partial"], true);
    assert_eq!(manifest["missing"][0]["class"], "Note");
    assert_eq!(manifest["missing"][0]["objects"], 1);
    assert_eq!(manifest["missing"].as_array().unwrap().len(), 1);
    assert_eq!(rows("skip").as_u64().unwrap() + 1, rows("whole").as_u64().unwrap());
    assert!(!damaged.to.path().join("skip/quarantine").exists());
    damaged.verify("skip");

    damaged.export("listed", &["--on-bad-object", "quarantine"]).expect_partial();
    assert_eq!(damaged.manifest("listed")["missing"], manifest["missing"]);
    let [line] = damaged.lines("listed", "Note").try_into().unwrap();
    assert_eq!(line["class"], "Note");
    assert_eq!(line["file"], name(&segment));
    assert_eq!(line["offset"], 25);
    assert!(line["id"].as_str().unwrap().len() == 36 && line.get("raw").is_none(), "{line}");
    let keys: Vec<String> = damaged.manifest("listed")["attachments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attachment| attachment["key"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(keys, ["schema.json", "quarantine/Note.jsonl"]);
    damaged.verify("listed");

    let raw = ["--on-bad-object", "quarantine", "--quarantine-raw"];
    damaged.export("raw", &raw).expect_partial();
    let [line] = damaged.lines("raw", "Note").try_into().unwrap();
    assert!(line["raw"].is_string(), "{line}");
    // Stored bytes would bypass the filter of any class.
    damaged.export("kept", &[&raw[..], &["--vectors", "Target=none"]].concat()).expect_partial();
    let [line] = damaged.lines("kept", "Note").try_into().unwrap();
    assert!(line.get("raw").is_none(), "{line}");
}

#[test]
fn a_shard_that_cannot_be_trusted_fails_alone() {
    let damaged = Damaged::new("tenants");
    damaged.export("whole", &[]).expect_success();
    let segments = damaged.segments("shelf");
    let segment = segments.last().unwrap();
    let tenant = segment.ancestors().nth(3).map(name).unwrap();
    damaged.change(segment, |bytes| bytes.truncate(bytes.len() - 7));

    let error = damaged.export("fail", &[]).expect_error();
    for part in [name(segment).as_str(), &tenant, "--allow-partial"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let failed = damaged.manifest("fail");
    assert_eq!(failed["status"], "FAILED");
    assert_eq!(failed["error"], error.trim_start_matches("error: "));
    // The others were read, and the manifest says so.
    let whole = damaged.manifest("whole");
    let rows = |manifest: &Value, tenant: &str| {
        let shards = manifest["source"]["shards"].as_array().unwrap();
        let shard =
            shards.iter().find(|shard| shard["shard"] == tenant && shard["class"] == "Shelf");
        shard.unwrap().clone()
    };
    let lost = rows(&whole, &tenant)["rows"].as_u64().unwrap();
    assert!(lost > 0);
    assert!(rows(&failed, &tenant)["error"].as_str().unwrap().contains(&name(segment)));

    damaged.export("partial", &["--allow-partial"]).expect_partial();
    let partial = damaged.manifest("partial");
    assert_eq!((&partial["status"], &partial["partial"]), (&json!("SUCCESS"), &json!(true)));
    let [missing] = partial["missing"].as_array().unwrap().as_slice() else { panic!("{partial}") };
    assert_eq!((&missing["class"], &missing["shard"]), (&json!("Shelf"), &json!(tenant)));
    assert!(missing["reason"].as_str().unwrap().contains(&name(segment)), "{missing}");
    let exported =
        |manifest: &Value| manifest["progress"]["Shelf"]["objectsExported"].as_u64().unwrap();
    assert_eq!(exported(&partial) + lost, exported(&whole));
    for shard in whole["source"]["shards"].as_array().unwrap() {
        let name = shard["shard"].as_str().unwrap();
        if shard["class"] == "Shelf" && name != tenant {
            assert_eq!(rows(&partial, name)["rows"], shard["rows"], "{name}");
        }
    }
    damaged.verify("partial");
}

/// A node is broken, which shows only while rows are read: the unit that the shard shares with
/// others is encoded again without it.
#[test]
fn a_shard_that_breaks_while_it_is_read_is_left_out_of_its_unit() {
    let damaged = Damaged::new("tenants");
    damaged.export("whole", &[]).expect_success();
    let segments = damaged.segments("shelf");
    let segment = segments.last().unwrap();
    let tenant = segment.ancestors().nth(3).map(name).unwrap();
    // The length of the first value.
    damaged.change(segment, |bytes| bytes[17..25].copy_from_slice(&u64::MAX.to_le_bytes()));
    damaged.export("fail", &[]).expect_error();
    damaged.export("partial", &["--allow-partial", "--workers", "1"]).expect_partial();
    let partial = damaged.manifest("partial");
    let [missing] = partial["missing"].as_array().unwrap().as_slice() else { panic!("{partial}") };
    assert_eq!(missing["shard"], tenant);
    damaged.verify("partial");
    let folder = damaged.to.path().join("partial");
    let rows = python("e2e/tenants_of.py", [folder.join("Shelf.parquet")]).expect_success();
    assert!(!rows.out.lines().any(|line| line == tenant), "{}", rows.out);
    assert!(rows.out.lines().count() > 3, "{}", rows.out);
}

#[test]
fn a_request_says_the_same_as_the_command_line() {
    let damaged = Damaged::new("basic");
    let segment = damaged.break_object("note");
    let mut command = serve_filesystem(&damaged.fixture.data_dir(), damaged.to.path());
    let server = Server::start(command.arg("--quarantine-raw"));
    let create = |body: Value| server.post("/v1/export/filesystem", &body);
    create(json!({ "id": "fail", "onBadObject": "fail" })).ok();
    let failed = server.wait("filesystem", "fail");
    assert_eq!(failed["status"], "FAILED");
    assert!(failed["error"].as_str().unwrap().contains(&name(&segment)), "{failed:#}");
    create(json!({ "id": "listed", "onBadObject": "quarantine", "allowPartial": true })).ok();
    let ended = server.wait("filesystem", "listed");
    assert_eq!(ended["status"], "SUCCESS", "{ended:#}");
    assert_eq!(ended["partial"], true, "{ended:#}");
    assert_eq!(ended["missing"][0]["objects"], 1, "{ended:#}");
    let lines = damaged.to.path().join("out/listed/quarantine/Note.jsonl");
    let line: Value = serde_json::from_slice(&std::fs::read(lines).unwrap()).unwrap();
    assert!(line["raw"].is_string(), "{line}");
    let message = create(json!({ "id": "x", "onBadObject": "ignore" })).error(422);
    assert!(message.contains("fail, skip, quarantine"), "{message}");
}
