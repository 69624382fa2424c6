//! The quarantine of one class: the list of its bad objects, and their stored bytes.
use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use offloom_protocol::error::StoreError;
use offloom_protocol::manifest::{Attachment, ManifestError};
use offloom_protocol::names::{NameError, ObjectKey};
use offloom_protocol::store::ExportFolder;
use offloom_protocol::upload::Upload;
use offloom_weaviate_disk::{BadObject, DiskError, StoredValue};
use serde::Serialize;
use tokio::task::{JoinError, JoinHandle};
use uuid::Uuid;

use crate::refused::RefusedObject;

/// Stored bytes of a class that its list holds. Those of further objects get a file each.
const MAX_RAW_BYTES_IN_LIST: u64 = 16 * 1024 * 1024;

/// Bytes that are read and written at a time.
const STEP_BYTES: u64 = 1024 * 1024;

/// Why bad objects could not be quarantined.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// The store refused the bytes of an object.
    #[error("write to backend failed: {0}")]
    Store(#[from] StoreError),
    /// The store refused the list.
    #[error("write to backend failed: {0}")]
    List(#[from] ManifestError),
    /// The stored bytes cannot be read any more.
    #[error(transparent)]
    Stored(#[from] DiskError),
    /// The name of the class cannot be part of an object key.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A task panicked or its runtime stopped.
    #[error("the quarantine was stopped: {0}")]
    Stopped(#[from] JoinError),
}

/// One line of the list: a bad object, and where its stored bytes are if they were to be kept.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    #[serde(flatten)]
    object: &'a BadObject,
    /// Base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<String>,
    /// Key of the file with the bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_key: Option<String>,
}

/// The bad objects of one class so far.
#[derive(Default)]
pub(crate) struct Quarantine {
    lines: Vec<u8>,
    /// Stored bytes in `lines`.
    raw_bytes: u64,
    /// How many files an id has: several tenants may have one object with it each.
    files_of_id: BTreeMap<Uuid, u32>,
    /// Complete files.
    files: Vec<Attachment>,
    /// The file that is being completed. The task continues when its worker is stopped, so that a file
    /// never becomes visible without being known.
    finishing: Option<JoinHandle<Result<Attachment, QuarantineError>>>,
}

impl Quarantine {
    /// Adds an object to the list, and writes its stored bytes to a file if the list has no room for
    /// them. `object` lets go of them.
    ///
    /// # Errors
    /// [`QuarantineError`].
    pub async fn add(
        &mut self,
        class: &str,
        folder: &ExportFolder,
        object: &mut BadObject,
    ) -> Result<(), QuarantineError> {
        let (mut raw, mut raw_key) = (None, None);
        if let Some(stored) = object.stored.take() {
            let sum = self.raw_bytes.saturating_add(stored.bytes());
            if sum <= MAX_RAW_BYTES_IN_LIST {
                self.raw_bytes = sum;
                raw = Some(STANDARD.encode(read(&stored, 0, stored.bytes()).await?));
            } else {
                raw_key = Some(self.write_file(class, folder, object.id, &stored).await?);
            }
        }
        serde_json::to_writer(&mut self.lines, &Line { object, raw, raw_key })
            .map_err(ManifestError::Encode)?;
        self.lines.push(b'\n');
        Ok(())
    }

    /// Adds a row that a transform refused.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn list(&mut self, refused: &RefusedObject) -> Result<(), QuarantineError> {
        serde_json::to_writer(&mut self.lines, refused).map_err(ManifestError::Encode)?;
        self.lines.push(b'\n');
        Ok(())
    }

    /// Copies stored bytes to a file piece by piece, and returns its key.
    async fn write_file(
        &mut self,
        class: &str,
        folder: &ExportFolder,
        id: Uuid,
        stored: &StoredValue,
    ) -> Result<String, QuarantineError> {
        let number = self.files_of_id.entry(id).or_default();
        *number = number.saturating_add(1);
        let key = ObjectKey::quarantined_object(class, id, *number, folder.attempt())?;
        let mut upload = Upload::start(folder, key.clone(), stored.bytes());
        while upload.size_bytes() < stored.bytes() {
            let start = upload.size_bytes();
            let left = stored.bytes().saturating_sub(start);
            let piece = read(stored, start, left.min(STEP_BYTES)).await?;
            upload.append(piece.into()).await?;
        }
        let name = key.as_str().to_owned();
        self.finishing = Some(tokio::spawn(async move {
            let uploaded = upload.finish().await?;
            let key = key.as_str().to_owned();
            Ok(Attachment { key, size_bytes: uploaded.size_bytes, digest: uploaded.digest })
        }));
        self.finished().await?;
        Ok(name)
    }

    /// Waits for the file that is being completed, if there is one.
    async fn finished(&mut self) -> Result<(), QuarantineError> {
        let Some(finishing) = &mut self.finishing else { return Ok(()) };
        // Keep the task in `self` while it is awaited: this call may be dropped and made again.
        let finished = finishing.await;
        self.finishing = None;
        self.files.push(finished??);
        Ok(())
    }

    /// Writes the list of a class that is complete, and returns all that was written, the list first;
    /// nothing without bad objects.
    ///
    /// # Errors
    /// [`QuarantineError`].
    pub async fn finish(
        &mut self,
        class: &str,
        folder: &ExportFolder,
    ) -> Result<Vec<Attachment>, QuarantineError> {
        if self.lines.is_empty() {
            return Ok(Vec::new());
        }
        // An earlier attempt may have written its list, and this one finds other objects.
        let key = ObjectKey::quarantine(class, folder.attempt())?;
        let (lines, folder) = (std::mem::take(&mut self.lines), folder.clone());
        self.finishing = Some(tokio::spawn(async move {
            Ok(Attachment::write(&folder, |_| key.clone(), lines).await?)
        }));
        self.finished().await?;
        let mut written = std::mem::take(&mut self.files);
        written.rotate_right(1);
        Ok(written)
    }

    /// Removes what was written of a class that did not become complete, and returns what could not
    /// be removed.
    pub async fn discard(&mut self, folder: &ExportFolder) -> Vec<Attachment> {
        if let Err(error) = self.finished().await {
            tracing::warn!(%error, "a quarantined object could not be written");
        }
        let mut kept = Vec::new();
        for file in std::mem::take(&mut self.files) {
            let deleted = match ObjectKey::parse(&file.key) {
                Ok(key) => folder.delete(&key).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = deleted {
                tracing::warn!(key = %file.key, %error, "a quarantined object could not be removed");
                kept.push(file);
            }
        }
        kept
    }
}

/// Reads `bytes` bytes of a stored value on a thread that may block.
async fn read(stored: &StoredValue, start: u64, bytes: u64) -> Result<Vec<u8>, QuarantineError> {
    let stored = stored.clone();
    let read = tokio::task::spawn_blocking(move || {
        // At most 16 MiB, so the cast is exact.
        let mut buffer = vec![0; bytes as usize];
        stored.read_at(&mut buffer, start).map(|()| buffer)
    });
    Ok(read.await??)
}
