//! The rows of a class on their way from a source to a guest: schema, flat columns, cursor.
//!
//! The types have the shapes of `wit/types.wit`, item by item, so that the sandbox passes buffers on
//! without rebuilding them. Nothing here uses Tokio, wasmtime or a disk.
//!
//! Reading order, each file using only those before it: `object_limit`, `schema`, `shard_run`, `batch`,
//! `selection`, `cursor`.
mod batch;
mod cursor;
mod object_limit;
mod schema;
mod selection;
mod shard_run;

pub use batch::{Batch, Column, MultiVectorMap, RowBatch, Values, VariableWidth, VectorMap};
pub use cursor::{BatchLimits, Cursor, CursorError};
pub use object_limit::{ObjectLimit, OutOfRange};
pub use schema::{DataType, Field, NamedVector, Schema};
pub use selection::is_set;
pub use shard_run::ShardRun;

/// Most rows in one batch.
pub const MAX_BATCH_ROWS: u32 = 10_000;

/// The largest batch in bytes of its columns; a single row may exceed it up to its [`ObjectLimit`].
pub const MAX_BATCH_BYTES: u32 = 8 * 1024 * 1024;

/// The longest definition of a class that may cross to a guest, which may write it to every file. A
/// longer one is left out of a [`Schema`].
pub const MAX_CLASS_DEFINITION_BYTES: usize = 1024 * 1024;
