//! Guests whose Parquet files lie. The option `do` names the forgery; without it, the files are those of
//! the default exporter, whose code writes them all.
//!
//! Read in this order: `component` (what the host calls), `rows` (what happens to rows before they are
//! encoded), `end` (what happens to the end of a file). Each forgery has its expected outcome in
//! `tests/e2e/forged.rs`.
mod component;
mod end;
mod rows;

// The default exporter's code once more: as a dependency it would bring what the host calls, or, with a
// feature, be built twice under one name.
#[path = "../../parquet/src/arrow_column.rs"]
mod arrow_column;
#[path = "../../parquet/src/bindings.rs"]
mod bindings;
#[path = "../../parquet/src/columns.rs"]
mod columns;
#[path = "../../parquet/src/constant_column.rs"]
mod constant_column;
#[path = "../../parquet/src/error.rs"]
mod error;
#[path = "../../parquet/src/file.rs"]
mod file;
#[path = "../../parquet/src/footer.rs"]
mod footer;
#[path = "../../parquet/src/held.rs"]
mod held;
#[path = "../../parquet/src/held_column.rs"]
mod held_column;
#[path = "../../parquet/src/layout.rs"]
mod layout;
#[path = "../../parquet/src/options.rs"]
mod options;
#[path = "../../parquet/src/page.rs"]
mod page;
#[path = "../../parquet/src/sink.rs"]
mod sink;
#[path = "../../parquet/src/typed/mod.rs"]
mod typed;
#[path = "../../parquet/src/vector_json.rs"]
mod vector_json;

use file::ParquetFile;
use held::{Batch, Held, Part, Rows, lent_as};
use options::Settings;
use sink::Sink;
