//! The processor time of a guest: whatever the thread of a call spends, in the guest and in the host.
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::error::Breach;
use crate::limits::{SandboxLimits, TICK};

/// What all instances of a guest used in one export.
#[derive(Default)]
pub(crate) struct ExportUse {
    nanoseconds: AtomicU64,
    output_bytes: AtomicU64,
}

impl ExportUse {
    fn add(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Processor time.
    pub(crate) fn time(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    /// Counts bytes of blocks or edits.
    pub(crate) fn write(&self, bytes: u64, limits: &SandboxLimits) -> Result<(), Breach> {
        let before = self.output_bytes.fetch_add(bytes, Ordering::Relaxed);
        match limits.output_per_export {
            Some(limit) if before.saturating_add(bytes) > limit => {
                Err(Breach::OutputPerExport { limit })
            }
            _ => Ok(()),
        }
    }
}

/// Processor time of one instance. Clones share it.
#[derive(Clone)]
pub(crate) struct CpuClock(Arc<Mutex<Counter>>);

struct Counter {
    /// The time of this thread up to which everything is counted. `None` while no thread works on
    /// the call: it waits for its turn.
    counted: Option<Duration>,
    /// When it was counted.
    looked: Instant,
    /// Whether rows or bytes moved since then.
    moved: bool,
    since_move: Duration,
    max_since_move: Duration,
    export: Arc<ExportUse>,
    max_export: Option<Duration>,
}

impl CpuClock {
    pub(crate) fn new(limits: &SandboxLimits, export: Arc<ExportUse>) -> CpuClock {
        CpuClock(Arc::new(Mutex::new(Counter {
            counted: None,
            looked: Instant::now(),
            moved: false,
            since_move: Duration::ZERO,
            max_since_move: limits.cpu_between_moves,
            export,
            max_export: limits.cpu_per_export,
        })))
    }

    /// Waits for a call, and counts what each thread that works on it spends meanwhile: on the guest's
    /// code, on functions of the host, and on values that are copied between them.
    pub(crate) async fn count<T>(&self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        std::future::poll_fn(|context| {
            self.counter().counted = Some(thread_time());
            let answer = call.as_mut().poll(context);
            let mut counter = self.counter();
            counter.spend();
            counter.counted = None;
            answer
        })
        .await
    }

    /// Does work that is not the guest's, such as reading its rows.
    pub(crate) fn uncounted<T>(&self, work: impl FnOnce() -> T) -> T {
        self.counter().spend();
        let done = work();
        let mut counter = self.counter();
        if counter.counted.is_some() {
            counter.counted = Some(thread_time());
        }
        done
    }

    /// At every tick of the epoch while the guest runs.
    pub(crate) fn tick(&self) -> Result<(), Breach> {
        let mut counter = self.counter();
        counter.spend();
        counter.check()
    }

    /// At every call of the host. A guest need not pass a place where it looks at the epoch between
    /// two of them.
    pub(crate) fn host_call(&self) -> Result<(), Breach> {
        let mut counter = self.counter();
        if counter.looked.elapsed() >= TICK {
            counter.spend();
        }
        counter.check()
    }

    /// Restarts the limit between moves: rows or bytes crossed the boundary, or a call begins.
    pub(crate) fn moved(&self) {
        self.counter().moved = true;
    }

    fn counter(&self) -> MutexGuard<'_, Counter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counter {
    fn spend(&mut self) {
        let Some(counted) = self.counted else { return };
        let now = thread_time();
        let spent = now.saturating_sub(counted);
        self.counted = Some(now);
        self.looked = Instant::now();
        self.export.add(spent);
        if std::mem::take(&mut self.moved) {
            self.since_move = Duration::ZERO;
        } else {
            self.since_move = self.since_move.saturating_add(spent);
        }
    }

    fn check(&self) -> Result<(), Breach> {
        if self.since_move > self.max_since_move {
            return Err(Breach::CpuBetweenMoves(self.max_since_move));
        }
        match self.max_export {
            Some(limit) if self.export.time() > limit => Err(Breach::CpuPerExport(limit)),
            _ => Ok(()),
        }
    }
}

/// Processor time of this thread. Unlike the time on the wall it does not grow while other threads have
/// the processor.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);

    fn clock() -> CpuClock {
        let limits = SandboxLimits { cpu_between_moves: LIMIT, ..SandboxLimits::default() };
        CpuClock::new(&limits, Arc::default())
    }

    /// Uses as much of the processor as [`clock`] allows twice.
    fn work() {
        let start = thread_time();
        while thread_time().saturating_sub(start) < 2 * LIMIT {
            std::hint::spin_loop();
        }
    }

    #[tokio::test]
    async fn what_a_call_spends_in_the_host_counts_at_the_next_call_of_the_host() {
        let clock = clock();
        let call = async {
            assert_eq!(clock.host_call(), Ok(()));
            work();
            clock.host_call()
        };
        assert_eq!(clock.count(call).await, Err(Breach::CpuBetweenMoves(LIMIT)));
        // It stays counted, and so does what is spent after the last look.
        assert!(clock.tick().is_err());
        let clock = self::clock();
        clock.count(async { work() }).await;
        assert!(clock.host_call().is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn waiting_does_not_count() {
        let clock = clock();
        let call = async {
            tokio::task::spawn_blocking(work).await.unwrap();
            tokio::time::sleep(2 * LIMIT).await;
            clock.tick()
        };
        assert_eq!(clock.count(call).await, Ok(()));
        // Nor does what the thread does between two calls.
        work();
        assert_eq!(clock.count(async { clock.tick() }).await, Ok(()));
    }

    #[tokio::test]
    async fn the_time_of_an_export_is_that_of_all_its_instances() {
        let limit = LIMIT * 3;
        let limits = SandboxLimits { cpu_per_export: Some(limit), ..SandboxLimits::default() };
        let export = Arc::default();
        let spend = async || {
            let clock = CpuClock::new(&limits, Arc::clone(&export));
            clock.count(async { work() }).await;
            clock.tick()
        };
        assert_eq!(spend().await, Ok(()));
        assert_eq!(spend().await, Err(Breach::CpuPerExport(limit)));
    }

    #[tokio::test]
    async fn a_move_restarts_the_limit_between_moves() {
        let clock = clock();
        let call = async {
            for _ in 0..3 {
                work();
                clock.moved();
                clock.tick()?;
            }
            Ok::<_, Breach>(())
        };
        assert_eq!(clock.count(call).await, Ok(()));
    }
}
