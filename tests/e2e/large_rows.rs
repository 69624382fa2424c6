//! Objects of many megabytes go through guest and file whole; one beyond the limit is named, and its
//! stored bytes can be had.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use offloom_encoder::{ClassWriter, DirectoryWriter, NameStyle, Node, Object, SegmentOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::golden::export;
use crate::program::{Said, offloom, python};
use crate::server::{Server, serve_filesystem};

pub const LARGE_ID: &str = "02020202-0202-0202-0202-020202020202";

/// Text that hardly compresses, the same every time.
fn text(bytes: usize) -> String {
    const LETTERS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+/";
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(LETTERS[(state % 64) as usize])
    };
    std::iter::repeat_with(letter).take(bytes).collect()
}

/// A data directory with one class.
pub struct Source {
    root: TempDir,
    directory: DirectoryWriter,
    classes: BTreeMap<String, ClassWriter>,
}

impl Source {
    pub fn new() -> Source {
        let root = tempfile::tempdir().unwrap();
        let directory = DirectoryWriter::create(&root.path().join("data")).unwrap();
        Source { root, directory, classes: BTreeMap::new() }
    }

    /// A class `Large` with one property of `bytes` characters between two small objects.
    fn with_property(bytes: usize) -> Source {
        let mut source = Source::new();
        source.shard("Large", false, "abcdefghijkl", [10, bytes, 10].map(node_of).as_slice());
        source
    }

    /// Adds a shard with these nodes; their number is in their keys.
    pub fn shard(&mut self, class: &str, multi_tenant: bool, shard: &str, nodes: &[Node]) {
        let directory = &mut self.directory;
        let class = self.classes.entry(class.to_owned());
        let class = class.or_insert_with_key(|name| directory.class(name, multi_tenant).unwrap());
        let shard = class.shard(shard).unwrap();
        let mut segment = shard
            .segment(1_700_000_000_000_000_000, NameStyle::Long, SegmentOptions::default())
            .unwrap();
        for (number, node) in (1_u8..).zip(nodes) {
            let mut node = node.clone();
            node.key = vec![number; 16];
            // The id in the value, behind version, document id and kind.
            if let Some(id) = node.value.get_mut(10..26) {
                id.copy_from_slice(&node.key);
            }
            segment.append(&node).unwrap();
        }
        segment.finish().unwrap();
    }

    pub fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    pub fn schema(&self) -> PathBuf {
        let path = self.root.path().join("schema.json");
        self.directory.write_schema(&path).unwrap();
        path
    }

    fn export(&self, id: &str, more: &[&str]) -> Said {
        export(&self.data(), &self.schema(), &self.to(), &[&["--id", id], more].concat())
    }

    fn to(&self) -> PathBuf {
        self.root.path().join("to")
    }
}

/// An object with a property of `length` characters.
fn node_of(length: usize) -> Node {
    let mut object = Object::new([0; 16], "Large");
    object.properties = Some(format!("{{\"text\":\"{}\"}}", text(length)).into_bytes());
    Node::live(&object, &Default::default()).unwrap()
}

/// One whose marshaller version no server writes.
pub fn broken_node_of(length: usize) -> Node {
    let mut node = node_of(length);
    node.value[0] = 9;
    node
}

/// What pyarrow and DuckDB read is what was stored.
#[track_caller]
fn expect_properties(file: &Path, lengths: &[usize]) {
    let stored = tempfile::tempdir().unwrap();
    for (number, length) in (1_u8..).zip(lengths) {
        let properties = format!("{{\"text\":\"{}\"}}", text(*length));
        std::fs::write(stored.path().join(uuid_of(number)), properties).unwrap();
    }
    python("e2e/same_properties.py", [file, stored.path()]).expect_success();
}

#[track_caller]
fn expect_whole(folder: &Path) {
    let said = offloom(["verify", &folder.display().to_string()]).expect_success();
    assert!(said.out.lines().last().unwrap().contains("rows and ids agree"), "{said:#?}");
}

fn manifest(folder: &Path) -> Value {
    let path = folder.join("export_metadata.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The attachments in the quarantine.
fn quarantined(folder: &Path) -> Vec<String> {
    let manifest = manifest(folder);
    let attachments = manifest["attachments"].as_array().unwrap().iter();
    let keys = attachments.map(|attachment| attachment["key"].as_str().unwrap().to_owned());
    keys.filter(|key| key.starts_with("quarantine/")).collect()
}

fn lines(folder: &Path, class: &str) -> Vec<Value> {
    let list = folder.join(format!("quarantine/{class}.jsonl"));
    let list = std::fs::read_to_string(list).unwrap();
    list.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_property_of_twenty_megabytes_is_exported() {
    let source = Source::with_property(20_000_000);
    let folder = source.export("large", &[]).expect_success().folder();
    expect_whole(&folder);
    let file = folder.join("Large.parquet");
    python("e2e/read_back.py", [&file]).expect_success();
    expect_properties(&file, &[10, 20_000_000, 10]);
}

#[test]
fn an_object_beyond_the_limit_is_named_and_a_higher_limit_takes_it() {
    let lengths = [10, 40 << 20, 10];
    let source = Source::with_property(lengths[1]);
    let error = source.export("default", &[]).expect_error();
    for part in [LARGE_ID, "Large", "segment-1700000000000000000", "more than the 33554432"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(error.contains("raise --max-object-bytes"), "{error}");
    let skipped = source.export("skip", &["--on-bad-object", "skip"]).expect_partial();
    assert!(skipped.err.contains("larger than --max-object-bytes allows"), "{skipped:#?}");
    expect_whole(&skipped.folder());

    let limit = ["--max-object-bytes", "41MiB"];
    let folder = source.export("raised", &limit).expect_success().folder();
    expect_whole(&folder);
    expect_properties(&folder.join("Large.parquet"), &lengths);
}

#[test]
fn the_limit_of_the_service_is_the_operators() {
    let source = Source::with_property(40 << 20);
    for (limit, status) in [("64MiB", "SUCCESS"), ("33554432", "FAILED")] {
        let work = tempfile::tempdir().unwrap();
        let mut command = serve_filesystem(&source.data(), work.path());
        let server = Server::start(command.env("OFFLOOM_MAX_OBJECT_BYTES", limit));
        let body =
            json!({ "id": "large", "maxObjectBytes": "512MiB", "max_object_bytes": 1 << 29 });
        server.post("/v1/export/filesystem", &body).ok();
        let ended = server.wait("filesystem", "large");
        assert_eq!(ended["status"], status, "{ended:#}");
        if status == "FAILED" {
            let error = ended["error"].as_str().unwrap();
            assert!(error.contains(LARGE_ID) && error.contains("max_object_bytes"), "{error}");
        }
    }
}

#[test]
fn a_limit_out_of_range_is_wrong_usage() {
    let source = Source::with_property(10);
    for size in ["513MiB", "0", "1048575", "12 parsecs"] {
        let said = source.export("never", &["--max-object-bytes", size]);
        assert_eq!(said.status, Some(2), "{size}: {said:#?}");
        assert!(said.err.contains("1 MiB to 512 MiB"), "{size}: {said:#?}");
    }
    assert!(!source.to().exists());
}

#[test]
fn the_stored_bytes_of_quarantined_objects_can_be_had_whatever_their_size() {
    let mut source = Source::new();
    // One that is too large, among others that break their format: the list takes 16 MiB of them.
    let shelf = [broken_node_of(10 << 20), node_of(33 << 20), broken_node_of(9 << 20)];
    source.shard("Large", true, "t1", &shelf);
    source.shard("Large", true, "t2", &[node_of(10), broken_node_of(17 << 20)]);
    let keep = ["--on-bad-object", "quarantine", "--quarantine-raw"];
    let folder = source.export("kept", &keep).expect_partial().folder();
    let (first, third) = (uuid_of(1), uuid_of(3));
    let file = |name: &str| format!("quarantine/Large/{name}.bin");
    let (of_t1, of_t2) = (file(LARGE_ID), file(&format!("{LARGE_ID}-2")));
    assert_eq!(
        quarantined(&folder),
        ["quarantine/Large.jsonl", &of_t1, &file(&third), &of_t2],
        "the list first"
    );
    assert!(std::fs::read(folder.join(&of_t1)).unwrap() == with_id(&shelf[1], 2));
    assert!(std::fs::read(folder.join(file(&third))).unwrap() == with_id(&shelf[2], 3));
    let of_other_tenant = with_id(&broken_node_of(17 << 20), 2);
    assert!(std::fs::read(folder.join(&of_t2)).unwrap() == of_other_tenant);

    let lines = lines(&folder, "Large");
    let found = lines.iter().map(|line| (&line["id"], &line["shard"], &line["rawKey"]));
    let found: Vec<_> = found.map(|(id, shard, key)| json!([id, shard, key])).collect();
    let expected = [
        json!([first, "t1", null]),
        json!([LARGE_ID, "t1", of_t1]),
        json!([third, "t1", file(&third)]),
        json!([LARGE_ID, "t2", of_t2]),
    ];
    assert_eq!(found, expected);
    let raw: Vec<_> = lines.iter().map(|line| line["raw"].as_str().map(str::len)).collect();
    let base64 = (shelf[0].value.len() as u64).div_ceil(3) * 4;
    assert_eq!(raw, [Some(base64 as usize), None, None, None]);
    assert!(lines[1]["reason"].as_str().unwrap().contains("--max-object-bytes"), "{}", lines[1]);
    expect_whole(&folder);

    // The same with any number of workers, and nothing without the operator's consent.
    for (id, workers) in [("one", "1"), ("three", "3")] {
        let again = source.export(id, &[&keep[..], &["--workers", workers]].concat());
        assert_eq!(manifest(&again.folder())["attachments"], manifest(&folder)["attachments"]);
    }
    let listed = source.export("listed", &keep[..2]).expect_partial().folder();
    assert_eq!(quarantined(&listed), ["quarantine/Large.jsonl"]);
    let limited = source.export("limited", &[&keep[..], &["--tenants", "Large=t1"]].concat());
    assert_eq!(quarantined(&limited.expect_partial().folder()), ["quarantine/Large.jsonl"]);

    let altered = folder.join(&of_t1);
    let mut bytes = std::fs::read(&altered).unwrap();
    bytes[20 << 20] ^= 1;
    std::fs::write(&altered, bytes).unwrap();
    let said = offloom(["verify", &folder.display().to_string()]);
    assert_eq!(said.status, Some(1), "{said:#?}");
    assert!(format!("{said:?}").contains(&of_t1), "{said:#?}");
}

/// The id whose bytes are all `number`.
fn uuid_of(number: u8) -> String {
    let lengths = [4, 2, 2, 2, 6];
    lengths.map(|length| format!("{number:02x}").repeat(length)).join("-")
}

/// The value as [`Source::shard`] stores it.
pub fn with_id(node: &Node, number: u8) -> Vec<u8> {
    let mut value = node.value.clone();
    value[10..26].copy_from_slice(&[number; 16]);
    value
}

/// The second file cannot be written: the first one goes too.
#[test]
fn stored_bytes_of_a_class_that_fails_are_removed() {
    let mut source = Source::new();
    source.shard("Large", false, "abcdefghijkl", &[17, 18].map(|mib| broken_node_of(mib << 20)));
    let folder = source.to().join("failed");
    let in_the_way = folder.join(format!("quarantine/Large/{LARGE_ID}.bin"));
    std::fs::create_dir_all(in_the_way.join("not-empty")).unwrap();
    let keep = ["--on-bad-object", "quarantine", "--quarantine-raw"];
    let error = source.export("failed", &keep).expect_error();
    assert!(error.contains(&format!("{LARGE_ID}.bin")), "{error}");
    assert_eq!(manifest(&folder)["status"], "FAILED");
    assert_eq!(quarantined(&folder), [""; 0]);
    assert!(in_the_way.exists());
    assert!(!folder.join(format!("quarantine/Large/{}.bin", uuid_of(1))).exists());
}
