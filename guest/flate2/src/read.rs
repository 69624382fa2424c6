//! What would decompress, with the names of `flate2::read`.
use std::io;

/// Refuses: an exporter has nothing to decompress.
#[derive(Debug)]
pub struct MultiGzDecoder<R>(R);

impl<R> MultiGzDecoder<R> {
    /// Exists because the `parquet` crate names it.
    pub fn new(reader: R) -> MultiGzDecoder<R> {
        MultiGzDecoder(reader)
    }
}

impl<R> io::Read for MultiGzDecoder<R> {
    fn read(&mut self, _to: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
