//! The compression context of one instance, and the memory that it uses again.
use bytes::Bytes;
use zstd::zstd_safe::compress_bound;

/// More than this is given back after a call: only a single large row needs it.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// Compresses with Zstandard. The context is created at the first call and then reused.
#[derive(Default)]
pub(crate) struct Compressor {
    zstd: Option<(i32, zstd::bulk::Compressor<'static>)>,
    input: Vec<u8>,
    frame: Vec<u8>,
}

impl Compressor {
    /// Compresses `input` into one frame. The bytes depend on `level` and `input` alone.
    pub(crate) fn zstd(&mut self, level: i32, input: &[u8]) -> std::io::Result<&[u8]> {
        let (current, compressor) = match &mut self.zstd {
            Some(zstd) => zstd,
            empty => empty.insert((level, zstd::bulk::Compressor::new(level)?)),
        };
        if *current != level {
            compressor.set_compression_level(level)?;
            *current = level;
        }
        self.frame.clear();
        self.frame.shrink_to(KEPT_BYTES);
        self.frame.reserve(compress_bound(input.len()));
        compressor.compress_to_buffer(input, &mut self.frame)?;
        Ok(&self.frame)
    }

    /// As [`Compressor::zstd`] of `prefix` and then `parts`.
    pub(crate) fn zstd_of_parts(
        &mut self,
        level: i32,
        prefix: &[u8],
        parts: &[Bytes],
    ) -> std::io::Result<&[u8]> {
        let mut input = std::mem::take(&mut self.input);
        input.clear();
        input.shrink_to(KEPT_BYTES);
        input.extend_from_slice(prefix);
        for part in parts {
            input.extend_from_slice(part);
        }
        let compressed = self.zstd(level, &input).map(|_frame| ());
        self.input = input;
        compressed.map(|()| self.frame.as_slice())
    }
}
