//! Looks at the shards of a class without reading rows: counts, sizes, files and leftovers.
use std::{path::Path, sync::Arc};

use crate::{
    bucket::{Bucket, BucketFile},
    class::{Shard, SkipReason},
    error::DiskError,
    key_index::NODE_BYTES,
    leftovers::{self, IgnoredReason, SourceKind},
    nodes::Node,
    schema::ShardStatus,
    segment::{HEADER_BYTES, SegmentLayout},
    wal::LogIndex,
};

/// The shards of one class.
#[derive(Debug)]
pub struct Survey {
    /// In byte order of their names.
    pub shards: Vec<ShardSurvey>,
}

/// One shard.
#[derive(Debug)]
pub struct ShardSurvey {
    /// Shard (tenant) name.
    pub shard: String,
    /// As the schema has it; `None` when no schema tells.
    pub status: Option<ShardStatus>,
    /// Why its files were not looked at and will not be exported.
    pub skip_reason: Option<SkipReason>,
    /// In each directory that holds it.
    pub copies: Vec<CopySurvey>,
}

impl ShardSurvey {
    /// Keys in its files: an upper bound of its objects, exact when nothing was ever replaced or
    /// deleted. Of several copies the largest counts.
    pub fn objects_estimate(&self) -> u64 {
        self.copies.iter().map(|copy| copy.objects_estimate).max().unwrap_or(0)
    }

    /// Bytes of its rows as they are stored, replaced and deleted ones and all copies included.
    pub fn raw_bytes(&self) -> u64 {
        self.copies.iter().fold(0, |sum, copy| sum.saturating_add(copy.raw_bytes))
    }

    /// Why the shard cannot be exported, as far as this look shows.
    pub fn fault(&self) -> Option<&DiskError> {
        self.copies.iter().find_map(|copy| copy.fault.as_ref())
    }
}

/// A shard in one directory.
#[derive(Debug)]
pub struct CopySurvey {
    /// The data directory.
    pub directory: Arc<Path>,
    /// Keys in its files, as in [`ShardSurvey::objects_estimate`].
    pub objects_estimate: u64,
    /// Bytes of its rows as they are stored, replaced and deleted ones included.
    pub raw_bytes: u64,
    /// The segments that are read, oldest first.
    pub segments: Vec<SegmentSurvey>,
    /// The logs that are read, oldest first.
    pub logs: Vec<LogSurvey>,
    /// Files that are not read, and why.
    pub ignored: Vec<IgnoredFile>,
    /// Why it cannot be exported, as far as this look shows.
    pub fault: Option<DiskError>,
}

/// A segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentSurvey {
    /// File name.
    pub name: String,
    /// Length of the file.
    pub bytes: u64,
    /// Compaction level.
    pub level: u16,
    /// Format version: 1 has a checksum.
    pub version: u16,
    /// Secondary keys of every node.
    pub secondary_indices: u16,
    /// Keys, tombstones included.
    pub keys: u64,
    /// A `.db.tmp` that a finished compaction left under that name (`wal.md` 5).
    pub leftover: bool,
}

/// A log file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSurvey {
    /// File name.
    pub name: String,
    /// Length of the file.
    pub bytes: u64,
    /// Whole records.
    pub records: u64,
    /// Bytes behind them that are no record.
    pub dropped_bytes: u64,
}

/// A file of the bucket that is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredFile {
    /// File name.
    pub name: String,
    /// Why.
    pub reason: IgnoredReason,
}

/// Looks at every bucket.
pub(crate) fn survey<'a, B>(
    shards: impl Iterator<Item = (&'a Shard, B)>,
) -> Result<Survey, DiskError>
where
    B: Iterator<Item = (&'a Node, Bucket)>,
{
    let mut survey = Survey { shards: Vec::new() };
    for (shard, buckets) in shards {
        let mut copies = Vec::with_capacity(1);
        for (node, bucket) in buckets {
            copies.push(CopySurvey::read(node, &bucket)?);
        }
        survey.shards.push(ShardSurvey {
            shard: shard.name.to_string(),
            status: shard.status.clone(),
            skip_reason: shard.skip_reason.clone(),
            copies,
        });
    }
    Ok(survey)
}

impl CopySurvey {
    fn read(node: &Node, bucket: &Bucket) -> Result<CopySurvey, DiskError> {
        let mut survey = CopySurvey {
            directory: node.shared_path(),
            objects_estimate: 0,
            raw_bytes: 0,
            segments: Vec::new(),
            logs: Vec::new(),
            ignored: Vec::new(),
            fault: None,
        };
        let decision = leftovers::decide(bucket.list()?.unwrap_or_default());
        survey.ignored = decision
            .ignored
            .into_iter()
            .map(|(name, reason)| IgnoredFile { name, reason })
            .collect();
        survey.fault =
            decision.refused.map(|file| DiskError::Compaction { place: bucket.place(&file) });
        for chosen in decision.chosen {
            let looked = bucket.open(&chosen.file).and_then(|file| match chosen.kind {
                SourceKind::Segment => survey.add_segment(&file, chosen.leftover),
                SourceKind::Log => survey.add_log(&file),
            });
            if let Err(error) = looked {
                survey.fault.get_or_insert(error);
            }
        }
        Ok(survey)
    }

    fn add_segment(&mut self, file: &BucketFile, leftover: bool) -> Result<(), DiskError> {
        let layout = SegmentLayout::read(file)?;
        let tree = &layout.primary_tree;
        let keys = tree.end.saturating_sub(tree.start) / NODE_BYTES;
        let raw_bytes = layout.index_start.saturating_sub(HEADER_BYTES);
        self.objects_estimate = self.objects_estimate.saturating_add(keys);
        self.raw_bytes = self.raw_bytes.saturating_add(raw_bytes);
        self.segments.push(SegmentSurvey {
            name: file.place.file.to_string(),
            bytes: file.bytes,
            level: layout.level,
            version: layout.version,
            secondary_indices: layout.secondary_indices,
            keys,
            leftover,
        });
        Ok(())
    }

    fn add_log(&mut self, file: &BucketFile) -> Result<(), DiskError> {
        let index = LogIndex::read(file)?;
        let live = index.entries.iter().filter(|entry| entry.value_bytes().is_some()).count();
        self.objects_estimate = self.objects_estimate.saturating_add(live as u64);
        self.raw_bytes = self.raw_bytes.saturating_add(index.node_bytes());
        self.logs.push(LogSurvey {
            name: file.place.file.to_string(),
            bytes: file.bytes,
            records: index.records,
            dropped_bytes: index.torn.map_or(0, |torn| torn.dropped_bytes),
        });
        Ok(())
    }
}
