//! Manifests of every kind of export, as the program writes them: they follow their JSON Schema, and
//! what they say of shards is what lies on the disk.
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use offloom_encoder::{
    DirectoryWriter, NameStyle, Node, Object, ObjectOptions, SegmentOptions, WalVersion, Workload,
    tear, write_tenants, write_workload,
};
use offloom_fixtures::unpack;
use offloom_test_parts::{Keys, Proxy, SeaweedFs};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bad_data::Damaged;
use crate::guests::ids_guest;
use crate::program::{Said, offloom, root};
use crate::s3::{bucket, eventually};
use crate::server::{Server, serve, serve_filesystem};

/// The schema of a manifest, and that of a line of `shards.jsonl`.
struct Schemas {
    manifest: Validator,
    shard: Validator,
}

impl Schemas {
    fn new() -> Schemas {
        let text =
            std::fs::read_to_string(root().join("docs/export_metadata.schema.json")).unwrap();
        let schema: Value = serde_json::from_str(&text).unwrap();
        let line = json!({
            "$schema": schema["$schema"], "$defs": schema["$defs"], "$ref": "#/$defs/shard",
        });
        let validator = |schema: &Value| jsonschema::draft202012::new(schema).unwrap();
        Schemas { manifest: validator(&schema), shard: validator(&line) }
    }

    #[track_caller]
    fn check(&self, bytes: &[u8]) -> Value {
        let manifest: Value = serde_json::from_slice(bytes).unwrap();
        let problems: Vec<String> = self
            .manifest
            .iter_errors(&manifest)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(problems.is_empty(), "{problems:#?} in {manifest:#}");
        manifest
    }

    /// The manifest in a folder.
    #[track_caller]
    fn read(&self, folder: &Path) -> Value {
        self.check(&std::fs::read(folder.join("export_metadata.json")).unwrap())
    }

    /// The manifest of an export below the bucket's top.
    fn read_s3(&self, bucket: &str, id: &str) -> Value {
        self.check(&SeaweedFs::shared().read(bucket, &format!("{id}/export_metadata.json")))
    }
}

fn export(data_dirs: &[PathBuf], to: &Path, more: &[&str]) -> Said {
    let mut arguments = vec!["export".to_owned(), format!("--to={}", to.display())];
    arguments.extend(data_dirs.iter().map(|dir| format!("--data-dir={}", dir.display())));
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    offloom(arguments)
}

fn nodes(data: &Path) -> [PathBuf; 3] {
    ["node1", "node2", "node3"].map(|node| data.join(node))
}

fn shards(manifest: &Value) -> &Vec<Value> {
    manifest["source"]["shards"].as_array().unwrap()
}

#[test]
fn complete_exports_of_every_source_follow_the_schema() {
    let schemas = Schemas::new();
    for name in ["basic", "tenants", "cluster", "stale-node", "namespaces", "leftovers", "v1.20.6"]
    {
        let (fixture, to) = (unpack(name).unwrap(), tempfile::tempdir().unwrap());
        let several = ["cluster", "stale-node"].contains(&name);
        let data_dirs =
            if several { nodes(&fixture.data_dir()).to_vec() } else { vec![fixture.data_dir()] };
        let manifest = schemas.read(&export(&data_dirs, to.path(), &[]).expect_success().folder());
        assert_eq!(manifest["status"], "SUCCESS", "{name}");
        let any = |holds: &dyn Fn(&Value) -> bool| shards(&manifest).iter().any(holds);
        // The parts for whose sake the directory was chosen.
        match name {
            "basic" => assert_eq!(manifest["progress"]["Empty"]["objectsExported"], 0),
            "tenants" => assert!(any(&|shard| shard["skipReason"].is_string())),
            "cluster" => assert!(any(&|shard| shard["copies"].is_object())),
            "namespaces" => assert!(manifest["classes"].to_string().contains("acme-eu-1:")),
            "leftovers" => {}
            "stale-node" => {
                assert!(!manifest["warnings"].as_array().unwrap().is_empty(), "{name}");
            }
            _ => assert!(manifest["source"]["schemaFrom"].to_string().contains("schema.db")),
        }
    }
}

#[test]
fn exports_with_options_follow_the_schema() {
    let schemas = Schemas::new();
    let (fixture, to) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let guest = ids_guest().display().to_string();
    let schema = fixture.schema_file().display().to_string();
    for (id, options) in [
        ("filtered", &["--properties", "Note=-t", "--vectors", "NamedVectors=none"][..]),
        ("guest-option", &["--guest-option", "compression=none", "--schema", &schema]),
        ("other-guest", &["--guest", &guest, "--include", "Target,Empty"]),
    ] {
        let more = [&["--id", id], options].concat();
        let said = export(&[fixture.data_dir()], to.path(), &more).expect_success();
        let manifest = schemas.read(&said.folder());
        match id {
            "guest-option" => assert_eq!(manifest["guest"]["options"]["compression"], "none"),
            "other-guest" => assert_eq!(manifest["files"][0]["format"]["extension"], "ids"),
            _ => {}
        }
    }
}

#[test]
fn very_many_shards_follow_the_schema_line_by_line() {
    let schemas = Schemas::new();
    let source = tempfile::tempdir().unwrap();
    write_tenants(1_001, source.path()).unwrap();
    let data_dirs = [source.path().join("data")];
    let folder = export(&data_dirs, &source.path().join("out"), &[]).expect_success().folder();
    let manifest = schemas.read(&folder);
    assert_eq!(manifest["source"]["shardsKey"], "shards.jsonl");
    let lines = std::fs::read_to_string(folder.join("shards.jsonl")).unwrap();
    for line in lines.lines() {
        let shard: Value = serde_json::from_str(line).unwrap();
        assert!(schemas.shard.is_valid(&shard), "{line}");
    }
    assert_eq!(lines.lines().count(), 1_001);
}

#[test]
fn partial_and_failed_exports_follow_the_schema() {
    let schemas = Schemas::new();
    let tenants = Damaged::new("tenants");
    let segments = tenants.segments("shelf");
    tenants.change(segments.last().unwrap(), |bytes| bytes.truncate(bytes.len() - 7));
    let data_dirs = [tenants.data_dir()];
    let to = tenants.to.path();
    export(&data_dirs, to, &["--id", "failed"]).expect_error();
    let failed = schemas.read(&to.join("failed"));
    assert_eq!(failed["status"], "FAILED");
    assert!(shards(&failed).iter().any(|shard| shard["error"].is_string()), "{failed:#}");
    export(&data_dirs, to, &["--id", "partial", "--allow-partial"]).expect_partial();
    let partial = schemas.read(&to.join("partial"));
    assert_eq!((&partial["status"], &partial["partial"]), (&json!("SUCCESS"), &json!(true)));
    assert!(partial["missing"][0]["shard"].is_string(), "{partial:#}");

    let objects = Damaged::new("basic");
    objects.break_object("note");
    let (data_dirs, to) = ([objects.data_dir()], objects.to.path());
    for (id, policy) in [
        ("skipped", &["--on-bad-object", "skip"][..]),
        ("listed", &["--on-bad-object", "quarantine"]),
        ("raw", &["--on-bad-object", "quarantine", "--quarantine-raw"]),
    ] {
        export(&data_dirs, to, &[&["--id", id], policy].concat()).expect_partial();
        let manifest = schemas.read(&to.join(id));
        assert_eq!(manifest["missing"][0]["objects"], 1);
        assert!(shards(&manifest).iter().any(|shard| shard["objectsLeftOut"] == 1));
        let attachments = manifest["attachments"].as_array().unwrap().len();
        assert_eq!(attachments, if id == "skipped" { 1 } else { 2 });
    }
    export(&data_dirs, to, &["--id", "bad-object"]).expect_error();
    assert_eq!(schemas.read(&to.join("bad-object"))["status"], "FAILED");
}

#[test]
fn exports_of_a_server_follow_the_schema_however_they_end() {
    let schemas = Schemas::new();
    let (bucket, source) = (bucket("manifests"), tempfile::tempdir().unwrap());
    write_workload(Workload::W1, 2_000, source.path()).unwrap();
    let proxy = Proxy::start(SeaweedFs::shared().endpoint());
    let mut command = serve(&source.path().join("data"), source.path());
    command.envs(Keys::ReadWrite.environment(&proxy.endpoint())).args(["--bucket", bucket]);
    let server = Server::start(command.args(["--max-exports", "1"]));
    server.post("/v1/export/s3", &json!({ "id": "done" })).ok();
    assert_eq!(server.wait("s3", "done")["status"], "SUCCESS");
    proxy.throttle(1 << 20);
    for id in ["canceled", "stopped", "waits"] {
        server.post("/v1/export/s3", &json!({ "id": id })).ok();
    }
    eventually(|| !SeaweedFs::shared().open_uploads(bucket).is_empty());
    assert_eq!(server.delete("/v1/export/s3/canceled").status, 204);
    eventually(|| server.get("/v1/export/s3/stopped").ok()["status"] == "TRANSFERRING");
    server.signal("-TERM");
    assert!(server.ended().success());
    for (id, status, error) in [
        ("done", "SUCCESS", Value::Null),
        ("canceled", "CANCELED", json!("the export was canceled")),
    ] {
        let manifest = schemas.read_s3(bucket, id);
        assert_eq!((&manifest["status"], &manifest["error"]), (&json!(status), &error), "{id}");
        assert_eq!(manifest["backend"], "s3");
    }
    // The next start carries the others on.
    proxy.pass();
    let mut command = serve(&source.path().join("data"), source.path());
    command.envs(Keys::ReadWrite.environment(&proxy.endpoint())).args(["--bucket", bucket]);
    let server = Server::start(&mut command);
    for id in ["stopped", "waits"] {
        assert_eq!(server.wait("s3", id)["status"], "SUCCESS");
        let manifest = schemas.read_s3(bucket, id);
        assert_eq!(manifest["resumed"]["attempt"], 2, "{id}: {manifest:#}");
    }
    drop(server);

    let fixture = unpack("basic").unwrap();
    let server = Server::start(&mut serve_filesystem(&fixture.data_dir(), source.path()));
    server.post("/v1/export/filesystem", &json!({ "id": "rest" })).ok();
    assert_eq!(server.wait("filesystem", "rest")["status"], "SUCCESS");
    assert_eq!(schemas.read(&source.path().join("out/rest"))["backend"], "filesystem");
}

const FIRST_SEGMENT: u64 = 1_700_000_000_000_000_000;
const NEWEST_SEGMENT: u64 = 1_700_000_060_000_000_000;
const OLDER_LOG: u64 = 1_700_000_120_000_000_000;
const NEWER_LOG: u64 = 1_700_000_180_000_000_000;

/// A copy of a shard: two segments and two logs, all of different objects.
struct Copy {
    root: TempDir,
    objects: PathBuf,
}

impl Copy {
    /// `changes` are in the newer log, after an object of its own.
    fn new(changes: &[Node]) -> Copy {
        let root = tempfile::tempdir().unwrap();
        let mut directory = DirectoryWriter::create(root.path()).unwrap();
        let shard = directory.class("Article", false).unwrap().shard("aBcDeFgHiJkL").unwrap();
        for (number, id) in [(1, FIRST_SEGMENT), (2, NEWEST_SEGMENT)] {
            // The newer one has a checksum.
            let version = u16::from(id == NEWEST_SEGMENT);
            let options = SegmentOptions { version, ..SegmentOptions::default() };
            let mut segment = shard.segment(id, NameStyle::Long, options).unwrap();
            segment.append(&live(number, 10)).unwrap();
            segment.finish().unwrap();
        }
        for (number, id, changes) in [(3, OLDER_LOG, &[][..]), (4, NEWER_LOG, changes)] {
            let mut log = shard.wal(id).unwrap();
            log.append(&live(number, 10), WalVersion::V1).unwrap();
            for change in changes {
                log.append(change, WalVersion::V1).unwrap();
            }
            log.finish().unwrap();
        }
        let objects = shard.path().to_owned();
        Copy { root, objects }
    }

    fn log(&self, id: u64) -> PathBuf {
        self.objects.join(format!("segment-{id}.wal"))
    }

    /// The cut-off of the files as they are; `dropped` bytes at the end of the newer log are torn.
    #[track_caller]
    fn expect(&self, cut_off: &Value, dropped: u64) {
        let segment = std::fs::read_dir(&self.objects)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .find(|name| name.starts_with(&format!("segment-{NEWEST_SEGMENT}")))
            .unwrap();
        assert_eq!(cut_off["newestSegment"], segment, "{cut_off:#}");
        let sources = cut_off["sources"].as_array().unwrap();
        assert_eq!(sources.len(), 4, "{cut_off:#}");
        for source in sources {
            let name = source["name"].as_str().unwrap();
            let file = std::fs::read(self.objects.join(name)).unwrap();
            let is_newer = name == format!("segment-{NEWER_LOG}.wal");
            let read = file.len() - if is_newer { dropped as usize } else { 0 };
            let of_read = match name {
                log if log.ends_with(".wal") => Some(crc(&file[..read])),
                newer if newer == segment => Some(u32::from_be_bytes(*file.last_chunk().unwrap())),
                _ => None,
            };
            let modified = std::fs::metadata(self.objects.join(name)).unwrap().modified().unwrap();
            let modified: chrono::DateTime<chrono::Utc> = modified.into();
            let mut expected = json!({
                "name": name,
                "sizeBytes": file.len(),
                "modifiedAt": modified.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
                "headerCrc": format!("{:08x}", crc(&file[..16])),
                "bytesRead": read,
            });
            if let Some(crc) = of_read {
                expected["crc"] = format!("{crc:08x}").into();
            }
            assert_eq!(*source, expected);
        }
        let logs: Vec<&Value> = sources.iter().skip(2).map(|source| &source["name"]).collect();
        let names = [OLDER_LOG, NEWER_LOG].map(|id| format!("segment-{id}.wal"));
        assert_eq!(logs, names.iter().collect::<Vec<_>>());
        let at: chrono::DateTime<chrono::Utc> = cut_off["at"].as_str().unwrap().parse().unwrap();
        assert!((chrono::Utc::now() - at).num_seconds() < 60, "{at}");
    }
}

/// CRC-32 as gzip has it, of another implementation than the program's.
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn live(number: u8, updated_ms: i64) -> Node {
    let object = Object { updated_ms, ..Object::new([number; 16], "Article") };
    Node::live(&object, &ObjectOptions::default()).unwrap()
}

#[test]
fn the_cut_off_names_the_newest_segment_and_how_much_of_each_log_was_read() {
    let copy = Copy::new(&[live(5, 10)]);
    let to = tempfile::tempdir().unwrap();
    let cut_off = |id: &str| {
        let said = export(&[copy.root.path().to_owned()], to.path(), &["--id", id]);
        let manifest = Schemas::new().read(&said.expect_success().folder());
        assert_eq!(shards(&manifest)[0]["copies"], Value::Null);
        shards(&manifest)[0]["cutOff"].clone()
    };
    copy.expect(&cut_off("whole"), 0);
    let whole = std::fs::metadata(copy.log(NEWER_LOG)).unwrap().len();
    tear(&copy.log(NEWER_LOG), 3).unwrap();
    // The last of two records of the same size is torn.
    copy.expect(&cut_off("torn"), whole / 2 - 3);
}

#[test]
fn each_copy_has_its_cut_off_and_their_differences_are_counted() {
    // Of the objects 5 to 8: the same, another version, deleted at an unknown time, in one alone.
    let first = Copy::new(&[live(5, 10), live(6, 10), live(7, 10), live(8, 10)]);
    let second = Copy::new(&[live(5, 10), live(6, 20), Node::tombstone([7; 16], None)]);
    let to = tempfile::tempdir().unwrap();
    let data_dirs = [&first, &second].map(|copy| copy.root.path().to_owned());
    let said = export(&data_dirs, to.path(), &[]).expect_success();
    let manifest = Schemas::new().read(&said.folder());
    let shard = &shards(&manifest)[0];
    assert_eq!(shard["rows"], 8);
    let copies = &shard["copies"];
    assert_eq!(copies["differingObjects"], 3, "{copies:#}");
    assert_eq!(copies["keptAgainstDeletes"], 1, "{copies:#}");
    for (number, copy) in [&first, &second].into_iter().enumerate() {
        let of_copy = &copies["directories"][number];
        assert_eq!(of_copy["directory"], copy.root.path().display().to_string());
        copy.expect(&of_copy["cutOff"], 0);
    }
    // The earliest of their times.
    let at = |number: usize| copies["directories"][number]["cutOff"]["at"].as_str().unwrap();
    assert_eq!(shard["cutOff"], json!({ "at": at(0).min(at(1)), "sources": [] }));
}
