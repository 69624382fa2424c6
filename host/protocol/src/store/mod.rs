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
pub mod traffic;
pub mod uploads;

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future};
use object_store::path::Path as StorePath;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutPayload, UpdateVersion};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::digest::DigestAlgorithm;
use crate::error::{Cause, Operation, StoreError};
use crate::names::{Attempt, ExportId, ObjectKey};
use crate::upload_log::UploadLog;
pub use destination::Destination;
pub use options::StoreOptions;
pub(crate) use patience::Patience;
use uploads::{ListedUpload, UploadStore};

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
    /// The attempt that owns the export.
    attempt: Attempt,
    /// The attempt whose mark the keys of new objects have.
    names: Attempt,
    /// Uploads by their ids, where the store has them.
    uploads: Option<Arc<dyn UploadStore>>,
    /// Where notes of uploads are kept.
    log: Option<Arc<dyn UploadLog>>,
    /// Aborts of uploads that were dropped.
    aborts: TaskTracker,
}

/// A store as it was opened.
#[derive(Debug, Clone)]
pub(crate) struct OpenStore {
    pub objects: Arc<dyn ObjectStore>,
    /// Uploads by their ids, where the store has them.
    pub uploads: Option<Arc<dyn UploadStore>>,
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
            attempt: Attempt::FIRST,
            names: Attempt::FIRST,
            uploads: None,
            log: None,
            aborts: TaskTracker::new(),
        }
    }

    /// The same folder of a store whose uploads have ids.
    #[must_use]
    pub fn with_uploads(self, uploads: Arc<dyn UploadStore>) -> ExportFolder {
        ExportFolder { uploads: Some(uploads), ..self }
    }

    /// The same folder; notes of its uploads are kept in `log`.
    #[must_use]
    pub fn with_log(self, log: Arc<dyn UploadLog>) -> ExportFolder {
        ExportFolder { log: Some(log), ..self }
    }

    /// The same folder, owned by `attempt`; the keys of new objects have the mark of `names`.
    #[must_use]
    pub fn with_attempt(self, attempt: Attempt, names: Attempt) -> ExportFolder {
        ExportFolder { attempt, names, ..self }
    }

    /// The attempt that owns the export.
    pub fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// The attempt whose mark the keys of new objects have: that of an earlier attempt where this one
    /// continues its files.
    pub fn names(&self) -> Attempt {
        self.names
    }

    /// Uploads by their ids, where the store has them.
    pub fn uploads(&self) -> Option<&Arc<dyn UploadStore>> {
        self.uploads.as_ref()
    }

    /// Where notes of uploads are kept.
    pub(crate) fn log(&self) -> Option<&Arc<dyn UploadLog>> {
        self.log.as_ref()
    }

    /// The folder of the export `id` in this one.
    #[must_use]
    pub fn of_export(&self, id: &ExportId) -> ExportFolder {
        let url = format!("{}{id}/", self.url);
        ExportFolder { prefix: self.prefix.clone().join(id.as_str()), url, ..self.clone() }
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

    pub(crate) fn failed_at(
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

    /// Writes an object in the place of one that is there with the content `before`, unless it has
    /// another content by then. When the store gives no clear answer, what is there is read back and
    /// compared, as in [`ExportFolder::create`].
    ///
    /// # Errors
    /// [`StoreError::Failed`] when the object could not be written, or not be read back.
    pub async fn replace(
        &self,
        key: &ObjectKey,
        before: &Bytes,
        content: Bytes,
    ) -> Result<Created, StoreError> {
        // Another process that would replace it waits for the lock; a file system has no other condition.
        let _lock = match &self.local_root {
            Some(root) => {
                let file = root.join(self.path(key).as_ref());
                let locked = tokio::task::spawn_blocking(move || filesystem::lock(&file)).await;
                let locked = locked.map_err(io::Error::other).flatten();
                Some(locked.map_err(|error| {
                    answer::failed_io(Operation::Write, self.object_url(key), &error)
                })?)
            }
            None => None,
        };
        let path = self.path(key);
        let failed = |error| self.failed(Operation::Read, key, &error);
        let found = self.store.get_opts(&path, GetOptions::default()).await.map_err(failed)?;
        let version =
            UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        let there = found.bytes().await.map_err(failed)?;
        if there != *before {
            return Ok(if there == content { Created::Ours } else { Created::Theirs(there) });
        }
        let mode =
            if self.local_root.is_some() { PutMode::Overwrite } else { PutMode::Update(version) };
        let payload = PutPayload::from_bytes(content.clone());
        match self.store.put_opts(&path, payload, mode.into()).await {
            Ok(_) => Ok(Created::Ours),
            Err(error) => match self.read(key, MAX_READ_BACK_BYTES).await {
                Ok(found) if found == content => Ok(Created::Ours),
                Ok(found) if found != *before => Ok(Created::Theirs(found)),
                _ => Err(self.failed(Operation::Write, key, &error)),
            },
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
        let objects = self.store.list(self.prefix()).map_ok(|meta| ListedObject {
            key: self.relative_path(&meta.location),
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

    /// The uploads in parts below the folder; `None` if the store cannot be asked for them.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub async fn list_uploads(&self) -> Result<Option<Vec<ListedUpload>>, StoreError> {
        let Some(uploads) = &self.uploads else { return Ok(None) };
        let listed = uploads.list(&self.prefix).await;
        listed.map_err(|error| self.failed_at(Operation::List, self.url.clone(), &error))
    }

    /// Aborts an upload; one that is gone already is no error.
    ///
    /// # Errors
    /// [`StoreError::Failed`] with [`Operation::Abort`].
    pub async fn abort_upload(&self, path: &StorePath, upload_id: &str) -> Result<(), StoreError> {
        let Some(uploads) = &self.uploads else { return Ok(()) };
        match uploads.abort(path, &upload_id.to_owned()).await {
            Err(object_store::Error::NotFound { .. }) | Ok(()) => Ok(()),
            Err(error) => {
                let url = format!("{}{}", self.url, self.relative_path(path));
                Err(self.failed_at(Operation::Abort, url, &error))
            }
        }
    }

    /// The parts of uploads on a file system that were never completed (`<key>#<number>`), by name; none
    /// elsewhere.
    ///
    /// # Errors
    /// [`StoreError::Failed`] with [`Operation::List`].
    pub async fn list_leftovers(&self) -> Result<Vec<String>, StoreError> {
        let Some(root) = &self.local_root else { return Ok(Vec::new()) };
        let folder = root.join(self.prefix.as_ref());
        let listed = tokio::task::spawn_blocking(move || filesystem::leftovers(&folder)).await;
        let listed = listed.map_err(io::Error::other).flatten();
        listed.map_err(|error| answer::failed_io(Operation::List, self.url.clone(), &error))
    }

    /// Removes one of [`ExportFolder::list_leftovers`].
    ///
    /// # Errors
    /// [`StoreError::Failed`] with [`Operation::Delete`].
    pub async fn remove_leftover(&self, name: &str) -> Result<(), StoreError> {
        let Some(root) = &self.local_root else { return Ok(()) };
        let file = root.join(self.prefix.as_ref()).join(name);
        let removed = tokio::task::spawn_blocking(move || std::fs::remove_file(file)).await;
        match removed.map_err(io::Error::other).flatten() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let url = format!("{}{name}", self.url);
                Err(answer::failed_io(Operation::Delete, url, &error))
            }
            _ => Ok(()),
        }
    }

    /// The path of an object in the store.
    pub fn store_path(&self, key: &ObjectKey) -> StorePath {
        self.path(key)
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

    /// Where its objects begin in the store; `None` for the whole store.
    pub(crate) fn prefix(&self) -> Option<&StorePath> {
        (!self.prefix.as_ref().is_empty()).then_some(&self.prefix)
    }

    /// A path of the store relative to the folder.
    pub fn relative_path(&self, location: &StorePath) -> String {
        match location.prefix_match(&self.prefix) {
            Some(parts) => parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"),
            None => location.to_string(),
        }
    }
}
