//! An object of a store as the Parquet reader wants files: ranges, read ahead a little.
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};
use tokio::runtime::Handle;

use offloom_protocol::names::ObjectKey;
use offloom_protocol::store::ExportFolder;

/// What one request brings at least. A page of ids of the default guest is about as large.
const READ_AHEAD_BYTES: u64 = 256 * 1024;

/// The longest range that is handed out. Only pages of ids and tenants are read, which are short; other
/// columns may have larger ones.
const MAX_RANGE_BYTES: usize = 128 * 1024 * 1024;

/// One object, opened for blocking reads.
#[derive(Debug, Clone)]
pub(crate) struct RangedObject {
    folder: ExportFolder,
    key: ObjectKey,
    size_bytes: u64,
    runtime: Handle,
    /// The bytes of the last request, and their offset.
    window: Arc<Mutex<(u64, Bytes)>>,
}

impl RangedObject {
    pub(crate) fn new(
        folder: &ExportFolder,
        key: &ObjectKey,
        size_bytes: u64,
        runtime: &Handle,
    ) -> RangedObject {
        RangedObject {
            folder: folder.clone(),
            key: key.clone(),
            size_bytes,
            runtime: runtime.clone(),
            window: Arc::default(),
        }
    }

    /// What one request brings besides what was asked for, at the most.
    pub(crate) fn read_ahead_bytes(&self) -> u64 {
        self.size_bytes.min(READ_AHEAD_BYTES)
    }

    /// The bytes at `start`.
    pub(crate) fn range(&self, start: u64, length: usize) -> Result<Bytes> {
        let end = start.checked_add(length as u64).filter(|end| *end <= self.size_bytes);
        let Some(end) = end.filter(|_| length <= MAX_RANGE_BYTES) else {
            return Err(ParquetError::General(format!(
                "{length} bytes at {start} of a file of {}",
                self.size_bytes
            )));
        };
        if length == 0 {
            return Ok(Bytes::new());
        }
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = slice(&window, start, length) {
            return Ok(bytes);
        }
        let ahead = self.size_bytes.min(end.max(start.saturating_add(READ_AHEAD_BYTES)));
        let bytes = self
            .runtime
            .block_on(self.folder.read_range(&self.key, start..ahead))
            .map_err(|error| ParquetError::External(Box::new(error)))?;
        *window = (start, bytes);
        slice(&window, start, length)
            .ok_or_else(|| ParquetError::EOF(format!("the file ended before {end}")))
    }
}

fn slice((offset, bytes): &(u64, Bytes), start: u64, length: usize) -> Option<Bytes> {
    let from = usize::try_from(start.checked_sub(*offset)?).ok()?;
    let to = from.checked_add(length)?;
    (to <= bytes.len()).then(|| bytes.slice(from..to))
}

impl Length for RangedObject {
    fn len(&self) -> u64 {
        self.size_bytes
    }
}

impl ChunkReader for RangedObject {
    type T = RangedReader;

    fn get_read(&self, start: u64) -> Result<RangedReader> {
        Ok(RangedReader { object: self.clone(), at: start, buffered: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.range(start, length)
    }
}

/// Reads on from an offset: the header of a page, mostly.
pub(crate) struct RangedReader {
    object: RangedObject,
    /// Offset of what follows `buffered`.
    at: u64,
    buffered: Bytes,
}

impl Read for RangedReader {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        const STEP_BYTES: u64 = 4 * 1024;
        if self.buffered.is_empty() {
            let left = self.object.size_bytes.saturating_sub(self.at).min(STEP_BYTES);
            let step = usize::try_from(left).map_err(io::Error::other)?;
            self.buffered = self.object.range(self.at, step).map_err(io::Error::other)?;
            self.at = self.at.saturating_add(left);
        }
        let taken = to.len().min(self.buffered.len());
        if let Some(to) = to.get_mut(..taken) {
            self.buffered.copy_to_slice(to);
        }
        Ok(taken)
    }
}
