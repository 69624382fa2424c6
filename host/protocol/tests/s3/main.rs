//! The export protocol on a real S3 server, as one test program.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod access;
mod export;
mod tls;
mod upload;

use std::sync::Once;

use bytes::Bytes;
use offloom_protocol::cloud::Cloud;
use offloom_protocol::names::{Attempt, ExportId, ObjectKey};
use offloom_protocol::store::{Destination, ExportFolder};
use offloom_test_parts::{Keys, Proxy, SeaweedFs};

/// A bucket of one test, new.
fn bucket(name: &'static str) -> &'static str {
    SeaweedFs::shared().create_bucket(name);
    name
}

/// The one bucket that the read-only keys may read, for several tests.
fn readable_bucket() -> &'static str {
    static CREATED: Once = Once::new();
    CREATED.call_once(|| SeaweedFs::shared().create_bucket("exports"));
    "exports"
}

fn proxy() -> Proxy {
    Proxy::start(SeaweedFs::shared().endpoint())
}

/// `s3://bucket/exports/` on the shared server.
fn destination(bucket: &str, keys: Keys) -> Destination {
    destination_at(SeaweedFs::shared().endpoint(), bucket, keys)
}

/// The same through a proxy, say.
fn destination_at(endpoint: &str, bucket: &str, keys: Keys) -> Destination {
    let options = keys.environment(endpoint).into_iter().collect();
    Destination::bucket(Cloud::S3, bucket, "exports").unwrap().with_options(options)
}

fn id(text: &str) -> ExportId {
    ExportId::parse(text).unwrap()
}

/// `s3://bucket/exports/e1/` for writing.
fn folder(bucket: &str) -> ExportFolder {
    destination(bucket, Keys::ReadWrite).export_folder(&id("e1")).unwrap()
}

fn folder_at(endpoint: &str, bucket: &str) -> ExportFolder {
    destination_at(endpoint, bucket, Keys::ReadWrite).export_folder(&id("e1")).unwrap()
}

fn key() -> ObjectKey {
    ObjectKey::class_file("Article", 1, "parquet", Attempt::FIRST).unwrap()
}

/// Bytes that repeat at no part's border.
fn content(len: usize) -> Bytes {
    (0..len).map(|i| (i % 251) as u8 ^ (i / 65_521) as u8).collect::<Vec<u8>>().into()
}
