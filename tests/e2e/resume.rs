//! An export that did not end well is carried on: after a failure, from changed sources, by another
//! process, with other guests; and what must not be carried on is not. `kills` does it at every step.
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use offloom_encoder::{Workload, write_workload};
use offloom_fixtures::unpack;
use offloom_test_parts::{Keys, Proxy, SeaweedFs};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::golden::compare;
use crate::guests::ids_guest;
use crate::program::{Said, offloom, program, said};
use crate::s3::{bucket, eventually};
use crate::server::{Server, serve_filesystem};

fn manifest_of(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("export_metadata.json")).unwrap()).unwrap()
}

fn export(data_dir: &Path, to: &Path, id: &str, more: &[&str]) -> Said {
    let mut command = program();
    command.args(["export", "--id", id, "--to"]).arg(to).arg("--data-dir").arg(data_dir).args(more);
    said(&mut command)
}

fn resume(folder: &Path, more: &[&str]) -> Said {
    let mut command = program();
    command.args(["export", "--resume"]).arg(folder).args(more);
    said(&mut command)
}

/// The segment of a class of the fixture `basic`.
fn segment(data_dir: &Path, class: &str) -> PathBuf {
    let found =
        said(Command::new("find").arg(data_dir.join(class)).args(["-name", "segment-*.db"]));
    let path = found
        .out
        .lines()
        .find(|line| line.contains("/objects/"))
        .unwrap_or_else(|| panic!("{found:#?}"));
    PathBuf::from(path)
}

#[test]
fn an_export_that_failed_is_carried_on_when_the_cause_is_gone() {
    let fixture = unpack("basic").unwrap();
    let work = tempfile::tempdir().unwrap();
    let damaged = segment(&fixture.data_dir(), "note");
    let whole = std::fs::read(&damaged).unwrap();
    std::fs::write(&damaged, &whole[..whole.len() / 2]).unwrap();
    let failed = export(&fixture.data_dir(), work.path(), "one", &[]);
    assert_eq!(failed.status, Some(1), "{failed:#?}");
    let folder = work.path().join("one");
    let advice = format!("offloom export --resume file://{}/", folder.display());
    assert!(failed.err.contains(&advice), "{failed:#?}");
    let tombstone = manifest_of(&folder);
    assert_eq!(tombstone["status"], "FAILED");

    // While the cause is there it fails again, and its id belongs to the one that can be carried on.
    assert_eq!(resume(&folder, &[]).status, Some(1));
    let again = export(&fixture.data_dir(), work.path(), "one", &[]).expect_error();
    assert!(again.contains("--resume"), "{again}");

    std::fs::write(&damaged, &whole).unwrap();
    let carried_on = resume(&folder, &[]).expect_success();
    assert_eq!(carried_on.folder(), folder.join(""));
    let manifest = manifest_of(&folder);
    assert_eq!(
        (&manifest["status"], &manifest["resumed"]["attempt"]),
        (&json!("SUCCESS"), &json!(3))
    );
    assert_eq!(manifest["resumed"]["classesKept"], 6, "{:#}", manifest["resumed"]);
    assert_eq!(manifest["startedAt"], tombstone["startedAt"]);
    // The file without the rows that could not be read is gone, and the manifest names the other.
    let keys: Vec<&str> =
        manifest["files"].as_array().unwrap().iter().map(|f| f["key"].as_str().unwrap()).collect();
    assert!(keys.contains(&"Note.a3.parquet") && !folder.join("Note.parquet").exists(), "{keys:?}");
    offloom(["verify".as_ref(), folder.as_os_str()]).expect_success();
    // The comparison goes by the names of files.
    std::fs::rename(folder.join("Note.a3.parquet"), folder.join("Note.parquet")).unwrap();
    compare(&folder, &fixture);

    let ended = resume(&folder, &[]).expect_error();
    assert!(ended.contains("has ended as SUCCESS"), "{ended}");
}

#[test]
fn what_was_canceled_or_never_was_is_not_carried_on() {
    let source = tempfile::tempdir().unwrap();
    write_workload(Workload::W1, 20_000, source.path()).unwrap();
    let data_dir = source.path().join("data");
    let to = tempfile::tempdir().unwrap();
    let mut command = program();
    command
        .args(["export", "--id", "stopped", "--to"])
        .arg(to.path())
        .arg("--data-dir")
        .arg(&data_dir);
    let export = command.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let folder = to.path().join("stopped");
    eventually(|| folder.join("_claim.json").exists());
    signal(&export, "-INT");
    assert_eq!(ended(export), Some(130));
    assert_eq!(manifest_of(&folder)["status"], "CANCELED");
    let error = resume(&folder, &[]).expect_error();
    assert!(error.contains("has ended as CANCELED"), "{error}");
    let error = resume(&to.path().join("never"), &[]).expect_error();
    assert!(error.contains("there is no journal of") && error.contains("--take-over"), "{error}");
    let error = resume(&to.path().join("Not an id"), &[]).expect_error();
    assert!(error.contains("does not end with the id of an export"), "{error}");
    let data = data_dir.to_str().unwrap();
    let never = to.path().join("never");
    let error = resume(&never, &["--take-over", "--data-dir", data]).expect_error();
    assert!(error.contains("holds no export"), "{error}");
    assert_eq!(resume(&never, &["--take-over"]).status, Some(2));
}

fn signal(process: &Child, signal: &str) {
    let id = process.id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
}

fn ended(mut process: Child) -> Option<i32> {
    process.wait().unwrap().code()
}

/// A command that exports a large class to a bucket through a slow proxy.
struct Slow {
    source: TempDir,
    state: TempDir,
    proxy: Proxy,
    bucket: &'static str,
}

impl Slow {
    fn new(bucket_name: &'static str) -> Slow {
        let source = tempfile::tempdir().unwrap();
        write_workload(Workload::W1, 8_000, source.path()).unwrap();
        let proxy = Proxy::start(SeaweedFs::shared().endpoint());
        Slow { source, state: tempfile::tempdir().unwrap(), proxy, bucket: bucket(bucket_name) }
    }

    fn data_dir(&self) -> PathBuf {
        self.source.path().join("data")
    }

    fn url(&self) -> String {
        format!("s3://{}/one/", self.bucket)
    }

    fn command(&self, state: &Path, arguments: &[&str]) -> Command {
        let mut command = program();
        command.envs(Keys::ReadWrite.environment(&self.proxy.endpoint()));
        command.args(["export", "--workers", "1", "--state-dir"]).arg(state).args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts the export, and returns when two of its parts are confirmed.
    fn begin(&self) -> Child {
        self.proxy.throttle(8 << 20);
        let (to, data_dir) = (format!("s3://{}/", self.bucket), self.data_dir());
        let arguments = ["--id", "one", "--to", &to, "--data-dir", data_dir.to_str().unwrap()];
        let export = self.command(self.state.path(), &arguments).spawn().unwrap();
        // The claim, and parts that arrive: the third begins when the first is confirmed.
        let parts = || self.proxy.seen().iter().filter(|line| line.contains("partNumber=")).count();
        eventually(|| parts() >= 4);
        export
    }

    fn resume(&self) -> Said {
        self.proxy.pass();
        said(&mut self.command(self.state.path(), &["--resume", &self.url()]))
    }

    fn manifest(&self) -> Value {
        let manifest = SeaweedFs::shared().read(self.bucket, "one/export_metadata.json");
        serde_json::from_slice(&manifest).unwrap()
    }

    fn verify(&self) {
        let mut command = program();
        command
            .envs(SeaweedFs::shared().environment(Keys::ReadWrite))
            .args(["verify", &self.url()]);
        said(&mut command).expect_success();
        assert!(SeaweedFs::shared().open_uploads(self.bucket).is_empty());
    }

    /// A file of the shard whose name ends so.
    fn file(&self, end: &str) -> PathBuf {
        let found = said(
            Command::new("find")
                .arg(self.data_dir())
                .args(["-path", &format!("*/objects/segment-*{end}")]),
        );
        PathBuf::from(found.out.lines().next().unwrap_or_else(|| panic!("{found:#?}")))
    }
}

/// Writes that come after the snapshot are not in the export that is carried on, whose parts go on.
#[test]
fn a_killed_export_reads_the_same_bytes_while_its_files_are_there() {
    let slow = Slow::new("same-bytes");
    let export = slow.begin();
    signal(&export, "-KILL");
    ended(export);
    assert_eq!(SeaweedFs::shared().open_uploads(slow.bucket), ["one/W1Article.parquet"]);
    // What a server adds meanwhile: a log after the newest file.
    let log = slow.file(".db").with_file_name("segment-9999999999999999999.wal");
    std::fs::write(&log, b"").unwrap();
    slow.resume().expect_success();
    let resumed = &slow.manifest()["resumed"];
    assert_eq!((&resumed["shardsAsBefore"], &resumed["shardsAnew"]), (&json!(1), &json!(0)));
    assert!(resumed["partsKept"].as_u64().unwrap() >= 2, "{resumed:#}");
    assert!(resumed["unitsAgain"].as_u64().unwrap() >= 1, "{resumed:#}");
    assert_eq!(slow.manifest()["files"][0]["rows"], 8_000);
    slow.verify();
}

/// A file has been replaced, as by a compaction: there is a new snapshot.
#[test]
fn a_killed_export_whose_files_are_gone_is_read_anew() {
    let slow = Slow::new("anew");
    let export = slow.begin();
    signal(&export, "-KILL");
    ended(export);
    let before = slow.file(".db");
    let copy = before.with_extension("copy");
    std::fs::copy(&before, &copy).unwrap();
    std::fs::rename(&copy, &before).unwrap();
    slow.resume().expect_success();
    let manifest = slow.manifest();
    let resumed = &manifest["resumed"];
    assert_eq!((&resumed["shardsAsBefore"], &resumed["shardsAnew"]), (&json!(0), &json!(1)));
    assert_eq!(manifest["files"][0]["rows"], 8_000);
    slow.verify();
}

/// The process that was stopped wakes up when another has taken the export over and ended it.
#[test]
fn a_zombie_neither_commits_nor_overwrites_nor_deletes() {
    let slow = Slow::new("zombie");
    let zombie = slow.begin();
    signal(&zombie, "-STOP");
    let running = slow.resume().expect_error();
    assert!(running.contains("another process runs the export"), "{running}");
    let other_state = tempfile::tempdir().unwrap();
    let (url, data_dir) = (slow.url(), slow.data_dir());
    let take_over = ["--resume", &url, "--take-over", "--data-dir", data_dir.to_str().unwrap()];
    said(&mut slow.command(other_state.path(), &take_over)).expect_success();
    let objects = || {
        let keys = SeaweedFs::shared().objects(slow.bucket, "one/").into_keys();
        keys.map(|key| (SeaweedFs::shared().read(slow.bucket, &key), key)).collect::<Vec<_>>()
    };
    let before = objects();
    signal(&zombie, "-CONT");
    let woken = zombie.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&woken.stderr);
    assert_eq!(woken.status.code(), Some(1), "{error}");
    assert_eq!(objects(), before, "{error}");
    let manifest = slow.manifest();
    assert_eq!(
        (&manifest["status"], &manifest["resumed"]["attempt"]),
        (&json!("SUCCESS"), &json!(2))
    );
    assert_eq!(manifest["files"][0]["key"], "W1Article.a2.parquet");
    slow.verify();
    // Nor can it be carried on from its own journal.
    let late = slow.resume().expect_error();
    assert!(late.contains("has ended as SUCCESS"), "{late}");
}

/// Uploads and objects of an export whose process died go, and its id stays taken.
#[test]
fn gc_removes_what_a_dead_export_left_and_shows_it_first() {
    let slow = Slow::new("collected");
    let export = slow.begin();
    signal(&export, "-KILL");
    ended(export);
    slow.proxy.pass();
    let gc = |more: &[&str]| {
        let mut command = program();
        let to = format!("s3://{}/", slow.bucket);
        command.envs(SeaweedFs::shared().environment(Keys::ReadWrite)).args(["gc", &to]).args(more);
        said(&mut command).expect_success()
    };
    let young = gc(&[]);
    assert!(young.err.contains("left alone: one may be running"), "{young:#?}");
    assert!(young.out.contains("removed: 0 objects"), "{young:#?}");
    let shown = gc(&["--dry-run", "--older-than", "0s"]);
    assert!(shown.out.contains("one/W1Article.parquet: an upload that was never"), "{shown:#?}");
    assert!(shown.out.contains("would be removed: 1 objects"), "{shown:#?}");
    assert_eq!(SeaweedFs::shared().open_uploads(slow.bucket).len(), 1);
    let removed = gc(&["--older-than", "0s"]);
    assert!(removed.out.contains("\nremoved: 1 objects"), "{removed:#?}");
    assert!(SeaweedFs::shared().open_uploads(slow.bucket).is_empty());
    assert_eq!(slow.manifest()["status"], "FAILED");
    let error = slow.resume().expect_error();
    assert!(error.contains("taken over") && error.contains("offloom gc"), "{error}");
}

/// The files of one export are written by one version of a guest.
#[test]
fn a_server_whose_guest_is_gone_ends_the_export_and_names_it() {
    let source = tempfile::tempdir().unwrap();
    write_workload(Workload::W1, 20_000, source.path()).unwrap();
    let serve = || serve_filesystem(&source.path().join("data"), source.path());
    let guest = ids_guest();
    let server = Server::start(serve().arg("--guest").arg(&guest));
    server.post("/v1/export/filesystem", &json!({ "id": "one" })).ok();
    server.signal("-KILL");
    server.ended();
    let server = Server::start(&mut serve());
    let status = server.wait("filesystem", "one");
    assert_eq!(status["status"], "FAILED", "{status:#}");
    let error = status["error"].as_str().unwrap();
    assert!(error.contains("began with the guest") || error.contains("is no name"), "{error}");
    let manifest = manifest_of(&source.path().join("out/one"));
    assert_eq!(manifest["status"], "FAILED");
    // The next export goes on as if nothing had been.
    server.post("/v1/export/filesystem", &json!({ "id": "two" })).ok();
    assert_eq!(server.wait("filesystem", "two")["status"], "SUCCESS");
}

/// A server carries an export on that it stopped itself, with no rights asked and no client there.
#[test]
fn a_server_that_was_stopped_carries_its_exports_on() {
    let source = tempfile::tempdir().unwrap();
    write_workload(Workload::W1, 20_000, source.path()).unwrap();
    let serve = || serve_filesystem(&source.path().join("data"), source.path());
    let server = Server::start(&mut serve());
    server.post("/v1/export/filesystem", &json!({ "id": "one" })).ok();
    server.wait_for_rows("filesystem", "one");
    server.signal("-TERM");
    assert!(server.ended().success());
    let folder = source.path().join("out/one");
    assert!(!folder.join("export_metadata.json").exists());
    let left: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["_claim.json"]);
    let server = Server::start(&mut serve());
    let status = server.wait("filesystem", "one");
    assert_eq!(status["status"], "SUCCESS", "{status:#}");
    // It can be canceled like any other.
    server.delete("/v1/export/filesystem/one").error(409);
    offloom(["verify".as_ref(), folder.as_os_str()]).expect_success();
}
