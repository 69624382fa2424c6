//! How exports end on S3: cancels that race with completions, and what a restarted server knows.
use std::thread;
use std::time::{Duration, Instant};

use offloom_encoder::{Workload, write_workload};
use offloom_test_parts::{Keys, Proxy, SeaweedFs};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{program, said};
use crate::s3::{bucket, eventually};
use crate::server::{Answer, Server, serve};

/// One class whose file is larger than a part.
fn source(rows: u64) -> TempDir {
    let source = tempfile::tempdir().unwrap();
    write_workload(Workload::W1, rows, source.path()).unwrap();
    source
}

fn manifest(bucket: &str, folder: &str) -> Value {
    let key = format!("{folder}/export_metadata.json");
    serde_json::from_slice(&SeaweedFs::shared().read(bucket, &key)).unwrap()
}

/// Creates an export, cancels it after `delay`, and says whether the cancel won.
fn canceled(server: &Server, bucket: &str, id: &str, delay: Duration) -> bool {
    server.post("/v1/export/s3", &json!({ "id": id })).ok();
    thread::sleep(delay);
    let answer = server.delete(&format!("/v1/export/s3/{id}"));
    let expected = match answer.status {
        204 => "CANCELED",
        409 => "SUCCESS",
        _ => panic!("{id}: {answer:#?}"),
    };
    let status = server.get(&format!("/v1/export/s3/{id}")).ok();
    assert_eq!(status["status"], expected, "{id}: {status:#}");
    let manifest = manifest(bucket, id);
    assert_eq!(manifest["status"], expected, "{id}");
    let objects = SeaweedFs::shared().objects(bucket, &format!("{id}/"));
    let listed: Vec<String> = manifest["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| format!("{id}/{}", file["key"].as_str().unwrap()))
        .collect();
    let found: Vec<&String> = objects.keys().filter(|key| key.ends_with(".parquet")).collect();
    assert_eq!(found, listed.iter().collect::<Vec<_>>(), "{id}: {expected}");
    let uploads = SeaweedFs::shared().open_uploads(bucket);
    let own = format!("{id}/");
    assert!(!uploads.iter().any(|key| key.starts_with(&own)), "{id}: {expected}: {uploads:?}");
    server.delete(&format!("/v1/export/s3/{id}")).error(409);
    expected == "CANCELED"
}

/// Every request waits a little, so that a cancel often meets one that is under way.
#[test]
fn a_cancel_and_a_completion_on_s3_have_one_outcome() {
    const THREADS: u32 = 4;
    const ROUNDS: u32 = 12;
    let (bucket, source) = (bucket("cancel-races"), source(1_500));
    let proxy = Proxy::start(SeaweedFs::shared().endpoint());
    let mut command = serve(&source.path().join("data"), source.path());
    command.envs(Keys::ReadWrite.environment(&proxy.endpoint())).args(["--bucket", bucket]);
    let server = Server::start(command.args(["--max-exports", "8"]));
    proxy.delay(Duration::from_millis(40));
    // How long an export takes when as many run: cancels are spread over a little more.
    let measured = Instant::now();
    for id in (0..THREADS).map(|number| format!("measured-{number}")) {
        server.post("/v1/export/s3", &json!({ "id": id })).ok();
    }
    for id in (0..THREADS).map(|number| format!("measured-{number}")) {
        assert_eq!(server.wait("s3", &id)["status"], "SUCCESS");
    }
    let typical = measured.elapsed();
    let wins: usize = thread::scope(|scope| {
        let thread = |number: u32| {
            let server = &server;
            scope.spawn(move || {
                let race = |round: u32| {
                    let delay = typical * (THREADS * round + number) / (THREADS * ROUNDS);
                    canceled(server, bucket, &format!("race-{number}-{round}"), delay)
                };
                (0..ROUNDS).filter(|round| race(*round)).count()
            })
        };
        let threads: Vec<_> = (0..THREADS).map(thread).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    println!("of {} races the cancel won {wins}; an export takes {typical:?}", THREADS * ROUNDS);
    assert!((4..=44).contains(&wins), "{wins}: the races were none");
    assert!(SeaweedFs::shared().open_uploads(bucket).is_empty());
}

/// A server without a bucket of its own, so that it starts whatever the store says.
fn start(source: &TempDir, bucket: &str, variables: Vec<(String, String)>) -> Server {
    let mut command = serve(&source.path().join("data"), source.path());
    command
        .envs(variables)
        .args(["--allowed-buckets", bucket])
        .args(["--filesystem-root".as_ref(), source.path().join("out").as_os_str()]);
    Server::start(&mut command)
}

fn get(server: &Server, id: &str) -> Answer {
    server.get(&format!("/v1/export/s3/{id}"))
}

/// A server that reaches the store knows how `done`, `ended` and `cut` ended; returns the last one.
fn expect_ends(server: &Server, done: &Value, place: &Value) -> Value {
    assert_eq!(get(server, "done").ok(), *done);
    let ended = server.wait("s3", "ended");
    assert_eq!(ended["status"], "SUCCESS", "{ended:#}");
    assert_eq!(ended["progress"], done["progress"]);
    let cut = server.wait("s3", "cut");
    assert_eq!(cut["status"], "SUCCESS", "{cut:#}");
    assert_eq!(cut["classes"], json!(["W1Article"]));
    assert_eq!(cut["path"].as_str().unwrap().replace("/cut/", "/done/"), done["path"]);
    assert_eq!(cut["progress"], done["progress"]);
    for id in ["done", "cut", "ended"] {
        server.post("/v1/export/s3", &json!({ "id": id, "config": place })).error(409);
        server.delete(&format!("/v1/export/s3/{id}")).error(409);
    }
    cut
}

#[test]
fn exports_on_s3_are_known_after_a_restart() {
    let (bucket, source) = (bucket("restarted"), source(1_500));
    let proxy = Proxy::start(SeaweedFs::shared().endpoint());
    let server = start(&source, bucket, Keys::ReadWrite.environment(&proxy.endpoint()));
    let place = json!({ "bucket": bucket, "path": "a/b" });
    let create = |id: &str| {
        server.post("/v1/export/s3", &json!({ "id": id, "config": place })).ok();
    };
    create("done");
    let done = server.wait("s3", "done");
    assert_eq!(done["status"], "SUCCESS", "{done:#}");
    proxy.throttle(1 << 20);
    for id in ["cut", "ended"] {
        create(id);
        let begun = format!("a/b/{id}/W1Article.parquet");
        eventually(|| SeaweedFs::shared().open_uploads(bucket).contains(&begun));
    }
    server.signal("-KILL");
    assert!(!server.ended().success());
    // A process that dies between the commit and its own note of it leaves this. A test cannot hit
    // the moment, so the manifest is that of the other export.
    let mut committed = manifest(bucket, "a/b/done");
    committed["id"] = "ended".into();
    SeaweedFs::shared().write(bucket, "a/b/ended/export_metadata.json", committed.to_string());

    // While the store does not say how it ended, nobody else does.
    let server = start(&source, bucket, SeaweedFs::shared().environment(Keys::Wrong));
    for id in ["cut", "ended"] {
        // After the first try, which begins when the server does.
        eventually(|| get(&server, id).status != 200);
        let message = get(&server, id).error(500);
        assert!(message.contains("AWS_SECRET_ACCESS_KEY"), "{id}: {message}");
        server.delete(&format!("/v1/export/s3/{id}")).error(500);
    }
    let known = get(&server, "done").ok();
    assert_eq!((&known["status"], &known["path"]), (&json!("SUCCESS"), &done["path"]));
    drop(server);

    let restarted = || start(&source, bucket, SeaweedFs::shared().environment(Keys::ReadWrite));
    let cut = expect_ends(&restarted(), &done, &place);
    assert_eq!(expect_ends(&restarted(), &done, &place), cut);
    // The ends were recorded, so that they are known without the store.
    let server = start(&source, bucket, SeaweedFs::shared().environment(Keys::Wrong));
    for (id, status) in [("done", "SUCCESS"), ("cut", "SUCCESS"), ("ended", "SUCCESS")] {
        assert_eq!(get(&server, id).ok()["status"], status, "{id}");
    }
    let mut verify = program();
    verify.envs(SeaweedFs::shared().environment(Keys::ReadWrite));
    said(verify.args(["verify", &format!("s3://{bucket}/a/b/done/")])).expect_success();
}
