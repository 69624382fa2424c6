//! An export that is interrupted: nothing half-written stays, and the manifest says what happened.
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use offloom_encoder::{Workload, write_workload};
use offloom_test_syscalls::{Call, Event, watch, watch_and_hold};

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
    let mut export = start_export(source.path(), to.path(), "stopped");
    let begun = Instant::now();
    while !folder.join("_claim.json").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the export did not begin");
        std::thread::sleep(Duration::from_millis(2));
    }
    send(signal, &export);
    assert_eq!(export.wait().unwrap().code(), Some(status));

    assert_eq!(status_of(&folder), "CANCELED");
    let mut left: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    left.sort();
    assert_eq!(left, ["_claim.json", "export_metadata.json"]);
}

/// Rows are read where the guest runs: a disk that does not answer holds that thread, and nothing else.
#[test]
fn a_read_that_does_not_return_does_not_hold_up_the_end() {
    let source = tempfile::tempdir().unwrap();
    write_workload(Workload::W3, 500, source.path()).unwrap();
    let to = tempfile::tempdir().unwrap();
    let of_segment = |event: &Event| event.path.extension().is_some_and(|end| end == "db");
    let mut reads = 0;
    let whole = || start_export(source.path(), to.path(), "whole").wait().unwrap();
    assert!(watch(&[Call::Read], whole, |event| reads += u32::from(of_segment(event))).success());

    // The last read is one of rows.
    let (stalled, is_stalled) = mpsc::channel();
    let (data, lake) = (source.path(), to.path());
    let stop = move || {
        let mut export = start_export(data, lake, "stalled");
        is_stalled.recv_timeout(Duration::from_secs(60)).expect("a read is stalled");
        let begun = Instant::now();
        send("-TERM", &export);
        assert_eq!(export.wait().unwrap().code(), Some(143));
        begun.elapsed()
    };
    let took = watch_and_hold(&[Call::Read], stop, |event| {
        reads -= u32::from(of_segment(event));
        let is_last = of_segment(event) && reads == 0;
        if is_last {
            stalled.send(()).unwrap();
        }
        is_last
    });
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert_eq!(status_of(&to.path().join("stalled")), "CANCELED");
}

fn start_export(source: &Path, to: &Path, id: &str) -> Child {
    program()
        .args(["export", "--workers", "1", "--id", id, "--progress", "none"])
        .args(["--data-dir".as_ref(), source.join("data").as_os_str()])
        .args(["--to".as_ref(), to.as_os_str()])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn send(signal: &str, export: &Child) {
    let id = export.id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
}

fn status_of(folder: &Path) -> String {
    let manifest = std::fs::read(folder.join("export_metadata.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    manifest["status"].as_str().unwrap().to_owned()
}
