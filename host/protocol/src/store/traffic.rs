//! What this process sends to stores: counts for who watches it, and limits. They are of the process, because
//! the line to the store is.
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::rate::Rate;

static TRAFFIC: Traffic = Traffic {
    limits: OnceLock::new(),
    succeeded: AtomicU64::new(0),
    refused: AtomicU64::new(0),
    failed: AtomicU64::new(0),
};

/// What this process sends to stores.
#[derive(Debug)]
pub struct Traffic {
    limits: OnceLock<TrafficLimits>,
    succeeded: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
}

/// How fast it may do so.
#[derive(Debug, Default)]
pub struct TrafficLimits {
    /// Bytes of files.
    pub bytes: Rate,
    /// Requests over HTTP.
    pub requests: Rate,
}

/// Requests over HTTP since the start of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TrafficCounts {
    /// Those that the store did.
    pub succeeded: u64,
    /// Those that it refused.
    pub refused: u64,
    /// Those that it failed to do, or did not answer: they are sent again for a while.
    pub failed: u64,
}

/// How a request ended.
pub(super) enum Answered {
    Succeeded,
    Refused,
    /// The store is too busy or has a fault, or the connection broke.
    Failed,
}

/// The traffic of this process.
pub fn traffic() -> &'static Traffic {
    &TRAFFIC
}

impl Traffic {
    /// Sets the limits. Only the first call counts: it comes before the first request.
    pub fn limit(&self, limits: TrafficLimits) {
        let _ = self.limits.set(limits);
    }

    /// The counts.
    pub fn counts(&self) -> TrafficCounts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TrafficCounts {
            succeeded: count(&self.succeeded),
            refused: count(&self.refused),
            failed: count(&self.failed),
        }
    }

    /// Waits until so many bytes of a file may be written.
    pub(crate) async fn write(&self, bytes: usize) {
        if let Some(limits) = self.limits.get() {
            limits.bytes.take(bytes as u64).await;
        }
    }

    /// Waits until a request may be sent.
    pub(super) async fn request(&self) {
        if let Some(limits) = self.limits.get() {
            limits.requests.take(1).await;
        }
    }

    /// Counts a request that has ended.
    pub(super) fn answered(&self, answered: Answered) {
        let add = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        match answered {
            Answered::Succeeded => add(&self.succeeded),
            Answered::Refused => add(&self.refused),
            Answered::Failed => add(&self.failed),
        };
    }
}
