//! The default exporter: turns the rows of a class into one Parquet file.
//!
//! Read in this order: `component` (what the host calls), `options`, `plan` (which classes),
//! `file` (a block becomes a row group), `columns` (a column becomes an Arrow array), `vector_json`
//! (named vectors as text), `footer` (blocks become a file).
//!
//! The same code runs as a component and, for the benchmark, as a native library; there the rows
//! come from a [`Rows`] and go to a [`Sink`] of the caller's.
pub mod bindings;
mod columns;
#[cfg(target_family = "wasm")]
mod component;
mod file;
mod footer;
mod layout;
mod options;
mod plan;
mod sink;
mod vector_json;

pub use file::{BATCH_BYTES, BATCH_ROWS, ParquetFile, Rows};
pub use options::Settings;
pub use plan::select_classes;
pub use sink::Sink;

/// Uncompressed bytes of rows in a row group.
pub const BLOCK_BYTES: u64 = 32 * 1024 * 1024;
