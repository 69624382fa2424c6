//! The database in the state directory: one file with a table for each room.
use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use redb::{Database, ReadableDatabase, TableDefinition};
use serde::de::DeserializeOwned;

/// Name of the file in the state directory.
const FILE_NAME: &str = "exports.redb";

/// The format of the database that this program writes.
const STATE_FORMAT: u32 = 1;

/// The format of databases before they had a number: exports and guests, and no journals.
const FORMAT_WITHOUT_NUMBER: u32 = 0;

/// The table with the format.
const FORMAT: StateTable = TableDefinition::new("format");

/// Its only key.
const FORMAT_KEY: &str = "format";

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
    /// A newer program has written it.
    #[error(
        "{} has format {found}, and this program knows {known}: use the newer program, or another \
         --state-dir",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that is known.
        known: u32,
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
    #[error("the index of exports {}: {source}{}", path.display(), remedy(source))]
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
    /// Absent while it cannot be opened again after an error of its disk.
    database: Arc<RwLock<Option<Database>>>,
}

impl StateDatabase {
    /// Opens the database in `state_dir`, and creates both if they do not exist. Blocking.
    ///
    /// # Errors
    /// [`StateError::Directory`], [`StateError::InUse`], [`StateError::Database`].
    pub fn open(state_dir: &Path) -> Result<StateDatabase, StateError> {
        let path: Arc<Path> = state_dir.join(FILE_NAME).into();
        let unusable = |source| StateError::Directory { path: state_dir.to_owned(), source };
        let open = |path: &Path| {
            keep_private(state_dir, path).map_err(unusable)?;
            Database::create(path).map_err(|error| match error {
                redb::DatabaseError::DatabaseAlreadyOpen => {
                    StateError::InUse { path: path.to_owned() }
                }
                error => failed(path, error),
            })
        };
        if !path.try_exists().map_err(unusable)? {
            // A process that is killed while it makes the file leaves one that is none.
            let new = path.with_extension("new");
            if new.try_exists().map_err(unusable)? {
                std::fs::remove_file(&new).map_err(unusable)?;
            }
            drop(open(&new)?);
            let named =
                std::fs::rename(&new, &path).and_then(|()| File::open(state_dir)?.sync_all());
            named.map_err(unusable)?;
        }
        let database = Arc::new(RwLock::new(Some(open(&path)?)));
        let database = StateDatabase { database, path };
        database.take_format()?;
        Ok(database)
    }

    /// Brings a database of an earlier format to the one of this program.
    fn take_format(&self) -> Result<(), StateError> {
        self.create_table(FORMAT)?;
        let stored =
            self.read(FORMAT, |table| Ok(table.get(FORMAT_KEY)?.map(|v| v.value().to_vec())))?;
        let found: u32 = match stored {
            Some(json) => self.decoded(FORMAT_KEY, &json)?,
            None => FORMAT_WITHOUT_NUMBER,
        };
        if found > STATE_FORMAT {
            let path = self.path.to_path_buf();
            return Err(StateError::Newer { path, found, known: STATE_FORMAT });
        }
        // Format 1 differs by tables alone, which are made when they are needed.
        let json = STATE_FORMAT.to_string();
        self.write(FORMAT, |table| {
            table.insert(FORMAT_KEY, json.as_bytes()).map(drop).map_err(Into::into)
        })
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
        self.with(|database| read(database.begin_read()?.open_table(table)?))
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
        self.with(|database| {
            let transaction = database.begin_write()?;
            let written = write(&mut transaction.open_table(table)?)?;
            transaction.commit()?;
            Ok(written)
        })
    }

    /// Works with the database. After an error of its disk it is opened again: it takes no more calls, and
    /// the disk may have room later.
    fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StateError> {
        if self.opened().is_none() {
            self.open_again();
        }
        let worked = {
            let database = self.opened();
            match &*database {
                Some(database) => work(database),
                None => Err(redb::Error::PreviousIo),
            }
        };
        worked.map_err(|error| {
            if matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo) {
                self.open_again();
            }
            failed(&self.path, error)
        })
    }

    fn opened(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_again(&self) {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // The file's lock goes first.
        *database = None;
        match Database::create(&self.path) {
            Ok(opened) => *database = Some(opened),
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "the state cannot be opened");
            }
        }
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

/// What helps, after the text of an error.
fn remedy(error: &redb::Error) -> &'static str {
    match error {
        redb::Error::Io(error)
            if matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ) =>
        {
            "; free space there"
        }
        redb::Error::PreviousIo => {
            "; its disk is full or fails, look at the first error in the log"
        }
        _ => "",
    }
}

fn failed(path: &Path, source: impl Into<redb::Error>) -> StateError {
    StateError::Database { path: path.to_owned(), source: Box::new(source.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPORTS: StateTable = TableDefinition::new("exports");

    /// A database as it was before it had a format: a table of exports alone.
    fn without_number(state_dir: &Path) {
        let database = Database::create(state_dir.join(FILE_NAME)).unwrap();
        let writing = database.begin_write().unwrap();
        writing.open_table(EXPORTS).unwrap().insert("s3/a", &b"{}"[..]).unwrap();
        writing.commit().unwrap();
    }

    #[test]
    fn a_database_of_an_earlier_format_is_taken_up_with_its_entries() {
        let state_dir = tempfile::tempdir().unwrap();
        without_number(state_dir.path());
        for _ in 0..2 {
            let database = StateDatabase::open(state_dir.path()).unwrap();
            let entry = |table: redb::ReadOnlyTable<&'static str, &'static [u8]>| {
                Ok(table.get("s3/a")?.unwrap().value().to_vec())
            };
            assert_eq!(database.read(EXPORTS, entry).unwrap(), b"{}");
            let format =
                database.read(FORMAT, |table| Ok(table.get(FORMAT_KEY)?.unwrap().value().to_vec()));
            assert_eq!(format.unwrap(), b"1");
        }
    }

    #[test]
    fn a_database_of_a_newer_format_is_left_alone() {
        let state_dir = tempfile::tempdir().unwrap();
        let database = StateDatabase::open(state_dir.path()).unwrap();
        let newer = |table: &mut redb::Table<'_, &'static str, &'static [u8]>| {
            Ok(table.insert(FORMAT_KEY, &b"2"[..]).map(drop)?)
        };
        database.write(FORMAT, newer).unwrap();
        drop(database);
        let error = StateDatabase::open(state_dir.path()).unwrap_err();
        assert!(matches!(error, StateError::Newer { found: 2, known: 1, .. }), "{error}");
    }

    #[test]
    fn a_file_that_was_not_made_whole_is_made_again() {
        let state_dir = tempfile::tempdir().unwrap();
        std::fs::write(state_dir.path().join("exports.new"), b"half").unwrap();
        StateDatabase::open(state_dir.path()).unwrap();
        assert!(!state_dir.path().join("exports.new").exists());
    }
}
