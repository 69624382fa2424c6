//! Folders of a local file system as destinations.
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use url::Url;
use uuid::Uuid;

use crate::error::{Operation, StoreError};
use crate::store::{OpenStore, answer};

/// `file:///absolute/path/`; a path that no URL can carry is shown as it is.
pub(crate) fn folder_url(path: &Path) -> String {
    Url::from_directory_path(path).map_or_else(|()| path.display().to_string(), String::from)
}

/// Opens a folder that is there.
///
/// # Errors
/// [`StoreError::Failed`] with [`Operation::Open`].
pub(crate) fn open(path: &Path) -> Result<OpenStore, StoreError> {
    let failed = |error: &io::Error| answer::failed_io(Operation::Open, folder_url(path), error);
    let metadata = std::fs::metadata(path).map_err(|error| failed(&error))?;
    if !metadata.is_dir() {
        return Err(failed(&io::ErrorKind::NotADirectory.into()));
    }
    let store = LocalFileSystem::new_with_prefix(path)
        .map_err(|error| answer::failed(Operation::Open, folder_url(path), &error))?;
    Ok(OpenStore { objects: Arc::new(store.with_fsync(true)), uploads: None })
}

/// The nearest of `path` and the folders above it that is there.
///
/// # Errors
/// [`StoreError::Failed`] with [`Operation::Open`] where it cannot be found out.
pub(crate) fn nearest_existing(path: &Path) -> Result<&Path, StoreError> {
    let failed = |error: &io::Error| answer::failed_io(Operation::Open, folder_url(path), error);
    for folder in path.ancestors() {
        match std::fs::metadata(folder) {
            Ok(metadata) if metadata.is_dir() => return Ok(folder),
            Ok(_) => return Err(failed(&io::ErrorKind::NotADirectory.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&error)),
        }
    }
    Err(failed(&io::ErrorKind::NotFound.into()))
}

/// Files below `folder` that an upload has begun and not completed, relative to it: their names end with
/// `#` and a number. None where there is no such folder. Blocking.
pub(crate) fn leftovers(folder: &Path) -> io::Result<Vec<String>> {
    let is_leftover = |name: &str| {
        let number = name.rsplit_once('#').map(|(_, number)| number);
        number.is_some_and(|n| !n.is_empty() && n.bytes().all(|c| c.is_ascii_digit()))
    };
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        let entries = match std::fs::read_dir(&next) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if let Some(name) = path.strip_prefix(folder).ok().and_then(Path::to_str)
                && is_leftover(name)
            {
                found.push(name.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Locks a file until the answer is dropped. A process that ends lets go of its locks. Blocking.
pub(crate) fn lock(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    file.lock()?;
    Ok(file)
}

/// Refuses what is there and is neither file nor folder: opening a pipe waits for its writer, for ever.
/// Blocking.
pub(crate) fn refuse_special(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() && !found.is_dir() => {
            Err(io::Error::other("it is no regular file"))
        }
        // Reading says what is wrong.
        _ => Ok(()),
    }
}

/// Proves that `folder` is on a file system that can publish a file whole and keep it: with hard links,
/// and with fsync of files and folders.
///
/// # Errors
/// [`StoreError::UnsuitableMount`] with what is missing; [`StoreError::Failed`] with
/// [`Operation::Write`].
pub(crate) fn check_mount(folder: &Path) -> Result<(), StoreError> {
    let file = folder.join(format!(".offloom-access-check-{}", Uuid::new_v4()));
    let link = file.with_extension("link");
    let checked = try_mount(folder, &file, &link);
    for path in [&file, &link] {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound && checked.is_ok() => {
                return Err(answer::failed_io(Operation::Delete, folder_url(path), &error));
            }
            _ => {}
        }
    }
    checked
}

fn try_mount(folder: &Path, file: &Path, link: &Path) -> Result<(), StoreError> {
    let failed =
        |error: &io::Error| answer::failed_io(Operation::Write, file.display().to_string(), error);
    let unsuitable = |lacks: &'static str, error: &io::Error| match error.kind() {
        io::ErrorKind::StorageFull
        | io::ErrorKind::QuotaExceeded
        | io::ErrorKind::ReadOnlyFilesystem => failed(error),
        _ => StoreError::UnsuitableMount {
            url: folder_url(folder),
            lacks,
            detail: error.to_string(),
        },
    };
    let mut opened = File::create_new(file).map_err(|error| failed(&error))?;
    opened.write_all(b"offloom").map_err(|error| failed(&error))?;
    opened.sync_all().map_err(|error| unsuitable("fsync of files", &error))?;
    std::fs::hard_link(file, link).map_err(|error| unsuitable("hard links", &error))?;
    let opened = File::open(folder).map_err(|error| failed(&error))?;
    opened.sync_all().map_err(|error| unsuitable("fsync of folders", &error))
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
