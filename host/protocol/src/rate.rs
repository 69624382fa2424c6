//! How fast something may be done: so much a second, by waiting.
use std::num::{NonZeroU32, NonZeroU64};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Bytes are counted in pieces of this size, so that rates above 4 GiB a second fit the counter.
const BYTES_OF_CELL: u64 = 1024;

/// A rate. What one second allows may be taken at once.
#[derive(Debug, Default)]
pub struct Rate(Option<Limit>);

#[derive(Debug)]
struct Limit {
    limiter: DefaultDirectRateLimiter,
    /// Cells of a second.
    burst: NonZeroU32,
    /// How much one cell stands for.
    cell: u64,
}

impl Rate {
    /// So many bytes a second, 1 KiB at least; `None` for no limit.
    pub fn of_bytes(per_second: Option<NonZeroU64>) -> Rate {
        Rate::new(per_second, BYTES_OF_CELL)
    }

    /// So many times a second; `None` for no limit.
    pub fn of_times(per_second: Option<NonZeroU64>) -> Rate {
        Rate::new(per_second, 1)
    }

    fn new(per_second: Option<NonZeroU64>, cell: u64) -> Rate {
        Rate(per_second.map(|per_second| {
            let cells = per_second.get().div_ceil(cell).min(u64::from(u32::MAX));
            let burst = u32::try_from(cells).ok().and_then(NonZeroU32::new);
            let burst = burst.unwrap_or(NonZeroU32::MAX);
            let limiter = RateLimiter::direct(Quota::per_second(burst));
            Limit { limiter, burst, cell }
        }))
    }

    /// Waits until `amount` may be done. Those who wait take turns in pieces of at most a second's worth, so
    /// that a large amount does not keep a small one waiting.
    pub async fn take(&self, amount: u64) {
        let Some(Limit { limiter, burst, cell }) = &self.0 else { return };
        let mut cells = amount.div_ceil(*cell);
        while cells > 0 {
            let piece = u32::try_from(cells).unwrap_or(u32::MAX).min(burst.get());
            let Some(piece) = NonZeroU32::new(piece) else { return };
            // A piece is never more than a second's worth.
            let _ = limiter.until_n_ready(piece).await;
            cells = cells.saturating_sub(u64::from(piece.get()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[tokio::test]
    async fn the_second_second_s_worth_waits() {
        let rate = Rate::of_bytes(NonZeroU64::new(64 * 1024));
        let begun = Instant::now();
        rate.take(64 * 1024).await;
        rate.take(32 * 1024).await;
        assert!(begun.elapsed() >= Duration::from_millis(450), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn without_a_limit_nothing_waits() {
        Rate::default().take(u64::MAX).await;
        Rate::of_times(None).take(u64::MAX).await;
        // Rates beyond what is counted are as good as none.
        Rate::of_bytes(NonZeroU64::new(u64::MAX)).take(1 << 40).await;
    }
}
