//! Moves every class from the data directory to its files: one cutter, several workers.
//!
//! Read in this order: `stop`, `cutter`, `worker`, `transformed_rows`.
pub(crate) mod cutter;
pub(crate) mod stop;
pub(crate) mod transformed_rows;
pub(crate) mod worker;

use std::sync::Arc;
use std::time::Duration;

use offloom_protocol::store::ExportFolder;
use offloom_weaviate_disk::ShardSummary;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::file::{ClassFiles, WrittenClass};
use crate::plan::{Planned, PlannedClass};
use crate::progress::Status;
use cutter::Cutter;
use stop::{Stop, StopReason};
use worker::{ClassTransfer, TransferContext, WorkerError, work};

/// How long the end of an export waits for a worker that reads, when the export is stopped.
const READ_PATIENCE: Duration = Duration::from_secs(5);

/// Why a transfer stopped before its end.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Somebody canceled the export.
    #[error("the export was canceled")]
    Canceled,
    /// The server stopped.
    #[error("server stopped")]
    ServerStopped,
    /// A worker failed.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// A task panicked or its runtime stopped.
    #[error("the export was stopped: {0}")]
    Stopped(#[from] JoinError),
}

/// The worker slots of the program, shared by all exports that run. A worker that holds a slot may
/// keep a guest in memory.
#[derive(Debug, Clone)]
pub struct Workers {
    /// Where guests run: single calls on its own threads, workers on those that may block. It is not the
    /// runtime of the API, which they would starve.
    runtime: Handle,
    slots: Arc<Semaphore>,
    /// As many single calls at once: each may keep a guest in memory too, and needs no slot, so that
    /// none waits for a running export.
    calls: Arc<Semaphore>,
    count: usize,
}

impl Workers {
    /// `count` slots on `runtime`.
    pub fn new(count: usize, runtime: Handle) -> Workers {
        let (slots, calls) = (Semaphore::new(count), Semaphore::new(count));
        Workers { runtime, slots: Arc::new(slots), calls: Arc::new(calls), count }
    }

    /// Runs guests that read rows, on a thread that may block. It ends with the guests' limits of time.
    ///
    /// # Errors
    /// [`JoinError`] when it panicked or the runtime stopped.
    pub(crate) async fn call_blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        // Nobody closes it.
        let _turn = self.calls.acquire().await.ok();
        self.runtime.spawn_blocking(call).await
    }

    /// How many workers an export has.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The same slots for an export with fewer workers.
    pub(crate) fn at_most(&self, count: Option<usize>) -> Workers {
        let count = count.map_or(self.count, |count| count.min(self.count));
        Workers { count, ..self.clone() }
    }

    /// Runs a single call of a guest, such as `plan`, where guests run. It ends when this is dropped.
    ///
    /// # Errors
    /// [`JoinError`] when it panicked or the runtime stopped.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, JoinError> {
        // Nobody closes it.
        let _turn = self.calls.acquire().await.ok();
        AbortOnDropHandle::new(self.runtime.spawn(call)).await
    }
}

/// One worker per core.
pub fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// What a transfer left.
pub(crate) struct Transferred {
    /// The shards that were cut, with their class, in the order of their rows in the files.
    pub shards: Vec<(String, ShardSummary)>,
    /// Complete files and faults, class by class.
    pub written: Vec<(String, WrittenClass)>,
    /// Why it stopped before its end.
    pub error: Option<TransferError>,
}

/// Transfers every class. Files that were begun and not completed are dropped.
pub(crate) async fn transfer(
    planned: &Planned,
    folder: &ExportFolder,
    workers: &Workers,
    status: &Arc<Status>,
    stop: &Stop,
) -> Transferred {
    let transfers = class_transfers(planned, folder);
    let format = &planned.format;
    let (jobs, queue) = mpsc::channel(workers.count);
    let stopped = CancellationToken::new();
    let context = Arc::new(TransferContext {
        jobs: Mutex::new(queue),
        slots: Arc::clone(&workers.slots),
        guest: planned.guest.clone(),
        options: planned.options.clone(),
        block_bytes: format.block_bytes,
        status: Arc::clone(status),
        stopped: stopped.clone(),
    });
    let mut tasks = JoinSet::new();
    // The workers also stop when this transfer is dropped.
    let stop_workers = stopped.clone().drop_guard();
    for _ in 0..workers.count {
        let (context, stopped) = (Arc::clone(&context), stopped.clone());
        let runtime = workers.runtime.clone();
        // A thread that may block: rows are read where the guest runs.
        let run = move || runtime.block_on(stopped.run_until_cancelled(work(context)));
        tasks.spawn_blocking_on(run, &workers.runtime);
    }
    let classes = planned.classes.iter().map(|planned| planned.class.clone());
    let cutter = Cutter {
        directory: planned.directory.clone(),
        classes: classes.zip(transfers.iter().cloned()).collect(),
        block_bytes: format.block_bytes,
        jobs,
    };
    let cutting = tokio::task::spawn_blocking(move || cutter.cut());
    let ended = tokio::select! {
        biased;
        reason = stop.asked() => Err(match reason {
            StopReason::Canceled => TransferError::Canceled,
            StopReason::ServerStopped => TransferError::ServerStopped,
        }),
        ended = all(&mut tasks) => ended,
    };
    drop(stop_workers);
    // A read that does not return holds up neither the end nor other exports.
    let _ =
        tokio::time::timeout(READ_PATIENCE, async { while tasks.join_next().await.is_some() {} })
            .await;
    // This stops the cutter at its next unit.
    context.jobs.lock().await.close();
    let (shards, error) = match cutting.await {
        Ok(shards) => (shards, ended.err()),
        Err(error) => (Vec::new(), Some(ended.err().unwrap_or(error.into()))),
    };
    let mut written = Vec::with_capacity(transfers.len());
    for transfer in &transfers {
        written.push((transfer.class.name.to_string(), transfer.files.end().await));
    }
    Transferred { shards, written, error }
}

/// Waits for all workers, or for the first that fails.
async fn all(workers: &mut JoinSet<Option<Result<(), WorkerError>>>) -> Result<(), TransferError> {
    while let Some(ended) = workers.join_next().await {
        // None is a worker that was stopped, which happens after this.
        ended?.unwrap_or(Ok(()))?;
    }
    Ok(())
}

fn class_transfers(planned: &Planned, folder: &ExportFolder) -> Vec<Arc<ClassTransfer>> {
    let transfer = |PlannedClass { class, reading, raw_bytes, chain, .. }: &PlannedClass| {
        let (format, folder) = (planned.format.clone(), folder.clone());
        let files = ClassFiles::new(class.name.to_string(), format, folder, *raw_bytes);
        let (class, chain, reading) = (class.clone(), chain.clone(), reading.clone());
        Arc::new(ClassTransfer { class, chain, reading, files })
    };
    planned.classes.iter().map(transfer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_runs_where_guests_run_and_ends_with_its_caller() {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let guests = builder.worker_threads(1).thread_name("guests").build().unwrap();
        let workers = Workers::new(1, guests.handle().clone());
        let name = workers.call(async { std::thread::current().name().map(str::to_owned) }).await;
        assert_eq!(name.unwrap().as_deref(), Some("guests"));

        let (held, ended) = tokio::sync::oneshot::channel::<()>();
        let endless = workers.call(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        tokio::select! {
            biased;
            _ = endless => {}
            () = tokio::task::yield_now() => {}
        }
        // It was dropped, and so is what it held; its turn is free.
        let ended = tokio::time::timeout(std::time::Duration::from_secs(60), ended).await;
        assert!(ended.unwrap().is_err());
        workers.call(async {}).await.unwrap();
        guests.shutdown_background();
    }
}
