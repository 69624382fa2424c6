//! One worker: takes units in order, lets a guest encode each, and appends the block to its file.
use std::sync::Arc;

use offloom_rows::{CursorError, Schema};
use offloom_sandbox::{EncodedBlock, FileEncoder, GuestError, GuestOptions, GuestRun};
use offloom_weaviate_disk::{Faults, ReadOptions, ReadReport, Unit, UnitCursor};
use tokio::sync::{Mutex, Semaphore, mpsc};

use crate::file::{ClassFiles, FileError};
use crate::progress::{Event, Status};

/// Why a worker stopped.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The rows of a unit could not be read.
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
    /// A task panicked or its runtime stopped.
    #[error("the worker was stopped: {0}")]
    Stopped(#[from] tokio::task::JoinError),
    /// The slots were closed.
    #[error("the workers were stopped")]
    Closed(#[from] tokio::sync::AcquireError),
}

/// One class of a running export, shared by the workers.
pub(crate) struct ClassTransfer {
    /// Columns of its rows.
    pub schema: Schema,
    /// Which parts of its objects are read.
    pub reading: ReadOptions,
    /// Its output.
    pub files: ClassFiles,
}

/// One step of a class. The steps of a class are numbered without gaps; the last one finishes it.
pub(crate) struct Job {
    /// The class.
    pub class: Arc<ClassTransfer>,
    /// Number of the step: the place of its block in the file.
    pub ticket: u64,
    /// What to do.
    pub work: Work,
}

/// What a step does.
pub(crate) enum Work {
    /// Encode a unit and append its block.
    Encode(Unit),
    /// End the last file.
    Finish,
}

/// What all workers of an export share.
pub(crate) struct TransferContext {
    /// Steps in the order in which they were cut.
    pub jobs: Mutex<mpsc::Receiver<Job>>,
    /// This export's handle of the guest.
    pub guest: GuestRun,
    /// Its options.
    pub options: GuestOptions,
    /// Bytes that one block should hold.
    pub block_bytes: u64,
    /// Receives the events of the transfer.
    pub status: Arc<Status>,
    /// Worker slots, shared with other exports.
    pub slots: Arc<Semaphore>,
}

/// Works until no steps are left. A guest instance is kept from unit to unit of one class, because
/// warm memory makes it about 15 % faster (`architecture.md`, Performance).
pub(crate) async fn work(context: Arc<TransferContext>) -> Result<(), WorkerError> {
    let mut warm: Option<(String, FileEncoder)> = None;
    loop {
        // Take a slot before a job; otherwise workers that wait to append could hold every slot and
        // deadlock.
        let slot = match context.slots.try_acquire() {
            Ok(slot) => slot,
            Err(_none_free) => {
                // Only a worker that holds a slot keeps a guest in memory.
                drop(warm.take());
                context.slots.acquire().await?
            }
        };
        let Some(job) = context.jobs.lock().await.recv().await else { return Ok(()) };
        let class = &job.class.schema.class_name;
        let encoder = match warm.take() {
            Some((of, encoder)) if of == *class => encoder,
            _ => context.open(&job.class).await?,
        };
        let (_, encoder) = warm.insert((class.clone(), encoder));
        match job.work {
            Work::Encode(unit) => {
                let raw_bytes = unit.raw_bytes();
                let (encoded, report) = encode(&context, &job.class, encoder, unit).await?;
                let (runs, file_bytes) = (encoded.runs.clone(), encoded.length);
                for (shard, faults) in &report.faults.shards {
                    if let Some(error) = &faults.error {
                        context.status.record(Event::ShardFailed { class, shard: *shard, error });
                    }
                }
                job.class.files.append(job.ticket, encoder, encoded, report).await?;
                let runs = &runs;
                context.status.record(Event::BlockAppended { class, runs, file_bytes, raw_bytes });
            }
            Work::Finish => {
                let file_bytes = job.class.files.finish(job.ticket, encoder).await?;
                context.status.record(Event::ClassCompleted { class, file_bytes });
            }
        }
        drop(slot);
    }
}

impl TransferContext {
    async fn open(&self, class: &ClassTransfer) -> Result<FileEncoder, WorkerError> {
        let opened = self.guest.open(&class.schema, &self.options, self.block_bytes).await;
        opened.map_err(|source| guest_failure(&class.schema.class_name, source))
    }
}

/// Encodes a unit, and returns what was wrong in it. If shards cannot be read, the unit is encoded
/// again without them.
async fn encode(
    context: &TransferContext,
    class: &ClassTransfer,
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
        let failed_before = failed.shards.len();
        let report = cursor.map(UnitCursor::into_report).unwrap_or_default();
        add_failed_shards(&mut failed, report.faults);
        if failed.shards.len() == failed_before {
            return Err(WorkerError::Rows(error));
        }
        let limit = class.reading.object_limit;
        let (again, others) = tokio::task::spawn_blocking(move || {
            let others = Faults::find_failing_shards(&unit, limit);
            (unit, others)
        })
        .await?;
        add_failed_shards(&mut failed, others);
        unit = again.without(&failed.shards.keys().copied().collect());
        // The instance ended with the error.
        *encoder = context.open(class).await?;
    }
}

fn add_failed_shards(failed: &mut Faults, faults: Faults) {
    for (shard, faults) in faults.shards {
        if let Some(error) = faults.error {
            failed.shard_failed(shard, error);
        }
    }
}

/// The error of a cursor already names class, shard, file and offset, so nothing is added to it.
fn guest_failure(class: &str, source: GuestError) -> WorkerError {
    match source {
        GuestError::Rows(error) => WorkerError::Rows(error),
        source => WorkerError::Guest { class: class.to_owned(), source },
    }
}
