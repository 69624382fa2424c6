//! Bytes that stay in the host, as this crate uses them: by the contract, or natively in a benchmark.
use std::rc::Rc;

use parquet::basic::Compression;

use crate::bindings::offloom::export::codec::Algorithm;
use crate::bindings::offloom::export::types::{Error, RowBatch};

/// What the host calls a compression, and its level.
pub fn lent_as(compression: Compression) -> Result<(Algorithm, i32), Error> {
    Ok(match compression {
        Compression::ZSTD(level) => (Algorithm::Zstd, level.compression_level()),
        Compression::GZIP(level) => (Algorithm::Gzip, level.compression_level().cast_signed()),
        Compression::BROTLI(level) => (Algorithm::Brotli, level.compression_level().cast_signed()),
        Compression::LZ4_RAW => (Algorithm::Lz4Raw, 0),
        Compression::SNAPPY => (Algorithm::Snappy, 0),
        other => return Err(Error::Unsupported(format!("the host lends no {other}"))),
    })
}

/// A buffer of the host.
pub trait Held: Sized {
    /// Number of its bytes.
    fn length(&self) -> u64;

    /// Compresses `prefix` and then `parts` into one frame.
    fn pack(compression: Compression, prefix: &[u8], parts: &[Part<Self>]) -> Result<Self, Error>;
}

/// A range of a buffer.
pub struct Part<H> {
    /// Where the bytes are.
    pub buffer: Rc<H>,
    /// Bytes of the buffer before the range.
    pub offset: u64,
    /// Bytes of the range.
    pub length: u64,
}

impl<H: Held> Part<H> {
    /// All of a buffer.
    pub(crate) fn whole(buffer: H) -> Part<H> {
        let length = buffer.length();
        Part { buffer: Rc::new(buffer), offset: 0, length }
    }
}

/// A batch of which the bytes of some columns are held.
pub struct Batch<H> {
    /// The rows. The bytes of held columns are empty.
    pub rows: RowBatch,
    /// The bytes of held columns, by index of the column; none for a column without bytes.
    pub held: Vec<(u32, Rc<H>)>,
}

/// The rows of one block, read forward once.
pub trait Rows {
    /// What holds bytes.
    type Held: Held;

    /// The next rows within the limits, or none at the end. The bytes of the columns `hold` are held.
    fn next(
        &mut self,
        max_rows: u32,
        max_bytes: u32,
        hold: &[u32],
    ) -> Result<Option<Batch<Self::Held>>, Error>;
}
