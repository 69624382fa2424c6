//! The promise on Azure, which can neither abort an upload nor put a condition on its completion.
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use offloom_protocol::claim::{Claim, ClaimError};
use offloom_protocol::manifest::{Commit, Manifest, Outcome};
use offloom_protocol::names::{Attempt, ObjectKey};
use offloom_protocol::upload::Upload;
use offloom_test_parts::Azurite;

use crate::place::{Kind, Place};
use crate::{content, id, key, sample};

const PART_BYTES: usize = 8 * 1024 * 1024;

/// Blocks that an upload of long ago has left under the name of a file, and the upload.
async fn left_behind(place: &Place) -> Box<dyn MultipartUpload> {
    let path = Path::parse("exports/e1/Article.parquet").unwrap();
    let mut upload = Azurite::shared().client(&place.bucket).put_multipart(&path).await.unwrap();
    for _ in 0..2 {
        upload.put_part(PutPayload::from_bytes(content(PART_BYTES + 5))).await.unwrap();
    }
    upload
}

/// Writing a file takes the blocks of every other upload of its name away, so one that is completed late
/// finds none of its own and changes nothing.
#[tokio::test]
async fn an_upload_that_is_completed_late_does_not_replace_a_file() {
    let place = Place::new(Kind::Azure);
    let mut late = left_behind(&place).await;
    assert_eq!(place.open_uploads(), ["exports/e1/Article.parquet"]);
    let mut upload = Upload::start(&place.folder(), key(), 0);
    upload.append(content(2 * PART_BYTES)).await.unwrap();
    upload.finish().await.unwrap();
    late.complete().await.unwrap_err();
    assert!(place.read("exports/e1/Article.parquet") == content(2 * PART_BYTES));
    assert!(place.open_uploads().is_empty());
}

/// Completion has no condition, so files alone would not be safe: the claim is, and it comes first.
#[tokio::test]
async fn who_does_not_own_the_id_writes_no_file() {
    let place = Place::new(Kind::Azure);
    let claim = |owner: &str| Claim::new(id("e1"), owner.to_owned(), "0.1.0".to_owned());
    claim("a").take(&place.folder()).await.unwrap();
    let refused = claim("b").take(&place.folder()).await.unwrap_err();
    assert!(matches!(refused, ClaimError::IdInUse { .. }), "{refused}");
    // An id whose folder has a file, but no claim any more, is not free either.
    let mut upload = Upload::start(&place.folder(), key(), 0);
    upload.append(content(10)).await.unwrap();
    upload.finish().await.unwrap();
    place.folder().delete(&ObjectKey::claim(Attempt::FIRST)).await.unwrap();
    claim("c").take(&place.folder()).await.unwrap_err();
}

/// An upload that is completed after the end of its export adds a file that no manifest lists.
#[tokio::test]
async fn a_file_that_comes_after_the_end_changes_no_outcome() {
    let place = Place::new(Kind::Azure);
    let mut late = left_behind(&place).await;
    let mut canceled = sample::manifest("e1");
    canceled.status = Outcome::Canceled;
    canceled.files = Vec::new();
    assert_eq!(canceled.commit(&place.folder(), None).await.unwrap(), Commit::Won);
    late.complete().await.unwrap();
    let read = Manifest::read(&place.folder()).await.unwrap();
    assert_eq!((read.status, read.files.len()), (Outcome::Canceled, 0));
    let success = sample::manifest("e1");
    assert!(matches!(success.commit(&place.folder(), None).await.unwrap(), Commit::Lost(_)));
}
