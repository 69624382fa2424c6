//! Disks that are full or fail while a server runs: that of the exports, and that of its own state.
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use offloom_encoder::{Workload, write_workload};
use offloom_test_syscalls::{Call, watch_and_fail};
use serde_json::json;
use tempfile::TempDir;

use crate::program::{offloom, program_on_small_disk};
use crate::server::{Server, serve_filesystem};

/// The exports make a file of 18 MiB, and two of them fit.
const ROWS: u64 = 3_000;
const DISK_KILOBYTES: u32 = 48 << 10;

/// Less than one part of a file.
const ALMOST_FULL_BYTES: u64 = 4 << 20;

/// A server one of whose folders is a small disk, which it alone sees.
struct Crowded {
    server: Server,
    work: TempDir,
    folder: &'static str,
}

impl Crowded {
    /// `folder` is `out`, where exports lie, or `state`.
    fn start(folder: &'static str) -> Crowded {
        let work = tempfile::tempdir().unwrap();
        write_workload(Workload::W1, ROWS, work.path()).unwrap();
        let disk = work.path().join(folder);
        std::fs::create_dir(&disk).unwrap();
        let serve = serve_filesystem(&work.path().join("data"), work.path());
        let mut command: Command = program_on_small_disk(DISK_KILOBYTES, &disk, &serve);
        let server = Server::start(&mut command);
        let crowded = Crowded { server, work, folder };
        let mounts = std::fs::read_to_string(crowded.process("mounts")).unwrap();
        assert!(mounts.contains(&disk.display().to_string()), "no small disk: {mounts}");
        crowded
    }

    fn process(&self, entry: &str) -> PathBuf {
        Path::new("/proc").join(self.server.process_id().to_string()).join(entry)
    }

    /// The disk as the server sees it.
    fn disk(&self) -> PathBuf {
        let folder = self.work.path().join(self.folder);
        self.process("root").join(folder.strip_prefix("/").unwrap())
    }

    /// Leaves this much free.
    fn fill_but(&self, bytes: u64) {
        let mut filler = std::fs::File::create(self.disk().join("filler")).unwrap();
        let zeros = vec![0; 4 << 10];
        let error = loop {
            if let Err(error) = filler.write_all(&zeros) {
                break error;
            }
        };
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        let filled = filler.metadata().unwrap().len();
        filler.set_len(filled.checked_sub(bytes).unwrap()).unwrap();
    }

    fn free(&self) {
        std::fs::remove_file(self.disk().join("filler")).unwrap();
    }

    /// Verifies a copy: the program resolves paths, and this one would lead past the disk.
    fn verify(&self, id: &str) {
        let copy = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(self.disk().join(id)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        offloom(["verify".as_ref(), copy.path().as_os_str()]).expect_success();
    }

    /// An export that must succeed.
    fn export(&self, id: &str) {
        self.server.post("/v1/export/filesystem", &json!({ "id": id })).ok();
        let ended = self.server.wait("filesystem", id);
        assert_eq!(ended["status"], "SUCCESS", "{ended:#}");
    }
}

#[test]
fn a_disk_that_is_full_before_an_export_refuses_it_and_the_id_stays_free() {
    let crowded = Crowded::start("out");
    crowded.export("before");
    crowded.fill_but(0);
    let refused = crowded.server.post("/v1/export/filesystem", &json!({ "id": "x" }));
    let message = refused.error(500);
    assert!(message.starts_with("write to backend failed: "), "{message}");
    for part in ["No space left on device", "free space there", " x/_claim.json"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    crowded.server.get("/v1/export/filesystem/x").error(404);
    assert_eq!(crowded.server.get("/v1/export/filesystem/before").ok()["status"], "SUCCESS");
    assert_eq!(crowded.server.get("/v1/.well-known/ready").status, 200);
    crowded.free();
    crowded.export("x");
    crowded.verify("x");
}

#[test]
fn a_disk_that_becomes_full_fails_the_export_and_not_the_server() {
    let crowded = Crowded::start("out");
    crowded.fill_but(ALMOST_FULL_BYTES);
    crowded.server.post("/v1/export/filesystem", &json!({ "id": "x" })).ok();
    let ended = crowded.server.wait("filesystem", "x");
    assert_eq!(ended["status"], "FAILED", "{ended:#}");
    let error = ended["error"].as_str().unwrap();
    assert!(error.starts_with("write to backend failed: "), "{error}");
    for part in ["No space left on device", "free space there", " x/W1Article.parquet"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let left = std::fs::read_dir(crowded.disk().join("x")).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name()).filter(|name| name != "_claim.json");
    assert_eq!(left.collect::<Vec<_>>(), ["export_metadata.json"]);
    assert_eq!(crowded.server.get("/v1/.well-known/ready").status, 200);
    crowded.free();
    crowded.export("y");
    crowded.verify("y");
    assert_eq!(crowded.server.get("/v1/export/filesystem/x").ok()["status"], "FAILED");
}

/// A sync that fails says that bytes are lost which were written before it.
#[test]
fn a_disk_that_fails_to_keep_a_file_fails_the_export_and_not_the_server() {
    const EIO: i32 = 5;
    let work = tempfile::tempdir().unwrap();
    write_workload(Workload::W1, ROWS, work.path()).unwrap();
    let (mut failed, out) = (0, work.path().canonicalize().unwrap().join("out"));
    let export = || {
        let data = work.path().join("data");
        let server = Server::start(&mut serve_filesystem(&data, work.path()));
        let ended = ["x", "y"].map(|id| {
            server.post("/v1/export/filesystem", &json!({ "id": id })).ok();
            server.wait("filesystem", id)
        });
        assert_eq!(server.get("/v1/export/filesystem/x").ok(), ended[0]);
        ended
    };
    let is_file = |path: &Path| {
        path.starts_with(out.join("x")) && path.display().to_string().contains("W1Article")
    };
    let [x, y] = watch_and_fail(&[Call::Sync], export, |event| {
        let fails = is_file(&event.path);
        failed += u32::from(fails);
        fails.then_some(EIO)
    });
    assert!(failed > 0);
    assert_eq!((&x["status"], &y["status"]), (&json!("FAILED"), &json!("SUCCESS")), "{x:#} {y:#}");
    let error = x["error"].as_str().unwrap();
    for part in ["write to backend failed: ", "Input/output error", " x/W1Article.parquet"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!out.join("x/W1Article.parquet").exists());
    offloom(["verify".as_ref(), out.join("y").as_os_str()]).expect_success();
}

/// A sync of the state that fails refuses the request that needs it, and no later one.
#[test]
fn a_disk_that_fails_to_keep_the_state_refuses_one_request() {
    const EIO: i32 = 5;
    let fixture = offloom_fixtures::unpack("basic").unwrap();
    let work = tempfile::tempdir().unwrap();
    let (failing, failed) = (AtomicBool::new(false), AtomicUsize::new(0));
    let work_with_state = || {
        let server = Server::start(&mut serve_filesystem(&fixture.data_dir(), work.path()));
        let export = |id: &str| {
            server.post("/v1/export/filesystem", &json!({ "id": id })).ok();
            assert_eq!(server.wait("filesystem", id)["status"], "SUCCESS");
        };
        export("before");
        failing.store(true, Ordering::SeqCst);
        let refused = server.post("/v1/export/filesystem", &json!({ "id": "x" })).error(500);
        failing.store(false, Ordering::SeqCst);
        export("after");
        assert_eq!(server.get("/v1/export/filesystem/before").ok()["status"], "SUCCESS");
        refused
    };
    let refused = watch_and_fail(&[Call::Sync], work_with_state, |event| {
        let fails = failing.load(Ordering::SeqCst) && event.path.ends_with("exports.redb");
        failed.fetch_add(usize::from(fails), Ordering::SeqCst);
        fails.then_some(EIO)
    });
    assert!(failed.into_inner() > 0);
    for part in ["internal error: ", "exports.redb", "Input/output error"] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
}

/// What is answered to the first request that the database has no room for.
fn refused_for_state(crowded: &Crowded) -> String {
    crowded.export("before");
    crowded.fill_but(0);
    // The file may have some room of its own, which is used up first.
    let post = |number: u32| {
        let id = format!("x-{number}");
        crowded.server.post("/v1/export/filesystem", &json!({ "id": id }))
    };
    let refused = (0..2_000).map(post).find(|answer| answer.status != 200).unwrap();
    refused.error(500)
}

#[test]
fn a_full_disk_of_the_state_refuses_new_exports_and_is_named() {
    let crowded = Crowded::start("state");
    let message = refused_for_state(&crowded);
    for part in ["internal error: ", "exports.redb", "No space left on device"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(crowded.server.get("/v1/.well-known/live").status, 200);
}

#[test]
fn a_full_disk_of_the_state_ends_nothing_but_new_exports() {
    let crowded = Crowded::start("state");
    let message = refused_for_state(&crowded);
    assert!(message.contains("free space"), "it does not say what helps: {message}");
    assert_eq!(crowded.server.get("/v1/export/filesystem/before").ok()["status"], "SUCCESS");
    crowded.free();
    crowded.export("after");
    assert_eq!(crowded.server.get("/v1/export/filesystem/before").ok()["status"], "SUCCESS");
}
