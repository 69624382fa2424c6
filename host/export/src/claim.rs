//! Takes the id of a planned export. From then on the export ends in exactly one outcome.
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use offloom_protocol::claim::{Claim, ClaimError as IdClaimError};
use offloom_protocol::error::StoreError;
use offloom_protocol::names::{ExportId, NameError, check_class_key};
use offloom_protocol::store::ExportFolder;
use offloom_sandbox::ReservedInstances;

use crate::commit::commit;
use crate::definitions;
use crate::outcome::{Ended, ExportError, Outcome, ShardResult, shard_results, unreadable};
use crate::plan::Planned;
use crate::progress::{Event, Status};
use crate::transfer::stop::Stop;
use crate::transfer::{Transferred, transfer};
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
}

/// An export whose id is taken.
pub struct Claimed {
    planned: Planned,
    folder: ExportFolder,
    started_at: DateTime<Utc>,
    reserved: Option<Reserved>,
}

/// Workers that the quota of a guest's owner allows.
struct Reserved {
    workers: usize,
    /// Held until the export has ended.
    _instances: ReservedInstances,
}

impl Planned {
    /// Takes the id, and announces the classes to `status`.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub async fn claim(self, status: &Status) -> Result<Claimed, ClaimError> {
        for planned in &self.classes {
            check_class_key(&planned.class.name)?;
        }
        let folder = self.destination.export_folder(&self.id)?.with_digest(self.digest);
        let claim = Claim::new(self.id.clone(), owner(), env!("CARGO_PKG_VERSION").to_owned())
            .for_principal(self.principal.to_string());
        claim.take(&folder).await?;
        for planned in &self.classes {
            status.record(Event::ClassAnnounced {
                class: &planned.class.name,
                shards: &planned.class.shards,
                objects_estimate: planned.objects_estimate,
                raw_bytes: planned.raw_bytes,
            });
        }
        let started_at = claim.started_at;
        Ok(Claimed { planned: self, folder, started_at, reserved: None })
    }
}

impl Claimed {
    /// Its id.
    pub fn id(&self) -> &ExportId {
        &self.planned.id
    }

    /// Where its files are.
    pub fn folder(&self) -> &ExportFolder {
        &self.folder
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
        let Claimed { planned, folder, started_at, reserved } = self;
        let workers = workers.at_most(reserved.as_ref().map(|reserved| reserved.workers));
        let Transferred { shards, written, error } =
            transfer(&planned, &folder, &workers, &status, stop).await;
        drop(reserved);
        // Dropped files are removed before the outcome is visible, unless the store does not answer.
        let _ = tokio::time::timeout(ABORT_PATIENCE, folder.wait_for_aborts()).await;
        let shards = shard_results(shards, &written);
        record_shards(&status, &shards);
        let error = error.map(ExportError::from).or_else(|| {
            let error = unreadable(&shards).filter(|_| !planned.allow_partial)?;
            record_incomplete_classes(&status, &shards);
            Some(error)
        });
        let (definitions, error) = match error {
            None => match definitions::write(&folder, &planned.classes).await {
                Ok(definitions) => (definitions, None),
                Err(error) => (None, Some(error.into())),
            },
            Some(error) => (None, Some(error)),
        };
        if let Some(error) = &error {
            status.record(Event::ExportFailed { error: &error.to_string() });
        }
        let outcome = Outcome { error, progress: status.progress(), written, shards, definitions };
        let failed = outcome.is_failed();
        let (manifest, error) = outcome.into_manifest(planned, started_at);
        let committing = commit(&folder, manifest);
        if failed {
            // The store may be the cause: do not wait long, and report the original error.
            let committed = tokio::time::timeout(TOMBSTONE_PATIENCE, committing).await;
            return Ended { manifest: committed.ok().and_then(Result::ok), error };
        }
        match committing.await {
            Ok(manifest) => Ended { manifest: Some(manifest), error },
            Err(failed) => Ended { manifest: None, error: Some(error.unwrap_or(failed.into())) },
        }
    }
}

fn record_shards(status: &Status, shards: &[ShardResult]) {
    for shard in shards {
        let (class, index) = (shard.class.as_str(), shard.summary.index);
        if let Some(error) = &shard.error {
            status.record(Event::ShardFailed { class, shard: index, error });
        } else if let Some(reason) = &shard.summary.skip_reason {
            status.record(Event::ShardSkipped { class, shard: index, reason });
        }
    }
}

/// Classes that lack rows of a shard fail with the error of the shard.
fn record_incomplete_classes(status: &Status, shards: &[ShardResult]) {
    for shard in shards {
        if let Some(error) = &shard.error {
            status.record(Event::ClassFailed { class: &shard.class, error });
        }
    }
}

/// The owner in the claim: enough to find the process that made it.
fn owner() -> String {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "localhost" } else { host.trim() };
    format!("{host} (process {})", std::process::id())
}
