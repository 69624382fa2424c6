//! Proofs that an export is whole, and of a file's end while it is being written.
mod footer;

pub use footer::{FooterError, check_parquet_footer};
