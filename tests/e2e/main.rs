//! Tests that start the program: real directories in, real files out, read by real readers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a panic is a failed test

mod api_options;
mod bad_data;
mod class_definition;
mod class_faults;
mod cluster;
mod commands;
mod damage;
mod durability;
mod exit_status;
mod filters;
mod golden;
mod guests;
mod history;
mod inspect_check;
mod large_log;
mod large_rows;
mod manifests;
mod many_tenants;
mod missing_shards;
mod namesakes;
mod namespaces;
mod program;
mod races;
mod rest;
mod restart;
mod s3;
mod s3_ends;
mod server;
mod settings;
mod signals;
mod stale_node;
mod surroundings;
mod tenants;
mod weaviate_client;
mod workers;
