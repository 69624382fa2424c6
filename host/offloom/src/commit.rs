//! What an export did becomes its manifest, written last: the commit.
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use offloom_protocol::manifest::{
    ClassProgress, Commit, CutOff, Guest, LogCutOff, Manifest, ManifestError, Outcome, Shard,
    Source,
};
use offloom_protocol::names::ExportId;
use offloom_protocol::store::ExportFolder;
use offloom_rows::ShardRun;
use offloom_sandbox::{ExporterGuest, GuestOptions};
use offloom_weaviate_disk::{DataDirectory, ShardSummary};
use uuid::Uuid;

use crate::file::WrittenClass;

/// Why an outcome could not be committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another outcome was there before.
    #[error("the export was already ended as {outcome:?} by somebody else")]
    Lost {
        /// The outcome that counts.
        outcome: Outcome,
    },
    /// The manifest could not be written.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// What is known of an export before its first row.
pub struct Beginning {
    /// Its id.
    pub id: ExportId,
    /// Kind of store.
    pub backend: &'static str,
    /// When its id was claimed.
    pub started_at: DateTime<Utc>,
    /// Exact names of its classes, sorted.
    pub classes: Vec<String>,
    /// Digest and options of its guest.
    pub guest: Guest,
    /// The data directory.
    pub directory: DataDirectory,
}

/// What is known of an export at its end.
pub struct Ending {
    /// How it ended.
    pub outcome: Outcome,
    /// Why, unless it succeeded.
    pub error: Option<String>,
    /// How far each class came.
    pub progress: BTreeMap<String, ClassProgress>,
    /// Complete files and the runs of shards, class by class.
    pub written: Vec<(String, WrittenClass)>,
    /// All shards that were reached, with their class, class by class.
    pub shards: Vec<(String, ShardSummary)>,
}

/// Digest and options, as the manifest keeps them.
pub fn guest(guest: &ExporterGuest, options: &GuestOptions) -> Guest {
    Guest { digest: guest.digest().to_owned(), options: options.iter().cloned().collect() }
}

/// Writes the manifest, unless there is one already.
///
/// # Errors
/// [`CommitError::Lost`] when another outcome was committed before.
pub async fn commit(
    folder: &ExportFolder,
    beginning: Beginning,
    ending: Ending,
) -> Result<Manifest, CommitError> {
    let mut warnings: Vec<String> =
        beginning.directory.warnings().iter().map(ToString::to_string).collect();
    let of_shards = ending.shards.iter().flat_map(|(_, shard)| &shard.warnings);
    warnings.extend(of_shards.map(ToString::to_string));
    let runs: BTreeMap<(&str, u32), &ShardRun> = ending
        .written
        .iter()
        .flat_map(|(class, written)| {
            written.shards.iter().map(move |(shard, run)| ((class.as_str(), *shard), run))
        })
        .collect();
    let shards = ending
        .shards
        .iter()
        .map(|(class, summary)| {
            shard(class, summary, runs.get(&(class.as_str(), summary.index)).copied())
        })
        .collect();
    let manifest = Manifest {
        id: beginning.id,
        backend: beginning.backend.to_owned(),
        started_at: beginning.started_at,
        completed_at: Utc::now(),
        status: ending.outcome,
        error: ending.error,
        classes: beginning.classes,
        progress: ending.progress,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        files: ending.written.into_iter().flat_map(|(_, written)| written.files).collect(),
        attachments: Vec::new(),
        guest: beginning.guest,
        source: Source {
            directories: beginning
                .directory
                .nodes()
                .iter()
                .map(|node| node.path().display().to_string())
                .collect(),
            schema_from: beginning.directory.schema_from().to_string(),
            shards,
            shards_key: None,
        },
        warnings,
        partial: false,
        missing: Vec::new(),
    };
    match manifest.clone().commit(folder).await? {
        Commit::Won => Ok(manifest),
        Commit::Lost(theirs) => Err(CommitError::Lost { outcome: theirs.status }),
    }
}

fn shard(class: &str, summary: &ShardSummary, run: Option<&ShardRun>) -> Shard {
    let id = |id: [u8; 16]| Uuid::from_bytes(id).to_string();
    Shard {
        class: class.to_owned(),
        shard: summary.shard.clone(),
        rows: run.map_or(0, |run| run.rows),
        first_id: run.map(|run| id(run.first_id)),
        last_id: run.map(|run| id(run.last_id)),
        cut_off: Some(CutOff {
            at: summary.cut_off.at,
            newest_segment: summary.cut_off.newest_segment.clone(),
            logs: summary
                .cut_off
                .logs
                .iter()
                .map(|log| LogCutOff { name: log.name.clone(), bytes: log.bytes })
                .collect(),
        }),
        skip_reason: summary.skip_reason.clone(),
    }
}
