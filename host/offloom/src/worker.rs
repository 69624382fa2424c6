//! One worker: takes units in order, has a guest encode each, and hands the block to its file.
use std::sync::Arc;

use offloom_rows::{CursorError, Schema};
use offloom_sandbox::{EncodedBlock, ExporterGuest, FileEncoder, GuestError, GuestOptions};
use offloom_weaviate_disk::{Faults, ReadOptions, ReadReport, Unit, UnitCursor};
use tokio::sync::{Mutex, Semaphore, mpsc};

use crate::file::{ClassFiles, FileError};
use crate::status::Status;

/// Why a worker stopped.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// An object of the unit broke its format.
    #[error("{0}")]
    Rows(CursorError),
    /// The guest failed on a class.
    #[error("class {class}: {source}")]
    Guest {
        /// The class that it was encoding.
        class: String,
        /// Its failure.
        source: GuestError,
    },
    /// The output could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The runtime went away.
    #[error("the worker was stopped: {0}")]
    Stopped(#[from] tokio::task::JoinError),
    /// No worker may work any more.
    #[error("the workers were stopped")]
    Closed(#[from] tokio::sync::AcquireError),
}

/// As many workers as there are cores.
pub fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// One class of a running export, shared by the workers.
pub struct ClassRun {
    /// Columns of its rows.
    pub schema: Schema,
    /// What of its objects goes out.
    pub reading: ReadOptions,
    /// Its output.
    pub files: ClassFiles,
}

/// One step of a class. Steps of a class are numbered without gaps; the last one finishes it.
pub struct Job {
    /// The class.
    pub class: Arc<ClassRun>,
    /// The step's number: a block's place in its file.
    pub ticket: u64,
    /// What to do.
    pub work: Work,
}

/// What a step does.
pub enum Work {
    /// Encode a unit and append its block.
    Encode(Unit),
    /// End the file.
    Finish,
}

/// What all workers of an export share.
pub struct Workplace {
    /// Steps in the order in which they were cut.
    pub jobs: Mutex<mpsc::Receiver<Job>>,
    /// The guest.
    pub guest: ExporterGuest,
    /// Its options.
    pub options: GuestOptions,
    /// Bytes that one block should hold.
    pub block_bytes: u64,
    /// Where progress is told.
    pub status: Arc<Status>,
    /// Places to work at, shared with other exports.
    pub places: Arc<Semaphore>,
}

/// Works until no steps are left. A guest instance is kept from unit to unit of one class, because
/// warm memory is worth 15 % (`performance.md`).
pub async fn work(workplace: Arc<Workplace>) -> Result<(), WorkerError> {
    let mut warm: Option<(String, FileEncoder)> = None;
    loop {
        // A place is taken before the job: so the oldest job of an export is always at a place, and
        // those that wait for its block never hold all of them.
        let place = match workplace.places.try_acquire() {
            Ok(place) => place,
            Err(_others_wait) => {
                // The memory of a guest belongs to whoever is at the place.
                drop(warm.take());
                workplace.places.acquire().await?
            }
        };
        let Some(job) = workplace.jobs.lock().await.recv().await else { return Ok(()) };
        let class = &job.class.schema.class_name;
        let encoder = match warm.take() {
            Some((of, encoder)) if of == *class => encoder,
            _ => workplace.open(&job.class).await?,
        };
        let (_, encoder) = warm.insert((class.clone(), encoder));
        match job.work {
            Work::Encode(unit) => {
                let raw_bytes = unit.raw_bytes();
                let (encoded, report) = encode(&workplace, &job.class, encoder, unit).await?;
                let (runs, file_bytes) = (encoded.runs.clone(), encoded.length);
                for (shard, found) in &report.faults.shards {
                    if let Some(error) = &found.error {
                        workplace.status.shard_failed(class, *shard, error);
                    }
                }
                job.class.files.append(job.ticket, encoder, encoded, report).await?;
                workplace.status.appended(class, &runs, file_bytes, raw_bytes);
            }
            Work::Finish => {
                let file_bytes = job.class.files.finish(job.ticket, encoder).await?;
                workplace.status.succeeded(class, file_bytes);
            }
        }
        drop(place);
    }
}

impl Workplace {
    async fn open(&self, class: &ClassRun) -> Result<FileEncoder, WorkerError> {
        let opened = self.guest.open(&class.schema, &self.options, self.block_bytes).await;
        opened.map_err(|source| guest_failure(&class.schema.class_name, source))
    }
}

/// Encodes a unit, and tells what was wrong in it. Where shards cannot be read, the others of the
/// unit are encoded alone.
async fn encode(
    workplace: &Workplace,
    class: &ClassRun,
    encoder: &mut FileEncoder,
    mut unit: Unit,
) -> Result<(EncodedBlock, ReadReport), WorkerError> {
    let mut failed = Faults::default();
    loop {
        let cursor = UnitCursor::open(&unit, &class.reading);
        let (error, cursor) = match encoder.encode_and_return(cursor).await {
            Ok((encoded, cursor)) => {
                let mut report = cursor.into_report();
                failed.add(report.faults);
                report.faults = failed;
                return Ok((encoded, report));
            }
            Err((GuestError::Rows(error), cursor)) => (error, cursor),
            Err((source, _)) => return Err(guest_failure(&class.schema.class_name, source)),
        };
        // Discard this attempt except for which shards failed. If none did, a bad object is the
        // cause.
        let known = failed.shards.len();
        let report = cursor.map(UnitCursor::into_report).unwrap_or_default();
        note_failed(&mut failed, report.faults);
        if failed.shards.len() == known {
            return Err(WorkerError::Rows(error));
        }
        let (again, others) = tokio::task::spawn_blocking(move || {
            let others = Faults::find_failing_shards(&unit);
            (unit, others)
        })
        .await?;
        note_failed(&mut failed, others);
        unit = again.without(&failed.shards.keys().copied().collect());
        // The guest is where the error left it.
        *encoder = workplace.open(class).await?;
    }
}

fn note_failed(failed: &mut Faults, found: Faults) {
    for (shard, faults) in found.shards {
        if let Some(error) = faults.error {
            failed.shard_failed(shard, error);
        }
    }
}

/// A cursor's error already names class, shard, file and offset, and is shown as it is.
fn guest_failure(class: &str, source: GuestError) -> WorkerError {
    match source {
        GuestError::Rows(error) => WorkerError::Rows(error),
        source => WorkerError::Guest { class: class.to_owned(), source },
    }
}
