//! How much the workers have done since the start of the process.
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What all workers did together. Blocks count when they are appended to their file.
#[derive(Debug, Default)]
pub struct WorkCounts {
    rows: AtomicU64,
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    guest_nanoseconds: AtomicU64,
}

impl WorkCounts {
    /// Rows in files.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Bytes of objects that were read, as they are stored.
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of blocks.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Relaxed)
    }

    /// Processor time of guests.
    pub fn guest_time(&self) -> Duration {
        Duration::from_nanos(self.guest_nanoseconds.load(Ordering::Relaxed))
    }

    pub(crate) fn appended(&self, rows: u64, read_bytes: u64, written_bytes: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.read_bytes.fetch_add(read_bytes, Ordering::Relaxed);
        self.written_bytes.fetch_add(written_bytes, Ordering::Relaxed);
    }

    pub(crate) fn guests_ran(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.guest_nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }
}
