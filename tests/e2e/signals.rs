//! An export that is interrupted: nothing half-written stays, and the manifest says what happened.
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use offloom_encoder::{Workload, write_workload};

use crate::program::program;

#[test]
fn ctrl_c_leaves_a_canceled_tombstone_and_no_unfinished_file() {
    assert_stopped("-INT", 130);
}

#[test]
fn sigterm_does_the_same_with_a_status_of_its_own() {
    assert_stopped("-TERM", 143);
}

/// Sends the signal to an export at work, which must end with this exit status.
fn assert_stopped(signal: &str, status: i32) {
    let source = tempfile::tempdir().unwrap();
    write_workload(Workload::W1, 20_000, source.path()).unwrap();
    let to = tempfile::tempdir().unwrap();
    let folder = to.path().join("stopped");
    let mut export = program()
        .args(["export", "--workers", "1", "--id", "stopped", "--progress", "none"])
        .args(["--data-dir".as_ref(), source.path().join("data").as_os_str()])
        .args(["--to".as_ref(), to.path().as_os_str()])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !folder.join("_claim.json").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the export did not begin");
        std::thread::sleep(Duration::from_millis(2));
    }
    let id = export.id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    assert_eq!(export.wait().unwrap().code(), Some(status));

    let manifest = std::fs::read(folder.join("export_metadata.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["status"], "CANCELED");
    let mut left: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    left.sort();
    assert_eq!(left, ["_claim.json", "export_metadata.json"]);
}
