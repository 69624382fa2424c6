//! Runs one export from claim to commit: cuts units, shares them among workers, ends in one outcome.
use std::sync::Arc;

use offloom_protocol::claim::{Claim, ClaimError};
use offloom_protocol::error::StoreError;
use offloom_protocol::manifest::{Manifest, Outcome};
use offloom_protocol::names::{ExportId, NameError, check_class_name};
use offloom_protocol::store::{Destination, ExportFolder};
use offloom_sandbox::{ExporterGuest, Format, GuestError, GuestOptions};
use offloom_weaviate_disk::{Class, DataDirectory, DiskError, ShardSummary, UnitOptions};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::commit::{self, Beginning, CommitError, Ending};
use crate::file::ClassFiles;
use crate::plan::PlannedClass;
use crate::status::Status;
use crate::worker::{ClassRun, Job, Work, WorkerError, Workplace, work};

/// Why an export did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It was told to stop.
    #[error("the export was canceled")]
    Canceled,
    /// A worker failed.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// Units could not be cut.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The id belongs to another export.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The outcome could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The guest failed before the first row.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// A name on disk may not become an object key.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The runtime went away.
    #[error("the export was stopped: {0}")]
    Stopped(#[from] tokio::task::JoinError),
}

/// One export, planned.
pub struct Export {
    /// Its id, also the name of its folder.
    pub id: ExportId,
    /// Where the folder goes.
    pub destination: Destination,
    /// What goes out.
    pub classes: Vec<PlannedClass>,
    /// Options of the guest.
    pub options: GuestOptions,
}

/// An export that succeeded.
pub struct Exported {
    /// Where it lies, for a person and for `verify`.
    pub folder: String,
    /// What was committed.
    pub manifest: Manifest,
}

/// Owns the workers; knows one data directory and one guest.
pub struct Scheduler {
    directory: DataDirectory,
    guest: ExporterGuest,
    workers: usize,
}

impl Scheduler {
    /// `workers` guests encode at the same time.
    pub fn new(directory: DataDirectory, guest: ExporterGuest, workers: usize) -> Scheduler {
        Scheduler { directory, guest, workers }
    }

    /// Claims the id, transfers every class, and commits exactly one outcome: what went wrong is
    /// in the manifest too.
    ///
    /// # Errors
    /// [`ExportError`]; nothing is left behind when the id could not be claimed.
    pub async fn run(
        &self,
        export: Export,
        status: Arc<Status>,
        cancel: CancellationToken,
    ) -> Result<Exported, ExportError> {
        let format = self.guest.describe(&export.options).await?;
        for planned in &export.classes {
            check_class_name(&planned.class.name)?;
        }
        let folder = export.destination.export_folder(&export.id)?;
        let claim = Claim::new(export.id.clone(), owner(), env!("CARGO_PKG_VERSION").to_owned());
        claim.take(&folder).await?;
        let beginning = Beginning {
            id: export.id.clone(),
            backend: export.destination.backend(),
            started_at: claim.started_at,
            classes: export.classes.iter().map(|planned| planned.class.name.to_string()).collect(),
            guest: commit::guest(&self.guest, &export.options),
            directory: self.directory.clone(),
        };
        for planned in &export.classes {
            status.announce(&planned.class.name, planned.objects_estimate, planned.raw_bytes);
        }
        let runs = class_runs(&export, &format, &folder);
        let transferred = self.transfer(&export, &format, &runs, &status, cancel).await;
        let outcome = match &transferred {
            Ok(_) => Outcome::Success,
            Err(ExportError::Canceled) => Outcome::Canceled,
            Err(_) => Outcome::Failed,
        };
        let error = transferred.as_ref().err().map(ToString::to_string);
        if let Some(error) = &error {
            status.gave_up(error);
        }
        let mut written = Vec::with_capacity(runs.len());
        for run in &runs {
            written.push((run.schema.class_name.clone(), run.files.end().await));
        }
        let shards = transferred.as_ref().map_or_else(|_| Vec::new(), Clone::clone);
        let ending = Ending { outcome, error, progress: status.progress(), written, shards };
        let committed = commit::commit(&folder, beginning, ending).await;
        // Of two errors the first one is the reason.
        transferred?;
        Ok(Exported { folder: folder.url().to_owned(), manifest: committed? })
    }

    async fn transfer(
        &self,
        export: &Export,
        format: &Format,
        runs: &[Arc<ClassRun>],
        status: &Arc<Status>,
        cancel: CancellationToken,
    ) -> Result<Vec<(String, ShardSummary)>, ExportError> {
        let (jobs, taken) = mpsc::channel(self.workers);
        let workplace = Arc::new(Workplace {
            jobs: Mutex::new(taken),
            guest: self.guest.clone(),
            options: export.options.clone(),
            block_bytes: format.block_bytes,
            status: Arc::clone(status),
        });
        let mut workers = JoinSet::new();
        for _ in 0..self.workers {
            workers.spawn(work(Arc::clone(&workplace)));
        }
        drop(workplace);
        let cutter = Cutter {
            directory: self.directory.clone(),
            classes: export
                .classes
                .iter()
                .map(|planned| planned.class.clone())
                .zip(runs.iter().cloned())
                .collect(),
            block_bytes: format.block_bytes,
            jobs,
        };
        let cutting = tokio::task::spawn_blocking(move || cutter.cut());
        let ended = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(ExportError::Canceled),
            ended = all(&mut workers) => ended,
        };
        // The jobs' receiver goes with the workers, which stops the cutter at its next unit.
        workers.shutdown().await;
        let cut = cutting.await?;
        ended?;
        Ok(cut?)
    }
}

/// Waits for all workers, or for the first that fails.
async fn all(workers: &mut JoinSet<Result<(), WorkerError>>) -> Result<(), ExportError> {
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    Ok(())
}

fn class_runs(export: &Export, format: &Format, folder: &ExportFolder) -> Vec<Arc<ClassRun>> {
    let run = |PlannedClass { class, raw_bytes, .. }: &PlannedClass| {
        let (format, folder) = (format.clone(), folder.clone());
        let files = ClassFiles::new(class.name.to_string(), format, folder, *raw_bytes);
        Arc::new(ClassRun { schema: class.row_schema(), files })
    };
    export.classes.iter().map(run).collect()
}

/// Who takes part: enough to find the process that made a claim.
fn owner() -> String {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "localhost" } else { host.trim() };
    format!("{host} (process {})", std::process::id())
}

/// Cuts units, class after class, and hands them out in that order. Blocking.
struct Cutter {
    directory: DataDirectory,
    classes: Vec<(Class, Arc<ClassRun>)>,
    block_bytes: u64,
    jobs: mpsc::Sender<Job>,
}

impl Cutter {
    /// All shards, class after class, in the order in which their rows stand in the files. Stops
    /// early, without an error of its own, when nobody takes jobs any more.
    fn cut(self) -> Result<Vec<(String, ShardSummary)>, DiskError> {
        let mut shards = Vec::new();
        for (class, run) in self.classes {
            let options = UnitOptions { block_bytes: self.block_bytes };
            let mut units = self.directory.units(&class, options);
            let mut ticket = 0;
            for unit in units.by_ref() {
                let job = Job { class: Arc::clone(&run), ticket, work: Work::Encode(unit?) };
                if self.jobs.blocking_send(job).is_err() {
                    return Ok(shards);
                }
                ticket += 1;
            }
            let reached = units.shards().iter().cloned();
            shards.extend(reached.map(|shard| (class.name.to_string(), shard)));
            if self.jobs.blocking_send(Job { class: run, ticket, work: Work::Finish }).is_err() {
                return Ok(shards);
            }
        }
        Ok(shards)
    }
}
