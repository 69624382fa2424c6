//! Whole exports in a bucket of a real S3 server: the proof, and damage.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
#[path = "../verify/exported.rs"]
#[allow(dead_code, reason = "the other test program uses all of it")]
mod exported;
#[path = "../../../protocol/tests/protocol/sample.rs"]
mod sample;

use std::sync::Arc;

use offloom_protocol::claim::Claim;
use offloom_protocol::cloud::Cloud;
use offloom_protocol::manifest::Commit;
use offloom_protocol::names::{ExportId, ObjectKey};
use offloom_protocol::store::Destination;
use offloom_protocol::upload::Upload;
use offloom_test_parts::{Keys, SeaweedFs};
use offloom_verify::{Depth, Difference, Report, verify};

use crate::exported::{Exported, ids};

/// Uploads the files of an export and commits it.
async fn export_to(bucket: &str, exported: &Exported) {
    let options = SeaweedFs::shared().environment(Keys::ReadWrite).into_iter().collect();
    let destination =
        Destination::bucket(Cloud::S3, bucket, "exports").unwrap().with_options(options);
    let id = ExportId::parse("e1").unwrap();
    let folder = destination.export_folder(&id).unwrap();
    Claim::new(id, "a".to_owned(), "0.1.0".to_owned()).take(&folder).await.unwrap();
    for file in &exported.manifest.files {
        let mut upload = Upload::start(&folder, ObjectKey::parse(&file.key).unwrap(), 0);
        upload.append(std::fs::read(exported.path(&file.key)).unwrap().into()).await.unwrap();
        assert_eq!(upload.finish().await.unwrap().digest, file.digest);
    }
    let mut manifest = exported.manifest.clone();
    manifest.backend = "s3".to_owned();
    assert_eq!(manifest.commit(&folder, None).await.unwrap(), Commit::Won);
}

async fn report(bucket: &str, keys: Keys, depth: Depth) -> Report {
    let options = SeaweedFs::shared().environment(keys).into_iter().collect();
    let destination =
        Destination::bucket(Cloud::S3, bucket, "exports/e1").unwrap().with_options(options);
    verify(&destination.as_export_folder().unwrap(), depth, Arc::new(|_| {})).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_export_is_proved_and_damage_is_found() {
    let bucket = "exports";
    SeaweedFs::shared().create_bucket(bucket);
    let mut exported = Exported::of("Article", &[("s1", ids(0..5_000)), ("s2", ids(5_000..9_000))]);
    exported.class("Shelf", &[("tenant-a", ids(0..10)), ("tenant-b", ids(0..10))], true, 1);
    export_to(bucket, &exported).await;
    for (keys, depth) in [
        (Keys::ReadWrite, Depth::Quick),
        (Keys::ReadWrite, Depth::Full),
        (Keys::ReadOnly, Depth::Full),
    ] {
        let report = report(bucket, keys, depth).await;
        assert_eq!(report.differences, []);
        assert_eq!(report.unproved, []);
    }
    let server = SeaweedFs::shared();
    let key = "exports/e1/Article.parquet";
    let mut damaged = server.read(bucket, key).to_vec();
    damaged[1_000] ^= 1;
    server.write(bucket, key, damaged);
    assert_eq!(report(bucket, Keys::ReadWrite, Depth::Quick).await.differences, []);
    let found = report(bucket, Keys::ReadWrite, Depth::Full).await.differences;
    assert!(matches!(&found[..], [Difference::Digest { key, .. }] if key == "Article.parquet"));
}
