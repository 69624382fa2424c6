//! How an export ended, and the manifest that says so.
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use offloom_protocol::manifest::{
    self, AppliedTransform, Attachment, ClassProgress, Guest, Manifest, ManifestError, Missing,
    Resumed, Source,
};

use crate::commit::CommitError;
use crate::ended_class::EndedClass;
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
    /// The server stopped. The journal has what is needed to carry on.
    #[error("the server stopped; it carries on when it is started again")]
    Suspended,
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

/// The error of an export that must not be partial; `None` if every shard was read.
pub(crate) fn unreadable(classes: &[EndedClass]) -> Option<ExportError> {
    let shards = || classes.iter().flat_map(|class| &class.shards);
    let unread = || shards().filter(|shard| shard.shard.error.is_some());
    // A denial is the commonest first mistake, and its remedy helps all shards that it concerns.
    let denied = unread().find(|shard| shard.denied);
    let first = denied.or_else(|| unread().next())?.shard.error.clone()?;
    let more = unread().count().saturating_sub(1);
    Some(ExportError::Unreadable { first, more, denied: denied.is_some() })
}

/// Everything that the end of an export adds to its plan.
pub(crate) struct Outcome {
    /// Why it did not succeed.
    pub error: Option<ExportError>,
    /// The progress of each class.
    pub progress: BTreeMap<String, ClassProgress>,
    /// Every class, also those that an earlier attempt has completed, in byte order of their names.
    pub classes: Vec<EndedClass>,
    /// `schema.json`.
    pub definitions: Option<Attachment>,
    /// What was kept of earlier attempts.
    pub resumed: Option<Resumed>,
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
        let warnings = self.warnings(&planned.directory_warnings);
        let missing: Vec<Missing> = match status {
            manifest::Outcome::Success => {
                let shards = self.classes.iter().flat_map(|class| &class.shards);
                let of_shards = shards.flat_map(|shard| shard.missing.clone());
                planned.missing.iter().cloned().chain(of_shards).collect()
            }
            manifest::Outcome::Failed | manifest::Outcome::Canceled => Vec::new(),
        };
        let transforms = applied(&planned, &self.classes);
        let quarantines = self.classes.iter().flat_map(|class| class.attachments.clone());
        let attachments = self.definitions.into_iter().chain(quarantines).collect();
        let (mut files, mut shards) = (Vec::new(), Vec::new());
        let names = self.classes.iter().map(|class| class.name.clone()).collect();
        for class in self.classes {
            files.extend(class.files);
            shards.extend(class.shards.into_iter().map(|shard| shard.shard));
        }
        let manifest = Manifest {
            backend: planned.destination.backend().to_owned(),
            started_at,
            completed_at: Utc::now(),
            status,
            error: self.error.as_ref().map(ToString::to_string),
            classes: names,
            progress: self.progress,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            files,
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
                shards,
                shards_key: None,
            },
            warnings,
            resumed: self.resumed,
            partial: !missing.is_empty(),
            missing,
            tenants: planned.tenants,
            id: planned.id,
        };
        (manifest, self.error)
    }

    /// Warnings of the data directory first, then those of the shards, then those of the classes.
    fn warnings(&self, of_directory: &[String]) -> Vec<String> {
        let mut warnings = of_directory.to_vec();
        for shard in self.classes.iter().flat_map(|class| &class.shards) {
            warnings.extend(shard.warnings.iter().cloned());
        }
        for EndedClass { name, unlisted, .. } in &self.classes {
            if *unlisted > 0 {
                warnings.push(format!(
                    "class {name}: {unlisted} more objects were left out than quarantine/ lists"
                ));
            }
        }
        warnings
    }
}

/// The transforms with what they did, in their order.
fn applied(planned: &Planned, classes: &[EndedClass]) -> Vec<AppliedTransform> {
    let step = |(index, step): (usize, &ExportStep)| {
        let mut sums = StepSums::default();
        let mut names = Vec::new();
        for class in classes {
            if let Some(of_class) = class.transforms.get(&index) {
                names.push(class.name.clone());
                sums.add(of_class);
            }
        }
        let StepSums { rows_in, rows_kept, rows_refused, counters } = sums;
        AppliedTransform {
            name: step.name.clone(),
            digest: step.run.digest().to_owned(),
            options: step.shown_options.clone(),
            required: step.required,
            classes: names,
            rows_in,
            rows_kept,
            rows_refused,
            counters,
        }
    };
    planned.steps.iter().enumerate().map(step).collect()
}
