//! The compression context of one instance.

/// Compresses with Zstandard. The context is created at the first call and then reused.
#[derive(Default)]
pub(crate) struct Compressor {
    zstd: Option<(i32, zstd::bulk::Compressor<'static>)>,
}

impl Compressor {
    /// Compresses `input` into one frame. The bytes depend on `level` and `input` alone.
    pub(crate) fn zstd(&mut self, level: i32, input: &[u8]) -> std::io::Result<Vec<u8>> {
        let (current, compressor) = match &mut self.zstd {
            Some(zstd) => zstd,
            empty => empty.insert((level, zstd::bulk::Compressor::new(level)?)),
        };
        if *current != level {
            compressor.set_compression_level(level)?;
            *current = level;
        }
        compressor.compress(input)
    }
}
