//! What an export did becomes its manifest, written last: the commit.
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use offloom_protocol::manifest::{
    Attachment, ClassProgress, Commit, CutOff, Guest, LogCutOff, Manifest, ManifestError, Missing,
    Outcome, Shard, ShardCopies, ShardCopy, Source,
};
use offloom_protocol::names::ExportId;
use offloom_protocol::store::ExportFolder;
use offloom_rows::ShardRun;
use offloom_sandbox::{ExporterGuest, GuestOptions};
use offloom_weaviate_disk::{DataDirectory, DifferenceCounts, ShardSummary};
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
    #[error("write to backend failed: {0}")]
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
    /// All shards that were reached, class by class.
    pub shards: Vec<ShardOutcome>,
    /// The classes' definitions, as they were stored beside the files.
    pub schema: Option<Attachment>,
}

/// What became of a shard.
pub struct ShardOutcome {
    /// Its class.
    pub class: String,
    /// What was found when it was cut.
    pub summary: ShardSummary,
    /// Its rows in the class's files.
    pub run: Option<ShardRun>,
    /// How often its copies disagreed about an object.
    pub differences: DifferenceCounts,
    /// Why it could not be read, or not to its end.
    pub error: Option<String>,
    /// Objects that broke their format and were left out.
    pub objects_left_out: u64,
    /// Rows of objects with more bytes than fields.
    pub rows_with_trailing_bytes: u64,
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
    for shard in &ending.shards {
        warnings.extend(shard.summary.warnings.iter().map(ToString::to_string));
        warnings.extend(shard.warning());
    }
    for (class, written) in &ending.written {
        let unlisted = written.faults.unlisted;
        if unlisted > 0 {
            warnings.push(format!(
                "class {class}: {unlisted} more objects broke their format than quarantine/ lists"
            ));
        }
    }
    let missing: Vec<Missing> = match ending.outcome {
        Outcome::Success => ending.shards.iter().flat_map(ShardOutcome::missing).collect(),
        Outcome::Failed | Outcome::Canceled => Vec::new(),
    };
    let quarantines = ending.written.iter().filter_map(|(_, written)| written.quarantine.clone());
    let attachments = ending.schema.into_iter().chain(quarantines).collect();
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
        attachments,
        guest: beginning.guest,
        source: Source {
            directories: beginning
                .directory
                .nodes()
                .iter()
                .map(|node| node.path().display().to_string())
                .collect(),
            schema_from: beginning.directory.schema_from().to_string(),
            shards: ending.shards.into_iter().map(ShardOutcome::into_shard).collect(),
            shards_key: None,
        },
        warnings,
        partial: !missing.is_empty(),
        missing,
    };
    match manifest.clone().commit(folder).await? {
        Commit::Won => Ok(manifest),
        Commit::Lost(theirs) => Err(CommitError::Lost { outcome: theirs.status }),
    }
}

impl ShardOutcome {
    /// What of it an export lacks that goes without.
    fn missing(&self) -> impl Iterator<Item = Missing> {
        let missing = |objects, reason: String| Missing {
            class: self.class.clone(),
            shard: Some(self.summary.shard.clone()),
            objects,
            reason,
        };
        let unread = self.error.clone().map(|error| missing(None, error));
        let left_out = (self.objects_left_out > 0)
            .then(|| missing(Some(self.objects_left_out), "they break their format".to_owned()));
        unread.into_iter().chain(left_out)
    }

    fn warning(&self) -> Option<String> {
        (self.rows_with_trailing_bytes > 0).then(|| {
            format!(
                "class {}, shard {}: {} objects have bytes behind their last field, which are left \
                 out, as Weaviate does",
                self.class, self.summary.shard, self.rows_with_trailing_bytes
            )
        })
    }

    fn into_shard(self) -> Shard {
        let id = |id: [u8; 16]| Uuid::from_bytes(id).to_string();
        let copies = self.summary.copies.map(|copies| ShardCopies {
            differing_objects: self.differences.differing,
            kept_against_deletes: self.differences.kept_against_deletes,
            directories: copies
                .into_iter()
                .map(|copy| ShardCopy {
                    directory: copy.directory.display().to_string(),
                    cut_off: cut_off(copy.cut_off),
                })
                .collect(),
        });
        Shard {
            class: self.class,
            shard: self.summary.shard,
            rows: self.run.as_ref().map_or(0, |run| run.rows),
            first_id: self.run.as_ref().map(|run| id(run.first_id)),
            last_id: self.run.as_ref().map(|run| id(run.last_id)),
            cut_off: self.summary.cut_off.map(cut_off),
            skip_reason: self.summary.skip_reason,
            error: self.error,
            objects_left_out: Some(self.objects_left_out).filter(|count| *count > 0),
            copies,
        }
    }
}

fn cut_off(cut_off: offloom_weaviate_disk::CutOff) -> CutOff {
    let logs = cut_off.logs.into_iter();
    CutOff {
        at: cut_off.at,
        newest_segment: cut_off.newest_segment,
        logs: logs.map(|log| LogCutOff { name: log.name, bytes: log.bytes }).collect(),
    }
}
