//! Surveys the shards of a class without reading rows: counts, sizes, files and leftovers.
use std::{path::Path, sync::Arc};

use offloom_weaviate_lsm::{
    LsmError,
    bucket::{Bucket, BucketFile},
    check::{self, Check},
    descriptors::Descriptors,
    emptiness::{self, Holding},
    leftovers::{self, IgnoredReason, SourceKind},
    segment::SegmentLayout,
    wal::LogIndex,
};

use crate::{
    catalog::{
        class::{Class, Shard, SkipReason},
        node::Node,
    },
    schema::ShardStatus,
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
    /// Its status in the schema; `None` without a schema.
    pub status: Option<ShardStatus>,
    /// Why its files were not read and will not be exported, if so.
    pub skip_reason: Option<SkipReason>,
    /// Why its files cannot be found, if so.
    pub not_found: Option<Arc<LsmError>>,
    /// The shard in each data directory that holds it.
    pub copies: Vec<CopySurvey>,
}

impl ShardSurvey {
    /// Keys in its files: an upper bound of its objects, exact if nothing was ever replaced or
    /// deleted. Of several copies, the largest.
    pub fn objects_estimate(&self) -> u64 {
        self.copies.iter().map(|copy| copy.objects_estimate).max().unwrap_or(0)
    }

    /// Bytes of its stored rows, replaced and deleted ones and all copies included.
    pub fn raw_bytes(&self) -> u64 {
        self.copies.iter().fold(0, |sum, copy| sum.saturating_add(copy.raw_bytes))
    }

    /// Why the shard cannot be exported, as far as the survey shows.
    pub fn fault(&self) -> Option<&LsmError> {
        let of_copies = || self.copies.iter().find_map(|copy| copy.fault.as_ref());
        self.not_found.as_deref().or_else(of_copies)
    }
}

/// A shard in one directory.
#[derive(Debug)]
pub struct CopySurvey {
    /// The data directory.
    pub directory: Arc<Path>,
    /// Keys in its files, as in [`ShardSurvey::objects_estimate`].
    pub objects_estimate: u64,
    /// Bytes of its stored rows, replaced and deleted ones included.
    pub raw_bytes: u64,
    /// The segments that are read, oldest first.
    pub segments: Vec<SegmentSurvey>,
    /// The logs that are read, oldest first.
    pub logs: Vec<LogSurvey>,
    /// Files that are not read, and why.
    pub ignored: Vec<IgnoredFile>,
    /// Why it cannot be exported, as far as the survey shows.
    pub fault: Option<LsmError>,
    /// What reading all of it has shown, if that was asked for.
    pub check: Option<Check>,
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
    /// Number of secondary keys of every node.
    pub secondary_indices: u16,
    /// Keys, tombstones included.
    pub keys: u64,
    /// Whether it is a `.db.tmp` with the result of a finished compaction (`wal.md` 5).
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
    /// Bytes after them that are not a record.
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

/// Surveys every shard of `class`, whose files lie in the directories of `nodes`.
pub(crate) fn survey(class: &Class, nodes: &[Node]) -> Survey {
    let shards = class.shards.iter().map(|shard| ShardSurvey::read(class, shard, nodes));
    Survey { shards: shards.collect() }
}

impl Survey {
    /// Length of the files that were surveyed and can be checked.
    pub fn file_bytes(&self) -> u64 {
        let copies = self.shards.iter().flat_map(|shard| &shard.copies);
        copies.fold(0, |sum, copy| {
            let segments = copy.segments.iter().map(|segment| segment.bytes);
            let logs = copy.logs.iter().map(|log| log.bytes);
            segments.chain(logs).fold(sum, u64::saturating_add)
        })
    }

    /// Reads every byte of the shards, and adds what is damaged to their copies.
    pub(crate) fn check(
        &mut self,
        class: &Class,
        nodes: &[Node],
        descriptors: &Descriptors,
        on_bytes: &mut dyn FnMut(u64),
    ) {
        for (shard, survey) in class.shards.iter().zip(&mut self.shards) {
            for (bucket, copy) in class.buckets(shard, nodes).zip(&mut survey.copies) {
                copy.check = Some(check::check(&bucket, descriptors, on_bytes));
            }
        }
    }
}

impl ShardSurvey {
    fn read(class: &Class, shard: &Shard, nodes: &[Node]) -> ShardSurvey {
        let is_lost = shard.skip_reason == Some(SkipReason::NoData);
        let not_found = if is_lost {
            Some(Arc::new(class.lost(shard)))
        } else {
            shard.fault.clone().filter(|_| shard.skip_reason.is_none())
        };
        let buckets = class.buckets(shard, nodes).filter(|_| not_found.is_none());
        ShardSurvey {
            shard: shard.name.to_string(),
            status: shard.status.clone(),
            skip_reason: shard.skip_reason.clone().filter(|_| !is_lost),
            copies: buckets.map(|bucket| CopySurvey::read(&bucket)).collect(),
            not_found,
        }
    }
}

impl CopySurvey {
    fn read(bucket: &Bucket) -> CopySurvey {
        let read = || CopySurvey::read_once(bucket);
        let settled = emptiness::read_settled(bucket, read, CopySurvey::holds_objects);
        let (mut survey, fault) = match settled {
            Ok((survey, Holding::Lost(lost))) => {
                (survey, Some(LsmError::Lost { place: bucket.place(""), lost }))
            }
            Ok((survey, _)) => (survey, None),
            Err(error) => (CopySurvey::of(bucket, Vec::new()), Some(error)),
        };
        survey.fault = survey.fault.or(fault);
        survey
    }

    fn of(bucket: &Bucket, ignored: Vec<IgnoredFile>) -> CopySurvey {
        CopySurvey {
            directory: bucket.directory.clone(),
            objects_estimate: 0,
            raw_bytes: 0,
            segments: Vec::new(),
            logs: Vec::new(),
            ignored,
            fault: None,
            check: None,
        }
    }

    /// Whether there are objects or deletions in it, or a fault that hides them.
    fn holds_objects(&self) -> bool {
        self.fault.is_some()
            || self.segments.iter().any(|segment| segment.keys > 0)
            || self.logs.iter().any(|log| log.records > 0)
    }

    fn read_once(bucket: &Bucket) -> Result<CopySurvey, LsmError> {
        let decision = leftovers::decide(bucket.list()?.unwrap_or_default());
        let ignored = decision.ignored.into_iter();
        let ignored = ignored.map(|(name, reason)| IgnoredFile { name, reason }).collect();
        let mut survey = CopySurvey::of(bucket, ignored);
        survey.fault =
            decision.refused.map(|file| LsmError::Compaction { place: bucket.place(&file) });
        for chosen in decision.chosen {
            let added = bucket.open(&chosen.file).and_then(|file| match chosen.kind {
                SourceKind::Segment => survey.add_segment(&file, chosen.leftover),
                SourceKind::Log => survey.add_log(&file),
            });
            if let Err(error) = added {
                survey.fault.get_or_insert(error);
            }
        }
        Ok(survey)
    }

    fn add_segment(&mut self, file: &BucketFile, leftover: bool) -> Result<(), LsmError> {
        let layout = SegmentLayout::read(file)?;
        let keys = layout.keys();
        self.objects_estimate = self.objects_estimate.saturating_add(keys);
        self.raw_bytes = self.raw_bytes.saturating_add(layout.data_bytes());
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

    fn add_log(&mut self, file: &BucketFile) -> Result<(), LsmError> {
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
