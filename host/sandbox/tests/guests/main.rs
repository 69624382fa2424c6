//! Real guests in a real sandbox: the default exporter, hostile ones, and what is no guest at all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
mod bombs;
#[path = "../../../../guest/build_guest.rs"]
mod build_guest;
mod compiling;
mod hostile;
mod loading;
mod minimal;
mod parquet_guest;
mod rows;
mod support;
