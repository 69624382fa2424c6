//! The reader against real data directories and against those of an independent encoder.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a failed unwrap is a failed test"
)]
mod allocations;
mod bad_data;
mod batches;
#[allow(dead_code, reason = "the schema's own tests use the rest")]
#[path = "../../../weaviate-schema/tests/schema/bbolt_file.rs"]
mod bbolt_file;
mod catalog;
mod cutting;
mod damage;
mod descriptors;
mod directory;
mod emptiness;
mod filters;
mod fingerprint;
mod flat;
mod leftovers;
mod listings;
mod live;
#[allow(dead_code, reason = "the schema's own tests use the rest")]
#[path = "../../../weaviate-schema/tests/schema/log.rs"]
mod log;
mod logs;
mod missing;
mod model;
mod nodes;
mod objects;
mod one_cluster;
mod real;
mod rows;
mod shard;
mod stale;
mod stale_logs;
mod tenants;
mod untouched;
mod wrong_rows;
