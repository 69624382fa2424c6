//! Stands in for the `brotli` crate inside a guest: compresses by the host's `codec` import. Only what the
//! `parquet` crate uses is here, and nothing is ever decompressed.
use std::io::{self, Write};

use offloom_guest_lent::{Algorithm, frame};

/// Compresses by the host.
#[derive(Debug)]
pub struct CompressorWriter<W> {
    writer: W,
    level: i32,
}

impl<W: Write> CompressorWriter<W> {
    /// Writes a stream to `writer`. The host chooses the window.
    pub fn new(writer: W, _buffer_bytes: usize, level: u32, _window_bits: u32) -> Self {
        CompressorWriter { writer, level: level.cast_signed() }
    }
}

impl<W: Write> Write for CompressorWriter<W> {
    /// Writes all of `bytes` as one stream: the `parquet` crate writes once.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write_all(&frame(Algorithm::Brotli, self.level, bytes)?)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Refuses: an exporter has nothing to decompress.
#[derive(Debug)]
pub struct Decompressor<R>(R);

impl<R> Decompressor<R> {
    /// Exists because the `parquet` crate names it.
    pub fn new(reader: R, _buffer_bytes: usize) -> Decompressor<R> {
        Decompressor(reader)
    }
}

impl<R> io::Read for Decompressor<R> {
    fn read(&mut self, _to: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
