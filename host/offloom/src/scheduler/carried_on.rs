//! Carries the exports on that the last process left unfinished.
use std::sync::Arc;
use std::time::Duration;

use offloom_export::{Claimed, Interrupted, JournalStore, Means, ResumeError, Status, Stop};
use offloom_protocol::manifest::{Manifest, ManifestError};
use offloom_protocol::take_over::{OwnError, remove_leftovers};
use offloom_weaviate_disk::DiskError;
use tokio::sync::watch;
use tracing::Instrument;

use super::Scheduler;
use super::running_export::{RunningExport, export_span};
use crate::export_index::{ExportEnd, IndexEntry};
use crate::planned_guests::GoneError;
use crate::state_database::StateError;

/// The pause before an export is tried again whose store or data directory is away, which doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why an unfinished export is not carried on now.
#[derive(Debug, thiserror::Error)]
enum CarryError {
    #[error(transparent)]
    Resume(#[from] ResumeError),
    #[error(transparent)]
    Guest(#[from] GoneError),
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("interrupted")]
    Stopped(#[from] tokio::task::JoinError),
}

/// What became of a try.
enum Try {
    /// It runs again.
    Claimed(Box<Claimed>),
    /// It had ended, or ends now.
    Ended(ExportEnd),
}

impl Scheduler {
    /// Starts a task for each unfinished export; what the store is needed for comes in the task. Journals
    /// of exports that have ended are removed.
    ///
    /// # Errors
    /// [`StateError`].
    pub(super) async fn carry_on(&self) -> Result<(), StateError> {
        let (index, journals) = (self.inner.index.clone(), self.inner.journals.clone());
        let reading = move || Ok::<_, StateError>((index.unfinished()?, journals.exports()?));
        let (unfinished, mut ended) = tokio::task::spawn_blocking(reading)
            .await
            .map_err(|_stopped| StateError::Interrupted)??;
        for entry in unfinished {
            ended.remove(&format!("{}/{}", entry.backend, entry.id));
            let status = Arc::new(Status::default());
            let (end, of_end) = watch::channel(None);
            let (hold_up, held_up) = watch::channel(None);
            let running = RunningExport {
                path: format!("{}{}/", entry.destination, entry.id),
                started_at: entry.started_at,
                principal: entry.principal.clone(),
                tenants: entry.tenants.clone(),
                classes: entry.classes.clone(),
                status: Arc::clone(&status),
                stop: Stop::default(),
                ended: of_end,
                held_up,
            };
            let key = (entry.backend.clone(), entry.id.clone());
            self.running().insert(key, running.clone());
            let scheduler = self.clone();
            let span = export_span(&entry.id, entry.principal.as_deref());
            let task = async move {
                let ended = scheduler.carry_on_one(&entry, status, running.stop, &hold_up).await;
                scheduler.record_end(entry, ended, &end).await;
            };
            self.inner.tasks.spawn(task.instrument(span));
        }
        for key in ended {
            let Some((backend, id)) = key.split_once('/') else { continue };
            let Ok(id) = offloom_protocol::names::ExportId::parse(id) else { continue };
            if let Err(error) = self.inner.journals.of(backend, &id).remove_all().await {
                tracing::warn!(%id, %error, "the journal of an export that has ended stays");
            }
        }
        Ok(())
    }

    /// `None` if the next process carries it on.
    async fn carry_on_one(
        &self,
        entry: &IndexEntry,
        status: Arc<Status>,
        stop: Stop,
        hold_up: &watch::Sender<Option<String>>,
    ) -> Option<ExportEnd> {
        let mut pause = FIRST_PAUSE;
        loop {
            let tried = tokio::select! {
                tried = self.try_to_carry_on(entry, &status) => tried,
                // Canceled exports need their claim first, as those that are carried on do.
                () = self.inner.stopping.cancelled() => return None,
            };
            match tried {
                Ok(Try::Claimed(claimed)) => {
                    tracing::info!(id = %entry.id, "an export is carried on");
                    hold_up.send_replace(None);
                    return self.run(*claimed, entry.principal.as_deref(), status, stop).await;
                }
                Ok(Try::Ended(ended)) => return Some(ended),
                Err(error) => {
                    tracing::warn!(
                        id = %entry.id, %error, seconds = pause.as_secs(),
                        "an export cannot be carried on yet, and is tried again"
                    );
                    hold_up.send_replace(Some(error.to_string()));
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.inner.stopping.cancelled() => return None,
            }
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    async fn try_to_carry_on(
        &self,
        entry: &IndexEntry,
        status: &Status,
    ) -> Result<Try, CarryError> {
        let inner = &self.inner;
        if let Some(folder) = entry.folder().map_err(ManifestError::from)? {
            match Manifest::read(&folder).await {
                Ok(manifest) => {
                    remove_leftovers(&folder).await.map_err(ManifestError::from)?;
                    return Ok(Try::Ended(ExportEnd::of_manifest(&manifest)));
                }
                Err(ManifestError::Missing { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let (journals, backend, id) =
            (inner.journals.clone(), entry.backend.clone(), entry.id.clone());
        let reading = move || journals.records(&backend, &id).map_err(|error| error.to_string());
        let records = tokio::task::spawn_blocking(reading).await?;
        let interrupted = match records.map(Interrupted::read) {
            Ok(Ok(Some(interrupted))) => interrupted,
            // Its id was not claimed, or the server that began it kept no journal.
            Ok(Ok(None)) => return Ok(Try::Ended(ExportEnd::failed(Some(NO_JOURNAL.to_owned())))),
            Ok(Err(error)) => return Ok(Try::Ended(ExportEnd::failed(Some(error.to_string())))),
            Err(error) => return Ok(Try::Ended(ExportEnd::failed(Some(error)))),
        };
        let journal = inner.journals.of(&entry.backend, &entry.id);
        match self.resume(interrupted.clone(), status, Arc::clone(&journal)).await {
            Ok(claimed) => Ok(Try::Claimed(Box::new(claimed))),
            Err(CarryError::Guest(error)) => {
                let error = ResumeError::Guest(error.to_string());
                self.give_up(interrupted, error, journal).await
            }
            Err(CarryError::Resume(error @ ResumeError::Own(OwnError::TakenOver(_)))) => {
                Ok(Try::Ended(ExportEnd::failed(Some(error.to_string()))))
            }
            Err(CarryError::Resume(error)) if !error.may_recover() => {
                self.give_up(interrupted, error, journal).await
            }
            Err(error) => Err(error),
        }
    }

    async fn resume(
        &self,
        interrupted: Interrupted,
        status: &Status,
        journal: Arc<dyn JournalStore>,
    ) -> Result<Claimed, CarryError> {
        let inner = &self.inner;
        let exporter = inner.guests.exporter(interrupted.plan()).await?;
        let transforms = inner.guests.transforms(interrupted.plan()).await?;
        let directories = Arc::clone(&inner.directories);
        let directory = tokio::task::spawn_blocking(move || directories.open()).await??;
        let means = Means {
            directory,
            exporter: &exporter,
            transforms,
            passed: &inner.passed_checks,
            workers: &inner.workers,
            status,
            journal,
        };
        Ok(interrupted.resume(means).await?)
    }

    async fn give_up(
        &self,
        interrupted: Interrupted,
        error: ResumeError,
        journal: Arc<dyn JournalStore>,
    ) -> Result<Try, CarryError> {
        tracing::error!(id = %interrupted.plan().id, %error, "an export cannot be carried on");
        let manifest = interrupted.give_up(&error, journal).await?;
        Ok(Try::Ended(ExportEnd::of_manifest(&manifest)))
    }
}

/// The end of an export without a journal.
const NO_JOURNAL: &str = "the server stopped before the export had begun, or was one that keeps no journal: \
                          start it again under another id";
