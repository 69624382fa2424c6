//! Uploads on a real file system, and on a store with the faults that a file system will not make.
use std::sync::Arc;
use std::time::Duration;

use crate::faulty_store::{Fault, FaultyStore};
use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::path::Path as StorePath;
use offloom_protocol::digest::{Digest, DigestAlgorithm};
use offloom_protocol::error::{Cause, Operation, StoreError};
use offloom_protocol::names::{Attempt, ExportId, ObjectKey};
use offloom_protocol::store::{Destination, ExportFolder};
use offloom_protocol::upload::Upload;

const PART_BYTES: usize = 8 * 1024 * 1024;

fn key() -> ObjectKey {
    ObjectKey::class_file("Article", 1, "parquet", Attempt::FIRST).unwrap()
}

/// Bytes that repeat at no part's border.
fn content(len: usize) -> Bytes {
    (0..len).map(|i| (i % 251) as u8 ^ (i / 65_521) as u8).collect::<Vec<u8>>().into()
}

fn folder(root: &std::path::Path) -> ExportFolder {
    let destination = Destination::parse(root.to_str().unwrap()).unwrap();
    destination.export_folder(&ExportId::parse("e1").unwrap()).unwrap()
}

fn names_in(root: &std::path::Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(root.join("e1")) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn files_of_any_size_arrive_whole_with_their_digest() {
    for len in
        [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES, 5 * PART_BYTES + 7]
    {
        let root = tempfile::tempdir().unwrap();
        let expected = content(len);
        let mut upload = Upload::start(&folder(root.path()), key(), 0);
        // Appends of odd sizes, smaller and larger than a part.
        let mut rest = expected.clone();
        for step in [3, 1_000_003, 20_000_001].into_iter().cycle() {
            if rest.is_empty() {
                break;
            }
            upload.append(rest.split_to(step.min(rest.len()))).await.unwrap();
        }
        assert_eq!(upload.size_bytes(), len as u64);
        let uploaded = upload.finish().await.unwrap();
        assert_eq!(uploaded.size_bytes, len as u64);
        assert_eq!(uploaded.digest, Digest::of(DigestAlgorithm::Blake3, &expected), "{len} bytes");
        assert_eq!(std::fs::read(root.path().join("e1/Article.parquet")).unwrap(), expected);
        assert_eq!(names_in(root.path()), ["Article.parquet"]);
    }
}

#[tokio::test]
async fn an_unfinished_file_does_not_look_like_one_and_abort_removes_it() {
    let root = tempfile::tempdir().unwrap();
    let mut upload = Upload::start(&folder(root.path()), key(), 0);
    upload.append(content(3 * PART_BYTES)).await.unwrap();
    let names = names_in(root.path());
    assert_eq!(names, ["Article.parquet#1"], "under way, and no *.parquet");
    upload.abort().await.unwrap();
    assert_eq!(names_in(root.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_dropped_upload_removes_what_it_had_written() {
    let root = tempfile::tempdir().unwrap();
    let mut upload = Upload::start(&folder(root.path()), key(), 0);
    upload.append(content(3 * PART_BYTES)).await.unwrap();
    assert_eq!(names_in(root.path()).len(), 1);
    drop(upload);
    for _ in 0..200 {
        if names_in(root.path()).is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still there: {:?}", names_in(root.path()));
}

#[tokio::test]
async fn a_small_file_does_not_replace_another() {
    let root = tempfile::tempdir().unwrap();
    let folder = folder(root.path());
    let mut first = Upload::start(&folder, key(), 0);
    first.append(content(10)).await.unwrap();
    first.finish().await.unwrap();
    let mut second = Upload::start(&folder, key(), 0);
    second.append(content(11)).await.unwrap();
    let error = second.finish().await.unwrap_err();
    assert_eq!(error.cause(), Some(Cause::AlreadyExists), "{error}");
    assert_eq!(std::fs::read(root.path().join("e1/Article.parquet")).unwrap(), content(10));
}

/// A folder on a store in memory that fails at the given call.
fn faulty(fault: Fault) -> (Arc<FaultyStore>, ExportFolder) {
    let store = Arc::new(FaultyStore::new(fault));
    let prefix = StorePath::from("exports/e1");
    (store.clone(), ExportFolder::new(store, prefix, "faulty://exports/e1/".to_owned()))
}

#[tokio::test]
async fn a_part_that_fails_ends_the_upload_and_aborts_it() {
    let (store, folder) = faulty(Fault::Part(2));
    let mut upload = Upload::start(&folder, key(), 0);
    let mut error = None;
    for _ in 0..6 {
        if let Err(e) = upload.append(content(PART_BYTES)).await {
            error = Some(e);
            break;
        }
    }
    let error = match error {
        Some(error) => error,
        None => upload.finish().await.unwrap_err(),
    };
    match &error {
        StoreError::Failed { operation: Operation::WritePart, url, cause, detail } => {
            assert_eq!(url, "faulty://exports/e1/Article.parquet");
            assert_eq!(*cause, Cause::DiskFull);
            assert!(detail.contains("No space"), "{detail}");
        }
        other => panic!("{other}"),
    }
    assert!(error.to_string().contains("free space"), "{error}");
    assert_eq!(store.counts(), (1, 1), "one upload begun, the same aborted");
    assert!(folder.list(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_failed_upload_takes_nothing_more() {
    let (_, folder) = faulty(Fault::Part(0));
    let mut upload = Upload::start(&folder, key(), 0);
    let mut appended = Ok(());
    for _ in 0..6 {
        appended = upload.append(content(PART_BYTES)).await;
        if appended.is_err() {
            break;
        }
    }
    assert!(matches!(appended, Err(StoreError::Failed { .. })), "{appended:?}");
    let again = upload.append(content(1)).await;
    assert!(matches!(again, Err(StoreError::Aborted { .. })), "{again:?}");
    assert!(matches!(upload.finish().await, Err(StoreError::Aborted { .. })));
}

#[tokio::test]
async fn a_completion_that_fails_aborts_the_upload() {
    let (store, folder) = faulty(Fault::Complete);
    let mut upload = Upload::start(&folder, key(), 0);
    upload.append(content(2 * PART_BYTES + 1)).await.unwrap();
    let error = upload.finish().await.unwrap_err();
    assert!(matches!(&error, StoreError::Failed { operation: Operation::Complete, .. }), "{error}");
    assert_eq!(store.counts(), (1, 1));
    assert!(folder.list(10).await.unwrap().is_empty());
}

/// The store is back when its client has given up: the parts are removed all the same.
#[tokio::test]
async fn an_abort_that_a_store_refuses_for_now_is_tried_again() {
    let (store, folder) = faulty(Fault::Overloaded);
    let mut upload = Upload::start(&folder, key(), 0);
    upload.append(content(2 * PART_BYTES)).await.unwrap();
    let error = upload.abort().await.unwrap_err();
    assert!(matches!(&error, StoreError::Failed { operation: Operation::Abort, .. }), "{error}");
    assert_eq!(error.cause(), Some(Cause::StoreFailing));
    assert_eq!(store.counts(), (1, 1), "the caller does not wait for the next tries");
    folder.wait_for_aborts().await;
    assert_eq!(store.counts(), (1, 3));
}

#[tokio::test]
async fn a_put_that_fails_leaves_nothing() {
    let (store, folder) = faulty(Fault::Put);
    let mut upload = Upload::start(&folder, key(), 0);
    upload.append(content(100)).await.unwrap();
    let error = upload.finish().await.unwrap_err();
    assert!(matches!(&error, StoreError::Failed { operation: Operation::Write, .. }), "{error}");
    assert_eq!(store.counts(), (0, 0), "no multipart upload for a small file");
    assert!(folder.list(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_put_whose_answer_is_lost_counts() {
    let (_, folder) = faulty(Fault::PutReply);
    let mut upload = Upload::start(&folder, key(), 0);
    upload.append(content(100)).await.unwrap();
    let uploaded = upload.finish().await.unwrap();
    assert_eq!(uploaded.digest, Digest::of(DigestAlgorithm::Blake3, &content(100)));
    assert_eq!(folder.read(&key(), 1_000).await.unwrap(), content(100));
}

#[tokio::test]
async fn parts_are_equal_and_follow_the_estimate() {
    // 100 GB planned as 8,000 parts: 12.5 MB each.
    let (store, folder) = faulty(Fault::None);
    let mut upload = Upload::start(&folder, key(), 100_000_000_000);
    for _ in 0..4 {
        upload.append(content(10_000_000)).await.unwrap();
    }
    upload.finish().await.unwrap();
    assert_eq!(store.part_sizes(), [12_500_000, 12_500_000, 12_500_000, 2_500_000]);
    let whole = store.inner().get(&StorePath::from("exports/e1/Article.parquet")).await.unwrap();
    let expected: Vec<u8> = (0..4).flat_map(|_| content(10_000_000)).collect();
    assert_eq!(whole.bytes().await.unwrap(), expected);
}

/// As a guest may write them: bytes one by one, between pieces of a mebibyte.
#[tokio::test]
async fn pieces_of_any_size_make_equal_parts() {
    let (store, folder) = faulty(Fault::None);
    let expected = content(3 * PART_BYTES + 11);
    let mut upload = Upload::start(&folder, key(), 0);
    let mut rest = expected.clone();
    for step in [1, 1 << 20, 2, 65_535, 65_536, 1].into_iter().cycle() {
        if rest.is_empty() {
            break;
        }
        upload.append(rest.split_to(step.min(rest.len()))).await.unwrap();
    }
    let uploaded = upload.finish().await.unwrap();
    assert_eq!(uploaded.digest, Digest::of(DigestAlgorithm::Blake3, &expected));
    assert_eq!(store.part_sizes(), [PART_BYTES, PART_BYTES, PART_BYTES, 11]);
    let whole = store.inner().get(&StorePath::from("exports/e1/Article.parquet")).await.unwrap();
    assert_eq!(whole.bytes().await.unwrap(), expected);
}

#[tokio::test]
async fn no_more_than_three_parts_are_in_memory_while_the_store_is_slow() {
    let (store, folder) = faulty(Fault::Slow);
    let mut upload = Upload::start(&folder, key(), 0);
    for _ in 0..12 {
        upload.append(content(PART_BYTES)).await.unwrap();
    }
    upload.finish().await.unwrap();
    assert_eq!(store.part_sizes().len(), 12);
    assert_eq!(store.most_parts_at_once(), 2, "with the one that is being filled: three");
}
