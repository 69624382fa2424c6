//! Uploads of a process that died, continued by another one on stores whose uploads have ids.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use offloom_protocol::upload::Upload;
use offloom_protocol::upload_log::OpenUpload;

use crate::notes::{Log, PART, interrupted};
use crate::place::{Kind, Place};
use crate::{content, for_stores, key};

for_stores! {
    s3: S3, gcs: Gcs;
    an_upload_is_continued_after_its_last_part,
    an_upload_of_other_bytes_is_continued_from_where_they_differ,
}

/// Continues the upload with these bytes; returns how many bytes needed no upload.
async fn continued(place: &Place, open: BTreeMap<String, OpenUpload>, bytes: bytes::Bytes) -> u64 {
    let log = Arc::new(Log::default());
    *log.continued.lock().unwrap() = open;
    let folder = place.folder().with_log(log.clone());
    let mut upload = Upload::start(&folder, key(), 0);
    upload.append(bytes.clone()).await.unwrap();
    let written = upload.finish().await.unwrap();
    assert_eq!(written.size_bytes, bytes.len() as u64);
    assert_eq!(place.read("exports/e1/Article.parquet"), bytes);
    assert!(place.open_uploads().is_empty() && log.uploads.lock().unwrap().is_empty());
    log.kept.load(Ordering::Relaxed)
}

async fn an_upload_is_continued_after_its_last_part(kind: Kind) {
    let place = Place::new(kind);
    let open = interrupted(&place, 3 * PART + 1).await;
    let kept = continued(&place, open, content(4 * PART)).await;
    assert_eq!(kept, 3 * PART as u64);
}

async fn an_upload_of_other_bytes_is_continued_from_where_they_differ(kind: Kind) {
    let place = Place::new(kind);
    let open = interrupted(&place, 3 * PART + 1).await;
    let mut other = content(2 * PART + 7).to_vec();
    other[PART + 5] ^= 1;
    let kept = continued(&place, open, other.into()).await;
    assert_eq!(kept, PART as u64);
}
