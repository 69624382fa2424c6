//! The rows of a class on their way from a source to a guest: schema, flat columns, cursor.
//!
//! The types have the shapes of `wit/types.wit`, item by item, so that the sandbox passes buffers on
//! without rebuilding them. Nothing here uses Tokio, wasmtime or a disk.
//!
//! Reading order, each file using only those before it: `schema`, `shard_run`, `batch`, `cursor`.
mod batch;
mod cursor;
mod schema;
mod shard_run;

pub use batch::{Batch, Column, MultiVectorMap, RowBatch, Values, VariableWidth, VectorMap};
pub use cursor::{BatchLimits, Cursor, CursorError};
pub use schema::{DataType, Field, NamedVector, Schema};
pub use shard_run::ShardRun;

/// The largest row that may cross to a guest, in bytes of its columns. It bounds the memory of a
/// guest: a batch holds at least one whole row.
pub const MAX_ROW_BYTES: u64 = 32 * 1024 * 1024;

/// Most rows in one batch.
pub const MAX_BATCH_ROWS: u32 = 10_000;

/// The largest batch in bytes of its columns; a single row may exceed it up to [`MAX_ROW_BYTES`].
pub const MAX_BATCH_BYTES: u32 = 8 * 1024 * 1024;

/// The longest definition of a class that may cross to a guest, which may write it to every file. A
/// longer one is left out of a [`Schema`].
pub const MAX_CLASS_DEFINITION_BYTES: usize = 1024 * 1024;
