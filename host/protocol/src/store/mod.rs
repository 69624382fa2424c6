//! Where exports are stored: a destination, the folder of one export in it, and its objects.
mod answer;
mod azure;
mod bucket;
mod destination;
pub(crate) mod filesystem;
mod gcs;
mod http_client;
mod identity;
mod markers;
mod options;
mod patience;
mod refusal;
mod s3;

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future};
use object_store::path::Path as StorePath;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::digest::DigestAlgorithm;
use crate::error::{Cause, Operation, StoreError};
use crate::names::ObjectKey;
pub use destination::Destination;
pub use options::StoreOptions;
pub(crate) use patience::Patience;

/// The largest object that is created whole, and therefore read back, when in doubt.
const MAX_READ_BACK_BYTES: u64 = 512 * 1024 * 1024;

/// How long a conditional write is retried after a conflict with an object that does not exist.
const CREATE_PATIENCE: Duration = Duration::from_secs(10);

/// The pause before such a retry.
const CREATE_PAUSE: Duration = Duration::from_millis(200);

/// The result of writing an object that must not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It was created, now or by an earlier try whose reply was lost.
    Ours,
    /// Another writer's object is there, with this content.
    Theirs(Bytes),
}

/// An object of a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedObject {
    /// Its key relative to the folder. Unchecked: anyone may have written it.
    pub key: String,
    /// Its size.
    pub size_bytes: u64,
}

/// The folder of one export. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ExportFolder {
    store: Arc<dyn ObjectStore>,
    prefix: StorePath,
    url: String,
    /// Never part of a message, even where the store repeats them.
    secrets: Arc<[String]>,
    /// Where the store begins, if it is on this machine's file systems.
    local_root: Option<Arc<Path>>,
    /// Whether an object is looked for before it is created.
    looks_first: bool,
    /// How the objects that are written are digested.
    digest: DigestAlgorithm,
    /// Aborts of uploads that were dropped.
    aborts: TaskTracker,
}

impl ExportFolder {
    /// A folder at `prefix` of `store`; `url` is what messages call it, with a slash at its end.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: StorePath, url: String) -> ExportFolder {
        ExportFolder {
            store,
            prefix,
            url,
            secrets: Arc::default(),
            local_root: None,
            looks_first: false,
            digest: DigestAlgorithm::default(),
            aborts: TaskTracker::new(),
        }
    }

    /// The same folder; what is written to it is digested with `digest`.
    #[must_use]
    pub fn with_digest(self, digest: DigestAlgorithm) -> ExportFolder {
        ExportFolder { digest, ..self }
    }

    /// How what is written to it is digested.
    pub fn digest(&self) -> DigestAlgorithm {
        self.digest
    }

    /// The address of the folder, such as `file:///exports/my-export/`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address of one object.
    pub fn object_url(&self, key: &ObjectKey) -> String {
        format!("{}{key}", self.url)
    }

    /// Waits until what aborted and dropped uploads had written is removed, as far as the store
    /// can be reached: before the program ends.
    pub async fn wait_for_aborts(&self) {
        self.aborts.close();
        self.aborts.wait().await;
    }

    /// Removes parts in a task of its own, which continues when the caller is dropped.
    pub(crate) fn spawn_abort<T: Send + 'static>(
        &self,
        abort: impl Future<Output = T> + Send + 'static,
        runtime: &tokio::runtime::Handle,
    ) -> JoinHandle<T> {
        self.aborts.spawn_on(abort, runtime)
    }

    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    pub(crate) fn path(&self, key: &ObjectKey) -> StorePath {
        key.as_str().split('/').fold(self.prefix.clone(), |path, part| path.join(part))
    }

    pub(crate) fn failed(
        &self,
        operation: Operation,
        key: &ObjectKey,
        error: &object_store::Error,
    ) -> StoreError {
        self.failed_at(operation, self.object_url(key), error)
    }

    fn failed_at(
        &self,
        operation: Operation,
        url: String,
        error: &object_store::Error,
    ) -> StoreError {
        answer::failed(operation, url, error).without(&self.secrets)
    }

    /// Writes an object that must not exist yet. When the store says that it does, or gives no
    /// clear answer, what is there is read back and compared: an answer may have been lost on the
    /// way, and the write that it answered may have been ours. Content that must not be mistaken
    /// for another writer's therefore holds something that only its writer knows.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when the object could not be written, or not be read back.
    pub async fn create(&self, key: &ObjectKey, content: Bytes) -> Result<Created, StoreError> {
        let path = self.path(key);
        let started = Instant::now();
        if self.looks_first && self.size_bytes(key).await?.is_some() {
            let found = self.read(key, MAX_READ_BACK_BYTES).await?;
            return Ok(if found == content { Created::Ours } else { Created::Theirs(found) });
        }
        loop {
            let payload = PutPayload::from_bytes(content.clone());
            let Err(error) = self.store.put_opts(&path, payload, PutMode::Create.into()).await
            else {
                return Ok(Created::Ours);
            };
            let failure = self.failed(Operation::Write, key, &error);
            match (failure.cause(), self.read(key, MAX_READ_BACK_BYTES).await) {
                (_, Ok(found)) if found == content => return Ok(Created::Ours),
                (Some(Cause::AlreadyExists), Ok(found)) => return Ok(Created::Theirs(found)),
                // S3 answers 409 also for a write that then fails. The client does not retry a
                // conditional write after a broken connection: only this comparison makes it safe.
                (Some(Cause::AlreadyExists | Cause::Unreachable), Err(absent))
                    if absent.cause() == Some(Cause::NotFound)
                        && started.elapsed() < CREATE_PATIENCE =>
                {
                    tokio::time::sleep(CREATE_PAUSE).await;
                }
                (Some(Cause::AlreadyExists), Err(unreadable)) => return Err(unreadable),
                _ => return Err(failure),
            }
        }
    }

    /// Reads an object of at most `max_bytes`.
    ///
    /// # Errors
    /// [`StoreError::Failed`], [`StoreError::TooLarge`].
    pub async fn read(&self, key: &ObjectKey, max_bytes: u64) -> Result<Bytes, StoreError> {
        if let Some(root) = &self.local_root {
            let file = root.join(self.path(key).as_ref());
            let refused = tokio::task::spawn_blocking(move || filesystem::refuse_special(&file));
            let refused = refused.await.map_err(io::Error::other).flatten();
            refused.map_err(|error| {
                answer::failed_io(Operation::Read, self.object_url(key), &error)
            })?;
        }
        let failed = |error| self.failed(Operation::Read, key, &error);
        let found = self.store.get_opts(&self.path(key), GetOptions::default()).await;
        let found = found.map_err(failed)?;
        if found.meta.size > max_bytes {
            return Err(StoreError::TooLarge {
                url: self.object_url(key),
                size_bytes: found.meta.size,
                max_bytes,
            });
        }
        found.bytes().await.map_err(failed)
    }

    /// Reads some bytes of an object; `range` must not be empty.
    ///
    /// # Errors
    /// [`StoreError::Failed`], also when the object ends before the range does.
    pub async fn read_range(
        &self,
        key: &ObjectKey,
        range: Range<u64>,
    ) -> Result<Bytes, StoreError> {
        let wanted = range.end.saturating_sub(range.start);
        let found = self.store.get_range(&self.path(key), range).await;
        let found = found.map_err(|error| self.failed(Operation::Read, key, &error))?;
        if found.len() as u64 == wanted {
            return Ok(found);
        }
        Err(StoreError::Failed {
            operation: Operation::Read,
            url: self.object_url(key),
            cause: Cause::Other,
            detail: format!("{wanted} bytes were asked for, and it has {} there", found.len()),
        })
    }

    /// The size of an object, or `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub async fn size_bytes(&self, key: &ObjectKey) -> Result<Option<u64>, StoreError> {
        match self.store.head(&self.path(key)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(Operation::Read, key, &error)),
        }
    }

    /// Up to `max_objects` objects of the folder, none when it does not exist, by key. Markers of other
    /// programs, such as `.DS_Store`, are not among them, nor, on a file system, the parts of uploads
    /// that are under way (`<key>#<number>`).
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub async fn list(&self, max_objects: usize) -> Result<Vec<ListedObject>, StoreError> {
        let prefix = (!self.prefix.as_ref().is_empty()).then_some(&self.prefix);
        let objects = self.store.list(prefix).map_ok(|meta| ListedObject {
            key: self.relative(&meta.location),
            size_bytes: meta.size,
        });
        let objects = objects.try_filter(|object| future::ready(!markers::is_marker(object)));
        let mut objects: Vec<ListedObject> = objects
            .take(max_objects)
            .try_collect()
            .await
            .map_err(|error| self.failed_at(Operation::List, self.url.clone(), &error))?;
        objects.sort();
        Ok(objects)
    }

    /// Asks for objects below `key`, of which there are none.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub(crate) async fn list_below(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let found = self.store.list(Some(&self.path(key))).take(1).try_collect::<Vec<_>>().await;
        found.map(drop).map_err(|error| self.failed_at(Operation::List, self.url.clone(), &error))
    }

    /// Removes an object.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let deleted = self.store.delete(&self.path(key)).await;
        deleted.map_err(|error| self.failed(Operation::Delete, key, &error))
    }

    fn relative(&self, location: &StorePath) -> String {
        match location.prefix_match(&self.prefix) {
            Some(parts) => parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"),
            None => location.to_string(),
        }
    }
}
