//! The framed format of LZ4, which the host does not lend: everything here refuses.
use std::io;

/// Refuses to read.
#[derive(Debug)]
pub struct FrameDecoder<R>(R);

impl<R> FrameDecoder<R> {
    /// Exists because the `parquet` crate names it.
    pub fn new(reader: R) -> FrameDecoder<R> {
        FrameDecoder(reader)
    }
}

impl<R> io::Read for FrameDecoder<R> {
    fn read(&mut self, _to: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Refuses to write.
#[derive(Debug)]
pub struct FrameEncoder<W>(W);

impl<W> FrameEncoder<W> {
    /// Exists because the `parquet` crate names it.
    pub fn new(writer: W) -> FrameEncoder<W> {
        FrameEncoder(writer)
    }

    /// Always an error of kind `Unsupported`.
    pub fn finish(self) -> io::Result<W> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl<W> io::Write for FrameEncoder<W> {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
