//! Clocks that are wrong by an hour, and one that jumps while an export runs.
use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::{DateTime, TimeDelta, Utc};
use offloom_encoder::{Workload, write_workload};
use offloom_test_parts::{Keys, SeaweedFs};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::many_tenants::manifest;
use crate::program::{offloom, program, root, said};
use crate::s3::bucket;
use crate::server::{Server, serve_filesystem};

const HOUR: i64 = 3_600;

/// The wall clock of programs that run with it; their other clocks are the system's.
struct Clock {
    folder: TempDir,
}

impl Clock {
    fn new(seconds: i64) -> Clock {
        let clock = Clock { folder: tempfile::tempdir().unwrap() };
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(clock.library())
            .arg(root().join("tests/e2e/clock_off.c"))
            .arg("-ldl")
            .status();
        assert!(built.unwrap().success());
        clock.set(seconds);
        clock
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("clock_off.so")
    }

    /// From now on it is this far ahead. A file that is being written is never read.
    fn set(&self, seconds: i64) {
        let [new, file] = ["new", "seconds"].map(|name| self.folder.path().join(name));
        std::fs::write(&new, seconds.to_string()).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    fn of<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("LD_PRELOAD", self.library())
            .env("CLOCK_FILE", self.folder.path().join("seconds"))
    }
}

/// How far ahead of this test's clock a time is.
fn hours_ahead(time: &Value) -> f64 {
    let time: DateTime<Utc> = time.as_str().unwrap().parse().unwrap();
    (time - Utc::now()).as_seconds_f64() / TimeDelta::hours(1).as_seconds_f64()
}

fn verify(folder: &Path) {
    offloom(["verify".as_ref(), folder.as_os_str()]).expect_success();
}

#[test]
fn an_export_to_a_folder_does_not_depend_on_the_hour() {
    let source = tempfile::tempdir().unwrap();
    write_workload(Workload::W1, 200, source.path()).unwrap();
    let lake = source.path().join("lake");
    let digest = |seconds: i64| {
        let id = format!("by{seconds}");
        let mut export = program();
        export.args(["export", "--id", &id, "--data-dir"]).arg(source.path().join("data"));
        export.arg("--to").arg(&lake);
        said(Clock::new(seconds).of(&mut export)).expect_success();
        let folder = lake.join(id);
        verify(&folder);
        let manifest = manifest(&folder);
        let ahead = hours_ahead(&manifest["startedAt"]);
        assert!((ahead - seconds as f64 / 3_600.0).abs() < 0.1, "{seconds}: {ahead} hours ahead");
        manifest["files"][0]["digest"].clone()
    };
    let right = digest(0);
    assert_eq!(digest(HOUR), right);
    assert_eq!(digest(-HOUR), right);
}

#[test]
fn a_store_that_refuses_the_hour_is_reported_with_the_clock() {
    let bucket = bucket("clocks");
    let source = tempfile::tempdir().unwrap();
    write_workload(Workload::W1, 200, source.path()).unwrap();
    for seconds in [HOUR, -HOUR] {
        let mut export = program();
        export.envs(SeaweedFs::shared().environment(Keys::ReadWrite));
        export.args(["export", "--id", &format!("by{seconds}"), "--data-dir"]);
        export.arg(source.path().join("data")).args(["--to", &format!("s3://{bucket}/")]);
        let error = said(Clock::new(seconds).of(&mut export)).expect_error();
        for part in ["RequestTimeTooSkewed", "check this machine's clock"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
    assert!(SeaweedFs::shared().objects(bucket, "").is_empty());
}

#[test]
fn a_clock_that_jumps_changes_no_export_and_no_status() {
    let source = tempfile::tempdir().unwrap();
    write_workload(Workload::W1, 10_000, source.path()).unwrap();
    let clock = Clock::new(0);
    let start = || {
        let mut command = serve_filesystem(&source.path().join("data"), source.path());
        Server::start(clock.of(&mut command))
    };
    let server = start();
    let create = |id: &str| server.post("/v1/export/filesystem", &json!({ "id": id })).ok();
    let get = |server: &Server, id: &str| server.get(&format!("/v1/export/filesystem/{id}")).ok();
    create("before");
    let before = server.wait("filesystem", "before");
    for (id, seconds) in [("back", -HOUR), ("ahead", HOUR)] {
        clock.set(0);
        create(id);
        server.wait_for_rows("filesystem", id);
        let begun = get(&server, id);
        clock.set(seconds);
        let jumped = get(&server, id);
        for field in ["status", "startedAt", "path", "classes"] {
            assert_eq!(jumped[field], begun[field], "{field}");
        }
        assert_eq!(get(&server, "before"), before);
        let ended = server.wait("filesystem", id);
        assert_eq!(ended["status"], "SUCCESS", "{ended:#}");
        assert_eq!(ended["progress"]["W1Article"]["objectsExported"], 10_000, "{ended:#}");
        assert!((hours_ahead(&ended["completedAt"]) * 3_600.0 - seconds as f64).abs() < 300.0);
        verify(&source.path().join("out").join(id));
    }
    let ended = ["before", "back", "ahead"].map(|id| get(&server, id));
    // The next process has the time of the last jump, and the right one after it.
    drop(server);
    for seconds in [HOUR, -HOUR, 0] {
        clock.set(seconds);
        let server = start();
        assert_eq!(["before", "back", "ahead"].map(|id| get(&server, id)), ended);
        server.post("/v1/export/filesystem", &json!({ "id": "back" })).error(409);
        server.delete("/v1/export/filesystem/back").error(409);
    }
}

#[test]
fn a_clock_that_jumps_back_makes_no_negative_duration() {
    let source = tempfile::tempdir().unwrap();
    write_workload(Workload::W1, 10_000, source.path()).unwrap();
    let clock = Clock::new(0);
    let mut command = serve_filesystem(&source.path().join("data"), source.path());
    let server = Server::start(clock.of(&mut command));
    server.post("/v1/export/filesystem", &json!({ "id": "x" })).ok();
    server.wait_for_rows("filesystem", "x");
    clock.set(-HOUR);
    let took = server.wait("filesystem", "x")["tookInMs"].as_i64().unwrap();
    assert!((0..60_000).contains(&took), "{took} ms");
}
