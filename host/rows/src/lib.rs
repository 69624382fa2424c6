//! The rows of a class as they travel from a source to a guest: schema, flat columns, cursors.
//!
//! The shapes are those of `wit/types.wit`, item by item, so that the sandbox hands buffers over
//! without rebuilding them. Nothing here knows of Tokio, wasmtime or a disk.
mod batch;
mod cursor;
mod schema;

pub use batch::{
    Batch, Column, MultiVectorMap, RowBatch, ShardRun, Values, VariableWidth, VectorMap,
};
pub use cursor::{BatchLimits, Cursor, CursorError};
pub use schema::{DataType, Field, NamedVector, Schema};

/// The largest row that may cross to a guest, in bytes of its columns (`architecture.md`).
pub const MAX_ROW_BYTES: u64 = 32 * 1024 * 1024;

/// The largest number of rows in one batch.
pub const MAX_BATCH_ROWS: u32 = 10_000;

/// The largest batch in bytes of its columns; a single row may exceed it up to [`MAX_ROW_BYTES`].
pub const MAX_BATCH_BYTES: u32 = 8 * 1024 * 1024;
