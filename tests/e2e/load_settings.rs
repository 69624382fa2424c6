//! The settings of load, quotas, metrics and TLS by their variables, observed at a running server; `settings`
//! calls them.
#![allow(non_snake_case, reason = "two underscores stand for the dot of a key, as in its variable")]
use std::process::Command;
use std::time::Instant;

use serde_json::json;

use crate::held::Held;
use crate::program::said;
use crate::s3::eventually;

/// How long an export takes whose store is fast, in seconds.
fn seconds_of_export(held: &Held) -> f64 {
    held.pass();
    let begun = Instant::now();
    held.create("timed");
    assert_eq!(held.server.wait("s3", "timed")["status"], "SUCCESS");
    begun.elapsed().as_secs_f64()
}

fn held_with(bucket: &'static str, settings: &[(&str, &str)]) -> Held {
    Held::new(bucket, |command| {
        command.envs(settings.iter().copied());
    })
}

/// About 13 MB are read; a second's worth is free.
pub fn max_read_rate(variable: &str) {
    let took = seconds_of_export(&held_with("set-max-read-rate", &[(variable, "4MiB")]));
    assert!(took >= 1.5, "{took}");
}

/// About 11 MB are written.
pub fn max_write_rate(variable: &str) {
    let took = seconds_of_export(&held_with("set-max-write-rate", &[(variable, "4MiB")]));
    assert!(took >= 1.5, "{took}");
}

/// Begin, parts, end, claim, manifest, and what looks for others: eight at least.
pub fn max_request_rate(variable: &str) {
    let took = seconds_of_export(&held_with("set-max-request-rate", &[(variable, "2")]));
    assert!(took >= 3., "{took}");
}

pub fn idle_io(variable: &str) {
    let held = held_with("set-idle-io", &[(variable, "true")]);
    let process = held.server.process_id().to_string();
    assert_eq!(said(Command::new("ionice").args(["-p", &process])).out.trim(), "idle");
}

pub fn quotas__running(variable: &str) {
    let held = held_with("set-quotas-running", &[(variable, "1")]);
    for id in ["one", "two"] {
        held.create(id);
    }
    let status = |id: &str| held.server.get(&format!("/v1/export/s3/{id}")).ok()["status"].clone();
    eventually(|| status("one") == "TRANSFERRING");
    // Four of others might run.
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(status("two"), "STARTED");
    held.pass();
    assert_eq!(held.server.wait("s3", "two")["status"], "SUCCESS");
}

pub fn quotas__waiting(variable: &str) {
    let settings = [(variable, "1"), ("OFFLOOM_QUOTAS__RUNNING", "1")];
    let held = held_with("set-quotas-waiting", &settings);
    for id in ["one", "two"] {
        held.create(id);
    }
    let refused = held.server.post("/v1/export/s3", &json!({ "id": "three" }));
    let message = refused.error(429);
    assert!(
        message.starts_with("too many exports: 2 of your exports run or wait, and 2 may"),
        "{message}"
    );
    assert!(refused.retry_after.unwrap() > 0);
    held.pass();
    held.server.wait("s3", "two");
    // The id was not taken.
    held.create("three");
}

pub fn quotas__per_day(variable: &str) {
    let held = held_with("set-quotas-per-day", &[(variable, "1")]);
    held.pass();
    held.create("one");
    held.server.wait("s3", "one");
    let refused = held.server.post("/v1/export/s3", &json!({ "id": "two" }));
    let message = refused.error(429);
    assert!(message.contains("you have begun 1 exports within 24 hours"), "{message}");
}

pub fn metrics_listen(variable: &str) {
    let held = held_with("set-metrics-listen", &[(variable, "127.0.0.1:0")]);
    assert!(held.server.metrics().ends_with("# EOF\n"));
}
