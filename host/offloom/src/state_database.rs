//! The database in the state directory: one file with a table for each room.
use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, ReadableDatabase, TableDefinition};
use serde::de::DeserializeOwned;

/// Name of the file in the state directory.
const FILE_NAME: &str = "exports.redb";

/// Why the state of the server could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The state directory cannot be created.
    #[error("the state directory {} cannot be used: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another server uses it.
    #[error(
        "{} is used by another server: give each server a --state-dir of its own",
        path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The database failed.
    #[error("the index of exports {}: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: Box<redb::Error>,
    },
    /// An entry has another form than this program writes.
    #[error("the index of exports {}, entry {key}: {reason}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The entry's key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// The runtime is shutting down.
    #[error("interrupted")]
    Interrupted,
}

/// A table of the database: keys are texts, values JSON.
pub type StateTable = TableDefinition<'static, &'static str, &'static [u8]>;

/// The open database. Cheap to clone; each change is on disk when its call returns.
#[derive(Debug, Clone)]
pub struct StateDatabase {
    path: Arc<Path>,
    database: Arc<Database>,
}

impl StateDatabase {
    /// Opens the database in `state_dir`, and creates both if they do not exist. Blocking.
    ///
    /// # Errors
    /// [`StateError::Directory`], [`StateError::InUse`], [`StateError::Database`].
    pub fn open(state_dir: &Path) -> Result<StateDatabase, StateError> {
        let path: Arc<Path> = state_dir.join(FILE_NAME).into();
        keep_private(state_dir, &path)
            .map_err(|source| StateError::Directory { path: state_dir.to_owned(), source })?;
        let database = Database::create(&path).map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => {
                StateError::InUse { path: path.to_path_buf() }
            }
            error => failed(&path, error),
        })?;
        Ok(StateDatabase { path, database: Arc::new(database) })
    }

    /// Makes sure that a table is there.
    ///
    /// # Errors
    /// [`StateError::Database`].
    pub fn create_table(&self, table: StateTable) -> Result<(), StateError> {
        // Opening a table for writing creates it.
        self.write(table, |_table| Ok(()))
    }

    /// Reads a value.
    ///
    /// # Errors
    /// [`StateError::Entry`].
    pub fn decoded<T: DeserializeOwned>(&self, key: &str, json: &[u8]) -> Result<T, StateError> {
        serde_json::from_slice(json).map_err(|error| StateError::Entry {
            path: self.path.to_path_buf(),
            key: key.to_owned(),
            reason: error.to_string(),
        })
    }

    /// Reads a table.
    ///
    /// # Errors
    /// [`StateError::Database`].
    pub fn read<T>(
        &self,
        table: StateTable,
        read: impl FnOnce(redb::ReadOnlyTable<&'static str, &'static [u8]>) -> Result<T, redb::Error>,
    ) -> Result<T, StateError> {
        let transaction = || read(self.database.begin_read()?.open_table(table)?);
        transaction().map_err(|error| failed(&self.path, error))
    }

    /// Changes a table, all or nothing.
    ///
    /// # Errors
    /// [`StateError::Database`].
    pub fn write<T>(
        &self,
        table: StateTable,
        write: impl FnOnce(&mut redb::Table<'_, &'static str, &'static [u8]>) -> Result<T, redb::Error>,
    ) -> Result<T, StateError> {
        let change = || {
            let transaction = self.database.begin_write()?;
            let written = write(&mut transaction.open_table(table)?)?;
            transaction.commit()?;
            Ok(written)
        };
        change().map_err(|error: redb::Error| failed(&self.path, error))
    }

    /// Works on a thread that may block.
    ///
    /// # Errors
    /// Those of the work; [`StateError::Interrupted`].
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&StateDatabase) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, StateError> {
        let database = self.clone();
        tokio::task::spawn_blocking(move || work(&database))
            .await
            .map_err(|_stopped| StateError::Interrupted)?
    }
}

/// Creates the folder and the file for this user alone: names of classes are in it. A file that an
/// earlier version has left open to others is closed to them.
fn keep_private(state_dir: &Path, file: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(state_dir)?;
    let file = File::options().append(true).create(true).mode(0o600).open(file)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(())
}

fn failed(path: &Path, source: impl Into<redb::Error>) -> StateError {
    StateError::Database { path: path.to_owned(), source: Box::new(source.into()) }
}
