//! The exports that this server was asked for, on disk: where they are and how they ended.
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::Args;
use offloom_protocol::error::StoreError;
use offloom_protocol::manifest::{CoveredTenants, Manifest, Outcome};
use offloom_protocol::names::ExportId;
use offloom_protocol::store::{Destination, ExportFolder};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

/// Settings of the index.
#[derive(Debug, Clone, Default, Args, Deserialize, Serialize)]
#[serde(default)]
pub struct IndexConfig {
    /// Where the server remembers its exports [default: $XDG_STATE_HOME/offloom]
    #[arg(long, env = "OFFLOOM_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl IndexConfig {
    /// The state directory; `None` if it is not set and there is no home directory.
    pub fn state_dir(&self) -> Option<PathBuf> {
        let variable = |name: &str| {
            std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
        };
        let default = || {
            variable("XDG_STATE_HOME")
                .or_else(|| variable("HOME").map(|home| home.join(".local/state")))
                .map(|state| state.join("offloom"))
        };
        self.state_dir.clone().or_else(default)
    }
}

/// Key `<backend>/<id>`, value an [`IndexEntry`] as JSON.
const EXPORTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("exports");

/// Name of the file in the state directory.
const FILE_NAME: &str = "exports.redb";

/// Why the index could not be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
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

/// An export that this server was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexEntry {
    /// Kind of store, as in the path of the request.
    pub backend: String,
    /// Its id.
    pub id: ExportId,
    /// The destination that holds its folder, as [`Destination::parse`] reads it.
    pub destination: String,
    /// When its id was taken, UTC.
    pub started_at: DateTime<Utc>,
    /// The one who asked for it, such as `db:alice`; absent in entries of versions before users.
    #[serde(default)]
    pub principal: Option<String>,
    /// Its classes, sorted.
    pub classes: Vec<String>,
    /// Which tenants it covers of the classes of which it does not cover all.
    #[serde(default)]
    pub tenants: BTreeMap<String, CoveredTenants>,
    /// How it ended; absent while it runs, and if the process died.
    pub ended: Option<ExportEnd>,
}

impl IndexEntry {
    /// The folder of the export, for reading.
    ///
    /// # Errors
    /// If its store cannot be used any more, such as without the variables of S3.
    pub fn folder(&self) -> Result<Option<ExportFolder>, StoreError> {
        Destination::parse(&self.destination)?.existing_export_folder(&self.id)
    }
}

/// How an export ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportEnd {
    /// The outcome.
    pub outcome: Outcome,
    /// Why, unless it succeeded.
    pub error: Option<String>,
    /// When, UTC.
    pub completed_at: DateTime<Utc>,
    /// Whether it lacks something that it was allowed to lack. Only its manifest lists what.
    #[serde(default)]
    pub partial: bool,
}

impl ExportEnd {
    /// The end that a manifest states.
    pub fn of_manifest(manifest: &Manifest) -> ExportEnd {
        ExportEnd {
            outcome: manifest.status,
            error: manifest.error.clone(),
            completed_at: manifest.completed_at,
            partial: manifest.partial,
        }
    }

    /// The end, now, of an export that failed without a manifest.
    pub fn failed(error: Option<String>) -> ExportEnd {
        ExportEnd { outcome: Outcome::Failed, error, completed_at: Utc::now(), partial: false }
    }
}

/// The index. Cheap to clone; each change is on disk when its call returns.
#[derive(Debug, Clone)]
pub struct ExportIndex {
    path: Arc<Path>,
    database: Arc<Database>,
}

impl ExportIndex {
    /// Opens the index in `state_dir`, and creates both if they do not exist. Blocking.
    ///
    /// # Errors
    /// [`IndexError::Directory`], [`IndexError::InUse`], [`IndexError::Database`].
    pub fn open(state_dir: &Path) -> Result<ExportIndex, IndexError> {
        let path: Arc<Path> = state_dir.join(FILE_NAME).into();
        keep_private(state_dir, &path)
            .map_err(|source| IndexError::Directory { path: state_dir.to_owned(), source })?;
        let database = Database::create(&path).map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => {
                IndexError::InUse { path: path.to_path_buf() }
            }
            error => failed(&path, error),
        })?;
        let index = ExportIndex { path, database: Arc::new(database) };
        // Opening a table for writing creates it.
        index.write(|_table| Ok(()))?;
        Ok(index)
    }

    /// Adds an entry unless its id was used before. Returns whether it was added.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn insert(&self, entry: IndexEntry) -> Result<bool, IndexError> {
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

    /// Removes an entry whose id could not be claimed.
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

    /// Records how an export ended.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn end(&self, mut entry: IndexEntry, ended: ExportEnd) -> Result<(), IndexError> {
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
    pub async fn get(
        &self,
        backend: &str,
        id: &ExportId,
    ) -> Result<Option<IndexEntry>, IndexError> {
        let key = key(backend, id);
        self.blocking(move |index| {
            let found =
                index.read(|table| Ok(table.get(key.as_str())?.map(|v| v.value().to_vec())))?;
            found.map(|json| index.decoded(&key, &json)).transpose()
        })
        .await
    }

    /// Entries of exports that have not ended. At the start of a server these are the ones that the
    /// last process left unfinished. Blocking.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn unfinished(&self) -> Result<Vec<IndexEntry>, IndexError> {
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

    fn decoded(&self, key: &str, json: &[u8]) -> Result<IndexEntry, IndexError> {
        serde_json::from_slice(json).map_err(|error| IndexError::Entry {
            path: self.path.to_path_buf(),
            key: key.to_owned(),
            reason: error.to_string(),
        })
    }

    fn read<T>(
        &self,
        read: impl FnOnce(redb::ReadOnlyTable<&'static str, &'static [u8]>) -> Result<T, redb::Error>,
    ) -> Result<T, IndexError> {
        let transaction = || read(self.database.begin_read()?.open_table(EXPORTS)?);
        transaction().map_err(|error| failed(&self.path, error))
    }

    fn write<T>(
        &self,
        write: impl FnOnce(&mut redb::Table<'_, &'static str, &'static [u8]>) -> Result<T, redb::Error>,
    ) -> Result<T, IndexError> {
        let change = || {
            let transaction = self.database.begin_write()?;
            let written = write(&mut transaction.open_table(EXPORTS)?)?;
            transaction.commit()?;
            Ok(written)
        };
        change().map_err(|error: redb::Error| failed(&self.path, error))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ExportIndex) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, IndexError> {
        let index = self.clone();
        tokio::task::spawn_blocking(move || work(&index))
            .await
            .map_err(|_stopped| IndexError::Interrupted)?
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

fn key(backend: &str, id: &ExportId) -> String {
    format!("{backend}/{id}")
}

fn encoded(entry: &IndexEntry) -> Vec<u8> {
    // Strings and times always have a form in JSON.
    serde_json::to_vec(entry).unwrap_or_default()
}

fn failed(path: &Path, source: impl Into<redb::Error>) -> IndexError {
    IndexError::Database { path: path.to_owned(), source: Box::new(source.into()) }
}
