//! Write-ahead logs: finds the latest record of every key, without holding values in memory.
//!
//! The format is described in `wal.md` 1. All integers but the checksum are little-endian.
use crc32fast::Hasher;

use crate::{
    bucket::BucketFile,
    error::{LogFault, LsmError},
    forward_reader::ForwardReader,
    segment::{KEY_BYTES, TOMBSTONE_TIME_BYTES, is_tombstone_value},
};

/// The latest record of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEntry {
    /// The object's id as a number.
    pub key: u128,
    /// Offset of the value in the file.
    pub value_offset: u64,
    value_bytes: u64,
}

/// In place of a length: the record is a tombstone.
const TOMBSTONE: u64 = u64::MAX;
/// The same, with the time of deletion in its value (`lsm-segment.md` 1.3).
const TIMED_TOMBSTONE: u64 = u64::MAX - 1;

impl LogEntry {
    /// Length of the value, `None` for a tombstone.
    pub fn value_bytes(&self) -> Option<u64> {
        (self.value_bytes < TIMED_TOMBSTONE).then_some(self.value_bytes)
    }

    /// Length of the value of a tombstone.
    pub(crate) fn tombstone_bytes(&self) -> u64 {
        if self.value_bytes == TIMED_TOMBSTONE { TOMBSTONE_TIME_BYTES } else { 0 }
    }

    /// Bytes of the record without its secondary keys.
    pub fn node_bytes(&self) -> u64 {
        // Tombstone flag, two lengths and the key (`lsm-segment.md` 1.3).
        self.value_bytes().unwrap_or(0).saturating_add(29)
    }
}

/// The end of a log that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// Where the first bad record starts.
    pub offset: u64,
    /// Bytes from there to the end of the file.
    pub dropped_bytes: u64,
    /// What is wrong with that record.
    pub fault: LogFault,
}

/// The latest records of a log, sorted by key.
#[derive(Debug)]
pub struct LogIndex {
    /// One for each key, ascending.
    pub entries: Vec<LogEntry>,
    /// Records in the log, superseded ones included.
    pub records: u64,
    /// Set if the log does not end with a whole record.
    pub torn: Option<TornTail>,
}

/// Superseded records are dropped whenever their number may have reached this, so that a log which
/// overwrites a few keys many times stays small in memory.
const COMPACT_AT_LEAST: usize = 64 * 1024;

impl LogIndex {
    /// Bytes of all entries, as in [`LogEntry::node_bytes`].
    pub fn node_bytes(&self) -> u64 {
        self.entries.iter().fold(0, |sum, entry| sum.saturating_add(entry.node_bytes()))
    }

    /// Reads a log forward, once.
    ///
    /// # Errors
    /// Only when the file cannot be read: a bad record ends the log.
    pub fn read(file: &BucketFile) -> Result<LogIndex, LsmError> {
        let mut replay = Replay {
            reader: ForwardReader::new(file, 0..file.bytes),
            checksum: Hasher::new(),
            reseeded: None,
        };
        let mut entries = Vec::new();
        let mut compact_at = COMPACT_AT_LEAST;
        let (mut records, mut torn) = (0_u64, None);
        while replay.reader.remaining() > 0 {
            let offset = replay.reader.position();
            match replay.record()? {
                Ok(entry) => entries.push(entry),
                Err(fault) => {
                    let dropped_bytes = file.bytes.saturating_sub(offset);
                    torn = Some(TornTail { offset, dropped_bytes, fault });
                    break;
                }
            }
            records = records.saturating_add(1);
            if entries.len() >= compact_at {
                keep_latest(&mut entries);
                compact_at = entries.len().saturating_mul(2).max(COMPACT_AT_LEAST);
            }
        }
        keep_latest(&mut entries);
        entries.shrink_to_fit();
        Ok(LogIndex { entries, records, torn })
    }
}

/// Sorts by key and keeps the last record of each.
fn keep_latest(entries: &mut Vec<LogEntry>) {
    entries.sort_unstable_by_key(|entry| (entry.key, std::cmp::Reverse(entry.value_offset)));
    entries.dedup_by_key(|entry| entry.key);
}

struct Replay<'a> {
    reader: ForwardReader<'a>,
    /// Of all version 1 records so far (`wal.md` 1.1).
    checksum: Hasher,
    /// After a version 0 record: the checksum as a server seeds it when it reopens the log.
    reseeded: Option<Hasher>,
}

/// A record, or why it is bad. The outer error is a failed read.
type Record = Result<Result<LogEntry, LogFault>, LsmError>;

/// Unwraps the bytes of a record, or ends the log as cut.
macro_rules! or_cut {
    ($taken:expr) => {
        match $taken {
            Some(bytes) => bytes,
            None => return Ok(Err(LogFault::Cut)),
        }
    };
}

impl Replay<'_> {
    fn record(&mut self) -> Record {
        let [commit_type, version] = or_cut!(self.reader.take()?);
        if commit_type != 0 {
            return Ok(Err(LogFault::CommitType { commit_type }));
        }
        match version {
            0 => self.version_0(),
            1 => self.version_1([commit_type, version]),
            _ => Ok(Err(LogFault::Version { version })),
        }
    }

    /// Type, version, length, node, CRC (`wal.md` 1.1).
    fn version_1(&mut self, head: [u8; 2]) -> Record {
        self.feed(&head);
        let length: [u8; 4] = or_cut!(self.reader.take()?);
        self.feed(&length);
        let node_bytes = u64::from(u32::from_le_bytes(length));
        if node_bytes.saturating_add(4) > self.reader.remaining() {
            return Ok(Err(LogFault::Cut));
        }
        let node_end = self.reader.position().saturating_add(node_bytes);
        let parsed = self.node(node_end)?;
        // The rest of the node is its secondary keys, which are not needed.
        self.skip(node_end.saturating_sub(self.reader.position()))?;
        let stored = u32::from_be_bytes(or_cut!(self.reader.take()?));
        let computed = self.checksum.clone().finalize();
        if computed != stored {
            match self.reseeded.take().filter(|reseeded| reseeded.clone().finalize() == stored) {
                Some(reseeded) => self.checksum = reseeded,
                None => return Ok(Err(LogFault::Checksum { stored, computed })),
            }
        }
        self.reseeded = None;
        Ok(parsed)
    }

    /// The node alone (`wal.md` 1.2): its one secondary key has 0 or 8 bytes.
    fn version_0(&mut self) -> Record {
        let checksum = std::mem::take(&mut self.checksum);
        self.reseeded = None;
        let parsed = self.node(self.reader.position().saturating_add(self.reader.remaining()));
        self.checksum = checksum;
        let entry = match parsed? {
            Ok(entry) => entry,
            Err(fault) => return Ok(Err(fault)),
        };
        // Key length and key end the node; no checksum proves the tombstone flag.
        let value_end =
            self.reader.position().saturating_sub(4_u64.saturating_add(KEY_BYTES.into()));
        let value_bytes = value_end.saturating_sub(entry.value_offset);
        if entry.value_bytes().is_none() && !is_tombstone_value(value_bytes) {
            let reason = "a deletion with the value of an object";
            return Ok(Err(LogFault::Implausible { reason }));
        }
        let length: [u8; 4] = or_cut!(self.reader.take()?);
        let mut last_four = length;
        match u32::from_le_bytes(length) {
            0 => {}
            8 => {
                let doc_id: [u8; 8] = or_cut!(self.reader.take()?);
                let [.., a, b, c, d] = doc_id;
                last_four = [a, b, c, d];
            }
            _ => {
                let reason = "a secondary key of neither 0 nor 8 bytes";
                return Ok(Err(LogFault::Implausible { reason }));
            }
        }
        self.reseeded = Some(Hasher::new_with_initial(u32::from_be_bytes(last_four)));
        Ok(Ok(entry))
    }

    /// Tombstone flag, value, key (`lsm-segment.md` 1.3), which must end before `end`.
    fn node(&mut self, end: u64) -> Record {
        let left = |replay: &Self| end.saturating_sub(replay.reader.position());
        let implausible = |reason| Ok(Err(LogFault::Implausible { reason }));
        if left(self) < 9 {
            return Ok(Err(LogFault::Cut));
        }
        let head: [u8; 9] = or_cut!(self.reader.take()?);
        self.feed(&head);
        let [tombstone, length @ ..] = head;
        let value_bytes = u64::from_le_bytes(length);
        if tombstone > 1 {
            return implausible("a tombstone flag that is neither 0 nor 1");
        }
        if value_bytes.saturating_add(4).saturating_add(u64::from(KEY_BYTES)) > left(self) {
            return Ok(Err(LogFault::Cut));
        }
        let value_offset = self.reader.position();
        self.skip(value_bytes)?;
        let key_length: [u8; 4] = or_cut!(self.reader.take()?);
        self.feed(&key_length);
        if u32::from_le_bytes(key_length) != KEY_BYTES {
            return implausible("a key that does not have 16 bytes");
        }
        let key: [u8; KEY_BYTES as usize] = or_cut!(self.reader.take()?);
        self.feed(&key);
        let value_bytes = match (tombstone, value_bytes) {
            (0, live) => live,
            (_, TOMBSTONE_TIME_BYTES) => TIMED_TOMBSTONE,
            _ => TOMBSTONE,
        };
        Ok(Ok(LogEntry { key: u128::from_be_bytes(key), value_offset, value_bytes }))
    }

    /// Skips bytes, but adds them to the checksums.
    fn skip(&mut self, bytes: u64) -> Result<(), LsmError> {
        let mut left = bytes;
        while left > 0 {
            let chunk = self.reader.chunk(left)?;
            left = left.saturating_sub(chunk.len() as u64);
            self.checksum.update(chunk);
            if let Some(reseeded) = &mut self.reseeded {
                reseeded.update(chunk);
            }
        }
        Ok(())
    }

    /// Adds bytes to the checksums.
    fn feed(&mut self, bytes: &[u8]) {
        self.checksum.update(bytes);
        if let Some(reseeded) = &mut self.reseeded {
            reseeded.update(bytes);
        }
    }
}
