//! Whole buffers to whole blocks, with the names of `snap::raw`.
use std::io;

use offloom_guest_lent::{Algorithm, frame};

use crate::Error;

/// Room for what `source_bytes` become at the most, as the real crate says it.
pub fn max_compress_len(source_bytes: usize) -> usize {
    source_bytes.saturating_add(source_bytes / 6).saturating_add(32)
}

/// Always an error of kind `Unsupported`.
pub fn decompress_len(_source: &[u8]) -> Result<usize, Error> {
    Err(io::Error::from(io::ErrorKind::Unsupported).into())
}

/// Compresses by the host.
#[derive(Debug, Default)]
pub struct Encoder;

impl Encoder {
    /// An encoder.
    pub fn new() -> Encoder {
        Encoder
    }

    /// Writes the block of `source` to the start of `target`, and returns its length.
    pub fn compress(&mut self, source: &[u8], target: &mut [u8]) -> Result<usize, Error> {
        let block = frame(Algorithm::Snappy, 0, source)?;
        let room = target.get_mut(..block.len());
        let room = room.ok_or_else(|| io::Error::from(io::ErrorKind::WriteZero))?;
        room.copy_from_slice(&block);
        Ok(block.len())
    }
}

/// Refuses: an exporter has nothing to decompress.
#[derive(Debug, Default)]
pub struct Decoder;

impl Decoder {
    /// Exists because the `parquet` crate makes one beside every encoder.
    pub fn new() -> Decoder {
        Decoder
    }

    /// Always an error of kind `Unsupported`.
    pub fn decompress(&mut self, _source: &[u8], _target: &mut [u8]) -> Result<usize, Error> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }
}
