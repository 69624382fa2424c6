//! Proofs of real Parquet files on real file systems, as one test program.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod earlier;
mod exported;
mod footer;
mod pages;
mod proof;
#[path = "../../../protocol/tests/protocol/sample.rs"]
mod sample;
