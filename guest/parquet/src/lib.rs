//! The default exporter: turns the rows of a class into one Parquet file.
//!
//! Read in this order: `component` (what the host calls), `options` with `about`, `plan` (which classes),
//! `file` (a block becomes a row group), `layout` (how each column is written), `typed` (a column for each
//! property and named vector), `held_column` with `page` (a column whose bytes stay in the host),
//! `arrow_column` with `columns` (a column becomes Arrow arrays, which the `parquet` crate writes),
//! `constant_column` (the class name), `vector_json` (named vectors as text), `footer` (blocks become a
//! file), `sink`, `held` and `error`.
//!
//! The same code runs as a component and, for the benchmark, as a native library; there the rows
//! come from a [`Rows`] and go to a [`Sink`] of the caller's.
#[cfg(target_family = "wasm")]
mod about;
mod arrow_column;
pub mod bindings;
mod columns;
#[cfg(target_family = "wasm")]
mod component;
mod constant_column;
mod error;
mod file;
mod footer;
mod held;
mod held_column;
mod layout;
mod options;
mod page;
mod plan;
mod sink;
mod typed;
mod vector_json;

pub use file::{BATCH_BYTES, BATCH_ROWS, ParquetFile};
pub use held::{Batch, Held, Part, Rows, lent_as};
pub use options::{BLOCK_BYTES, Settings};
pub use plan::select_classes;
pub use sink::Sink;
