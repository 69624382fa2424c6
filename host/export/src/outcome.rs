//! How an export and each of its shards ended, and the manifest that says so.
use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use offloom_protocol::manifest::{
    self, AppliedTransform, Attachment, ClassProgress, Guest, LogCutOff, Manifest, ManifestError,
    Missing, Shard, ShardCopies, ShardCopy, Source,
};
use offloom_rows::ShardRun;
use offloom_weaviate_disk::{CutOff, DifferenceCounts, ShardSummary};
use uuid::Uuid;

use crate::commit::CommitError;
use crate::file::WrittenClass;
use crate::plan::Planned;
use crate::refused::StepSums;
use crate::transfer::TransferError;
use crate::transforms::ExportStep;

/// Why an export did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The transfer stopped before its end.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// Shards could not be read, and the export may not be partial.
    #[error(
        "{first}{}; all other shards were read{}",
        more_shards(*.more),
        if *.denied {
            ""
        } else {
            ": allow a partial export (--allow-partial, allowPartial) to go without"
        }
    )]
    Unreadable {
        /// What is wrong with the first.
        first: String,
        /// Number of other shards that could not be read.
        more: usize,
        /// Whether permission to read one is denied: the remedy is to be allowed.
        denied: bool,
    },
    /// `schema.json` could not be written.
    #[error("write to backend failed: {0}")]
    Definitions(#[from] ManifestError),
    /// The manifest could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

fn more_shards(count: usize) -> String {
    match count {
        0 => String::new(),
        1 => " (and one more shard)".to_owned(),
        more => format!(" (and {more} more shards)"),
    }
}

/// An export that has ended.
pub struct Ended {
    /// The committed manifest; absent if the commit failed, or another outcome was committed before.
    pub manifest: Option<Manifest>,
    /// Why the export did not succeed.
    pub error: Option<ExportError>,
}

/// How a shard ended.
pub(crate) struct ShardResult {
    /// Its class.
    pub class: String,
    /// What the cutter found.
    pub summary: ShardSummary,
    /// Its rows in the files of the class.
    pub rows: Option<ShardRun>,
    /// How often its copies disagreed about an object.
    pub differences: DifferenceCounts,
    /// Why some or all of it could not be read.
    pub error: Option<String>,
    /// Whether that is that permission is denied.
    pub denied: bool,
    /// Objects that broke their format, or were too large, and were left out.
    pub objects_left_out: u64,
    /// Those of them that were too large.
    pub objects_too_large: u64,
    /// Rows that transforms refused, besides them.
    pub rows_refused: u64,
    /// Rows of objects with bytes after their last field.
    pub rows_with_trailing_bytes: u64,
}

/// What the cutter found of each shard, joined with what the workers found in its rows.
pub(crate) fn shard_results(
    shards: Vec<(String, ShardSummary)>,
    written: &[(String, WrittenClass)],
) -> Vec<ShardResult> {
    let classes: HashMap<&str, &WrittenClass> =
        written.iter().map(|(class, written)| (class.as_str(), written)).collect();
    let result = |(class, summary): (String, ShardSummary)| {
        let summary_index = summary.index;
        let written = classes.get(class.as_str());
        let faults = written.and_then(|written| written.faults.shards.get(&summary.index));
        let faults = faults.cloned().unwrap_or_default();
        let denied = summary.error.as_ref().is_some_and(|error| error.is_denied());
        let error = summary.error.as_ref().map(ToString::to_string).or(faults.error);
        ShardResult {
            rows: written.and_then(|written| written.shards.get(&summary.index)).cloned(),
            differences: written
                .and_then(|written| written.differences.get(&summary.index).copied())
                .unwrap_or_default(),
            class,
            summary,
            error,
            denied,
            objects_left_out: faults.objects_left_out,
            objects_too_large: faults.objects_too_large,
            rows_refused: written
                .and_then(|written| written.transforms.refused.get(&summary_index).copied())
                .unwrap_or_default(),
            rows_with_trailing_bytes: faults.rows_with_trailing_bytes,
        }
    };
    shards.into_iter().map(result).collect()
}

/// The error of an export that must not be partial; `None` if every shard was read.
pub(crate) fn unreadable(shards: &[ShardResult]) -> Option<ExportError> {
    let unread = || shards.iter().filter(|shard| shard.error.is_some());
    // A denial is the commonest first mistake, and its remedy helps all shards that it concerns.
    let denied = unread().find(|shard| shard.denied);
    let first = denied.or_else(|| unread().next())?.error.clone()?;
    let more = unread().count().saturating_sub(1);
    Some(ExportError::Unreadable { first, more, denied: denied.is_some() })
}

/// Everything that the end of an export adds to its plan.
pub(crate) struct Outcome {
    /// Why it did not succeed.
    pub error: Option<ExportError>,
    /// The progress of each class.
    pub progress: BTreeMap<String, ClassProgress>,
    /// Complete files and faults, class by class.
    pub written: Vec<(String, WrittenClass)>,
    /// All shards that were cut, class by class.
    pub shards: Vec<ShardResult>,
    /// `schema.json`.
    pub definitions: Option<Attachment>,
}

impl Outcome {
    /// Whether the export ended FAILED.
    pub fn is_failed(&self) -> bool {
        self.status() == manifest::Outcome::Failed
    }

    fn status(&self) -> manifest::Outcome {
        match &self.error {
            None => manifest::Outcome::Success,
            Some(ExportError::Transfer(TransferError::Canceled)) => manifest::Outcome::Canceled,
            Some(_) => manifest::Outcome::Failed,
        }
    }

    /// The manifest of the export `planned`, and the error again.
    pub fn into_manifest(
        self,
        planned: Planned,
        started_at: DateTime<Utc>,
    ) -> (Manifest, Option<ExportError>) {
        let status = self.status();
        let warnings = self.warnings(planned.directory_warnings());
        let missing: Vec<Missing> = match status {
            manifest::Outcome::Success => {
                let of_shards = self.shards.iter().flat_map(ShardResult::missing);
                planned.missing.iter().cloned().chain(of_shards).collect()
            }
            manifest::Outcome::Failed | manifest::Outcome::Canceled => Vec::new(),
        };
        let transforms = applied(&planned, &self.written);
        let quarantines = self.written.iter().flat_map(|(_, written)| written.quarantine.clone());
        let attachments = self.definitions.into_iter().chain(quarantines).collect();
        let manifest = Manifest {
            backend: planned.destination.backend().to_owned(),
            started_at,
            completed_at: Utc::now(),
            status,
            error: self.error.as_ref().map(ToString::to_string),
            classes: planned.class_names(),
            progress: self.progress,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            files: self.written.into_iter().flat_map(|(_, written)| written.files).collect(),
            attachments,
            guest: Guest {
                name: planned.exporter,
                digest: planned.guest.digest().to_owned(),
                options: planned.shown_options,
            },
            transforms,
            source: Source {
                directories: planned
                    .directory
                    .nodes()
                    .iter()
                    .map(|node| node.path().display().to_string())
                    .collect(),
                schema_from: planned.directory.schema_from().to_string(),
                shards: self.shards.into_iter().map(ShardResult::into_shard).collect(),
                shards_key: None,
            },
            warnings,
            partial: !missing.is_empty(),
            missing,
            tenants: planned.tenants,
            id: planned.id,
        };
        (manifest, self.error)
    }

    /// Warnings of the data directory first, then those of the shards, then those of the classes.
    fn warnings(&self, of_directory: Vec<String>) -> Vec<String> {
        let mut warnings = of_directory;
        for shard in &self.shards {
            warnings.extend(shard.summary.warnings.iter().map(ToString::to_string));
            warnings.extend(shard.warning());
        }
        for (class, written) in &self.written {
            let unlisted = written.faults.unlisted.saturating_add(written.transforms.unlisted);
            if unlisted > 0 {
                warnings.push(format!(
                    "class {class}: {unlisted} more objects were left out than quarantine/ lists"
                ));
            }
        }
        warnings
    }
}

impl ShardResult {
    /// What a partial export leaves out of this shard.
    fn missing(&self) -> impl Iterator<Item = Missing> {
        let missing = |objects, reason: String| Missing {
            class: self.class.clone(),
            shard: Some(self.summary.shard.clone()),
            objects,
            reason,
        };
        let unread = self.error.clone().map(|error| missing(None, error));
        let left_out = (self.objects_left_out > 0)
            .then(|| missing(Some(self.objects_left_out), self.why_objects_left_out()));
        let refused = (self.rows_refused > 0)
            .then(|| missing(Some(self.rows_refused), "transforms refused them".to_owned()));
        unread.into_iter().chain(left_out).chain(refused)
    }

    fn why_objects_left_out(&self) -> String {
        const TOO_LARGE: &str = "larger than --max-object-bytes allows (max_object_bytes)";
        match self.objects_too_large {
            0 => "they break their format".to_owned(),
            all if all == self.objects_left_out => format!("they are {TOO_LARGE}"),
            some => format!("{some} of them are {TOO_LARGE}, the others break their format"),
        }
    }

    fn warning(&self) -> Option<String> {
        (self.rows_with_trailing_bytes > 0).then(|| {
            format!(
                "class {}, shard {}: {} objects have bytes after their last field, which are left \
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
            rows: self.rows.as_ref().map_or(0, |rows| rows.rows),
            first_id: self.rows.as_ref().map(|rows| id(rows.first_id)),
            last_id: self.rows.as_ref().map(|rows| id(rows.last_id)),
            cut_off: self.summary.cut_off.map(cut_off),
            skip_reason: self.summary.skip_reason,
            error: self.error,
            objects_left_out: Some(self.objects_left_out.saturating_add(self.rows_refused))
                .filter(|count| *count > 0),
            copies,
        }
    }
}

/// The transforms with what they did, in their order.
fn applied(planned: &Planned, written: &[(String, WrittenClass)]) -> Vec<AppliedTransform> {
    let step = |(index, step): (usize, &ExportStep)| {
        let chains = planned.classes.iter().filter(|class| class.chain.has_step(index));
        let mut sums = StepSums::default();
        for of_class in written.iter().filter_map(|(_, class)| class.transforms.sums.get(&index)) {
            sums.add(of_class);
        }
        let StepSums { rows_in, rows_kept, rows_refused, counters } = sums;
        AppliedTransform {
            name: step.name.clone(),
            digest: step.run.digest().to_owned(),
            options: step.shown_options.clone(),
            required: step.required,
            classes: chains.map(|planned| planned.class.name.to_string()).collect(),
            rows_in,
            rows_kept,
            rows_refused,
            counters,
        }
    };
    planned.steps.iter().enumerate().map(step).collect()
}

fn cut_off(cut_off: CutOff) -> manifest::CutOff {
    let logs = cut_off.logs.into_iter();
    manifest::CutOff {
        at: cut_off.at,
        newest_segment: cut_off.newest_segment,
        logs: logs.map(|log| LogCutOff { name: log.name, bytes: log.bytes }).collect(),
    }
}
