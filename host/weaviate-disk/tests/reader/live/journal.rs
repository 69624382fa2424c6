//! What the writer notes of its writes, outside of the data directory, and what must be found.
use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
};

use offloom_encoder::{Node, Object, ObjectOptions};
use offloom_weaviate_disk::CutOff;

use crate::shard::CLASS;

/// One write; its number is its place in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write {
    pub key: u16,
    pub delete: bool,
    /// Id of the log that it went to, and where its record ends there.
    pub log: u64,
    pub end: u64,
}

const RECORD_BYTES: usize = 24;

/// The writer's side.
#[derive(Debug)]
pub struct Journal {
    writes: File,
    acknowledged: File,
    pub count: u64,
}

impl Journal {
    pub fn create(root: &Path) -> Journal {
        let writes = File::create(root.join("writes")).unwrap();
        let acknowledged = File::create(root.join("acknowledged")).unwrap();
        Journal { writes, acknowledged, count: 0 }
    }

    /// Before a write is made.
    pub fn begin(&mut self, write: &Write) {
        let mut record = [0; RECORD_BYTES];
        record[..8].copy_from_slice(&write.log.to_le_bytes());
        record[8..16].copy_from_slice(&write.end.to_le_bytes());
        record[16..18].copy_from_slice(&write.key.to_le_bytes());
        record[18] = u8::from(write.delete);
        self.writes.write_all_at(&record, self.count * RECORD_BYTES as u64).unwrap();
        self.count += 1;
    }

    /// After all writes so far have gone to the system.
    pub fn acknowledge(&self) {
        self.acknowledged.write_all_at(&self.count.to_le_bytes(), 0).unwrap();
    }
}

/// How many writes are acknowledged.
pub fn acknowledged(root: &Path) -> u64 {
    let bytes = fs::read(root.join("acknowledged")).unwrap_or_default();
    bytes.first_chunk().map_or(0, |count| u64::from_le_bytes(*count))
}

/// The writes that were begun.
pub fn begun(root: &Path) -> Vec<Write> {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    let bytes = fs::read(root.join("writes")).unwrap();
    let records = bytes.chunks_exact(RECORD_BYTES);
    records
        .map(|record| Write {
            log: number(&record[..8]),
            end: number(&record[8..16]),
            key: u16::from_le_bytes([record[16], record[17]]),
            delete: record[18] == 1,
        })
        .collect()
}

/// Ids are in another order than numbers.
pub fn id(key: u16) -> [u8; 16] {
    let mut id = [7; 16];
    id[..2].copy_from_slice(&key.wrapping_mul(40_503).to_be_bytes());
    id
}

/// What the write of this number puts: every one is another.
pub fn properties(number: u64) -> String {
    let pad = "x".repeat((number * 131 % 700) as usize);
    format!(r#"{{"write":{number},"pad":"{pad}"}}"#)
}

pub fn node(number: u64, key: u16, delete: bool) -> Node {
    if delete {
        let deleted_ms = number.is_multiple_of(2).then_some(number as i64);
        return Node::tombstone(id(key), deleted_ms);
    }
    let mut object = Object::new(id(key), CLASS);
    object.doc_id = number;
    object.properties = Some(properties(number).into_bytes());
    Node::live(&object, &ObjectOptions::default()).unwrap()
}

/// The id in the name of a segment, a log, or a compaction's result that keeps the right one's.
fn file_id(name: &str) -> u64 {
    let ids = name.strip_prefix("segment-").unwrap().split('.').next().unwrap();
    ids.split('_').next_back().unwrap().parse().unwrap()
}

/// The rows that a snapshot with this cut-off must hold, by id with the number of their write.
/// Panics when the cut-off itself is wrong: it leaves out one of the first `acknowledged` writes,
/// or ends a log within a record.
pub fn expected(writes: &[Write], cut_off: &CutOff, acknowledged: u64) -> BTreeMap<[u8; 16], u64> {
    let segments_to = cut_off.newest_segment.as_deref().map_or(0, file_id);
    let logs: BTreeMap<u64, u64> =
        cut_off.logs().map(|log| (file_id(&log.name), log.bytes_read)).collect();
    for (log, bytes) in &logs {
        let border = writes.iter().any(|write| write.log == *log && write.end == *bytes);
        assert!(border || *bytes == 0, "log {log} was read to {bytes}, which ends no write");
    }
    let mut held: Vec<(u64, u64, &Write)> = Vec::new();
    for (number, write) in (0..).zip(writes) {
        let is_held = match logs.get(&write.log) {
            Some(bytes) => write.end <= *bytes,
            None => write.log <= segments_to,
        };
        assert!(
            is_held || number >= acknowledged,
            "write {number} of {acknowledged} acknowledged ones is not in {cut_off:?}: {write:?}"
        );
        if is_held {
            held.push((write.log, number, write));
        }
    }
    // A late write to an old log is older than all of the new one.
    held.sort_by_key(|(log, number, _)| (*log, *number));
    let mut rows = BTreeMap::new();
    for (_, number, write) in held {
        if write.delete {
            rows.remove(&id(write.key));
        } else {
            rows.insert(id(write.key), number);
        }
    }
    rows
}
