//! Reading the rows of one unit forward, once.
use crate::{Batch, Schema};

/// How much one batch may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Rows at the most, at least 1.
    pub max_rows: u32,
    /// Bytes of columns at the most; one row is always allowed.
    pub max_bytes: u32,
}

/// Why rows could not be read. The source's own error, with its evidence, is kept inside.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// The rows could not be reached; the same unit may be tried again.
    #[error("{0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Stored data breaks its own rules; trying again will not help.
    #[error("{0}")]
    InvalidData(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The rows of one unit, read forward once. Blocking: run it where blocking is allowed.
pub trait Cursor: Send {
    /// The columns that every batch has.
    fn schema(&self) -> &Schema;

    /// The next rows within `limits`, or `None` at the end. A batch is never empty.
    fn next_batch(&mut self, limits: BatchLimits) -> Result<Option<Batch>, CursorError>;
}
