//! What is written down of uploads while they run, so that none is unknown after a crash.
use std::fmt::Debug;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::names::ObjectKey;

/// A note that could not be kept. The upload then fails, because it would be unknown after a crash.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "the journal cannot be written: {0}; free space in the state directory, or choose another one"
)]
pub struct LogError(pub String);

/// A part that the store has confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfirmedPart {
    /// Its number in the file, from 0.
    pub number: usize,
    /// Its size.
    pub size_bytes: u64,
    /// BLAKE3 of its bytes, 64 hex digits.
    pub digest: String,
    /// What the store calls it: on S3 the ETag.
    pub content_id: String,
}

/// An upload that was begun and neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenUpload {
    /// What the store calls it; absent if the store was asked and no answer was written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_id: Option<String>,
    /// Bytes of each part but the last.
    pub part_bytes: u64,
    /// The parts that the store has confirmed, in any order.
    #[serde(default)]
    pub parts: Vec<ConfirmedPart>,
}

/// Keeps notes of uploads. Each call returns when its note is on disk.
#[async_trait]
pub trait UploadLog: Debug + Send + Sync {
    /// An upload in parts will be begun. It comes before the store is asked.
    ///
    /// # Errors
    /// [`LogError`], as of the other calls.
    async fn intended(&self, key: &ObjectKey, part_bytes: u64) -> Result<(), LogError>;

    /// The store has begun it under this id.
    async fn begun(
        &self,
        key: &ObjectKey,
        upload_id: &str,
        part_bytes: u64,
    ) -> Result<(), LogError>;

    /// The store has confirmed a part.
    async fn confirmed(&self, key: &ObjectKey, part: ConfirmedPart) -> Result<(), LogError>;

    /// It was completed or aborted.
    async fn ended(&self, key: &ObjectKey) -> Result<(), LogError>;

    /// Bytes of the parts of an upload of an earlier process that this one continues.
    fn part_bytes(&self, key: &ObjectKey) -> Option<u64>;

    /// The upload of an earlier process that this one continues, once.
    fn take_open(&self, key: &ObjectKey) -> Option<OpenUpload>;

    /// A part needs no upload: the store has it from an earlier process.
    fn kept(&self, size_bytes: u64);
}
