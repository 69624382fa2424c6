//! Pages of gzip and Brotli, unpacked into nothing before the library takes memory for them.
//!
//! The `parquet` crate (60.1) bounds what Zstandard, LZ4 and Snappy write by the size that the page
//! header says, but unpacks these two to their end: 1 KiB can become gigabytes.
use std::io::{self, Read};

use parquet::basic::Compression;

/// What the decoder of Brotli reads at a time.
const STEP_BYTES: usize = 4 * 1024;

/// The first seven bits of a stream with a window of up to 1 GiB, which RFC 7932 does not have and the
/// library would take memory for.
const LARGE_WINDOW: u8 = 0b001_0001;

/// Whether `stored` unpacks to more than `max_bytes`, or needs memory for more. Data that is damaged
/// before that is left to the library, which says so.
pub(crate) fn exceeds(compression: Compression, stored: &[u8], max_bytes: u64) -> bool {
    match compression {
        Compression::GZIP(_) => is_longer(flate2::read::MultiGzDecoder::new(stored), max_bytes),
        Compression::BROTLI(_) => {
            stored.first().is_some_and(|first| first & 0x7f == LARGE_WINDOW)
                || is_longer(brotli::Decompressor::new(stored, STEP_BYTES), max_bytes)
        }
        _ => false,
    }
}

fn is_longer(unpacked: impl Read, max_bytes: u64) -> bool {
    let mut bounded = unpacked.take(max_bytes.saturating_add(1));
    // After an error the limit is what was not read yet.
    let _damaged = io::copy(&mut bounded, &mut io::sink());
    bounded.limit() == 0
}
