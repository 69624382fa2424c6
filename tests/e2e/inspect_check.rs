//! `inspect` finds damage: headers always, every byte with `--check`; healthy directories have none.
use std::path::{Path, PathBuf};

use offloom_fixtures::{Fixture, unpack};
use serde_json::Value;

use crate::program::{Said, offloom};

fn inspect(data_dirs: &[PathBuf], more: &[&str]) -> Said {
    let mut arguments = vec!["inspect".to_owned()];
    for data_dir in data_dirs {
        arguments.extend(["--data-dir".to_owned(), data_dir.display().to_string()]);
    }
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    offloom(arguments)
}

/// A fixture with one damaged file, the largest of its class with this ending.
struct Damaged {
    fixture: Fixture,
    file: PathBuf,
}

impl Damaged {
    fn new(name: &str, class: &str, ending: &str, damage: impl FnOnce(&mut Vec<u8>)) -> Damaged {
        let fixture = unpack(name).unwrap();
        let shards = std::fs::read_dir(fixture.data_dir().join(class)).unwrap();
        let buckets = shards.map(|shard| shard.unwrap().path().join("lsm/objects"));
        let files = buckets.flat_map(|bucket| std::fs::read_dir(bucket).into_iter().flatten());
        let files = files.map(|file| file.unwrap().path());
        let largest = files
            .filter(|file| file.display().to_string().ends_with(ending))
            .max_by_key(|file| file.metadata().unwrap().len());
        let file = largest.unwrap();
        let mut bytes = std::fs::read(&file).unwrap();
        damage(&mut bytes);
        std::fs::write(&file, bytes).unwrap();
        Damaged { fixture, file }
    }

    fn inspect(&self, more: &[&str]) -> Said {
        inspect(&[self.fixture.data_dir()], more)
    }

    /// `--check` ends with 1, and its only findings are these: kind, offset and a part of the reason.
    #[track_caller]
    fn assert_found(&self, expected: &[(&str, u64, &str)]) {
        let text = self.inspect(&["--check"]);
        assert_eq!(text.status, Some(1), "{text:#?}");
        let json = self.inspect(&["--check", "--json"]);
        assert_eq!(json.status, Some(1), "{json:#?}");
        for said in [text.clone(), json.clone()] {
            let error = said.expect_error();
            assert!(error.contains(&format!("damaged: {} places", expected.len())), "{error}");
        }
        let name = self.file.file_name().unwrap().to_str().unwrap();
        let findings = findings(&serde_json::from_str(&json.out).unwrap());
        assert_eq!(findings.len(), expected.len(), "{findings:#?}");
        for (found, (kind, offset, reason)) in findings.iter().zip(expected) {
            assert_eq!(found["kind"], *kind, "{found:#}");
            assert_eq!(found["file"], name, "{found:#}");
            assert_eq!(found["offset"], *offset, "{found:#}");
            assert!(found["reason"].as_str().unwrap().contains(reason), "{found:#}");
            let line = format!("file {name}, offset {offset}: {kind}: ");
            let lines = text.out.lines().filter(|line| line.starts_with("    DAMAGED: "));
            assert_eq!(lines.filter(|found| found.contains(&line)).count(), 1, "{text:#?}");
        }
    }

    /// Without `--check`, only headers are read, and the last line says so.
    #[track_caller]
    fn assert_only_check_finds_it(&self) {
        let said = self.inspect(&[]);
        assert_eq!(said.status, Some(0), "{said:#?}");
        let last = said.out.lines().last().unwrap();
        assert!(last.starts_with("headers were checked; --check reads"), "{said:#?}");
    }
}

fn findings(json: &Value) -> Vec<Value> {
    let list = |value: &Value, key: &str| value[key].as_array().unwrap().clone();
    list(json, "classes")
        .iter()
        .flat_map(|class| list(class, "shards"))
        .flat_map(|shard| list(&shard, "copies"))
        .flat_map(|copy| list(&copy, "findings"))
        .collect()
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Where the primary tree of a segment starts (`lsm-segment.md` 3.1).
fn tree_start(bytes: &[u8]) -> usize {
    let secondary = usize::from(u16::from_le_bytes([bytes[4], bytes[5]]));
    usize::try_from(number(bytes, 8)).unwrap() + 8 * secondary
}

/// Every real directory that the project ships, also those that crashes left: nothing is damaged, and
/// every object was read.
#[test]
fn healthy_directories_have_no_damage() {
    for (name, least_objects) in [
        ("basic", 300),
        ("segments", 500),
        ("tenants", 150),
        ("options", 200),
        ("rbac", 20),
        ("crashed", 200),
        ("leftovers", 150),
        ("cluster", 150),
        ("v1.20.6", 100),
        ("v1.24.26", 150),
        ("v1.28.16", 150),
        ("v1.34.20", 150),
    ] {
        let fixture = unpack(name).unwrap();
        let data_dirs = match name {
            "cluster" => {
                ["node1", "node2", "node3"].map(|node| fixture.data_dir().join(node)).into()
            }
            _ => vec![fixture.data_dir()],
        };
        let said = inspect(&data_dirs, &["--check", "--json"]);
        assert_eq!(said.status, Some(0), "{name} {said:#?}");
        let json: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!((&json["checked"], &json["findings"]), (&true.into(), &0.into()), "{name}");
        let list = |value: &Value, key: &str| value[key].as_array().unwrap().clone();
        let shards = list(&json, "classes").into_iter().flat_map(|class| list(&class, "shards"));
        let copies = shards.flat_map(|shard| list(&shard, "copies"));
        let objects: u64 = copies.map(|copy| copy["objectsChecked"].as_u64().unwrap()).sum();
        assert!(objects > least_objects, "{name}: {objects}");
    }
}

#[test]
fn a_bad_header_is_found_without_check() {
    let damaged = Damaged::new("basic", "note", ".db", |bytes| bytes[2] = 9);
    let said = damaged.inspect(&[]);
    assert_eq!(said.status, Some(1), "{said:#?}");
    let file = damaged.file.file_name().unwrap().to_str().unwrap();
    let place = format!("file {file}, offset 2: segment version 9 is not known");
    assert!(said.out.contains(&place), "{said:#?}");
    assert!(said.expect_error().contains("1 shards cannot be exported"));
    damaged.assert_found(&[("header", 2, "version 9")]);
}

#[test]
fn a_wrong_checksum_is_found() {
    // A secondary key, which nothing else looks at.
    let mut footer = 0;
    let damaged = Damaged::new("options", &class_with_checksums(), ".db", |bytes| {
        assert_eq!(bytes[2], 1, "a segment with a checksum");
        footer = bytes.len() as u64 - 4;
        let data_end = usize::try_from(number(bytes, 8)).unwrap();
        bytes[data_end - 1] ^= 1;
    });
    damaged.assert_only_check_finds_it();
    damaged.assert_found(&[("checksum", footer, "the file states")]);
}

/// A class of `options` with a segment.
fn class_with_checksums() -> String {
    let fixture = unpack("options").unwrap();
    let json = inspect(&[fixture.data_dir()], &["--json"]).expect_success().out;
    let json: Value = serde_json::from_str(&json).unwrap();
    let classes = json["classes"].as_array().unwrap();
    let has_segment = |class: &&Value| {
        let shards = class["shards"].as_array().unwrap();
        let mut copies = shards.iter().flat_map(|shard| shard["copies"].as_array().unwrap());
        copies.any(|copy| !copy["segments"].as_array().unwrap().is_empty())
    };
    classes.iter().find(has_segment).unwrap()["directory"].as_str().unwrap().to_owned()
}

#[test]
fn a_cut_key_tree_is_found() {
    let mut at = 0;
    let damaged = Damaged::new("basic", "note", ".db", |bytes| {
        // The last secondary tree loses its end.
        let secondary = usize::from(u16::from_le_bytes([bytes[4], bytes[5]]));
        assert!(secondary > 0);
        let table = usize::try_from(number(bytes, 8)).unwrap();
        let mut start = usize::try_from(number(bytes, table + 8 * (secondary - 1))).unwrap();
        bytes.truncate(bytes.len() - 3);
        loop {
            let key = u32::from_le_bytes(bytes[start..start + 4].try_into().unwrap()) as usize;
            if start + 4 + key + 32 > bytes.len() {
                break;
            }
            start += 4 + key + 32;
        }
        at = start as u64;
    });
    damaged.assert_only_check_finds_it();
    damaged.assert_found(&[("key tree", at, "ends within a node")]);
}

#[test]
fn a_key_tree_that_leads_to_other_keys_is_found() {
    // One bit of the root's key, which is neither a length nor a pointer.
    let mut node = 0;
    let damaged = Damaged::new("basic", "note", ".db", |bytes| {
        let tree = tree_start(bytes);
        node = number(bytes, tree + 20);
        bytes[tree + 19] ^= 1;
    });
    damaged.assert_only_check_finds_it();
    damaged.assert_found(&[("key tree", node, "does not lead to key")]);

    // The root loses its subtree with the lower keys.
    let mut start = 0;
    let damaged = Damaged::new("basic", "note", ".db", |bytes| {
        let tree = tree_start(bytes);
        start = tree as u64;
        bytes[tree + 36..tree + 44].copy_from_slice(&(-1_i64).to_le_bytes());
    });
    damaged.assert_only_check_finds_it();
    damaged.assert_found(&[("key tree", start, "outside of the data it should cover")]);
}

#[test]
fn a_broken_object_is_found() {
    let damaged = Damaged::new("basic", "note", ".db", |bytes| bytes[25] = 9);
    damaged.assert_only_check_finds_it();
    damaged.assert_found(&[("object", 25, "object version 9 is not known")]);
}

#[test]
fn a_broken_node_is_found() {
    let damaged = Damaged::new("basic", "note", ".db", |bytes| {
        bytes[17..25].copy_from_slice(&u64::MAX.to_le_bytes());
    });
    damaged.assert_only_check_finds_it();
    damaged.assert_found(&[("node", 16, "past the end of the data")]);
}

/// The second record of a log; a crash leaves no such log, because it is written forward.
#[test]
fn a_broken_log_record_is_found() {
    let class = class_with_log();
    let mut second = 0;
    let damaged = Damaged::new("crashed", &class, ".wal", |bytes| {
        // Type, version, length, node, checksum (`wal.md` 1.1).
        let node = u32::from_le_bytes(bytes[2..6].try_into().unwrap());
        second = 6 + u64::from(node) + 4;
        bytes[usize::try_from(second).unwrap() + 20] ^= 1;
    });
    damaged.assert_only_check_finds_it();
    damaged.assert_found(&[("log record", second, "the record states")]);
}

/// Nothing of the log can be read, and the shard has nothing else, although it counts objects.
#[test]
fn a_log_that_is_broken_from_its_start_on_is_found_without_check() {
    let damaged = Damaged::new("crashed", &class_with_log(), ".wal", |bytes| bytes[20] ^= 1);
    let said = damaged.inspect(&[]);
    assert_eq!(said.status, Some(1), "{said:#?}");
    assert!(said.out.contains("BROKEN: ") && said.out.contains("/indexcount counts "), "{said:#?}");
    damaged.assert_found(&[("log record", 0, "the record states")]);
}

/// A class of `crashed` with a log.
fn class_with_log() -> String {
    let data_dir = unpack("crashed").unwrap();
    let json = inspect(&[data_dir.data_dir()], &["--json"]).expect_success().out;
    let json: Value = serde_json::from_str(&json).unwrap();
    let has_log = |class: &&Value| {
        let shards = class["shards"].as_array().unwrap();
        let mut copies = shards.iter().flat_map(|shard| shard["copies"].as_array().unwrap());
        copies.any(|copy| !copy["logs"].as_array().unwrap().is_empty())
    };
    let classes = json["classes"].as_array().unwrap();
    classes.iter().find(has_log).unwrap()["directory"].as_str().unwrap().to_owned()
}

/// All damage is found in one run, not the first alone.
#[test]
fn every_damaged_place_is_found() {
    let mut offsets = Vec::new();
    let damaged = Damaged::new("basic", "note", ".db", |bytes| {
        let tree = tree_start(bytes);
        let count = (usize::try_from(number(bytes, tree - 8)).unwrap() - tree) / 52;
        for node in 0..count {
            let start = usize::try_from(number(bytes, tree + 52 * node + 20)).unwrap();
            let is_live = bytes[start] == 0;
            if is_live && offsets.len() < 3 {
                bytes[start + 9] = 9;
                offsets.push((start + 9) as u64);
            }
        }
    });
    offsets.sort_unstable();
    assert_eq!(offsets.len(), 3);
    let expected: Vec<_> = offsets.iter().map(|at| ("object", *at, "version 9")).collect();
    damaged.assert_found(&expected);
}

#[test]
fn what_cannot_be_read_is_said_to_be_unreadable() {
    // A compaction whose left half exists and whose right half does not.
    let fixture = unpack("basic").unwrap();
    let file = Damaged::new("basic", "note", ".db", |_| ()).file;
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    let shard = Path::new("note").join(file.ancestors().nth(3).unwrap().file_name().unwrap());
    let bucket = fixture.data_dir().join(shard).join("lsm/objects");
    let id = name.trim_start_matches("segment-").split('.').next().unwrap();
    let other = id.parse::<u64>().unwrap() + 1;
    std::fs::write(bucket.join(format!("segment-{id}_{other}.db.tmp")), "left").unwrap();
    let json = inspect(&[fixture.data_dir()], &["--check", "--json"]);
    assert_eq!(json.status, Some(1), "{json:#?}");
    let [finding] = findings(&serde_json::from_str(&json.out).unwrap()).try_into().unwrap();
    assert_eq!(finding["kind"], "unreadable", "{finding:#}");
    assert!(finding["reason"].as_str().unwrap().contains("interrupted compaction"), "{finding:#}");
}
