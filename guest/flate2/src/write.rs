//! Whole buffers to gzip members, with the names of `flate2::write`.
use std::io::{self, Write};

use offloom_guest_lent::{Algorithm, append_frames};

use crate::Compression;

/// Compresses by the host.
#[derive(Debug)]
pub struct GzEncoder<W> {
    writer: W,
    level: i32,
}

impl<W: Write> GzEncoder<W> {
    /// Writes members to `writer`.
    pub fn new(writer: W, level: Compression) -> GzEncoder<W> {
        GzEncoder { writer, level: level.0.cast_signed() }
    }

    /// Does nothing: each write is whole.
    pub fn try_finish(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl<W: Write> Write for GzEncoder<W> {
    /// Writes all of `bytes` as members of their own, which every reader of gzip reads as one (RFC 1952, 2.2).
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut members = Vec::new();
        append_frames(Algorithm::Gzip, self.level, bytes, &mut members)?;
        self.writer.write_all(&members)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
