//! Errors of the libraries, as the contract has them.
use parquet::errors::ParquetError;

use crate::bindings::offloom::export::types::Error;

pub(crate) fn parquet_error(error: ParquetError) -> Error {
    Error::Other(error.to_string())
}

/// The sink's own error is kept by the [`BlockWriter`](crate::sink::BlockWriter) and replaces this one.
pub(crate) fn write_error(error: std::io::Error) -> Error {
    Error::Other(error.to_string())
}
