//! Where exports are stored: a destination, the folder of one export in it, and its objects.
mod answer;
mod filesystem;
mod s3;

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path as StorePath;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::error::{Cause, Operation, StoreError};
use crate::names::{ExportId, ObjectKey};
pub(crate) use s3::Patience;
pub use s3::S3Options;
use s3::S3Place;

/// The largest object that is created whole, and therefore read back, when in doubt.
const MAX_READ_BACK_BYTES: u64 = 512 * 1024 * 1024;

/// How long a conditional write is retried after a conflict with an object that does not exist.
const CREATE_PATIENCE: Duration = Duration::from_secs(10);

/// The pause before such a retry.
const CREATE_PAUSE: Duration = Duration::from_millis(200);

/// A place for exports, parsed but not opened: `s3://bucket/prefix/`, `file:///absolute/path/`, or
/// a path, which may be relative to the working directory. As text it is a URL that parses back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    place: Place,
}

/// One variant a kind of store.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// An absolute path.
    Filesystem(PathBuf),
    S3(S3Place),
}

impl Destination {
    /// Reads a destination. For S3 the process's `AWS_*` variables are taken, see
    /// [`Destination::with_s3_options`]; what stands after the bucket is taken as it is, without
    /// unescaping.
    ///
    /// # Errors
    /// [`StoreError::UnknownScheme`] for a scheme without a store, [`StoreError::BadDestination`]
    /// for a `file:` URL that has a host, a query or a fragment, for an empty path, and for a
    /// bucket or prefix that breaks the rules.
    pub fn parse(text: &str) -> Result<Destination, StoreError> {
        match split_scheme(text) {
            None => Destination::filesystem(Path::new(text)),
            Some(("file", rest)) => {
                let bad = |reason: &str| bad_destination(text, reason);
                if !rest.starts_with("///") {
                    return Err(bad("a file URL has three slashes: file:///absolute/path/"));
                }
                let url = Url::parse(text).map_err(|error| bad(&error.to_string()))?;
                if url.query().is_some() || url.fragment().is_some() {
                    return Err(bad("in a file URL write '?' as %3F and '#' as %23"));
                }
                let path = url.to_file_path();
                let path = path.map_err(|()| bad("it is not the URL of an absolute path"))?;
                Destination::filesystem(&path)
            }
            Some(("s3", rest)) => {
                let rest = rest.strip_prefix("//").unwrap_or(rest);
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                Destination::s3(bucket, prefix)
            }
            Some((scheme, _)) => Err(StoreError::UnknownScheme { scheme: scheme.to_owned() }),
        }
    }

    /// A folder of the file system.
    ///
    /// # Errors
    /// [`StoreError::BadDestination`] for an empty path.
    pub fn filesystem(path: &Path) -> Result<Destination, StoreError> {
        let absolute = std::path::absolute(path)
            .map_err(|error| bad_destination(&path.display().to_string(), &error.to_string()))?;
        Ok(Destination { place: Place::Filesystem(absolute) })
    }

    /// A prefix of a bucket, such as `exports/2026` or nothing; a slash at its end does not matter.
    /// The process's `AWS_*` variables say how the bucket is reached.
    ///
    /// # Errors
    /// [`StoreError::BadDestination`] for a bucket or prefix that breaks the rules.
    pub fn s3(bucket: &str, prefix: &str) -> Result<Destination, StoreError> {
        S3Place::new(bucket, prefix, S3Options::from_env())
            .map(|place| Destination { place: Place::S3(place) })
            .map_err(|reason| bad_destination(&format!("s3://{bucket}/{prefix}"), &reason))
    }

    /// The same place, reached in another way than the process's variables say. Without a meaning
    /// for a file system.
    pub fn with_s3_options(mut self, options: S3Options) -> Destination {
        if let Place::S3(place) = &mut self.place {
            place.options = options;
        }
        self
    }

    /// The name of the backend, as the manifest and the API call it.
    pub fn backend(&self) -> &'static str {
        match &self.place {
            Place::Filesystem(_) => "filesystem",
            Place::S3(_) => "s3",
        }
    }

    /// The address, with a slash at its end.
    pub fn url(&self) -> String {
        match &self.place {
            Place::Filesystem(path) => filesystem::folder_url(path),
            Place::S3(place) => place.url(),
        }
    }

    /// The folder of the export `id`, for writing. On a file system what is missing on the way to
    /// it is created; the folder itself appears with its first object.
    ///
    /// # Errors
    /// [`StoreError::Failed`] with [`Operation::Open`], [`StoreError::BadS3Options`].
    pub fn export_folder(&self, id: &ExportId) -> Result<ExportFolder, StoreError> {
        self.create_folders()?;
        let parent = self.open(Patience::Export)?;
        let url = format!("{}{id}/", parent.url);
        Ok(ExportFolder { prefix: parent.prefix.join(id.as_str()), url, ..parent })
    }

    /// The folder of the export `id`, for reading: nothing is created. `None` where the file system
    /// has no such folder; a bucket is not asked.
    ///
    /// # Errors
    /// [`StoreError::Failed`] with [`Operation::Open`], [`StoreError::BadS3Options`].
    pub fn existing_export_folder(
        &self,
        id: &ExportId,
    ) -> Result<Option<ExportFolder>, StoreError> {
        match &self.place {
            Place::S3(_) => self.export_folder(id).map(Some),
            Place::Filesystem(path) => {
                match Destination::filesystem(&path.join(id.as_str()))?.as_export_folder() {
                    Ok(folder) => Ok(Some(folder)),
                    Err(error) if error.cause() == Some(Cause::NotFound) => Ok(None),
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// Takes this destination for the folder of one export, for reading.
    ///
    /// # Errors
    /// [`StoreError::Failed`] with [`Operation::Open`] when there is no such folder on the file
    /// system, [`StoreError::BadS3Options`].
    pub fn as_export_folder(&self) -> Result<ExportFolder, StoreError> {
        self.open(Patience::Export)
    }

    pub(crate) fn create_folders(&self) -> Result<(), StoreError> {
        match &self.place {
            Place::Filesystem(path) => filesystem::create_folders(path),
            Place::S3(_) => Ok(()),
        }
    }

    pub(crate) fn open(&self, patience: Patience) -> Result<ExportFolder, StoreError> {
        let (store, prefix) = match &self.place {
            Place::Filesystem(path) => (filesystem::open(path)?, StorePath::default()),
            Place::S3(place) => (place.open(patience)?, place.prefix.clone()),
        };
        Ok(ExportFolder::new(store, prefix, self.url()))
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url())
    }
}

fn bad_destination(text: &str, reason: &str) -> StoreError {
    let text = text.chars().flat_map(char::escape_debug).collect();
    StoreError::BadDestination { text, reason: reason.to_owned() }
}

/// Splits `scheme:rest` where the scheme is one (RFC 3986, 3.1) and has two letters at least.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let is_scheme = scheme.len() >= 2
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c))
        && (rest.starts_with("//") || scheme == "file");
    is_scheme.then_some((scheme, rest))
}

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
    /// Aborts of uploads that were dropped.
    aborts: TaskTracker,
}

impl ExportFolder {
    /// A folder at `prefix` of `store`; `url` is what messages call it, with a slash at its end.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: StorePath, url: String) -> ExportFolder {
        ExportFolder { store, prefix, url, aborts: TaskTracker::new() }
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
        answer::failed(operation, self.object_url(key), error)
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
        let found = self.store.get_range(&self.path(key), range).await;
        found.map_err(|error| self.failed(Operation::Read, key, &error))
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

    /// Up to `max_objects` objects of the folder, none when it does not exist, by key. On a file
    /// system the parts of uploads that are under way (`<key>#<number>`) are not among them.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub async fn list(&self, max_objects: usize) -> Result<Vec<ListedObject>, StoreError> {
        let prefix = (!self.prefix.as_ref().is_empty()).then_some(&self.prefix);
        let metas: Vec<_> = self
            .store
            .list(prefix)
            .take(max_objects)
            .try_collect()
            .await
            .map_err(|error| answer::failed(Operation::List, self.url.clone(), &error))?;
        let mut objects: Vec<ListedObject> = metas
            .into_iter()
            .map(|meta| ListedObject { key: self.relative(&meta.location), size_bytes: meta.size })
            .collect();
        objects.sort();
        Ok(objects)
    }

    /// Asks for objects below `key`, of which there are none.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub(crate) async fn list_below(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let found = self.store.list(Some(&self.path(key))).take(1).try_collect::<Vec<_>>().await;
        found.map(drop).map_err(|error| answer::failed(Operation::List, self.url.clone(), &error))
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
