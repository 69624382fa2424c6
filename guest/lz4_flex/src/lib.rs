//! Stands in for the `lz4_flex` crate inside a guest: compresses by the host's `codec` import. Only what the
//! `parquet` crate uses is here, and nothing is ever decompressed.
pub mod block;
pub mod frame;

pub use block::decompress_into;
