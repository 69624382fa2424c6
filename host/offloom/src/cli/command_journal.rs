//! The journal of a command: a state directory of its own for each export, below that of the user. While
//! its file is open, no other process carries the export on.
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use offloom_export::{JournalStore, NamedExporter, TransformStep};
use offloom_protocol::names::ExportId;
use offloom_weaviate_disk::DataDirectory;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::directories::open;
use super::transform::TransformArg;
use crate::guest::{self, GuestConfig};
use crate::journal_database::JournalDatabase;
use crate::max_object_bytes::MaxObjectBytes;
use crate::state_database::{StateDatabase, StateError};
use crate::terminal::errln;

/// Folder of the journals of commands in the state directory.
const FOLDER: &str = "command-line";

/// Key of the record of the command.
const COMMAND: &str = "command";

/// The backend under which a command's only journal is kept.
const BACKEND: &str = "command";

/// What a command was given besides the request: enough to load it again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandRecord {
    /// The data directories.
    pub data_dirs: Vec<PathBuf>,
    /// The schema file.
    pub schema: Option<PathBuf>,
    /// The exporter, if it is a file.
    pub guest: Option<PathBuf>,
    /// Where compiled guests are kept.
    pub cache_dir: Option<PathBuf>,
    /// Processor time of the exporter, in seconds.
    pub guest_cpu_seconds: NonZeroU64,
    /// The largest object that is exported.
    pub max_object_bytes: MaxObjectBytes,
    /// The transforms.
    pub transforms: Vec<TransformArg>,
}

/// What a command has loaded.
pub struct Loaded {
    /// The data directories.
    pub directory: DataDirectory,
    /// The exporter.
    pub exporter: NamedExporter,
    /// The transforms.
    pub transforms: Vec<TransformStep>,
}

impl CommandRecord {
    /// The same, independent of the working directory.
    ///
    /// # Errors
    /// There is no working directory.
    pub fn absolute(self) -> std::io::Result<CommandRecord> {
        let absolute = |path: PathBuf| std::path::absolute(path);
        Ok(CommandRecord {
            data_dirs: self.data_dirs.into_iter().map(absolute).collect::<Result<_, _>>()?,
            schema: self.schema.map(absolute).transpose()?,
            guest: self.guest.map(absolute).transpose()?,
            cache_dir: self.cache_dir.map(absolute).transpose()?,
            transforms: self
                .transforms
                .into_iter()
                .map(TransformArg::absolute)
                .collect::<Result<_, _>>()?,
            ..self
        })
    }

    /// Opens the directories and loads the guests.
    ///
    /// # Errors
    /// Those of the directories, the schema file, and the guests.
    pub async fn load(&self) -> anyhow::Result<Loaded> {
        let (data_dirs, schema) = (self.data_dirs.clone(), self.schema.clone());
        let directory = tokio::task::spawn_blocking(move || open(&data_dirs, schema)).await??;
        for warning in directory.warnings() {
            errln!("warning: {warning}");
        }
        let config = GuestConfig {
            guest: self.guest.clone(),
            exporter: None,
            cache_dir: self.cache_dir.clone(),
            max_object_bytes: self.max_object_bytes,
            guest_cpu_seconds: self.guest_cpu_seconds,
        };
        let sandbox = guest::sandbox(&config)?;
        let exporter = guest::load(&sandbox, config.guest.as_deref()).await?;
        let mut transforms = Vec::new();
        for transform in self.transforms.clone() {
            transforms.push(transform.load(&sandbox).await?);
        }
        Ok(Loaded { directory, exporter, transforms })
    }
}

/// The open journal of one export.
pub struct CommandJournal {
    folder: PathBuf,
    id: ExportId,
    journals: JournalDatabase,
}

impl CommandJournal {
    /// Opens the journal of the export at this URL. `None` if there is no place for one, which is printed,
    /// or, with `must_exist`, if there is none.
    ///
    /// # Errors
    /// Another process has it open: it runs the export.
    pub async fn open(
        state_dir: Option<PathBuf>,
        url: &str,
        must_exist: bool,
    ) -> anyhow::Result<Option<CommandJournal>> {
        let Some(state_dir) = state_dir else { return Ok(None) };
        let name: String = hex::encode(Sha256::digest(url)).chars().take(32).collect();
        let folder = state_dir.join(FOLDER).join(&name);
        if must_exist && !folder.exists() {
            return Ok(None);
        }
        let id = ExportId::parse(&name).context("the name of a journal")?;
        let opening = folder.clone();
        let opened = tokio::task::spawn_blocking(move || {
            JournalDatabase::new(StateDatabase::open(&opening)?)
        });
        match opened.await? {
            Ok(journals) => Ok(Some(CommandJournal { folder, id, journals })),
            Err(StateError::InUse { .. }) => {
                anyhow::bail!("another process runs the export at {url}: its journal is open")
            }
            Err(error) if must_exist => Err(error.into()),
            Err(error) => {
                errln!("warning: this export cannot be carried on after an interruption: {error}");
                Ok(None)
            }
        }
    }

    /// Where the records are.
    pub fn store(&self) -> Arc<dyn JournalStore> {
        self.journals.of(BACKEND, &self.id)
    }

    /// Writes the command down, and forgets an export of the same place that came before.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn begin(&self, command: &CommandRecord) -> anyhow::Result<Arc<dyn JournalStore>> {
        let store = self.store();
        store.remove_all().await?;
        store.write(vec![(COMMAND.to_owned(), Some(serde_json::to_vec(command)?))]).await?;
        Ok(store)
    }

    /// The command, and the other records.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn read(&self) -> anyhow::Result<Option<(CommandRecord, BTreeMap<String, Vec<u8>>)>> {
        let (journals, id) = (self.journals.clone(), self.id.clone());
        let reading = tokio::task::spawn_blocking(move || journals.records(BACKEND, &id));
        let mut records = reading.await??;
        let Some(command) = records.remove(COMMAND) else { return Ok(None) };
        let command = serde_json::from_slice(&command).context("the journal's record command")?;
        Ok(Some((command, records)))
    }

    /// Removes it: there is nothing to carry on.
    ///
    /// # Errors
    /// The folder cannot be removed.
    pub async fn remove(self) -> anyhow::Result<()> {
        let CommandJournal { folder, journals, .. } = self;
        drop(journals);
        let shown = folder.clone();
        tokio::task::spawn_blocking(move || remove_folder(&folder))
            .await?
            .with_context(|| format!("the journal {} stays", shown.display()))
    }
}

fn remove_folder(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
