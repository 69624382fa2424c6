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
use tokio::sync::{Mutex, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::file::{ClassFiles, WrittenClass};
use crate::plan::{Planned, PlannedClass};
use crate::progress::Status;
use crate::workers::Workers;
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
