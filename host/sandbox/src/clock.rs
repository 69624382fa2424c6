//! The processor time of a guest: whatever the thread of a call spends, in the guest and in the host.
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::error::Breach;
use crate::limits::{SandboxLimits, TICK};

/// Processor time of one instance. Clones share it.
#[derive(Clone)]
pub(crate) struct CpuClock(Arc<Mutex<Counter>>);

struct Counter {
    /// The time of this thread up to which everything is counted. `None` while no thread works on
    /// the call: it waits for the disk, or for its turn.
    counted: Option<Duration>,
    /// When it was counted.
    looked: Instant,
    /// Whether rows or bytes moved since then.
    moved: bool,
    since_move: Duration,
    max_since_move: Duration,
    total: Duration,
    max_total: Duration,
}

impl CpuClock {
    pub(crate) fn new(limits: &SandboxLimits) -> CpuClock {
        CpuClock(Arc::new(Mutex::new(Counter {
            counted: None,
            looked: Instant::now(),
            moved: false,
            since_move: Duration::ZERO,
            max_since_move: limits.cpu_between_moves,
            total: Duration::ZERO,
            max_total: limits.cpu_per_instance,
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
        self.total = self.total.saturating_add(spent);
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
        if self.total > self.max_total {
            return Err(Breach::CpuPerInstance(self.max_total));
        }
        Ok(())
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
        CpuClock::new(&limits)
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
