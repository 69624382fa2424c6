//! Races over ids and endings: exactly one outcome wins, and every answer agrees.
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use offloom_encoder::{Workload, write_workload};
use offloom_fixtures::unpack;
use offloom_test_parts::{Keys, SeaweedFs};
use serde_json::{Value, json};

use crate::server::{Server, serve, serve_filesystem};

/// Two creates at once; the status of the winner's export at its end.
fn pair(first: &Server, second: &Server, backend: &str, id: &str) -> Value {
    let start = Barrier::new(2);
    let create = |server: &Server| {
        start.wait();
        let body = json!({ "id": id, "include": ["Target"] });
        server.post(&format!("/v1/export/{backend}"), &body)
    };
    let (left, right) = thread::scope(|scope| {
        let left = scope.spawn(|| create(first));
        let right = create(second);
        (left.join().unwrap(), right)
    });
    let (winner, loser) = match (left.status, right.status) {
        (200, 409) => (first, right),
        (409, 200) => (second, left),
        _ => panic!("{id}: {left:#?} {right:#?}"),
    };
    assert!(loser.error(409).starts_with("export already in progress: "), "{loser:#?}");
    let ended = winner.wait(backend, id);
    // Both servers report it, the loser from what is in the store.
    for server in [first, second] {
        assert_eq!(server.get(&format!("/v1/export/{backend}/{id}")).ok(), ended);
    }
    ended
}

#[test]
fn of_two_creates_with_one_id_exactly_one_wins_and_succeeds() {
    let bucket = "create-races";
    SeaweedFs::shared().create_bucket(bucket);
    let fixture = unpack("basic").unwrap();
    let works = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let start = |work: &tempfile::TempDir| {
        let mut command = serve(&fixture.data_dir(), work.path());
        command
            .envs(SeaweedFs::shared().environment(Keys::ReadWrite))
            .args(["--schema".as_ref(), fixture.schema_file().as_os_str()])
            .args(["--bucket", bucket]);
        Server::start(&mut command)
    };
    let (first, second) = (start(&works[0]), start(&works[1]));
    for round in 0..100 {
        let across = pair(&first, &second, "s3", &format!("across-{round}"));
        assert_eq!(across["status"], "SUCCESS", "{across:#}");
        let within = pair(&first, &first, "s3", &format!("within-{round}"));
        assert_eq!(within["status"], "SUCCESS", "{within:#}");
    }
    assert!(SeaweedFs::shared().open_uploads(bucket).is_empty());
}

/// Creates an export, cancels it after `delay`, and says whether the cancel won.
fn canceled(server: &Server, work: &std::path::Path, id: &str, delay: Duration) -> bool {
    let body = json!({ "id": id, "include": ["Target"] });
    server.post("/v1/export/filesystem", &body).ok();
    thread::sleep(delay);
    let answer = server.delete(&format!("/v1/export/filesystem/{id}"));
    let expected = match answer.status {
        204 => "CANCELED",
        409 => "SUCCESS",
        _ => panic!("{id}: {answer:#?}"),
    };
    let status = server.get(&format!("/v1/export/filesystem/{id}")).ok();
    assert_eq!(status["status"], expected, "{id}: {status:#}");
    let folder = work.join("out").join(id);
    let manifest = std::fs::read(folder.join("export_metadata.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["status"], expected, "{id}");
    let file = folder.join("Target.parquet").exists();
    assert_eq!(
        file,
        !manifest["files"].as_array().unwrap().is_empty(),
        "{id}: a file that no manifest lists, or none that it does"
    );
    server.delete(&format!("/v1/export/filesystem/{id}")).error(409);
    expected == "CANCELED"
}

#[test]
fn a_cancel_and_a_completion_have_one_outcome_in_a_thousand_races() {
    let fixture = unpack("basic").unwrap();
    let work = tempfile::tempdir().unwrap();
    let mut command = serve_filesystem(&fixture.data_dir(), work.path());
    command.args(["--schema".as_ref(), fixture.schema_file().as_os_str()]);
    let server = Server::start(&mut command);
    // How long an export takes here and now: cancels are spread over twice that.
    let measured = Instant::now();
    for round in 0..20 {
        let id = format!("measured-{round}");
        let body = json!({ "id": id, "include": ["Target"] });
        server.post("/v1/export/filesystem", &body).ok();
        server.wait("filesystem", &id);
    }
    let typical = measured.elapsed() / 20;
    let wins: usize = thread::scope(|scope| {
        let thread = |number: u32| {
            let (server, work) = (&server, work.path());
            scope.spawn(move || {
                let race = |round: u32| {
                    let delay = typical * (round % 25) / 12;
                    canceled(server, work, &format!("race-{number}-{round}"), delay)
                };
                (0..250).filter(|round| race(*round)).count()
            })
        };
        let threads: Vec<_> = (0..4).map(thread).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    println!("of 1,000 races the cancel won {wins}");
    assert!((20..=980).contains(&wins), "{wins}: the races were none");
}

#[test]
fn exports_beyond_the_cap_wait_their_turn_and_can_be_canceled_there() {
    let source = tempfile::tempdir().unwrap();
    write_workload(Workload::W1, 10_000, source.path()).unwrap();
    let mut command = serve_filesystem(&source.path().join("data"), source.path());
    let server = Server::start(command.args(["--max-exports", "1"]));
    for id in ["runs", "waits", "canceled"] {
        server.post("/v1/export/filesystem", &json!({ "id": id })).ok();
    }
    server.wait_for_rows("filesystem", "runs");
    for id in ["waits", "canceled"] {
        let status = server.get(&format!("/v1/export/filesystem/{id}")).ok();
        assert_eq!(status["status"], "STARTED", "{status:#}");
    }
    assert_eq!(server.delete("/v1/export/filesystem/canceled").status, 204);
    let status = server.get("/v1/export/filesystem/canceled").ok();
    assert_eq!(status["status"], "CANCELED", "{status:#}");
    assert_eq!(server.get("/v1/export/filesystem/runs").ok()["status"], "TRANSFERRING");
    for id in ["runs", "waits"] {
        assert_eq!(server.wait("filesystem", id)["status"], "SUCCESS");
    }
}

/// Guests run on threads of their own, so the API does not wait for them.
#[test]
fn the_api_answers_while_all_workers_are_busy() {
    let source = tempfile::tempdir().unwrap();
    write_workload(Workload::W1, 30_000, source.path()).unwrap();
    let server = Server::start(&mut serve_filesystem(&source.path().join("data"), source.path()));
    server.post("/v1/export/filesystem", &json!({ "id": "busy" })).ok();
    server.wait_for_rows("filesystem", "busy");
    let mut took = Vec::new();
    while server.get("/v1/export/filesystem/busy").ok()["status"] == "TRANSFERRING" {
        let begun = Instant::now();
        assert_eq!(server.get("/v1/.well-known/ready").status, 200);
        took.push(begun.elapsed());
        thread::sleep(Duration::from_millis(2));
    }
    took.sort();
    assert!(took.len() > 20, "the export was too fast to measure: {}", took.len());
    let slow = took.iter().filter(|took| **took > Duration::from_millis(50)).count();
    println!("of {} answers {slow} took over 50 ms, the longest {:?}", took.len(), took.last());
    // The machine of a test is busy with other tests too.
    assert!(slow * 10 <= took.len(), "{slow} of {} answers took over 50 ms", took.len());
}
