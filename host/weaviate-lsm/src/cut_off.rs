//! Which writes of a shard were read, file by file.
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    bucket::BucketFile,
    error::LsmError,
    leftovers::{self, ListedFile},
    segment::HEADER_BYTES,
};

/// Which writes of a shard are in the export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutOff {
    /// When its files were listed.
    pub at: DateTime<Utc>,
    /// File name of the newest segment that is read.
    pub newest_segment: Option<String>,
    /// The files that are read, oldest first.
    pub sources: Vec<ReadSource>,
}

/// How much of a file was read, and what it then was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadSource {
    /// File name.
    pub name: String,
    /// Its inode.
    pub inode: u64,
    /// Its length.
    pub size_bytes: u64,
    /// When it was written last, by the file system's clock.
    pub modified_at: DateTime<Utc>,
    /// CRC-32 of its first 16 bytes, the header of a segment (`lsm-segment.md` 1.1); of all bytes, if there
    /// are fewer.
    pub header_crc: u32,
    /// Bytes that were read: in a log up to the first bad record.
    pub bytes_read: u64,
    /// CRC-32: of a segment the one that it ends with (`lsm-segment.md` 1.2), `None` in version 0; of a log
    /// that of the bytes that were read.
    pub crc: Option<u32>,
}

impl ReadSource {
    /// # Errors
    /// When its header cannot be read.
    pub(crate) fn of(
        file: &BucketFile,
        bytes_read: u64,
        crc: Option<u32>,
    ) -> Result<ReadSource, LsmError> {
        Ok(ReadSource {
            name: file.place.file.to_string(),
            inode: file.inode,
            size_bytes: file.bytes,
            modified_at: file.modified_at.into(),
            header_crc: file.crc(file.bytes.min(HEADER_BYTES))?,
            bytes_read,
            crc,
        })
    }

    /// Whether it is a log.
    pub(crate) fn is_log(&self) -> bool {
        leftovers::is_log(&self.name)
    }

    /// Whether the file in a listing can hold the bytes that were read: a log may have grown.
    pub(crate) fn may_be(&self, listed: &ListedFile) -> bool {
        self.name == listed.name && self.inode == listed.inode && self.size_bytes <= listed.bytes
    }

    /// Whether both are the same bytes of the same file.
    pub(crate) fn is_same(&self, other: &ReadSource) -> bool {
        let modified_at = self.modified_at;
        *self == ReadSource { modified_at, ..other.clone() }
    }
}

impl CutOff {
    /// The logs among the files, oldest first.
    pub fn logs(&self) -> impl Iterator<Item = &ReadSource> {
        self.sources.iter().filter(|source| source.is_log())
    }

    /// Whether both are the same bytes of the same files.
    pub fn is_same(&self, other: &CutOff) -> bool {
        self.sources.len() == other.sources.len()
            && self.sources.iter().zip(&other.sources).all(|(ours, theirs)| ours.is_same(theirs))
    }
}
