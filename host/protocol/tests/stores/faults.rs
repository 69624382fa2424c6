//! Answers that are lost on the way, on each cloud.
use bytes::Bytes;
use offloom_protocol::claim::Claim;
use offloom_protocol::digest::{Digest, DigestAlgorithm};
use offloom_protocol::names::ObjectKey;
use offloom_protocol::store::Created;
use offloom_protocol::upload::Upload;
use offloom_test_parts::{Fault, Requests};

use crate::place::{Kind, Place};
use crate::{content, for_stores, id, key};

const PART_BYTES: usize = 8 * 1024 * 1024;

for_stores! {
    s3: S3, gcs: Gcs, azure: Azure;
    a_write_whose_answer_was_lost_is_ours,
    a_completion_whose_answer_was_lost_counts,
    a_store_that_is_busy_for_a_while_is_waited_for,
}

async fn a_write_whose_answer_was_lost_is_ours(kind: Kind) {
    let place = Place::new(kind);
    let proxy = kind.proxy();
    let folder = place.through(&proxy).export_folder(&id("e1")).unwrap();
    let claims = Requests::method("PUT").containing("claim");
    proxy.fault(claims.clone().first(1), Fault::DropReply);
    let claim = Claim::new(id("e1"), "a".to_owned(), "0.1.0".to_owned());
    claim.take(&folder).await.unwrap();
    assert_eq!(proxy.spoiled(), 1);
    assert_eq!(Claim::read(&folder).await.unwrap().unwrap().nonce, claim.nonce);

    // Another's is not taken for ours, whatever happens to the answer.
    proxy.fault(claims.first(1), Fault::DropReply);
    let theirs = folder.create(&ObjectKey::claim(), Bytes::from_static(b"mine")).await.unwrap();
    assert!(matches!(theirs, Created::Theirs(_)), "{theirs:?}");
    assert_eq!(proxy.spoiled(), 2);
}

/// What completes an upload.
fn completions(kind: Kind) -> Requests {
    match kind {
        Kind::Azure => Requests::method("PUT").containing("comp=blocklist"),
        _ => Requests::method("POST").containing("uploadId"),
    }
}

async fn a_completion_whose_answer_was_lost_counts(kind: Kind) {
    let place = Place::new(kind);
    let proxy = kind.proxy();
    proxy.fault(completions(kind).first(1), Fault::DropReply);
    let folder = place.through(&proxy).export_folder(&id("e1")).unwrap();
    let len = 2 * PART_BYTES + 1;
    let mut upload = Upload::start(&folder, key(), 0);
    upload.append(content(len)).await.unwrap();
    let uploaded = upload.finish().await.unwrap();
    assert_eq!(proxy.spoiled(), 1);
    assert_eq!(uploaded.digest, Digest::of(DigestAlgorithm::Blake3, &content(len)));
    assert!(place.read("exports/e1/Article.parquet") == content(len));
}

async fn a_store_that_is_busy_for_a_while_is_waited_for(kind: Kind) {
    let place = Place::new(kind);
    let proxy = kind.proxy();
    let code = if kind == Kind::Azure { "ServerBusy" } else { "SlowDown" };
    proxy.fault(Requests::method("PUT").first(3), Fault::Answer { status: 503, code });
    proxy.fault(completions(kind).first(1), Fault::Answer { status: 503, code });
    let folder = place.through(&proxy).export_folder(&id("e1")).unwrap();
    let mut upload = Upload::start(&folder, key(), 0);
    upload.append(content(3 * PART_BYTES)).await.unwrap();
    upload.finish().await.unwrap();
    assert_eq!(proxy.spoiled(), 4);
    assert!(place.read("exports/e1/Article.parquet") == content(3 * PART_BYTES));
}
