//! The exports that this server was asked for, on disk: where they are and how they ended.
use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Args;
use offloom_protocol::error::StoreError;
use offloom_protocol::manifest::{CoveredTenants, Manifest, Outcome};
use offloom_protocol::names::ExportId;
use offloom_protocol::store::{Destination, ExportFolder};
use redb::{ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::quotas::{OverQuota, Quotas};
use crate::state_database::{StateDatabase, StateError, StateTable};

/// Settings of the index.
#[derive(Debug, Clone, Default, Args, Deserialize, Serialize)]
#[serde(default)]
pub struct IndexConfig {
    /// Where the server remembers its exports [default: $XDG_STATE_HOME/offloom]
    #[arg(long, env = "OFFLOOM_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
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
const EXPORTS: StateTable = TableDefinition::new("exports");

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

/// Whether an entry was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It was.
    Yes,
    /// Its id was used before.
    IdInUse,
    /// Its user has as many as may be.
    OverQuota(OverQuota),
}

/// The index. Cheap to clone; each change is on disk when its call returns.
#[derive(Debug, Clone)]
pub struct ExportIndex(StateDatabase);

impl ExportIndex {
    /// The index in an open database. Blocking.
    ///
    /// # Errors
    /// [`StateError::Database`].
    pub fn new(database: StateDatabase) -> Result<ExportIndex, StateError> {
        database.create_table(EXPORTS)?;
        Ok(ExportIndex(database))
    }

    /// Adds an entry unless its id was used before, or its user has as many as may be.
    ///
    /// # Errors
    /// [`StateError`].
    pub async fn insert(&self, entry: IndexEntry, quotas: &Quotas) -> Result<Inserted, StateError> {
        let quotas = quotas.clone();
        self.blocking(move |index| {
            let key = key(&entry.backend, &entry.id);
            // Of two requests at once, the second one sees the entry of the first.
            index.write(EXPORTS, |table| {
                if table.get(key.as_str())?.is_some() {
                    return Ok(Inserted::IdInUse);
                }
                if quotas.are_counted() {
                    let mut of_user: Vec<IndexEntry> = Vec::new();
                    for found in table.iter()? {
                        let (_, json) = found?;
                        // One that this version cannot read is reported where it is shown.
                        let found = serde_json::from_slice::<IndexEntry>(json.value()).ok();
                        of_user.extend(found.filter(|found| found.principal == entry.principal));
                    }
                    if let Err(over) = quotas.check(of_user.iter(), entry.started_at) {
                        return Ok(Inserted::OverQuota(over));
                    }
                }
                table.insert(key.as_str(), encoded(&entry).as_slice())?;
                Ok(Inserted::Yes)
            })
        })
        .await
    }

    /// Removes an entry whose id could not be claimed.
    ///
    /// # Errors
    /// [`StateError`].
    pub async fn remove(&self, backend: &str, id: &ExportId) -> Result<(), StateError> {
        let key = key(backend, id);
        self.blocking(move |index| {
            index.write(EXPORTS, |table| table.remove(key.as_str()).map(|_| ()).map_err(Into::into))
        })
        .await
    }

    /// Records how an export ended.
    ///
    /// # Errors
    /// [`StateError`].
    pub async fn end(&self, mut entry: IndexEntry, ended: ExportEnd) -> Result<(), StateError> {
        entry.ended = Some(ended);
        self.blocking(move |index| {
            let key = key(&entry.backend, &entry.id);
            index.write(EXPORTS, |table| {
                table.insert(key.as_str(), encoded(&entry).as_slice())?;
                Ok(())
            })
        })
        .await
    }

    /// The entry of an id.
    ///
    /// # Errors
    /// [`StateError`].
    pub async fn get(
        &self,
        backend: &str,
        id: &ExportId,
    ) -> Result<Option<IndexEntry>, StateError> {
        let key = key(backend, id);
        self.blocking(move |index| {
            let found = index
                .read(EXPORTS, |table| Ok(table.get(key.as_str())?.map(|v| v.value().to_vec())))?;
            found.map(|json| index.decoded(&key, &json)).transpose()
        })
        .await
    }

    /// The entries of a backend, the newest first. Blocking.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn of_backend(&self, backend: &str) -> Result<Vec<IndexEntry>, StateError> {
        // What comes after the slash is in this range.
        let (first, end) = (format!("{backend}/"), format!("{backend}0"));
        let found = self.0.read(EXPORTS, |table| {
            let entries = table.range(first.as_str()..end.as_str())?;
            entries
                .map(|entry| {
                    let (key, value) = entry?;
                    Ok((key.value().to_owned(), value.value().to_vec()))
                })
                .collect::<Result<Vec<_>, _>>()
        })?;
        let entries = found.iter().map(|(key, json)| self.decoded(key, json));
        let mut entries = entries.collect::<Result<Vec<IndexEntry>, _>>()?;
        entries.sort_by(|a, b| (b.started_at, &b.id).cmp(&(a.started_at, &a.id)));
        Ok(entries)
    }

    /// Entries of exports that have not ended. At the start of a server these are the ones that the
    /// last process left unfinished. Blocking.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn unfinished(&self) -> Result<Vec<IndexEntry>, StateError> {
        let all = self.0.read(EXPORTS, |table| {
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

    fn decoded(&self, key: &str, json: &[u8]) -> Result<IndexEntry, StateError> {
        self.0.decoded(key, json)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&StateDatabase) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, StateError> {
        self.0.blocking(work).await
    }
}

fn key(backend: &str, id: &ExportId) -> String {
    format!("{backend}/{id}")
}

fn encoded(entry: &IndexEntry) -> Vec<u8> {
    // Strings and times always have a form in JSON.
    serde_json::to_vec(entry).unwrap_or_default()
}
