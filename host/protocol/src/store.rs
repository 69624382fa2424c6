//! Places where exports lie: a destination, the folder of one export in it, and its objects.
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path as StorePath;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use url::Url;

use crate::error::{Cause, Operation, StoreError};
use crate::names::{ExportId, ObjectKey};

/// The largest object that is created whole, and therefore read back, when in doubt.
const MAX_READ_BACK_BYTES: u64 = 512 * 1024 * 1024;

/// A place for exports, parsed but not opened: `file:///absolute/path/`, or a path, which may be
/// relative to the working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    place: Place,
}

/// One variant a kind of store.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// An absolute path.
    Filesystem(PathBuf),
}

impl Destination {
    /// Reads a destination.
    ///
    /// # Errors
    /// [`StoreError::UnknownScheme`] for a scheme without a store, [`StoreError::BadDestination`]
    /// for a `file:` URL that has a host, a query or a fragment, and for an empty path.
    pub fn parse(text: &str) -> Result<Destination, StoreError> {
        let bad = |reason: &str| StoreError::BadDestination {
            text: text.to_owned(),
            reason: reason.to_owned(),
        };
        let path = match split_scheme(text) {
            None => PathBuf::from(text),
            Some(("file", rest)) => {
                if !rest.starts_with("///") {
                    return Err(bad("a file URL has three slashes: file:///absolute/path/"));
                }
                let url = Url::parse(text).map_err(|error| bad(&error.to_string()))?;
                if url.query().is_some() || url.fragment().is_some() {
                    return Err(bad("in a file URL write '?' as %3F and '#' as %23"));
                }
                url.to_file_path().map_err(|()| bad("it is not the URL of an absolute path"))?
            }
            Some((scheme, _)) => {
                return Err(StoreError::UnknownScheme { scheme: scheme.to_owned() });
            }
        };
        let path = std::path::absolute(&path).map_err(|error| bad(&error.to_string()))?;
        Ok(Destination { place: Place::Filesystem(path) })
    }

    /// The name of the backend, as the manifest and the API call it.
    pub fn backend(&self) -> &'static str {
        match &self.place {
            Place::Filesystem(_) => "filesystem",
        }
    }

    /// The folder of the export `id`, for writing. What is missing on the way to it is created;
    /// the folder itself appears with its first object.
    ///
    /// # Errors
    /// [`StoreError::Failed`] with [`Operation::Open`].
    pub fn export_folder(&self, id: &ExportId) -> Result<ExportFolder, StoreError> {
        match &self.place {
            Place::Filesystem(path) => {
                create_folders(path)
                    .map_err(|e| StoreError::of_io(Operation::Open, folder_url(path), &e))?;
                let prefix = StorePath::from(id.as_str());
                Ok(ExportFolder::new(
                    open_filesystem(path)?,
                    prefix,
                    folder_url(&path.join(id.as_str())),
                ))
            }
        }
    }

    /// Takes this destination for the folder of one export, for reading.
    ///
    /// # Errors
    /// [`StoreError::Failed`] with [`Operation::Open`] when there is no such folder.
    pub fn as_export_folder(&self) -> Result<ExportFolder, StoreError> {
        match &self.place {
            Place::Filesystem(path) => Ok(ExportFolder::new(
                open_filesystem(path)?,
                StorePath::default(),
                folder_url(path),
            )),
        }
    }
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

/// `file:///absolute/path/`; a path that no URL can carry is shown as it is.
fn folder_url(path: &Path) -> String {
    Url::from_directory_path(path).map_or_else(|()| path.display().to_string(), String::from)
}

fn open_filesystem(path: &Path) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let failed = |error: &io::Error| StoreError::of_io(Operation::Open, folder_url(path), error);
    let metadata = std::fs::metadata(path).map_err(|error| failed(&error))?;
    if !metadata.is_dir() {
        return Err(failed(&io::ErrorKind::NotADirectory.into()));
    }
    let store = LocalFileSystem::new_with_prefix(path)
        .map_err(|error| StoreError::new(Operation::Open, folder_url(path), &error))?;
    Ok(Arc::new(store.with_fsync(true)))
}

/// Creates the folders that are missing, and makes them last: the parent of each is synced, as
/// `LocalFileSystem` does below its root.
fn create_folders(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    std::fs::create_dir_all(path)?;
    for folder in missing {
        if let Some(parent) = folder.parent() {
            File::open(parent)?.sync_all()?;
        }
    }
    Ok(())
}

/// What came of writing an object that must not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It was created, now or by an earlier try whose answer was lost.
    Ours,
    /// Somebody else's is there, with this content.
    Theirs(Bytes),
}

/// An object of a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedObject {
    /// Its key relative to the folder. Unchecked: anybody may have put it there.
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
}

impl ExportFolder {
    /// A folder at `prefix` of `store`; `url` is what messages call it, with a slash at its end.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: StorePath, url: String) -> ExportFolder {
        ExportFolder { store, prefix, url }
    }

    /// The address of the folder, such as `file:///exports/my-export/`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address of one object.
    pub fn object_url(&self, key: &ObjectKey) -> String {
        format!("{}{key}", self.url)
    }

    pub(crate) fn store(&self) -> &dyn ObjectStore {
        self.store.as_ref()
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
        StoreError::new(operation, self.object_url(key), error)
    }

    /// Writes an object that must not exist yet. When the store says that it does, or gives no
    /// clear answer, what is there is read back and compared: an answer may have been lost on the
    /// way, and the write that it answered may have been ours. Content that must not be mistaken
    /// for another writer's therefore holds something that only its writer knows.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when the object could not be written, or not be read back.
    pub async fn create(&self, key: &ObjectKey, content: Bytes) -> Result<Created, StoreError> {
        let payload = PutPayload::from_bytes(content.clone());
        let path = self.path(key);
        let Err(error) = self.store.put_opts(&path, payload, PutMode::Create.into()).await else {
            return Ok(Created::Ours);
        };
        let failure = self.failed(Operation::Write, key, &error);
        match (failure.cause(), self.read(key, MAX_READ_BACK_BYTES).await) {
            (_, Ok(found)) if found == content => Ok(Created::Ours),
            (Some(Cause::AlreadyExists), Ok(found)) => Ok(Created::Theirs(found)),
            (Some(Cause::AlreadyExists), Err(unreadable)) => Err(unreadable),
            _ => Err(failure),
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
            .map_err(|error| StoreError::new(Operation::List, self.url.clone(), &error))?;
        let mut objects: Vec<ListedObject> = metas
            .into_iter()
            .map(|meta| ListedObject { key: self.relative(&meta.location), size_bytes: meta.size })
            .collect();
        objects.sort();
        Ok(objects)
    }

    fn relative(&self, location: &StorePath) -> String {
        match location.prefix_match(&self.prefix) {
            Some(parts) => parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"),
            None => location.to_string(),
        }
    }
}
