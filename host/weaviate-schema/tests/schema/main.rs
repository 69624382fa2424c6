//! Stored schemas: real ones compared with REST, written ones with a model, and damaged ones for
//! their errors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a failed unwrap is a failed test"
)]
#[path = "../../../weaviate-disk/tests/reader/allocations.rs"]
mod allocations;
mod bbolt;
mod bbolt_file;
mod commands;
mod damage;
mod histories;
#[allow(dead_code, reason = "the reader's tests use the rest")]
mod log;
mod real;
mod schema_db;
mod snapshots;
