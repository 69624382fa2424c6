//! One worker: takes units in order, lets a guest encode each, and appends the block to its file
//! while it encodes the next.
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use offloom_protocol::rate::Rate;
use offloom_protocol::upload_log::LogError;
use offloom_rows::CursorError;
use offloom_sandbox::{EncodedBlock, FileEncoder, GuestError, GuestOptions, GuestRun};
use offloom_weaviate_disk::{Class, Faults, ReadOptions, ShardSummary, Unit, UnitCursor};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use super::transformed_rows::{OpenChain, TransformedRows};
use crate::ended_class::EndedClass;
use crate::file::{BlockReport, ClassFiles, FileError};
use crate::journal::Journal;
use crate::progress::{Event, Status};
use crate::transforms::{ClassChain, ExportSteps};
use crate::work_counts::WorkCounts;

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
    /// A complete class could not be written down.
    #[error(transparent)]
    Journal(#[from] LogError),
    /// The slots were closed.
    #[error("the workers were stopped")]
    Closed(#[from] tokio::sync::AcquireError),
}

/// One class of a running export, shared by the workers.
pub(crate) struct ClassTransfer {
    /// The class.
    pub class: Class,
    /// What its rows pass, and the columns that the exporter gets.
    pub chain: ClassChain,
    /// Which parts of its objects are read.
    pub reading: ReadOptions,
    /// Its output.
    pub files: ClassFiles,
    /// Where its progress is written down.
    journal: Option<Journal>,
    /// The shards that were cut, once all are.
    shards: OnceLock<Vec<ShardSummary>>,
    /// How it ended, once its files are complete.
    ended: OnceLock<EndedClass>,
}

impl ClassTransfer {
    pub fn new(
        class: Class,
        chain: ClassChain,
        reading: ReadOptions,
        files: ClassFiles,
        journal: Option<Journal>,
    ) -> ClassTransfer {
        let (shards, ended) = (OnceLock::new(), OnceLock::new());
        ClassTransfer { class, chain, reading, files, journal, shards, ended }
    }

    /// Takes the shards of which all units are cut, or as many as there will be.
    pub fn cut(&self, shards: Vec<ShardSummary>) {
        // The cutter comes once.
        let _ = self.shards.set(shards);
    }

    /// How it ended: as written down, or as far as it got.
    pub async fn end(&self) -> EndedClass {
        match self.ended.get() {
            Some(ended) => ended.clone(),
            None => self.as_it_is().await,
        }
    }

    /// Ends a class whose files are complete, and writes that down.
    async fn complete(&self) -> Result<(), WorkerError> {
        let ended = self.as_it_is().await;
        // First, because this worker may be stopped while it waits for the journal.
        let ended = self.ended.get_or_init(|| ended);
        let is_whole = ended.shards.iter().all(|shard| shard.shard.error.is_none());
        // One that lacks a shard is tried again.
        if let Some(journal) = self.journal.as_ref().filter(|_| is_whole) {
            journal.class(ended).await?;
        }
        Ok(())
    }

    async fn as_it_is(&self) -> EndedClass {
        let shards = self.shards.get().cloned().unwrap_or_default();
        let steps = self.chain.steps.iter().map(|step| step.index);
        EndedClass::new(&self.class, steps, shards, self.files.end().await)
    }
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
    /// Cancelled when the export is stopped.
    pub stopped: CancellationToken,
    /// How fast objects are read.
    pub read_rate: Arc<Rate>,
    /// What all workers of the process did.
    pub counts: Arc<WorkCounts>,
    /// The transforms of the export.
    pub steps: ExportSteps,
    /// Processor time of the export's guests that is in `counts`, in nanoseconds.
    pub guest_time: AtomicU64,
}

/// The guests that a worker keeps from unit to unit of one class.
struct WarmGuests {
    class: String,
    encoder: FileEncoder,
    /// `None` while a unit is read, and after an error.
    chain: Option<OpenChain>,
}

/// Works until no steps are left. A guest instance is kept from unit to unit of one class, because
/// warm memory makes it about 15 % faster (`architecture.md`, Performance).
pub(crate) async fn work(context: Arc<TransferContext>) -> Result<(), WorkerError> {
    let mut warm: Option<WarmGuests> = None;
    let mut behind = Behind::default();
    loop {
        // Take a slot before a job; otherwise workers that wait to append could hold every slot and
        // deadlock. A block that is appended behind needs no slot.
        let slot = match context.slots.try_acquire() {
            Ok(slot) => slot,
            Err(_none_free) => {
                // Only a worker that holds a slot keeps a guest or a block in memory.
                drop(warm.take());
                behind.settle().await?;
                context.slots.acquire().await?
            }
        };
        let next = async { Ok(context.jobs.lock().await.recv().await) };
        let Some(job) = behind.beside(next).await? else { return behind.settle().await };
        let class = &*job.class.class.name;
        // Those of another class end before the next ones begin.
        let guests = match warm.take().filter(|guests| guests.class == class) {
            Some(guests) => guests,
            None => WarmGuests {
                class: class.to_owned(),
                encoder: behind.beside(context.open(&job.class)).await?,
                chain: None,
            },
        };
        let guests = warm.insert(guests);
        match job.work {
            Work::Encode(unit) => {
                let raw_bytes = unit.raw_bytes();
                let (number, keys) = (unit.number(), unit.keys().collect());
                let encoding = async {
                    context.read_rate.take(raw_bytes).await;
                    encode(&context, &job.class, guests, unit).await
                };
                let span = tracing::error_span!("unit", class, number);
                let (encoded, report) = behind.beside(encoding.instrument(span)).await?;
                context.count_guest_time();
                let encoder = &mut guests.encoder;
                for (shard, faults) in &report.read.faults.shards {
                    if let Some(error) = &faults.error {
                        context.status.record(Event::ShardFailed { class, shard: *shard, error });
                    }
                }
                // At most one finished block of a worker waits.
                behind.settle().await?;
                let (runs, file_bytes) = (encoded.runs.clone(), encoded.length);
                let (status, name) = (Arc::clone(&context.status), class.to_owned());
                let journal = job.class.journal.clone();
                let counts = Arc::clone(&context.counts);
                let appended = move || {
                    let (class, runs) = (&*name, &*runs);
                    let rows = runs.iter().map(|run| run.rows).fold(0, u64::saturating_add);
                    counts.appended(rows, raw_bytes, file_bytes);
                    status.record(Event::BlockAppended { class, runs, file_bytes, raw_bytes });
                    if let Some(journal) = &journal {
                        journal.unit(class, number, keys, rows, file_bytes);
                    }
                };
                let (class, ticket) = (Arc::clone(&job.class), job.ticket);
                if class.files.takes_behind(ticket) {
                    behind.start(async move {
                        Ok(class.files.append_behind(ticket, encoded, report, appended).await?)
                    });
                } else {
                    class.files.append(ticket, encoder, encoded, report, appended).await?;
                }
            }
            Work::Finish => {
                behind.settle().await?;
                let finishing = job.class.files.finish(job.ticket, &mut guests.encoder);
                let file_bytes = finishing.await?;
                job.class.complete().await?;
                context.status.record(Event::ClassCompleted { class, file_bytes });
            }
        }
        drop(slot);
    }
}

/// The finished block of a worker that is being appended while the worker does something else. When
/// this is dropped, the block is too.
#[derive(Default)]
struct Behind(Option<AbortOnDropHandle<Result<(), WorkerError>>>);

impl Behind {
    fn start(&mut self, append: impl Future<Output = Result<(), WorkerError>> + Send + 'static) {
        self.0 = Some(AbortOnDropHandle::new(tokio::spawn(append.in_current_span())));
    }

    /// Waits until nothing is appended any more.
    async fn settle(&mut self) -> Result<(), WorkerError> {
        let Some(append) = &mut self.0 else { return Ok(()) };
        let appended = append.await;
        self.0 = None;
        appended?
    }

    /// Works, and stops when the append fails.
    async fn beside<T>(
        &mut self,
        work: impl Future<Output = Result<T, WorkerError>>,
    ) -> Result<T, WorkerError> {
        tokio::select! {
            biased;
            Err(error) = self.settle() => Err(error),
            done = work => done,
        }
    }
}

impl TransferContext {
    /// Counts what the guests of the export used since the last call, by any worker.
    fn count_guest_time(&self) {
        let steps = self.steps.iter().map(|step| step.run.processor_time());
        let time = steps.fold(self.guest.processor_time(), Duration::saturating_add);
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let before = self.guest_time.fetch_max(nanoseconds, Ordering::Relaxed);
        self.counts.guests_ran(Duration::from_nanos(nanoseconds.saturating_sub(before)));
    }

    async fn open(&self, class: &ClassTransfer) -> Result<FileEncoder, WorkerError> {
        let opened = self.guest.open(&class.chain.schema, &self.options, self.block_bytes).await;
        opened.map_err(|source| guest_failure(&class.class.name, source))
    }

    fn chain(&self, class: &ClassTransfer) -> OpenChain {
        let (of, chain) = (class.class.clone(), class.chain.clone());
        OpenChain::new(of, chain, class.reading.on_bad_object, self.stopped.clone())
    }
}

/// Encodes a unit, and returns what was wrong in it. If shards cannot be read, the unit is encoded
/// again without them.
async fn encode(
    context: &TransferContext,
    class: &ClassTransfer,
    guests: &mut WarmGuests,
    mut unit: Unit,
) -> Result<(EncodedBlock, BlockReport), WorkerError> {
    let mut failed = Faults::default();
    loop {
        let chain = guests.chain.take().unwrap_or_else(|| context.chain(class));
        let cursor = TransformedRows::new(UnitCursor::open(&unit, &class.reading), chain);
        let (error, cursor) = match guests.encoder.encode_and_return(cursor).await {
            Ok((encoded, cursor)) => {
                let (source, transforms, chain) = cursor.into_parts();
                let mut read = source.into_report();
                guests.chain = Some(chain);
                failed.add(read.faults);
                read.faults = failed;
                return Ok((encoded, BlockReport { read, transforms }));
            }
            Err((GuestError::Rows(error), cursor)) => (error, cursor),
            Err((source, _)) => return Err(guest_failure(&class.class.name, source)),
        };
        // Discard this attempt except for which shards failed. If none did, a bad object or a transform
        // is the cause.
        let failed_before = failed.shards.len();
        let report = cursor.map(|cursor| cursor.into_parts().0.into_report()).unwrap_or_default();
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
        guests.encoder = context.open(class).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_append_that_fails_ends_the_work_beside_it() {
        let mut behind = Behind::default();
        behind.start(async { Err(FileError::ExportEnded.into()) });
        let endless = std::future::pending::<Result<(), WorkerError>>();
        let error = behind.beside(endless).await.unwrap_err();
        assert!(matches!(error, WorkerError::File(FileError::ExportEnded)), "{error}");
        behind.settle().await.unwrap();
    }

    #[tokio::test]
    async fn the_work_beside_an_append_ends_first_or_last() {
        let mut behind = Behind::default();
        let (done, appended) = tokio::sync::oneshot::channel::<()>();
        behind.start(async {
            appended.await.unwrap();
            Ok(())
        });
        assert_eq!(behind.beside(async { Ok(1) }).await.unwrap(), 1);
        done.send(()).unwrap();
        behind.settle().await.unwrap();
        assert_eq!(behind.beside(async { Ok(2) }).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_block_is_dropped_with_its_worker() {
        let mut behind = Behind::default();
        let (held, dropped) = tokio::sync::oneshot::channel::<()>();
        behind.start(async move {
            let _held = held;
            std::future::pending().await
        });
        drop(behind);
        let dropped = tokio::time::timeout(std::time::Duration::from_secs(60), dropped).await;
        assert!(dropped.unwrap().is_err());
    }
}
