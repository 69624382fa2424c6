//! An upload in parts whose id and parts are written down, and which another process can continue.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use object_store::multipart::PartId;
use object_store::path::Path as StorePath;
use object_store::{
    Error, MultipartId, MultipartUpload, PutPayload, PutResult, Result, UploadPart,
};

use crate::names::ObjectKey;
use crate::store::uploads::UploadStore;
use crate::upload_log::{ConfirmedPart, LogError, UploadLog};

/// As [`MultipartUpload`], with notes. A part that an earlier process has uploaded is not sent again if
/// its bytes are the same.
#[derive(Debug)]
pub(crate) struct LoggedUpload {
    store: Arc<dyn UploadStore>,
    log: Arc<dyn UploadLog>,
    key: ObjectKey,
    path: StorePath,
    id: MultipartId,
    /// Number of the next part.
    next: usize,
    /// Of the earlier process, by number.
    before: BTreeMap<usize, ConfirmedPart>,
    confirmed: Arc<Mutex<BTreeMap<usize, PartId>>>,
}

impl LoggedUpload {
    /// Begins an upload, or continues the one of an earlier process.
    ///
    /// # Errors
    /// Those of the store; an upload that cannot be written down is aborted.
    pub async fn begin(
        store: Arc<dyn UploadStore>,
        log: Arc<dyn UploadLog>,
        key: ObjectKey,
        path: StorePath,
        part_bytes: u64,
    ) -> Result<LoggedUpload> {
        let open = log.take_open(&key).filter(|open| open.part_bytes == part_bytes);
        let (id, before) = match open.map(|open| (open.upload_id, open.parts)) {
            Some((Some(id), parts)) => (id, parts),
            _ => {
                log.intended(&key, part_bytes).await.map_err(unlogged)?;
                let id = store.begin(&path).await?;
                if let Err(error) = log.begun(&key, &id, part_bytes).await {
                    store.abort(&path, &id).await?;
                    return Err(unlogged(error));
                }
                (id, Vec::new())
            }
        };
        let before = before.into_iter().map(|part| (part.number, part)).collect();
        let confirmed = Arc::default();
        Ok(LoggedUpload { store, log, key, path, id, next: 0, before, confirmed })
    }
}

#[async_trait]
impl MultipartUpload for LoggedUpload {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        let number = self.next;
        self.next = number.saturating_add(1);
        let before = self.before.remove(&number);
        let (store, log, confirmed) =
            (Arc::clone(&self.store), Arc::clone(&self.log), Arc::clone(&self.confirmed));
        let (key, path, id) = (self.key.clone(), self.path.clone(), self.id.clone());
        Box::pin(async move {
            let size_bytes = payload.content_length() as u64;
            let (payload, digest) = digest(payload).await?;
            let same = before.filter(|part| part.size_bytes == size_bytes && part.digest == digest);
            let content_id = match same {
                Some(part) => {
                    log.kept(size_bytes);
                    part.content_id
                }
                None => {
                    let part = store.put_part(&path, &id, number, payload).await?;
                    let content_id = part.content_id;
                    let confirmed = ConfirmedPart {
                        number,
                        size_bytes,
                        digest,
                        content_id: content_id.clone(),
                    };
                    log.confirmed(&key, confirmed).await.map_err(unlogged)?;
                    content_id
                }
            };
            let mut confirmed = confirmed.lock().unwrap_or_else(PoisonError::into_inner);
            confirmed.insert(number, PartId { content_id });
            Ok(())
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let parts = {
            let confirmed = self.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
            confirmed.values().cloned().collect::<Vec<_>>()
        };
        if parts.len() != self.next {
            let source = format!("{} of {} parts were confirmed", parts.len(), self.next).into();
            return Err(Error::Generic { store: "upload", source });
        }
        self.store.complete(&self.path, &self.id, parts).await?;
        self.log.ended(&self.key).await.map_err(unlogged)?;
        // Nobody asks for the ETag.
        Ok(PutResult { e_tag: None, version: None, extensions: Default::default() })
    }

    async fn abort(&mut self) -> Result<()> {
        self.store.abort(&self.path, &self.id).await?;
        self.log.ended(&self.key).await.map_err(unlogged)
    }
}

/// BLAKE3 of a part, on a thread that may block: a part costs it milliseconds.
async fn digest(payload: PutPayload) -> Result<(PutPayload, String)> {
    let digested = tokio::task::spawn_blocking(move || {
        let mut hasher = blake3::Hasher::new();
        for piece in &payload {
            hasher.update(piece);
        }
        let digest = hasher.finalize().to_hex().to_string();
        (payload, digest)
    });
    Ok(digested.await?)
}

fn unlogged(source: LogError) -> Error {
    Error::Generic { store: "journal", source: source.into() }
}
