//! What a server remembers: ids outlive it, and an export that was running when it died is carried on.
use std::path::Path;

use offloom_encoder::{Workload, write_workload};
use serde_json::{Value, json};

use crate::program::offloom;
use crate::server::{Server, serve_filesystem};

fn start(source: &Path) -> Server {
    Server::start(&mut serve_filesystem(&source.join("data"), source))
}

#[test]
fn an_id_survives_a_restart_and_what_ran_when_the_process_died_is_carried_on() {
    let source = tempfile::tempdir().unwrap();
    write_workload(Workload::W1, 10_000, source.path()).unwrap();
    let server = start(source.path());
    let place = json!({ "path": "a/b" });
    server.post("/v1/export/filesystem", &json!({ "id": "done", "config": place })).ok();
    let done = server.wait("filesystem", "done");
    server.post("/v1/export/filesystem", &json!({ "id": "cut", "config": place })).ok();
    server.wait_for_rows("filesystem", "cut");
    server.signal("-KILL");
    assert!(!server.ended().success());

    for _ in 0..2 {
        let server = start(source.path());
        assert_eq!(server.get("/v1/export/filesystem/done").ok(), done);
        let cut = server.wait("filesystem", "cut");
        assert_eq!(cut["status"], "SUCCESS", "{cut:#}");
        assert_eq!(cut["classes"], json!(["W1Article"]));
        assert_eq!(cut["progress"]["W1Article"]["objectsExported"], 10_000, "{cut:#}");
        offloom(["verify".as_ref(), source.path().join("out/a/b/cut").as_os_str()])
            .expect_success();
        assert!(cut["path"].as_str().unwrap().ends_with("/out/a/b/cut/"), "{cut:#}");
        assert!(cut["completedAt"].is_string() && cut["startedAt"].is_string(), "{cut:#}");
        for id in ["done", "cut"] {
            server.post("/v1/export/filesystem", &json!({ "id": id })).error(409);
            server.delete(&format!("/v1/export/filesystem/{id}")).error(409);
        }
    }
}

#[test]
fn sigterm_lets_running_exports_end_within_the_grace_time() {
    let source = tempfile::tempdir().unwrap();
    write_workload(Workload::W1, 10_000, source.path()).unwrap();
    let mut command = serve_filesystem(&source.path().join("data"), source.path());
    let server = Server::start(command.args(["--shutdown-grace-seconds", "60"]));
    server.post("/v1/export/filesystem", &json!({ "id": "ends" })).ok();
    server.wait_for_rows("filesystem", "ends");
    server.signal("-TERM");
    // Status requests are still answered, new exports are refused.
    let begun = std::time::Instant::now();
    while server.get("/v1/.well-known/ready").status == 200 {
        assert!(begun.elapsed().as_secs() < 10, "the signal had no effect");
    }
    let refused = server.post("/v1/export/filesystem", &json!({ "id": "late" })).error(503);
    assert!(refused.contains("shutting down"), "{refused}");
    assert_eq!(server.get("/v1/export/filesystem/ends").ok()["status"], "TRANSFERRING");
    assert_eq!(server.get("/v1/.well-known/live").status, 200);
    assert!(server.ended().success());
    let folder = source.path().join("out/ends");
    let manifest = std::fs::read(folder.join("export_metadata.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&manifest).unwrap()["status"], "SUCCESS");
    offloom(["verify".as_ref(), folder.as_os_str()]).expect_success();
}
