//! The threads on which guests run, shared by all exports.
use std::sync::Arc;

use offloom_protocol::rate::Rate;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

use crate::work_counts::WorkCounts;

/// The worker slots of the program, shared by all exports that run. A worker that holds a slot may
/// keep a guest in memory.
#[derive(Debug, Clone)]
pub struct Workers {
    /// Where guests run: single calls on its own threads, workers on those that may block. It is not the
    /// runtime of the API, which they would starve.
    pub(crate) runtime: Handle,
    pub(crate) slots: Arc<Semaphore>,
    /// As many single calls at once: each may keep a guest in memory too, and needs no slot, so that
    /// none waits for a running export.
    calls: Arc<Semaphore>,
    pub(crate) count: usize,
    /// How fast objects are read, in bytes as they are stored.
    pub(crate) read_rate: Arc<Rate>,
    pub(crate) counts: Arc<WorkCounts>,
}

impl Workers {
    /// `count` slots on `runtime`.
    pub fn new(count: usize, runtime: Handle) -> Workers {
        let (slots, calls) = (Semaphore::new(count), Semaphore::new(count));
        let (slots, calls) = (Arc::new(slots), Arc::new(calls));
        let (read_rate, counts) = (Arc::default(), Arc::default());
        Workers { runtime, slots, calls, count, read_rate, counts }
    }

    /// The same, which read objects at most at this rate.
    #[must_use]
    pub fn with_read_rate(self, rate: Rate) -> Workers {
        Workers { read_rate: Arc::new(rate), ..self }
    }

    /// What they did so far.
    pub fn counts(&self) -> &Arc<WorkCounts> {
        &self.counts
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
