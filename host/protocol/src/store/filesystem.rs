//! Folders of a local file system as destinations.
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use url::Url;

use crate::error::{Operation, StoreError};
use crate::store::answer;

/// `file:///absolute/path/`; a path that no URL can carry is shown as it is.
pub(crate) fn folder_url(path: &Path) -> String {
    Url::from_directory_path(path).map_or_else(|()| path.display().to_string(), String::from)
}

/// Opens a folder that is there.
///
/// # Errors
/// [`StoreError::Failed`] with [`Operation::Open`].
pub(crate) fn open(path: &Path) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let failed = |error: &io::Error| answer::failed_io(Operation::Open, folder_url(path), error);
    let metadata = std::fs::metadata(path).map_err(|error| failed(&error))?;
    if !metadata.is_dir() {
        return Err(failed(&io::ErrorKind::NotADirectory.into()));
    }
    let store = LocalFileSystem::new_with_prefix(path)
        .map_err(|error| answer::failed(Operation::Open, folder_url(path), &error))?;
    Ok(Arc::new(store.with_fsync(true)))
}

/// Creates the folders that are missing, and makes them last: the parent of each is synced, as
/// `LocalFileSystem` does below its root.
///
/// # Errors
/// [`StoreError::Failed`] with [`Operation::Open`].
pub(crate) fn create_folders(path: &Path) -> Result<(), StoreError> {
    let create = || -> io::Result<()> {
        let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
        std::fs::create_dir_all(path).map_err(|error| match error.kind() {
            // A file has the folder's name.
            io::ErrorKind::AlreadyExists => io::ErrorKind::NotADirectory.into(),
            _ => error,
        })?;
        for folder in missing {
            if let Some(parent) = folder.parent() {
                File::open(parent)?.sync_all()?;
            }
        }
        Ok(())
    };
    create().map_err(|error| answer::failed_io(Operation::Open, folder_url(path), &error))
}
