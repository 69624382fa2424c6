//! Estimates how much a class holds from the sizes of its files, without reading its logs whole.
use offloom_weaviate_lsm::{
    bucket::Bucket,
    leftovers::{self, ListedFile, SourceKind},
    segment::SegmentLayout,
    wal::LogIndex,
};

use crate::catalog::{class::Class, node::Node};

/// About how much a class holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClassEstimate {
    /// Number of objects: the keys of the segments, replaced and deleted ones included, and the
    /// records of the logs if all are as long as those of the first logs.
    pub objects: u64,
    /// Bytes of its stored rows, replaced and deleted ones included.
    pub raw_bytes: u64,
}

/// Number of logs that are read to learn the length of a record.
const SAMPLED_LOGS: usize = 16;
/// The part of each of them that is read.
const SAMPLED_BYTES: u64 = 64 * 1024;

/// The logs of a class together.
#[derive(Debug, Default)]
struct Logs {
    bytes: u64,
    sampled: usize,
    sampled_bytes: u64,
    sampled_records: u64,
}

/// Estimates `class`, whose files lie in the directories of `nodes`. Files that cannot be listed or
/// read count as empty: reading their rows gives the error.
pub(crate) fn estimate(class: &Class, nodes: &[Node]) -> ClassEstimate {
    let shards = class.shards.iter().filter(|shard| shard.skip_reason.is_none());
    let buckets = shards.flat_map(|shard| class.buckets(shard, nodes));
    let mut estimate = ClassEstimate::default();
    let mut logs = Logs::default();
    for bucket in buckets {
        let listed = bucket.list().ok().flatten().unwrap_or_default();
        for chosen in leftovers::decide(listed).chosen {
            match chosen.kind {
                SourceKind::Segment => estimate.add_segment(&bucket, &chosen.file),
                SourceKind::Log => logs.add(&bucket, &chosen.file),
            }
        }
    }
    estimate.raw_bytes = estimate.raw_bytes.saturating_add(logs.bytes);
    estimate.objects = estimate.objects.saturating_add(logs.records());
    estimate
}

impl ClassEstimate {
    fn add_segment(&mut self, bucket: &Bucket, listed: &ListedFile) {
        let layout = bucket.open(listed).and_then(|file| SegmentLayout::read(&file));
        let Ok(layout) = layout else { return };
        self.objects = self.objects.saturating_add(layout.keys());
        self.raw_bytes = self.raw_bytes.saturating_add(layout.data_bytes());
    }
}

impl Logs {
    fn add(&mut self, bucket: &Bucket, listed: &ListedFile) {
        self.bytes = self.bytes.saturating_add(listed.bytes);
        if self.sampled >= SAMPLED_LOGS {
            return;
        }
        let part = ListedFile { bytes: listed.bytes.min(SAMPLED_BYTES), ..listed.clone() };
        let Ok(index) = bucket.open(&part).and_then(|file| LogIndex::read(&file)) else { return };
        let read_to = index.torn.as_ref().map_or(part.bytes, |torn| torn.offset);
        self.sampled = self.sampled.saturating_add(1);
        self.sampled_bytes = self.sampled_bytes.saturating_add(read_to);
        self.sampled_records = self.sampled_records.saturating_add(index.records);
    }

    fn records(&self) -> u64 {
        let records = u128::from(self.bytes).saturating_mul(u128::from(self.sampled_records));
        let records = records.checked_div(u128::from(self.sampled_bytes)).unwrap_or(0);
        u64::try_from(records).unwrap_or(u64::MAX)
    }
}
