//! Reads the rows of one unit forward, once.
use std::any::Any;

use crate::{batch::Batch, schema::Schema};

/// The limits of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most rows, at least 1.
    pub max_rows: u32,
    /// Most bytes of columns; one row is always allowed.
    pub max_bytes: u32,
}

/// Why rows could not be read. It contains the source's error with its evidence.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// The rows could not be reached; reading the unit again may help.
    #[error("{0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Stored data violates its format; reading it again does not help.
    #[error("{0}")]
    InvalidData(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The rows of one unit, read forward once. Blocking. `Any`, so that its owner gets the type that it
/// lent back from a reader that knows only the trait.
pub trait Cursor: Any + Send {
    /// The columns of every batch.
    fn schema(&self) -> &Schema;

    /// The next rows within `limits`, or `None` at the end. A batch is never empty.
    ///
    /// # Errors
    /// When rows cannot be read, or violate the source's format.
    fn next_batch(&mut self, limits: BatchLimits) -> Result<Option<Batch>, CursorError>;
}
