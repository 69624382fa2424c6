//! Real guests in a real sandbox: the default exporter, hostile ones, and what is no guest at all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
mod attacks;
mod bombs;
#[path = "../../../../guest/build_guest.rs"]
mod build_guest;
mod compiling;
mod fuzz;
mod held_pages;
mod hostile;
mod loading;
mod minimal;
mod parquet_guest;
mod rows;
mod support;
mod typed;
mod wat_guest;
