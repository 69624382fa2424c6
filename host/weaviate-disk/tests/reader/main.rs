//! The reader against real data directories and against those of an independent encoder.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a failed unwrap is a failed test"
)]
mod allocations;
mod cutting;
mod damage;
mod descriptors;
mod directory;
mod leftovers;
mod live;
mod logs;
mod model;
mod objects;
mod real;
mod rows;
mod shard;
mod untouched;
