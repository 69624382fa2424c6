//! A store that fails for a while, or whose credentials expire, while the server exports to it.
use std::time::{Duration, Instant};

use offloom_test_parts::{Fault, Keys, Requests, SeaweedFs};
use serde_json::{Value, json};

use crate::program::{program, said};
use crate::s3::{Slow, bucket, eventually, slow};

/// The pace of the proxy: an export takes seconds, so that faults meet it at work.
const BYTES_PER_SECOND: u64 = 20 << 20;

/// An export that has begun to upload its rows.
fn begun(bucket: &'static str) -> Slow {
    let slow = slow(bucket, BYTES_PER_SECOND);
    slow.server.post("/v1/export/s3", &json!({ "id": "x" })).ok();
    eventually(|| !SeaweedFs::shared().open_uploads(bucket).is_empty());
    slow
}

/// An export whose credentials have expired in mid-upload.
fn expired(bucket: &'static str) -> (Slow, Value) {
    let slow = begun(bucket);
    slow.proxy.fault(Requests::all(), Fault::EXPIRED_TOKEN);
    let ended = slow.server.wait("s3", "x");
    assert!(slow.proxy.spoiled() > 0);
    (slow, ended)
}

#[test]
fn credentials_that_expire_in_mid_upload_are_named_as_the_cause() {
    let (slow, ended) = expired(bucket("expires"));
    assert_eq!(ended["status"], "FAILED", "{ended:#}");
    let error = ended["error"].as_str().unwrap();
    for part in ["write to backend failed: ", "ExpiredToken", "AWS_SESSION_TOKEN", "/x/W1Article"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    // Those of a role are renewed while the server runs.
    slow.proxy.pass();
    slow.server.post("/v1/export/s3", &json!({ "id": "y" })).ok();
    assert_eq!(slow.server.wait("s3", "y")["status"], "SUCCESS");
    assert_eq!(slow.server.get("/v1/export/s3/x").ok()["status"], "FAILED");
}

#[test]
fn what_an_upload_has_left_is_removed_when_credentials_are_good_again() {
    let bucket = bucket("expires-and-returns");
    let (slow, ended) = expired(bucket);
    assert_eq!(ended["status"], "FAILED", "{ended:#}");
    slow.proxy.pass();
    eventually(|| SeaweedFs::shared().open_uploads(bucket).is_empty());
}

#[test]
fn a_store_that_asks_to_slow_down_for_a_while_is_waited_for() {
    let bucket = bucket("slows-down");
    let slow = begun(bucket);
    slow.proxy.fault(Requests::all(), Fault::SLOW_DOWN);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        assert_eq!(slow.server.get("/v1/export/s3/x").ok()["status"], "TRANSFERRING");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(slow.proxy.spoiled() > 0);
    slow.proxy.pass();
    let ended = slow.server.wait("s3", "x");
    assert_eq!(ended["status"], "SUCCESS", "{ended:#}");
    assert_eq!(ended["progress"]["W1Article"]["objectsExported"], 20_000, "{ended:#}");
    let mut verify = program();
    verify.envs(SeaweedFs::shared().environment(Keys::ReadWrite));
    said(verify.args(["verify", &format!("s3://{bucket}/x/")])).expect_success();
    assert!(SeaweedFs::shared().open_uploads(bucket).is_empty());
}

#[test]
fn a_cancel_is_answered_soon_while_the_store_refuses_everything() {
    let bucket = bucket("busy-cancel");
    let slow = begun(bucket);
    slow.proxy.fault(Requests::all(), Fault::SLOW_DOWN);
    let spoiled = slow.proxy.spoiled();
    eventually(|| slow.proxy.spoiled() > spoiled);
    let begun = Instant::now();
    let canceled = slow.server.delete("/v1/export/s3/x");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}: {canceled:#?}");
    assert!(canceled.error(503).contains("is being canceled"), "{canceled:#?}");
    slow.proxy.pass();
    let ended = slow.server.wait("s3", "x");
    assert_eq!(ended["status"], "CANCELED", "{ended:#}");
    eventually(|| SeaweedFs::shared().open_uploads(bucket).is_empty());
}
