//! The parts themselves, against a real SeaweedFS: one test binary, so that one server is enough.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod faults;
mod server;

use std::time::Duration;

use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{BackoffConfig, PutMode, PutOptions, RetryConfig};
use offloom_test_parts::{Keys, SeaweedFs};

/// Where the tests of one kind put their objects.
fn bucket(name: &'static str) -> &'static str {
    SeaweedFs::shared().create_bucket(name);
    name
}

fn path(key: &str) -> Path {
    Path::parse(key).unwrap()
}

/// A client that gives up at the first failure.
fn once(keys: Keys, endpoint: &str, bucket: &str) -> AmazonS3 {
    client(keys, endpoint, bucket, 0)
}

/// A client that tries again, soon.
fn client(keys: Keys, endpoint: &str, bucket: &str, retries: usize) -> AmazonS3 {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(10),
        max_backoff: Duration::from_millis(50),
        base: 2.0,
    };
    let retry =
        RetryConfig { backoff, max_retries: retries, retry_timeout: Duration::from_secs(60) };
    keys.client(endpoint, bucket).with_retry(retry).build().unwrap()
}

fn create() -> PutOptions {
    PutMode::Create.into()
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}
