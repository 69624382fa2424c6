//! How far a proof is.
use std::sync::Arc;

/// How far a proof is, for a person who waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Bytes digested, of all that will be.
    Digests {
        /// So far.
        done_bytes: u64,
        /// Of all listed objects.
        total_bytes: u64,
    },
    /// Rows whose ids were read. A class with several shards is read twice.
    Rows {
        /// So far.
        done_rows: u64,
        /// Of all classes, as often as they will be read.
        total_rows: u64,
    },
}

/// Where progress goes. Called from any thread, many times a second.
pub type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;
