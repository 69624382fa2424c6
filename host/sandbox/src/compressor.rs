//! The compression contexts of one instance, and the memory that they use again.
use std::io;

use brotli::enc::BrotliEncoderParams;
use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};
use zstd::zstd_safe::compress_bound;

use crate::limits::Algorithm;

/// More than this is given back after a call: only a single large row needs it.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// The window of a gzip member, as its readers expect it.
const GZIP_WINDOW_BITS: u8 = 15;

/// The window of a Brotli stream: 4 MiB, as the Parquet writers of others have it.
const BROTLI_WINDOW_BITS: i32 = 22;

/// Compresses. A context is created at the first call that needs it and then reused; the libraries of
/// LZ4 and Brotli have none that can be kept.
#[derive(Default)]
pub(crate) struct Compressor {
    zstd: Option<(i32, zstd::bulk::Compressor<'static>)>,
    gzip: Option<(i32, Compress)>,
    snappy: Option<snap::raw::Encoder>,
    input: Vec<u8>,
    frame: Vec<u8>,
}

impl Compressor {
    /// Compresses `input` into one frame. The bytes depend on the arguments alone, and `level` is one
    /// that the algorithm has.
    pub(crate) fn compress(
        &mut self,
        algorithm: Algorithm,
        level: i32,
        input: &[u8],
    ) -> io::Result<&[u8]> {
        self.frame.clear();
        self.frame.shrink_to(KEPT_BYTES);
        match algorithm {
            Algorithm::Zstd => self.zstd(level, input)?,
            Algorithm::Gzip => self.gzip(level, input)?,
            Algorithm::Lz4Raw => {
                self.frame.resize(lz4_flex::block::get_maximum_output_size(input.len()), 0);
                let length = lz4_flex::block::compress_into(input, &mut self.frame);
                self.frame.truncate(length.map_err(io::Error::other)?);
            }
            Algorithm::Snappy => {
                self.frame.resize(snap::raw::max_compress_len(input.len()), 0);
                let snappy = self.snappy.get_or_insert_with(snap::raw::Encoder::new);
                let length = snappy.compress(input, &mut self.frame)?;
                self.frame.truncate(length);
            }
            Algorithm::Brotli => {
                let parameters = BrotliEncoderParams {
                    quality: level,
                    lgwin: BROTLI_WINDOW_BITS,
                    size_hint: input.len(),
                    ..BrotliEncoderParams::default()
                };
                brotli::BrotliCompress(&mut &*input, &mut self.frame, &parameters)?;
            }
        }
        Ok(&self.frame)
    }

    fn zstd(&mut self, level: i32, input: &[u8]) -> io::Result<()> {
        let (current, compressor) = match &mut self.zstd {
            Some(zstd) => zstd,
            empty => empty.insert((level, zstd::bulk::Compressor::new(level)?)),
        };
        if *current != level {
            compressor.set_compression_level(level)?;
            *current = level;
        }
        self.frame.reserve(compress_bound(input.len()));
        compressor.compress_to_buffer(input, &mut self.frame)?;
        Ok(())
    }

    fn gzip(&mut self, level: i32, input: &[u8]) -> io::Result<()> {
        let context = |level: i32| {
            let level = Compression::new(level.unsigned_abs());
            Compress::new_gzip(level, GZIP_WINDOW_BITS)
        };
        let (_, gzip) = match &mut self.gzip {
            Some(gzip) if gzip.0 == level => gzip,
            other => other.insert((level, context(level))),
        };
        gzip.reset();
        loop {
            let read = usize::try_from(gzip.total_in()).map_err(io::Error::other)?;
            let rest = input.get(read..).unwrap_or_default();
            // What does not shrink grows by some bytes for each 16 KiB.
            let room = rest.len().saturating_add(rest.len() / 1024).saturating_add(64);
            self.frame.reserve(room);
            let status = gzip.compress_vec(rest, &mut self.frame, FlushCompress::Finish)?;
            if status == Status::StreamEnd {
                return Ok(());
            }
        }
    }

    /// As [`Compressor::compress`] of `prefix` and then `parts`.
    pub(crate) fn compress_parts(
        &mut self,
        algorithm: Algorithm,
        level: i32,
        prefix: &[u8],
        parts: &[Bytes],
    ) -> io::Result<&[u8]> {
        let mut input = std::mem::take(&mut self.input);
        input.clear();
        input.shrink_to(KEPT_BYTES);
        input.extend_from_slice(prefix);
        for part in parts {
            input.extend_from_slice(part);
        }
        let compressed = self.compress(algorithm, level, &input).map(|_frame| ());
        self.input = input;
        compressed.map(|()| self.frame.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn unpacked(algorithm: Algorithm, frame: &[u8], length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        match algorithm {
            Algorithm::Zstd => bytes = zstd::bulk::decompress(frame, length).unwrap(),
            Algorithm::Gzip => {
                flate2::read::GzDecoder::new(frame).read_to_end(&mut bytes).map(drop).unwrap();
            }
            Algorithm::Lz4Raw => bytes = lz4_flex::block::decompress(frame, length).unwrap(),
            Algorithm::Snappy => bytes = snap::raw::Decoder::new().decompress_vec(frame).unwrap(),
            Algorithm::Brotli => {
                brotli::Decompressor::new(frame, 4096).read_to_end(&mut bytes).map(drop).unwrap();
            }
        }
        bytes
    }

    /// Of every length up to some pages, of bytes that shrink and of others.
    fn inputs() -> Vec<Vec<u8>> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut noise = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        let mut inputs = Vec::new();
        for length in [0, 1, 2, 12, 13, 100, 65_536, 300_001, 2_000_000] {
            inputs.push(std::iter::repeat_with(&mut noise).take(length).collect());
            inputs.push((0..length).map(|index| (index / 9 % 251) as u8).collect());
        }
        inputs
    }

    #[test]
    fn frames_of_every_algorithm_and_level_unpack_and_depend_on_the_arguments_alone() {
        let mut used = Compressor::default();
        for input in inputs() {
            for algorithm in Algorithm::ALL {
                for level in algorithm.levels() {
                    let frame = used.compress(algorithm, level, &input).unwrap().to_vec();
                    let unpacked = unpacked(algorithm, &frame, input.len());
                    assert!(unpacked == input, "{algorithm:?} {level} {}", input.len());
                    let (before, after) = input.split_at(input.len() / 3);
                    let parts = [Bytes::copy_from_slice(after)];
                    let mut new = Compressor::default();
                    let of_parts = new.compress_parts(algorithm, level, before, &parts).unwrap();
                    assert!(of_parts == frame, "{algorithm:?} {level} {}", input.len());
                }
            }
        }
    }

    #[test]
    fn levels_differ() {
        let input: Vec<u8> =
            (0..200_000_u64).flat_map(|n| (n * n % 9973).to_string().into_bytes()).collect();
        for algorithm in [Algorithm::Zstd, Algorithm::Gzip, Algorithm::Brotli] {
            let mut compressor = Compressor::default();
            let (least, most) = (*algorithm.levels().start(), *algorithm.levels().end());
            let mut frame = |level| compressor.compress(algorithm, level, &input).unwrap().to_vec();
            assert!(frame(most) != frame(least), "{algorithm:?}");
        }
    }
}
