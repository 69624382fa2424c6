//! Which export ids this server has used, where their exports lie and how they ended; on disk.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use offloom_protocol::error::StoreError;
use offloom_protocol::manifest::Outcome;
use offloom_protocol::names::ExportId;
use offloom_protocol::store::{Destination, ExportFolder};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

/// Key `<backend>/<id>`, value an [`Entry`] as JSON.
const EXPORTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("exports");

/// Name of the file in the state directory.
const FILE_NAME: &str = "exports.redb";

/// An index that could not be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The state directory cannot be made.
    #[error("the state directory {} cannot be used: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another server has it.
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
    /// An entry is not what this program writes.
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

/// An export that this server was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Kind of store, as in the path of the request.
    pub backend: String,
    /// Its id.
    pub id: ExportId,
    /// The destination that its folder lies in, as [`offloom_protocol::store::Destination`] reads it.
    pub destination: String,
    /// When its id was taken, UTC.
    pub started_at: DateTime<Utc>,
    /// Its classes, sorted.
    pub classes: Vec<String>,
    /// How it ended; absent while it runs, and after the process died.
    pub ended: Option<Ended>,
}

impl Entry {
    /// The folder that the export lies in, for reading.
    ///
    /// # Errors
    /// When its place cannot be reached any more, such as without the variables of its store.
    pub fn folder(&self) -> Result<Option<ExportFolder>, StoreError> {
        Destination::parse(&self.destination)?.existing_export_folder(&self.id)
    }
}

/// How an export ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// The outcome.
    pub outcome: Outcome,
    /// Why, unless it succeeded.
    pub error: Option<String>,
    /// When, UTC.
    pub completed_at: DateTime<Utc>,
}

/// The index. Cheap to clone; each change is on disk when its call returns.
#[derive(Debug, Clone)]
pub struct Index {
    path: Arc<Path>,
    database: Arc<Database>,
}

impl Index {
    /// Opens the index in `state_dir`, which is made if need be. Blocking.
    ///
    /// # Errors
    /// [`IndexError::Directory`], [`IndexError::InUse`], [`IndexError::Database`].
    pub fn open(state_dir: &Path) -> Result<Index, IndexError> {
        std::fs::create_dir_all(state_dir)
            .map_err(|source| IndexError::Directory { path: state_dir.to_owned(), source })?;
        let path: Arc<Path> = state_dir.join(FILE_NAME).into();
        let database = Database::create(&path).map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => {
                IndexError::InUse { path: path.to_path_buf() }
            }
            error => failed(&path, error),
        })?;
        let index = Index { path, database: Arc::new(database) };
        // A table exists once it was opened for writing.
        index.write(|_table| Ok(()))?;
        Ok(index)
    }

    /// Adds an entry unless its id was used before; says whether it was added.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn insert(&self, entry: Entry) -> Result<bool, IndexError> {
        self.blocking(move |index| {
            let key = key(&entry.backend, &entry.id);
            index.write(|table| {
                if table.get(key.as_str())?.is_some() {
                    return Ok(false);
                }
                table.insert(key.as_str(), encoded(&entry).as_slice())?;
                Ok(true)
            })
        })
        .await
    }

    /// Forgets an entry whose id could not be claimed after all.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn remove(&self, backend: &str, id: &ExportId) -> Result<(), IndexError> {
        let key = key(backend, id);
        self.blocking(move |index| {
            index.write(|table| table.remove(key.as_str()).map(|_| ()).map_err(Into::into))
        })
        .await
    }

    /// Notes how an export ended.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn end(&self, mut entry: Entry, ended: Ended) -> Result<(), IndexError> {
        entry.ended = Some(ended);
        self.blocking(move |index| {
            let key = key(&entry.backend, &entry.id);
            index.write(|table| {
                table.insert(key.as_str(), encoded(&entry).as_slice())?;
                Ok(())
            })
        })
        .await
    }

    /// The entry of an id.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn get(&self, backend: &str, id: &ExportId) -> Result<Option<Entry>, IndexError> {
        let key = key(backend, id);
        self.blocking(move |index| {
            let found =
                index.read(|table| Ok(table.get(key.as_str())?.map(|v| v.value().to_vec())))?;
            found.map(|json| index.decoded(&key, &json)).transpose()
        })
        .await
    }

    /// Entries of exports that have not ended: after a start, those that the last process left.
    /// Blocking.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn unfinished(&self) -> Result<Vec<Entry>, IndexError> {
        let all = self.read(|table| {
            let mut all = Vec::new();
            for entry in table.iter()? {
                let (key, value) = entry?;
                all.push((key.value().to_owned(), value.value().to_vec()));
            }
            Ok(all)
        })?;
        let entries = all.iter().map(|(key, json)| self.decoded(key, json));
        let unfinished = entries.filter(|entry| entry.as_ref().map_or(true, |e| e.ended.is_none()));
        unfinished.collect()
    }

    fn decoded(&self, key: &str, json: &[u8]) -> Result<Entry, IndexError> {
        serde_json::from_slice(json).map_err(|error| IndexError::Entry {
            path: self.path.to_path_buf(),
            key: key.to_owned(),
            reason: error.to_string(),
        })
    }

    fn read<T>(
        &self,
        look: impl FnOnce(redb::ReadOnlyTable<&'static str, &'static [u8]>) -> Result<T, redb::Error>,
    ) -> Result<T, IndexError> {
        let run = || look(self.database.begin_read()?.open_table(EXPORTS)?);
        run().map_err(|error| failed(&self.path, error))
    }

    fn write<T>(
        &self,
        change: impl FnOnce(&mut redb::Table<'_, &'static str, &'static [u8]>) -> Result<T, redb::Error>,
    ) -> Result<T, IndexError> {
        let run = || {
            let transaction = self.database.begin_write()?;
            let changed = change(&mut transaction.open_table(EXPORTS)?)?;
            transaction.commit()?;
            Ok(changed)
        };
        run().map_err(|error: redb::Error| failed(&self.path, error))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Index) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, IndexError> {
        let index = self.clone();
        tokio::task::spawn_blocking(move || work(&index))
            .await
            .map_err(|_stopped| IndexError::Interrupted)?
    }
}

fn key(backend: &str, id: &ExportId) -> String {
    format!("{backend}/{id}")
}

fn encoded(entry: &Entry) -> Vec<u8> {
    // Strings and times: nothing that JSON could refuse.
    serde_json::to_vec(entry).unwrap_or_default()
}

fn failed(path: &Path, source: impl Into<redb::Error>) -> IndexError {
    IndexError::Database { path: path.to_owned(), source: Box::new(source.into()) }
}
