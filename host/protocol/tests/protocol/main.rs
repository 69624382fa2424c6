//! The export protocol on real file systems and real Parquet files, as one test program.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod exported;
mod faulty_store;
mod footer;
mod proof;
mod sample;
mod store;
mod upload;
