//! Stands in for the `flate2` crate inside a guest: compresses by the host's `codec` import. Only what the
//! `parquet` crate uses is here, and nothing is ever decompressed.
pub mod read;
pub mod write;

/// A level.
#[derive(Debug, Clone, Copy)]
pub struct Compression(u32);

impl Compression {
    /// This level. The host decides whether it lends it.
    pub fn new(level: u32) -> Compression {
        Compression(level)
    }
}
