//! Whole buffers to whole frames, with the names of `zstd::bulk`.
use std::io;

use offloom_guest_lent::{Algorithm, append_frames};

/// Compresses by the host.
pub struct Compressor<'a> {
    level: i32,
    lifetime: std::marker::PhantomData<&'a ()>,
}

impl Compressor<'static> {
    /// A compressor of this level. The host decides at the first call whether it lends it.
    pub fn new(level: i32) -> io::Result<Self> {
        Ok(Self { level, lifetime: std::marker::PhantomData })
    }
}

impl Compressor<'_> {
    /// Appends the frame of `source` to what `destination` holds up to its position. Unlike the real
    /// crate it needs no room in advance: the vector grows to what the frame takes.
    pub fn compress_to_buffer(
        &mut self,
        source: &[u8],
        destination: &mut io::Cursor<&mut Vec<u8>>,
    ) -> io::Result<usize> {
        let start = usize::try_from(destination.position()).map_err(io::Error::other)?;
        let target: &mut Vec<u8> = destination.get_mut();
        target.truncate(start);
        // Every reader of Zstandard reads several frames as one (RFC 8878, 3).
        append_frames(Algorithm::Zstd, self.level, source, target)?;
        let end = target.len();
        destination.set_position(end as u64);
        Ok(end.saturating_sub(start))
    }
}

/// Refuses: an exporter has nothing to decompress.
pub struct Decompressor<'a> {
    lifetime: std::marker::PhantomData<&'a ()>,
}

impl Decompressor<'static> {
    /// Exists because the `parquet` crate makes one beside every compressor.
    pub fn new() -> io::Result<Self> {
        Ok(Self { lifetime: std::marker::PhantomData })
    }
}

impl Decompressor<'_> {
    /// Always an error of kind `Unsupported`.
    pub fn decompress_to_buffer(
        &mut self,
        _source: &[u8],
        _destination: &mut io::Cursor<&mut Vec<u8>>,
    ) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
