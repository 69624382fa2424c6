//! Tests that start the program: real directories in, real files out, read by real readers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a panic is a failed test

mod bad_data;
mod class_definition;
mod cluster;
mod commands;
mod damage;
mod documented;
mod documented_lines;
mod documents;
mod exit_status;
mod filters;
mod golden;
mod guests;
mod inspect_check;
mod large_rows;
mod many_tenants;
mod program;
mod races;
mod readers;
mod rest;
mod restart;
mod s3;
mod server;
mod signals;
mod tenants;
mod weaviate_client;
mod workers;
