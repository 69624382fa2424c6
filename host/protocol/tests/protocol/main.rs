//! The export protocol on real file systems, as one test program.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod faulty_store;
mod sample;
mod store;
mod upload;
