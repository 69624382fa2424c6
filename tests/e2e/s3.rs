//! Exports to a real S3 server: from the command line, over REST, and what is said when it refuses.
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;

use offloom_encoder::{Workload, scale, write_workload};
use offloom_fixtures::{Fixture, unpack};
use offloom_test_parts::{Keys, Proxy, SeaweedFs};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::golden::compare;
use crate::large_rows::{LARGE_ID, Source, broken_node_of, with_id};
use crate::many_tenants::peak_mib;
use crate::program::{Said, program, said};
use crate::server::{Server, serve};

/// A bucket of this name alone is what the read-only keys may see.
const READABLE_BUCKET: &str = "exports";

/// Makes the bucket, the first time that a test asks for it.
pub fn bucket(name: &'static str) -> &'static str {
    static THERE: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    if THERE.lock().unwrap().insert(name) {
        SeaweedFs::shared().create_bucket(name);
    }
    name
}

/// `offloom` with the store's variables.
fn offloom(keys: Keys, arguments: &[&str]) -> Said {
    said(program().envs(SeaweedFs::shared().environment(keys)).args(arguments))
}

/// Copies the objects below a prefix into a folder, for readers of files.
fn fetch(bucket: &str, prefix: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for key in SeaweedFs::shared().objects(bucket, prefix).keys() {
        let content = SeaweedFs::shared().read(bucket, key);
        std::fs::write(folder.path().join(key.rsplit('/').next().unwrap()), content).unwrap();
    }
    folder
}

fn serve_s3(
    fixture: &Fixture,
    work: &TempDir,
    endpoint: &str,
    keys: Keys,
) -> std::process::Command {
    let mut command = serve(&fixture.data_dir(), work.path());
    command
        .envs(keys.environment(endpoint))
        .args(["--schema".as_ref(), fixture.schema_file().as_os_str()]);
    command
}

#[test]
fn the_command_line_exports_to_a_bucket_and_proves_it() {
    let bucket = bucket("command-line");
    let fixture = unpack("basic").unwrap();
    let (data, schema) = (fixture.data_dir(), fixture.schema_file());
    let to = format!("s3://{bucket}/lake/weaviate/");
    let export = |id: &str| {
        let data = data.to_str().unwrap();
        let schema = schema.to_str().unwrap();
        offloom(
            Keys::ReadWrite,
            &["export", "--data-dir", data, "--schema", schema, "--to", &to, "--id", id],
        )
    };
    let said = export("first").expect_success();
    assert_eq!(said.out.lines().last(), Some("s3://command-line/lake/weaviate/first/"));
    compare(fetch(bucket, "lake/weaviate/first/").path(), &fixture);
    let folder = "s3://command-line/lake/weaviate/first/";
    offloom(Keys::ReadWrite, &["verify", folder]).expect_success();
    offloom(Keys::ReadWrite, &["verify", "--quick", folder]).expect_success();
    let again = export("first").expect_error();
    assert!(again.contains("the export id 'first' is in use"), "{again}");

    let key = "lake/weaviate/first/Note.parquet";
    let mut damaged = SeaweedFs::shared().read(bucket, key).to_vec();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    SeaweedFs::shared().write(bucket, key, damaged);
    let found = offloom(Keys::ReadWrite, &["verify", folder]);
    assert!(!found.ok && format!("{found:?}").contains("Note.parquet"), "{found:#?}");
}

#[test]
fn the_stored_bytes_of_a_quarantined_object_are_proved_in_a_bucket() {
    let bucket = bucket("quarantine");
    let mut source = Source::new();
    let nodes = [1, 17 << 20].map(broken_node_of);
    source.shard("Large", false, "abcdefghijkl", &nodes);
    let (data, schema) = (source.data(), source.schema());
    let (data, schema) = (data.to_str().unwrap(), schema.to_str().unwrap());
    let keep = ["--on-bad-object", "quarantine", "--quarantine-raw"];
    let to = ["--to", "s3://quarantine/", "--id", "kept"];
    let what = ["export", "--data-dir", data, "--schema", schema];
    offloom(Keys::ReadWrite, &[&what[..], &to, &keep].concat()).expect_partial();
    let key = format!("kept/quarantine/Large/{LARGE_ID}.bin");
    let mut stored = SeaweedFs::shared().read(bucket, &key).to_vec();
    assert!(stored == with_id(&nodes[1], 2));
    let verify = || offloom(Keys::ReadWrite, &["verify", "s3://quarantine/kept/"]);
    verify().expect_success();
    stored[9 << 20] ^= 1;
    SeaweedFs::shared().write(bucket, &key, stored);
    let found = verify();
    assert!(!found.ok && format!("{found:?}").contains(LARGE_ID), "{found:#?}");
}

#[test]
fn the_command_line_says_what_is_missing_before_it_reads_a_row() {
    let fixture = unpack("basic").unwrap();
    let data = fixture.data_dir().display().to_string();
    bucket(READABLE_BUCKET);
    for (keys, place, expected) in [
        (Keys::ReadWrite, "s3://no-such-bucket/", "create the bucket"),
        (Keys::Wrong, "s3://exports/", "AWS_SECRET_ACCESS_KEY"),
        (Keys::ReadOnly, "s3://exports/", "its access key, the right to do this"),
    ] {
        let error = offloom(keys, &["export", "--data-dir", &data, "--to", place]).expect_error();
        assert!(error.contains(expected) && error.contains(place), "{keys:?}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn an_export_over_rest_lies_in_the_bucket() {
    let (bucket, other) = (bucket("over-rest"), bucket("over-rest-too"));
    let (fixture, work) = (unpack("tenants").unwrap(), tempfile::tempdir().unwrap());
    let mut command = serve_s3(&fixture, &work, SeaweedFs::shared().endpoint(), Keys::ReadWrite);
    command.args(["--bucket", bucket, "--allowed-buckets", other, "--path", "prod"]);
    let server = Server::start(&mut command);
    let create = |body: Value| server.post("/v1/export/s3", &body);

    let created = create(json!({ "id": "day-1" })).ok();
    assert_eq!(created["path"], "s3://over-rest/prod/day-1/");
    assert_eq!(created["backend"], "s3");
    let ended = server.wait("s3", "day-1");
    assert_eq!(ended["status"], "SUCCESS", "{ended:#}");
    compare(fetch(bucket, "prod/day-1/").path(), &fixture);
    offloom(Keys::ReadWrite, &["verify", "s3://over-rest/prod/day-1/"]).expect_success();

    let elsewhere = json!({ "bucket": other, "path": "prod/team" });
    let created = create(json!({ "id": "day-2", "config": elsewhere })).ok();
    assert_eq!(created["path"], "s3://over-rest-too/prod/team/day-2/");
    assert_eq!(server.wait("s3", "day-2")["status"], "SUCCESS");
    assert_eq!(
        create(json!({ "id": "day-1" })).error(409).split(':').next().unwrap(),
        "export already in progress"
    );
    for place in [json!({ "bucket": "theirs" }), json!({ "path": "production" })] {
        let message = create(json!({ "id": "day-3", "config": place })).error(422);
        assert!(message.contains("is not allowed"), "{message}");
    }
    assert!(SeaweedFs::shared().open_uploads(bucket).is_empty());
    assert!(
        SeaweedFs::shared().objects(bucket, "").keys().all(|key| !key.contains("access-check"))
    );
}

#[test]
fn the_server_says_at_its_start_what_is_missing() {
    bucket(READABLE_BUCKET);
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    for (keys, bucket, expected) in [
        (Keys::ReadWrite, "no-such-bucket", "create the bucket"),
        (Keys::Wrong, READABLE_BUCKET, "AWS_SECRET_ACCESS_KEY"),
        (Keys::ReadOnly, READABLE_BUCKET, "its access key, the right to do this"),
    ] {
        let mut command = serve_s3(&fixture, &work, SeaweedFs::shared().endpoint(), keys);
        let error = said(command.args(["--bucket", bucket])).expect_error();
        assert!(error.contains(expected) && error.contains(bucket), "{keys:?}: {error}");
    }
}

#[test]
fn a_request_to_a_bucket_that_refuses_is_reported_and_leaves_its_id_free() {
    let good = bucket("refusing-good");
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let mut command = serve_s3(&fixture, &work, SeaweedFs::shared().endpoint(), Keys::ReadWrite);
    command.args(["--bucket", good, "--allowed-buckets", "not-yet-there"]);
    let server = Server::start(&mut command);
    let body = json!({ "id": "x", "include": ["Note"], "config": { "bucket": "not-yet-there" } });
    let message = server.post("/v1/export/s3", &body).error(500);
    assert!(message.starts_with("write to backend failed: "), "{message}");
    assert!(message.contains("create the bucket"), "{message}");
    server.get("/v1/export/s3/x").error(404);
    server.post("/v1/export/s3", &json!({ "id": "x", "include": ["Note"] })).ok();
    assert_eq!(server.wait("s3", "x")["status"], "SUCCESS");
}

/// A server that exports one class through a proxy before the store.
pub struct Slow {
    source: TempDir,
    pub proxy: Proxy,
    pub server: Server,
}

/// 20,000 objects, which make a file of 124 MiB.
pub fn slow(bucket: &str, bytes_per_second: u64) -> Slow {
    let source = tempfile::tempdir().unwrap();
    write_workload(Workload::W1, 20_000, source.path()).unwrap();
    let proxy = Proxy::start(SeaweedFs::shared().endpoint());
    let mut command = serve(&source.path().join("data"), source.path());
    command.envs(Keys::ReadWrite.environment(&proxy.endpoint())).args(["--bucket", bucket]);
    let server = Server::start(&mut command);
    proxy.throttle(bytes_per_second);
    Slow { source, proxy, server }
}

/// Waits until `holds` does, for a minute.
#[track_caller]
pub fn eventually(holds: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed().as_secs() < 60);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_store_that_goes_away_in_mid_upload_fails_the_export_and_not_the_server() {
    let bucket = bucket("goes-away");
    let slow = slow(bucket, 20 << 20);
    slow.server.post("/v1/export/s3", &json!({ "id": "lost" })).ok();
    eventually(|| !SeaweedFs::shared().open_uploads(bucket).is_empty());
    slow.proxy.refuse_connections();
    let ended = slow.server.wait("s3", "lost");
    assert_eq!(ended["status"], "FAILED", "{ended:#}");
    let error = ended["error"].as_str().unwrap();
    assert!(error.starts_with("write to backend failed: "), "{error}");
    assert!(error.contains("s3://goes-away/lost/"), "{error}");

    slow.proxy.pass();
    slow.server.post("/v1/export/s3", &json!({ "id": "found" })).ok();
    assert_eq!(slow.server.wait("s3", "found")["status"], "SUCCESS");
    offloom(Keys::ReadWrite, &["verify", "s3://goes-away/found/"]).expect_success();
    // What the lost export had uploaded is removed now that the store is back.
    eventually(|| SeaweedFs::shared().open_uploads(bucket).is_empty());
    assert_eq!(slow.server.get("/v1/export/s3/lost").ok()["status"], "FAILED");
}

#[test]
fn a_canceled_export_stops_at_once_and_leaves_no_open_upload() {
    let bucket = bucket("canceled");
    let slow = slow(bucket, 4 << 20);
    slow.server.post("/v1/export/s3", &json!({ "id": "stopped" })).ok();
    eventually(|| !SeaweedFs::shared().open_uploads(bucket).is_empty());
    let begun = std::time::Instant::now();
    assert_eq!(slow.server.delete("/v1/export/s3/stopped").status, 204);
    assert!(begun.elapsed().as_secs() < 10, "canceling took {:?}", begun.elapsed());
    let status = slow.server.get("/v1/export/s3/stopped").ok();
    assert_eq!(status["status"], "CANCELED");
    assert!(status["completedAt"].is_string(), "{status:#}");
    assert!(SeaweedFs::shared().open_uploads(bucket).is_empty());
    let left = SeaweedFs::shared().objects(bucket, "");
    let left: Vec<&str> = left.keys().map(String::as_str).collect();
    assert_eq!(left, ["stopped/_claim.json", "stopped/export_metadata.json"]);
    let tombstone = SeaweedFs::shared().read(bucket, "stopped/export_metadata.json");
    let tombstone: Value = serde_json::from_slice(&tombstone).unwrap();
    assert_eq!(tombstone["status"], "CANCELED");
    assert!(slow.server.delete("/v1/export/s3/stopped").error(409).contains("already finished"));
    slow.server.post("/v1/export/s3", &json!({ "id": "stopped" })).error(409);
}

#[test]
fn sigterm_leaves_no_open_upload_and_the_next_server_carries_the_export_on() {
    let bucket = bucket("terminated");
    let slow = slow(bucket, 4 << 20);
    slow.server.post("/v1/export/s3", &json!({ "id": "cut" })).ok();
    eventually(|| !SeaweedFs::shared().open_uploads(bucket).is_empty());
    slow.server.signal("-TERM");
    let source = slow.source;
    assert!(slow.server.ended().success());
    assert!(SeaweedFs::shared().open_uploads(bucket).is_empty());
    let left = SeaweedFs::shared().objects(bucket, "");
    assert_eq!(left.into_keys().collect::<Vec<_>>(), ["cut/_claim.json"]);
    slow.proxy.pass();
    let mut command = serve(&source.path().join("data"), source.path());
    command.envs(Keys::ReadWrite.environment(&slow.proxy.endpoint())).args(["--bucket", bucket]);
    let server = Server::start(&mut command);
    assert_eq!(server.wait("s3", "cut")["status"], "SUCCESS");
    offloom(Keys::ReadWrite, &["verify", "s3://terminated/cut/"]).expect_success();
}

/// An upload holds three parts of 8 MiB, and a worker a block of its guest, whatever the store's pace.
/// The directory is ten times the largest row of a worker, and at full size ten times its guest's
/// memory (`docs/guests.md`, Limits); the bound has room for one such row.
#[test]
fn a_slow_store_does_not_fill_the_memory() {
    const MIB: u64 = 1 << 20;
    const ROW_MIB: u64 = 32;
    const GUEST_MIB: u64 = 256;
    const BOUND_MIB: u64 = 200 + ROW_MIB;
    let bucket = bucket("slow");
    let source = tempfile::tempdir().unwrap();
    let least = 10 * scale(ROW_MIB, GUEST_MIB);
    // A row has 7,595 bytes in the directory, most of them a vector that does not compress.
    write_workload(Workload::W1, least * MIB / 7_500, source.path()).unwrap();
    let data = source.path().join("data");
    let proxy = Proxy::start(SeaweedFs::shared().endpoint());
    proxy.throttle(40 * MIB);
    let export = program()
        .envs(Keys::ReadWrite.environment(&proxy.endpoint()))
        .args(["export", "--workers", "1", "--progress", "none", "--id", "x", "--data-dir"])
        .arg(&data)
        .args(["--to", "s3://slow/"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let peak = peak_mib(export);
    let directory = bytes_below(&data) / MIB;
    let file = SeaweedFs::shared().objects(bucket, "x/")["x/W1Article.parquet"] / MIB;
    println!(
        "soak: {directory} MiB read and {file} MiB written slowly by one worker in {peak} MiB"
    );
    assert!(directory >= least && file > BOUND_MIB, "{directory} MiB, a file of {file} MiB");
    assert!(peak < BOUND_MIB, "{peak} MiB for a file of {file} MiB");
}

fn bytes_below(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let bytes = entries.map(|entry| match entry.metadata().unwrap() {
        metadata if metadata.is_dir() => bytes_below(&entry.path()),
        metadata => metadata.len(),
    });
    bytes.sum()
}
