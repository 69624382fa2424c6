//! Moves every class from the data directory to its files: one cutter, several workers.
//!
//! Read in this order: `stop`, `cutter`, `worker`, `transformed_rows`.
pub(crate) mod cutter;
pub(crate) mod stop;
pub(crate) mod transformed_rows;
pub(crate) mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use offloom_protocol::store::ExportFolder;
use offloom_weaviate_disk::PinnedShard;
use tokio::sync::{Mutex, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::ended_class::EndedClass;
use crate::file::ClassFiles;
use crate::journal::Journal;
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
    /// The classes, as far as they got, in the order of the plan.
    pub classes: Vec<EndedClass>,
    /// Why it stopped before its end.
    pub error: Option<TransferError>,
}

/// What an export has besides its plan.
#[derive(Clone, Default)]
pub(crate) struct Carried {
    /// Where its progress is written down.
    pub journal: Option<Journal>,
    /// The snapshots of an earlier attempt, by class and shard.
    pub pinned: BTreeMap<String, Arc<BTreeMap<String, PinnedShard>>>,
    /// Classes whose files get the mark of this attempt, because an earlier one has made files of them.
    pub renamed: BTreeSet<String>,
    /// Shards of `pinned` that were read as they were at first, and those that were not.
    pub pins: Arc<PinCounts>,
}

/// How many shards of an earlier attempt's snapshots were read.
#[derive(Debug, Default)]
pub(crate) struct PinCounts {
    /// As they were at first.
    pub as_before: AtomicU64,
    /// As they are now.
    pub anew: AtomicU64,
}

/// Transfers every class. Files that were begun and not completed are dropped.
pub(crate) async fn transfer(
    planned: &Planned,
    folder: &ExportFolder,
    workers: &Workers,
    status: &Arc<Status>,
    stop: &Stop,
    carried: &Carried,
) -> Transferred {
    let transfers = class_transfers(planned, folder, carried);
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
        read_rate: Arc::clone(&workers.read_rate),
        counts: Arc::clone(&workers.counts),
        steps: planned.steps.clone(),
        guest_time: AtomicU64::default(),
    });
    let mut tasks = JoinSet::new();
    // The workers also stop when this transfer is dropped.
    let stop_workers = stopped.clone().drop_guard();
    for _ in 0..workers.count {
        let (context, stopped) = (Arc::clone(&context), stopped.clone());
        let runtime = workers.runtime.clone();
        // A thread that may block: rows are read where the guest runs.
        let span = Span::current();
        let run =
            move || runtime.block_on(stopped.run_until_cancelled(work(context)).instrument(span));
        tasks.spawn_blocking_on(run, &workers.runtime);
    }
    let cutter = Cutter {
        directory: planned.directory.clone(),
        classes: transfers.clone(),
        block_bytes: format.block_bytes,
        jobs,
        carried: carried.clone(),
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
    let error = match cutting.await {
        Ok(()) => ended.err(),
        Err(error) => Some(ended.err().unwrap_or(error.into())),
    };
    if matches!(error, Some(TransferError::Canceled | TransferError::ServerStopped)) {
        transfers.iter().for_each(|transfer| transfer.files.stop());
    }
    let mut classes = Vec::with_capacity(transfers.len());
    for transfer in &transfers {
        classes.push(transfer.end().await);
    }
    Transferred { classes, error }
}

/// Waits for all workers, or for the first that fails.
async fn all(workers: &mut JoinSet<Option<Result<(), WorkerError>>>) -> Result<(), TransferError> {
    while let Some(ended) = workers.join_next().await {
        // None is a worker that was stopped, which happens after this.
        ended?.unwrap_or(Ok(()))?;
    }
    Ok(())
}

fn class_transfers(
    planned: &Planned,
    folder: &ExportFolder,
    carried: &Carried,
) -> Vec<Arc<ClassTransfer>> {
    let transfer = |PlannedClass { class, reading, raw_bytes, chain, .. }: &PlannedClass| {
        let mut folder = folder.clone();
        if carried.renamed.contains(&*class.name) {
            let attempt = folder.attempt();
            folder = folder.with_attempt(attempt, attempt);
        }
        let format = planned.format.clone();
        let files = ClassFiles::new(class.name.to_string(), format, folder, *raw_bytes);
        let (class, chain, reading) = (class.clone(), chain.clone(), reading.clone());
        let journal = carried.journal.clone();
        Arc::new(ClassTransfer::new(class, chain, reading, files, journal))
    };
    planned.classes.iter().map(transfer).collect()
}
