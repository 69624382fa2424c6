//! Takes the id of a planned export. From then on the export ends in exactly one outcome.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{DateTime, Utc};
use offloom_protocol::claim::{Claim, ClaimError as IdClaimError};
use offloom_protocol::error::StoreError;
use offloom_protocol::gc::remove_unlisted;
use offloom_protocol::manifest::{Resumed, Shard, Tombstone};
use offloom_protocol::names::{Attempt, ExportId, NameError, check_class_key};
use offloom_protocol::store::ExportFolder;
use offloom_protocol::upload_log::LogError;
use offloom_sandbox::ReservedInstances;
use tracing::Instrument;

use crate::commit::commit;
use crate::definitions;
use crate::ended_class::{EndedClass, EndedShard};
use crate::journal::{JOURNAL_FORMAT, Journal, JournalPlan, JournalStore, PlannedGuest};
use crate::outcome::{Ended, ExportError, Outcome, unreadable};
use crate::plan::Planned;
use crate::progress::{Event, Status};
use crate::transfer::stop::Stop;
use crate::transfer::{Carried, TransferError, Transferred, transfer};
use crate::transforms::{ExportStep, StepReach};
use crate::workers::Workers;

/// How long the outcome waits for uploads that are being dropped.
const ABORT_PATIENCE: Duration = Duration::from_secs(10);

/// How long a FAILED export tries to write its manifest.
const TOMBSTONE_PATIENCE: Duration = Duration::from_secs(15);

/// Why an id could not be taken. Nothing of this attempt is left on the store.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The name of a class cannot be part of an object key.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The folder cannot be opened.
    #[error("write to backend failed: {0}")]
    Store(#[from] StoreError),
    /// The id is in use, or the store failed.
    #[error(transparent)]
    Id(#[from] IdClaimError),
    /// The plan could not be written down.
    #[error(transparent)]
    Journal(#[from] LogError),
}

/// An export whose id is taken.
pub struct Claimed {
    planned: Planned,
    folder: ExportFolder,
    started_at: DateTime<Utc>,
    reserved: Option<Reserved>,
    carried: Carried,
    kept: Kept,
}

/// What an export has of earlier attempts.
#[derive(Default)]
pub(crate) struct Kept {
    /// The classes that are complete.
    pub classes: Vec<EndedClass>,
    /// The tombstone that the outcome takes the place of.
    pub tombstone: Option<Tombstone>,
    /// What the manifest says of earlier attempts; `None` in the first.
    pub resumed: Option<Resumed>,
}

/// Workers that the quota of a guest's owner allows.
struct Reserved {
    workers: usize,
    /// Held until the export has ended.
    _instances: ReservedInstances,
}

impl Planned {
    /// Takes the id, and announces the classes to `status`. With a `journal`, what is needed to carry the
    /// export on is written there, first of all the plan.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub async fn claim(
        self,
        status: &Status,
        journal: Option<Arc<dyn JournalStore>>,
    ) -> Result<Claimed, ClaimError> {
        for planned in &self.classes {
            check_class_key(&planned.class.name)?;
        }
        let folder = self.destination.export_folder(&self.id)?.with_digest(self.digest);
        let claim = Claim::new(self.id.clone(), owner(), env!("CARGO_PKG_VERSION").to_owned())
            .for_principal(self.principal.clone());
        let journal = journal.map(|store| Journal::new(store, BTreeMap::new()));
        if let Some(journal) = &journal {
            journal.plan(&self.to_journal(&claim)).await?;
        }
        claim.take(&folder).await?;
        let carried = Carried { journal, ..Carried::default() };
        Ok(Claimed::new(self, folder, claim.started_at, carried, Kept::default(), status))
    }

    /// What is needed to plan it again.
    pub(crate) fn to_journal(&self, claim: &Claim) -> JournalPlan {
        let step = |step: &ExportStep| PlannedGuest {
            name: step.name.clone(),
            digest: step.run.digest().to_owned(),
            options: step.options.clone(),
            reach: step.reach.clone(),
            required: step.required,
        };
        JournalPlan {
            format: JOURNAL_FORMAT,
            claim: claim.clone(),
            id: self.id.clone(),
            destination: self.destination.url(),
            digest: self.digest,
            scope: self.scope.clone(),
            classes: self.class_names(),
            narrowed: self.narrowed.clone(),
            missing: self.missing.clone(),
            tenants: self.tenants.clone(),
            exporter: PlannedGuest {
                name: self.exporter.clone(),
                digest: self.guest.digest().to_owned(),
                options: self.options.clone(),
                reach: StepReach::default(),
                required: false,
            },
            shown_options: self.shown_options.clone(),
            transforms: self.steps.iter().map(step).collect(),
            directories: self.directory.nodes().iter().map(|node| node.path().to_owned()).collect(),
            schema_from: self.directory.schema_from().to_string(),
            names: Attempt::FIRST,
        }
    }
}

impl Claimed {
    /// An export whose id is taken, with its classes announced to `status`.
    pub(crate) fn new(
        planned: Planned,
        folder: ExportFolder,
        started_at: DateTime<Utc>,
        carried: Carried,
        kept: Kept,
        status: &Status,
    ) -> Claimed {
        for planned in &planned.classes {
            status.record(Event::ClassAnnounced {
                class: &planned.class.name,
                shards: &planned.class.shards,
                objects_estimate: planned.objects_estimate,
                raw_bytes: planned.raw_bytes,
            });
        }
        for class in &kept.classes {
            let shards: Vec<Shard> = class.shards.iter().map(|shard| shard.shard.clone()).collect();
            let (class, shards, file_bytes) = (&*class.name, &*shards, class.file_bytes());
            status.record(Event::ClassKept { class, shards, file_bytes });
        }
        let folder = match &carried.journal {
            Some(journal) => folder.with_log(journal.upload_log()),
            None => folder,
        };
        Claimed { planned, folder, started_at, reserved: None, carried, kept }
    }

    /// Its id.
    pub fn id(&self) -> &ExportId {
        &self.planned.id
    }

    /// Where its files are.
    pub fn folder(&self) -> &ExportFolder {
        &self.folder
    }

    /// Number of the warnings of the data directory, with which the manifest's begin.
    pub fn warnings(&self) -> usize {
        self.planned.directory_warnings.len()
    }

    /// When its id was taken.
    pub fn started_at(&self) -> DateTime<Utc> {
        self.started_at
    }

    /// Waits for places in the quota of the owner of its guests, if there is one. An export that has not
    /// waited waits in [`Claimed::run`], where it keeps others from their turn.
    pub async fn reserve(&mut self, workers: &Workers) {
        if self.reserved.is_some() {
            return;
        }
        let (count, guests) = (workers.count(), self.planned.guests_with_quota());
        let Some(quota) = guests.first().copied() else { return };
        // Each worker has an instance of each guest.
        let of_worker = u32::try_from(guests.len()).unwrap_or(u32::MAX);
        let allowed = quota.total().checked_div(of_worker).unwrap_or(0).max(1);
        let workers = count.min(allowed as usize).max(1);
        let needed = u32::try_from(workers).unwrap_or(u32::MAX).saturating_mul(of_worker);
        let reserved = quota.reserve(needed).await;
        self.reserved = reserved.map(|_instances| Reserved { workers, _instances });
    }

    /// Transfers every class and commits exactly one outcome. The manifest also has the error.
    pub async fn run(mut self, workers: &Workers, status: Arc<Status>, stop: &Stop) -> Ended {
        tokio::select! {
            () = self.reserve(workers) => {}
            // The transfer then ends at once.
            _ = stop.asked() => {}
        }
        status.record(Event::TransferStarted);
        let Claimed { planned, folder, started_at, reserved, carried, kept } = self;
        let workers = workers.at_most(reserved.as_ref().map(|reserved| reserved.workers));
        let Transferred { mut classes, error } =
            transfer(&planned, &folder, &workers, &status, stop, &carried).await;
        drop(reserved);
        // Dropped files are removed before the outcome is visible, unless the store does not answer.
        let _ = tokio::time::timeout(ABORT_PATIENCE, folder.wait_for_aborts()).await;
        if let (Some(TransferError::ServerStopped), Some(_)) = (&error, &carried.journal) {
            return Ended { manifest: None, error: Some(ExportError::Suspended) };
        }
        record_shards(&status, &classes);
        classes.extend(kept.classes);
        classes.sort_by(|one, other| one.name.cmp(&other.name));
        let error = error.map(ExportError::from).or_else(|| {
            let error = unreadable(&classes).filter(|_| !planned.allow_partial)?;
            record_incomplete_classes(&status, &classes);
            Some(error)
        });
        let (definitions, error) = match error {
            None => {
                let known = classes.iter().filter_map(|class| class.definition.as_ref());
                match definitions::write(&folder, known).await {
                    Ok(definitions) => (definitions, None),
                    Err(error) => (None, Some(error.into())),
                }
            }
            Some(error) => (None, Some(error)),
        };
        if let Some(error) = &error {
            status.record(Event::ExportFailed { error: &error.to_string() });
        }
        let resumed = kept.resumed.map(|resumed| with_counts(resumed, &carried));
        let outcome = Outcome { error, progress: status.progress(), classes, definitions, resumed };
        let failed = outcome.is_failed();
        let (manifest, error) = outcome.into_manifest(planned, started_at);
        let committing = commit(&folder, manifest, kept.tombstone.as_ref());
        let committing = committing.instrument(tracing::info_span!("commit"));
        if failed {
            // The store may be the cause: do not wait long, and report the original error.
            let committed = tokio::time::timeout(TOMBSTONE_PATIENCE, committing).await;
            return Ended { manifest: committed.ok().and_then(Result::ok), error };
        }
        match committing.await {
            Ok(manifest) => {
                // The outcome counts without this; `gc` removes what stays.
                if manifest.resumed.is_some()
                    && let Err(error) = remove_unlisted(&folder, &manifest).await
                {
                    tracing::warn!(id = %manifest.id, %error, "objects of earlier attempts stay");
                }
                Ended { manifest: Some(manifest), error }
            }
            Err(failed) => Ended { manifest: None, error: Some(error.unwrap_or(failed.into())) },
        }
    }
}

/// What was kept of earlier attempts, with what this one has counted.
fn with_counts(resumed: Resumed, carried: &Carried) -> Resumed {
    let journal = carried.journal.as_ref();
    let (parts_kept, part_bytes_kept) = journal.map(Journal::parts_kept).unwrap_or_default();
    Resumed {
        parts_kept,
        part_bytes_kept,
        shards_as_before: carried.pins.as_before.load(Ordering::Relaxed),
        shards_anew: carried.pins.anew.load(Ordering::Relaxed),
        ..resumed
    }
}

fn record_shards(status: &Status, classes: &[EndedClass]) {
    for (class, shard) in of_classes(classes) {
        let index = shard.index;
        if let Some(error) = &shard.shard.error {
            status.record(Event::ShardFailed { class, shard: index, error });
        } else if let Some(reason) = &shard.shard.skip_reason {
            status.record(Event::ShardSkipped { class, shard: index, reason });
        }
    }
}

/// Classes that lack rows of a shard fail with the error of the shard.
fn record_incomplete_classes(status: &Status, classes: &[EndedClass]) {
    for (class, shard) in of_classes(classes) {
        if let Some(error) = &shard.shard.error {
            status.record(Event::ClassFailed { class, error });
        }
    }
}

fn of_classes(classes: &[EndedClass]) -> impl Iterator<Item = (&str, &EndedShard)> {
    classes.iter().flat_map(|class| class.shards.iter().map(|shard| (&*class.name, shard)))
}

/// The owner in the claim: enough to find the process that made it.
pub(crate) fn owner() -> String {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "localhost" } else { host.trim() };
    format!("{host} (process {})", std::process::id())
}
