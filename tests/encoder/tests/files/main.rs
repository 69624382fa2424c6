//! Whole files and directories, taken apart by a reader that only these tests have.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod history;
mod layout;
mod parse;
mod real;
mod workload;
