//! Runs one export from claim to commit: cuts units, shares them among workers, ends in one outcome.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use offloom_protocol::claim::{Claim, ClaimError};
use offloom_protocol::error::StoreError;
use offloom_protocol::manifest::{Manifest, ManifestError, Outcome};
use offloom_protocol::names::{ExportId, NameError, check_class_name};
use offloom_protocol::store::{Destination, ExportFolder};
use offloom_sandbox::{ExporterGuest, Format, GuestError, GuestOptions};
use offloom_weaviate_disk::{Class, DataDirectory, ShardSummary, UnitOptions};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::commit::{self, Beginning, CommitError, Ending, ShardOutcome};
use crate::file::{ClassFiles, WrittenClass};
use crate::plan::PlannedClass;
use crate::schema;
use crate::status::Status;
use crate::worker::{ClassRun, Job, Work, WorkerError, Workplace, work};

/// How long the outcome waits for uploads that are being dropped.
const ABORT_PATIENCE: Duration = Duration::from_secs(10);

/// How long a FAILED export tries to leave its tombstone.
const TOMBSTONE_PATIENCE: Duration = Duration::from_secs(15);

/// Why an export did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It was told to stop.
    #[error("the export was canceled")]
    Canceled,
    /// The server went down.
    #[error("server stopped")]
    ServerStopped,
    /// A worker failed.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// Shards could not be read, and the export may not be partial.
    #[error(
        "{first}{}; all other shards were read: allow a partial export (--allow-partial, \
         allowPartial) to go without",
        more_shards(*.more)
    )]
    Unreadable {
        /// What is wrong with the first.
        first: String,
        /// How many more there are.
        more: usize,
    },
    /// The schema could not be written.
    #[error("write to backend failed: {0}")]
    Schema(#[from] ManifestError),
    /// The store refused.
    #[error("write to backend failed: {0}")]
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

fn more_shards(count: usize) -> String {
    match count {
        0 => String::new(),
        1 => " (and one more shard)".to_owned(),
        more => format!(" (and {more} more shards)"),
    }
}

/// The workers of the program, shared by all exports that run: a worker is a place, and who has one
/// may keep a guest in memory.
#[derive(Debug, Clone)]
pub struct Workers {
    /// Where guests run: away from the API, which they must not starve.
    guests: Handle,
    places: Arc<Semaphore>,
    count: usize,
}

impl Workers {
    /// `count` places on the runtime of `guests`.
    pub fn new(count: usize, guests: Handle) -> Workers {
        Workers { guests, places: Arc::new(Semaphore::new(count)), count }
    }
}

/// Why an export is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// Somebody canceled it: it ends CANCELED.
    Canceled,
    /// The server stops: it ends FAILED.
    ServerStopped,
}

/// Tells an export to stop. The first reason counts.
#[derive(Debug, Clone, Default)]
pub struct Stop(watch::Sender<Option<StopReason>>);

impl Stop {
    /// Asks the export to stop; it may have ended before.
    pub fn ask(&self, reason: StopReason) {
        self.0.send_if_modified(|asked| {
            let first = asked.is_none();
            asked.get_or_insert(reason);
            first
        });
    }

    /// Waits until somebody asks.
    pub async fn asked(&self) -> StopReason {
        let mut asked = self.0.subscribe();
        loop {
            if let Some(reason) = *asked.borrow_and_update() {
                return reason;
            }
            if asked.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// One export, planned.
pub struct Export {
    /// Its id, also the name of its folder.
    pub id: ExportId,
    /// Where the folder goes.
    pub destination: Destination,
    /// What is read.
    pub directory: DataDirectory,
    /// What goes out.
    pub classes: Vec<PlannedClass>,
    /// What encodes it.
    pub guest: ExporterGuest,
    /// Options of the guest.
    pub options: GuestOptions,
    /// Whether it is a success without the shards that cannot be read.
    pub allow_partial: bool,
}

/// An export whose id is taken: from here on it ends in one outcome.
pub struct ClaimedExport {
    export: Export,
    format: Format,
    folder: ExportFolder,
    started_at: DateTime<Utc>,
}

/// How an export ended.
pub struct EndedExport {
    /// What was committed; absent when that failed, or when another outcome was there before.
    pub manifest: Option<Manifest>,
    /// Why it did not succeed.
    pub error: Option<ExportError>,
}

impl Export {
    /// Takes the id. Nothing is left behind when it could not be taken.
    ///
    /// # Errors
    /// [`ExportError::Claim`], [`ExportError::Store`], [`ExportError::Guest`].
    pub async fn claim(self) -> Result<ClaimedExport, ExportError> {
        let format = self.guest.describe(&self.options).await?;
        for planned in &self.classes {
            check_class_name(&planned.class.name)?;
        }
        let folder = self.destination.export_folder(&self.id)?;
        let claim = Claim::new(self.id.clone(), owner(), env!("CARGO_PKG_VERSION").to_owned());
        claim.take(&folder).await?;
        Ok(ClaimedExport { export: self, format, folder, started_at: claim.started_at })
    }
}

impl ClaimedExport {
    /// Where it lies, for a person and for `verify`.
    pub fn folder(&self) -> &ExportFolder {
        &self.folder
    }

    /// Tells its classes and shards before anything runs.
    pub fn announce(&self, status: &Status) {
        for planned in &self.export.classes {
            status.announce(planned);
        }
    }

    /// When its id was taken.
    pub fn started_at(&self) -> DateTime<Utc> {
        self.started_at
    }

    /// Transfers every class and commits exactly one outcome: what went wrong is in the manifest
    /// too.
    pub async fn run(self, workers: &Workers, status: Arc<Status>, stop: &Stop) -> EndedExport {
        let runs = class_runs(&self.export, &self.format, &self.folder);
        let (reached, stopped) = self.transfer(workers, &runs, &status, stop).await;
        let mut written = Vec::with_capacity(runs.len());
        for run in &runs {
            written.push((run.schema.class_name.clone(), run.files.end().await));
        }
        // Files that were given up are gone before the outcome says so, unless the store is away.
        let _ = tokio::time::timeout(ABORT_PATIENCE, self.folder.wait_for_aborts()).await;
        let shards = shard_outcomes(reached, &written);
        tell_shards(&status, &shards);
        let error = stopped.or_else(|| self.unreadable(&status, &shards));
        let (schema, error) = match error {
            None => match schema::write(&self.folder, &self.export.classes).await {
                Ok(schema) => (schema, None),
                Err(error) => (None, Some(error.into())),
            },
            Some(error) => (None, Some(error)),
        };
        let outcome = match &error {
            None => Outcome::Success,
            Some(ExportError::Canceled) => Outcome::Canceled,
            Some(_) => Outcome::Failed,
        };
        let reason = error.as_ref().map(ToString::to_string);
        if let Some(reason) = &reason {
            status.gave_up(reason);
        }
        let export = self.export;
        let beginning = Beginning {
            backend: export.destination.backend(),
            started_at: self.started_at,
            classes: export.classes.iter().map(|planned| planned.class.name.to_string()).collect(),
            guest: commit::guest(&export.guest, &export.options),
            directory: export.directory,
            id: export.id,
        };
        let progress = status.progress();
        let ending = Ending { outcome, error: reason, progress, written, shards, schema };
        let committing = commit::commit(&self.folder, beginning, ending);
        if outcome == Outcome::Failed {
            // The store may be the reason, and was waited for already. Of two errors the first tells.
            let committed = tokio::time::timeout(TOMBSTONE_PATIENCE, committing).await;
            return EndedExport { manifest: committed.ok().and_then(Result::ok), error };
        }
        match committing.await {
            Ok(manifest) => EndedExport { manifest: Some(manifest), error },
            Err(failed) => {
                EndedExport { manifest: None, error: Some(error.unwrap_or(failed.into())) }
            }
        }
    }

    /// Why shards that cannot be read fail the export; `None` where it may be partial.
    fn unreadable(&self, status: &Status, shards: &[ShardOutcome]) -> Option<ExportError> {
        if self.export.allow_partial {
            return None;
        }
        let mut failed = shards.iter().filter(|shard| shard.error.is_some());
        let first = failed.next()?.error.clone()?;
        for shard in shards {
            if let Some(error) = &shard.error {
                status.class_failed(&shard.class, error);
            }
        }
        Some(ExportError::Unreadable { first, more: failed.count() })
    }

    /// The shards that were reached, class by class, and why the export stopped before its end.
    async fn transfer(
        &self,
        workers: &Workers,
        runs: &[Arc<ClassRun>],
        status: &Arc<Status>,
        stop: &Stop,
    ) -> (Vec<(String, ShardSummary)>, Option<ExportError>) {
        let (jobs, taken) = mpsc::channel(workers.count);
        let workplace = Arc::new(Workplace {
            jobs: Mutex::new(taken),
            places: Arc::clone(&workers.places),
            guest: self.export.guest.clone(),
            options: self.export.options.clone(),
            block_bytes: self.format.block_bytes,
            status: Arc::clone(status),
        });
        let mut tasks = JoinSet::new();
        for _ in 0..workers.count {
            tasks.spawn_on(work(Arc::clone(&workplace)), &workers.guests);
        }
        drop(workplace);
        let classes = self.export.classes.iter().map(|planned| planned.class.clone());
        let cutter = Cutter {
            directory: self.export.directory.clone(),
            classes: classes.zip(runs.iter().cloned()).collect(),
            block_bytes: self.format.block_bytes,
            jobs,
        };
        let cutting = tokio::task::spawn_blocking(move || cutter.cut());
        let ended = tokio::select! {
            biased;
            reason = stop.asked() => Err(match reason {
                StopReason::Canceled => ExportError::Canceled,
                StopReason::ServerStopped => ExportError::ServerStopped,
            }),
            ended = all(&mut tasks) => ended,
        };
        // The jobs' receiver goes with the workers, which stops the cutter at its next unit.
        tasks.shutdown().await;
        match cutting.await {
            Ok(reached) => (reached, ended.err()),
            Err(error) => (Vec::new(), Some(ended.err().unwrap_or(error.into()))),
        }
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
    let run = |PlannedClass { class, reading, raw_bytes, .. }: &PlannedClass| {
        let (format, folder) = (format.clone(), folder.clone());
        let files = ClassFiles::new(class.name.to_string(), format, folder, *raw_bytes);
        Arc::new(ClassRun { schema: class.row_schema(), reading: reading.clone(), files })
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
    fn cut(self) -> Vec<(String, ShardSummary)> {
        let mut reached = Vec::new();
        for (class, run) in self.classes {
            let options = UnitOptions { block_bytes: self.block_bytes };
            let mut units = self.directory.units(&class, options);
            let mut ticket = 0;
            let mut taken = true;
            for unit in units.by_ref() {
                let job = Job { class: Arc::clone(&run), ticket, work: Work::Encode(unit) };
                taken = self.jobs.blocking_send(job).is_ok();
                if !taken {
                    break;
                }
                ticket += 1;
            }
            let shards = units.into_shards().into_iter();
            reached.extend(shards.map(|shard| (class.name.to_string(), shard)));
            let finish = Job { class: run, ticket, work: Work::Finish };
            if !taken || self.jobs.blocking_send(finish).is_err() {
                break;
            }
        }
        reached
    }
}

/// What became of each shard that was reached: what was found when it was cut, and when its rows
/// were read.
fn shard_outcomes(
    reached: Vec<(String, ShardSummary)>,
    written: &[(String, WrittenClass)],
) -> Vec<ShardOutcome> {
    let classes: HashMap<&str, &WrittenClass> =
        written.iter().map(|(class, written)| (class.as_str(), written)).collect();
    let outcome = |(class, summary): (String, ShardSummary)| {
        let written = classes.get(class.as_str());
        let faults = written.and_then(|written| written.faults.shards.get(&summary.index));
        let faults = faults.cloned().unwrap_or_default();
        let error = summary.error.as_ref().map(ToString::to_string).or(faults.error);
        ShardOutcome {
            run: written.and_then(|written| written.shards.get(&summary.index)).cloned(),
            differences: written
                .and_then(|written| written.differences.get(&summary.index).copied())
                .unwrap_or_default(),
            class,
            summary,
            error,
            objects_left_out: faults.objects_left_out,
            rows_with_trailing_bytes: faults.rows_with_trailing_bytes,
        }
    };
    reached.into_iter().map(outcome).collect()
}

fn tell_shards(status: &Status, shards: &[ShardOutcome]) {
    for shard in shards {
        let index = shard.summary.index;
        if let Some(error) = &shard.error {
            status.shard_failed(&shard.class, index, error);
        } else if let Some(reason) = &shard.summary.skip_reason {
            status.skipped(&shard.class, index, reason);
        }
    }
}
