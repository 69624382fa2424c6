//! How much a class holds, about: from the sizes of its files, without reading its logs.
use crate::{
    bucket::Bucket,
    key_index::NODE_BYTES,
    leftovers::{self, ListedFile, SourceKind},
    segment::{HEADER_BYTES, SegmentLayout},
    wal::LogIndex,
};

/// How much a class holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClassEstimate {
    /// Objects: the keys of the segments, replaced and deleted ones included, and as many records
    /// as the logs have when all are as long as those of the first ones.
    pub objects: u64,
    /// Bytes of its rows as they are stored, replaced and deleted ones included.
    pub raw_bytes: u64,
}

/// Logs that are read to learn how long a record is.
const SAMPLED_LOGS: usize = 16;
/// The part of them that is read.
const SAMPLED_BYTES: u64 = 64 * 1024;

/// What the logs of a class hold together.
#[derive(Debug, Default)]
struct Logs {
    bytes: u64,
    sampled: usize,
    sampled_bytes: u64,
    sampled_records: u64,
}

/// What cannot be listed or read counts as nothing: that is an error when their rows are read.
pub(crate) fn estimate(buckets: impl Iterator<Item = Bucket>) -> ClassEstimate {
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
        let tree = &layout.primary_tree;
        let keys = tree.end.saturating_sub(tree.start) / NODE_BYTES;
        let raw_bytes = layout.index_start.saturating_sub(HEADER_BYTES);
        self.objects = self.objects.saturating_add(keys);
        self.raw_bytes = self.raw_bytes.saturating_add(raw_bytes);
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
