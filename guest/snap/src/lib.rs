//! Stands in for the `snap` crate inside a guest: compresses by the host's `codec` import. Only what the
//! `parquet` crate uses is here, and nothing is ever decompressed.
use std::{fmt, io};

pub mod raw;

/// Why there is no block. A type of its own, because the `parquet` crate converts from both.
#[derive(Debug)]
pub struct Error(io::Error);

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(to)
    }
}

impl std::error::Error for Error {}
