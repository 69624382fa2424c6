//! A write-ahead log of the objects bucket (`wal.md 1`).

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use crate::error::{EncodeError, length_as};
use crate::node::Node;

/// The form of a log record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalVersion {
    /// Before 1.24: a `u16` commit type, then the node; no length and no checksum.
    V0,
    /// Since 1.24: type, version, length, node, and the running checksum of the whole file.
    V1,
}

/// Writes a log record by record. Records of both versions may follow one another, as in a log
/// that an upgraded server went on with.
#[derive(Debug)]
pub struct WalWriter<W: Write> {
    out: W,
    checksum: crc32fast::Hasher,
}

impl<W: Write> WalWriter<W> {
    /// A log that begins with the next record.
    pub fn new(out: W) -> Self {
        Self { out, checksum: crc32fast::Hasher::new() }
    }

    /// Appends one record. Behind a record of version 0 the running checksum starts from the last
    /// four bytes of the file, as a server that reopens the log would have it (`wal.md 1.2`).
    ///
    /// # Errors
    /// A node of 4 GiB or more, or a failed write.
    pub fn append(&mut self, node: &Node, version: WalVersion) -> Result<(), EncodeError> {
        let node = node.encode()?;
        let mut record = vec![0];
        match version {
            WalVersion::V0 => {
                record.push(0);
                record.extend(&node);
                let seed = record.last_chunk::<4>().copied().unwrap_or_default();
                let seed = u32::from_be_bytes(seed);
                self.checksum = crc32fast::Hasher::new_with_initial(seed);
            }
            WalVersion::V1 => {
                record.push(1);
                let length: u32 = length_as("log record", node.len(), u32::MAX.into())?;
                record.extend(length.to_le_bytes());
                record.extend(&node);
                self.checksum.update(&record);
                record.extend(self.checksum.clone().finalize().to_be_bytes());
            }
        }
        self.out.write_all(&record)?;
        Ok(())
    }

    /// Flushes the output and gives it back.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn finish(mut self) -> Result<W, EncodeError> {
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Cuts the last `bytes` off the file at `path`, as a crash in the middle of a write does.
///
/// # Errors
/// The file cannot be opened or cut.
pub fn tear(path: &Path, bytes: u64) -> Result<(), EncodeError> {
    let file = OpenOptions::new().write(true).open(path)?;
    let length = file.metadata()?.len();
    file.set_len(length.saturating_sub(bytes))?;
    Ok(())
}
