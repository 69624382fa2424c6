//! The units of a class, cut shard by shard.
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use offloom_rows::Schema;
use offloom_weaviate_lsm::{
    LsmError,
    copies::{self, PinnedShard, ShardCopy, TakenShard},
    descriptors::Descriptors,
    merge::ShardRange,
    snapshot::{CutOff, ShardWarning, SnapshotReport},
};

use super::{Unit, UnitParts, cutter::ShardCutter};
use crate::catalog::{
    class::{Class, Shard, SkipReason},
    node::Node,
};

/// How a class is cut.
#[derive(Debug, Clone)]
pub struct UnitOptions {
    /// Bytes of stored rows that fill about one block.
    pub block_bytes: u64,
    /// Cut-offs of an earlier snapshot, by shard name. Such a shard is read as it was then, if all of
    /// its files are still there, and its units are the same.
    pub pinned: Arc<BTreeMap<String, PinnedShard>>,
}

impl UnitOptions {
    /// Units of about this size, of snapshots of now.
    pub fn new(block_bytes: u64) -> UnitOptions {
        UnitOptions { block_bytes, pinned: Arc::default() }
    }
}

/// Most shards in one unit: their snapshots are in memory together.
const MAX_UNIT_SHARDS: usize = 4096;
/// The first units of a class that fills several blocks have these fractions of one (1 / `EARLY_UNITS`), so
/// that its first bytes reach the store early.
const EARLY_UNITS: [u64; 2] = [4, 2];
/// Smaller blocks are filled fast enough.
const LEAST_DIVIDED_BYTES: u64 = 8 * 1024 * 1024;
/// A unit may exceed a block by this fraction of it (1 / `SLACK`) rather than leave a small rest.
const SLACK: u64 = 8;

/// A shard that a [`Units`] has reached.
#[derive(Debug, Clone)]
pub struct ShardSummary {
    /// Shard (tenant) name.
    pub shard: String,
    /// Its index in the class's shards.
    pub index: u32,
    /// Which of its writes are in the export; `None` if its files could not be read.
    pub cut_off: Option<CutOff>,
    /// Why there is nothing to read, if so.
    pub skip_reason: Option<String>,
    /// Why the shard, its rows from some key on, or one of its copies is not read.
    pub error: Option<Arc<LsmError>>,
    /// What the operator should know about its files.
    pub warnings: Vec<ShardWarning>,
    /// Its copies in the order of the data directories, where several are read together.
    /// [`Self::cut_off`] then has only the earliest time.
    pub copies: Option<Vec<ShardCopy>>,
}

impl ShardSummary {
    /// Its cut-off in each data directory; `alone` is the one that a shard without copies lies in.
    pub fn pinned(&self, alone: &Path) -> PinnedShard {
        match (&self.copies, &self.cut_off) {
            (Some(copies), _) => {
                let pin = |copy: &ShardCopy| (copy.directory.to_path_buf(), copy.cut_off.clone());
                copies.iter().map(pin).collect()
            }
            (None, Some(cut_off)) => [(alone.to_owned(), cut_off.clone())].into(),
            (None, None) => PinnedShard::new(),
        }
    }

    /// Whether it was read with the cut-offs of `before`.
    pub fn is_as_in(&self, before: &PinnedShard, alone: &Path) -> bool {
        let now = self.pinned(alone);
        now.len() == before.len()
            && now
                .iter()
                .zip(before)
                .all(|(now, before)| now.0 == before.0 && now.1.is_same(before.1))
    }

    /// A shard whose files cannot be found.
    fn unread(shard: &str, index: u32, error: Arc<LsmError>) -> ShardSummary {
        ShardSummary {
            shard: shard.to_owned(),
            index,
            cut_off: None,
            skip_reason: None,
            error: Some(error),
            warnings: Vec::new(),
            copies: None,
        }
    }
}

/// The units of a class, in order: shards in byte order of their names, each by key range. A shard
/// that cannot be read has its error in [`Units::shards`], and the iterator continues with the next.
///
/// The snapshot of a shard is taken when the iterator reaches it. Its files are then open until the
/// last unit of the shard is dropped; when the budget of [`Descriptors`] is used up, the iterator
/// waits for units to be dropped.
#[derive(Debug)]
pub struct Units {
    nodes: Arc<[Node]>,
    descriptors: Descriptors,
    class: Class,
    schema: Arc<Schema>,
    block_bytes: u64,
    pinned: Arc<BTreeMap<String, PinnedShard>>,
    next_shard: usize,
    cutter: Option<ShardCutter>,
    ranges: Vec<ShardRange>,
    ranges_bytes: u64,
    /// Number of files that the shards of `ranges` and of `cutter` hold open.
    open_files: usize,
    number: u64,
    shards: Vec<ShardSummary>,
}

impl Units {
    /// The units of `class`, whose shards lie in the directories of `nodes`.
    pub(crate) fn new(
        nodes: Arc<[Node]>,
        descriptors: Descriptors,
        class: Class,
        options: UnitOptions,
    ) -> Units {
        Units {
            schema: Arc::new(class.row_schema()),
            nodes,
            descriptors,
            class,
            block_bytes: options.block_bytes.max(1),
            pinned: options.pinned,
            next_shard: 0,
            cutter: None,
            ranges: Vec::new(),
            ranges_bytes: 0,
            open_files: 0,
            number: 0,
            shards: Vec::new(),
        }
    }

    /// The shards reached so far, in order; all of them once the iterator has ended.
    pub fn shards(&self) -> &[ShardSummary] {
        &self.shards
    }

    /// As [`Units::shards`], by value.
    pub fn into_shards(self) -> Vec<ShardSummary> {
        self.shards
    }

    /// Takes the snapshot of the next shard, unless the unit that is being built must be returned
    /// first.
    fn start_shard(&mut self, shard: &Shard) -> ShardStart {
        let index = u32::try_from(self.next_shard).unwrap_or(u32::MAX);
        if let (None, Some(fault)) = (&shard.skip_reason, &shard.fault) {
            self.next_shard = self.next_shard.saturating_add(1);
            self.shards.push(ShardSummary::unread(&shard.name, index, fault.clone()));
            return ShardStart::Started(None);
        }
        let taken = match &shard.skip_reason {
            // Servers make the shards of a class together with it.
            Some(SkipReason::NoData) => Err(self.class.lost(shard)),
            Some(_) => Ok(Some(TakenShard {
                snapshot: None,
                report: SnapshotReport::not_read(),
                copies: None,
                broken_copy: None,
            })),
            None => {
                // While the iterator waits for descriptors, it must not hold files of a unit that it
                // has not returned yet.
                let room = self.descriptors.unit_files().saturating_sub(self.open_files);
                let room = (!self.ranges.is_empty()).then_some(room);
                let buckets = self.class.buckets(shard, &self.nodes).collect();
                let none = PinnedShard::new();
                let pinned = self.pinned.get(&*shard.name).unwrap_or(&none);
                copies::take(buckets, index, &self.descriptors, room, pinned)
            }
        };
        let mut summary = ShardSummary {
            shard: shard.name.to_string(),
            index,
            cut_off: None,
            skip_reason: shard.skip_reason.as_ref().map(ToString::to_string),
            error: None,
            warnings: Vec::new(),
            copies: None,
        };
        let snapshot = match taken {
            Ok(Some(TakenShard { snapshot, report, copies, broken_copy })) => {
                summary.cut_off = Some(report.cut_off);
                summary.warnings = report.warnings;
                summary.skip_reason = summary.skip_reason.or(report.skip_reason.map(str::to_owned));
                summary.copies = copies;
                summary.error = broken_copy.map(Arc::new);
                snapshot
            }
            Ok(None) => return ShardStart::NoRoom,
            Err(error) => {
                summary.skip_reason = None;
                summary.error = Some(Arc::new(error));
                None
            }
        };
        self.next_shard = self.next_shard.saturating_add(1);
        self.shards.push(summary);
        ShardStart::Started(snapshot.map(|snapshot| {
            self.open_files = self.open_files.saturating_add(snapshot.open_files());
            ShardCutter::new(Arc::new(snapshot), self.block_bytes)
        }))
    }

    /// Ends a shard whose key trees are damaged. Ranges that were cut before remain.
    fn fail_shard(&mut self, error: LsmError) {
        self.cutter = None;
        if let Some(shard) = self.shards.last_mut() {
            shard.error = Some(Arc::new(error));
        }
    }

    fn next_unit(&mut self) -> Option<Unit> {
        loop {
            if let Some(cutter) = &mut self.cutter {
                let unit_bytes = unit_bytes(self.number, self.block_bytes, cutter.rest_bytes());
                let budget = unit_bytes.saturating_sub(self.ranges_bytes);
                let slack = self.block_bytes / SLACK;
                let (range, bytes) = match cutter.cut(budget.max(1), slack) {
                    Ok(cut) => cut,
                    Err(error) => {
                        self.fail_shard(error);
                        continue;
                    }
                };
                self.ranges_bytes = self.ranges_bytes.saturating_add(bytes);
                self.ranges.push(range);
                if cutter.is_done() {
                    self.cutter = None;
                }
                let full = self.ranges_bytes >= self.block_bytes
                    || self.cutter.is_some()
                    || self.ranges.len() >= MAX_UNIT_SHARDS;
                if full {
                    return self.finish_unit();
                }
            } else if let Some(shard) = self.class.shards.get(self.next_shard).cloned() {
                match self.start_shard(&shard) {
                    ShardStart::Started(cutter) => self.cutter = cutter,
                    ShardStart::NoRoom => return self.finish_unit(),
                }
            } else {
                return self.finish_unit();
            }
        }
    }

    fn finish_unit(&mut self) -> Option<Unit> {
        if self.ranges.is_empty() {
            return None;
        }
        self.open_files = self.cutter.as_ref().map_or(0, ShardCutter::open_files);
        let parts = UnitParts {
            number: self.number,
            raw_bytes: std::mem::take(&mut self.ranges_bytes),
            schema: self.schema.clone(),
            shards: self.class.shards.clone(),
            ranges: std::mem::take(&mut self.ranges),
        };
        self.number = self.number.saturating_add(1);
        Some(Unit::new(parts))
    }
}

/// Bytes that the unit of this number should hold, when a shard still has `rest_bytes`.
fn unit_bytes(number: u64, block_bytes: u64, rest_bytes: u64) -> u64 {
    let early = usize::try_from(number).ok().and_then(|number| EARLY_UNITS.get(number));
    match early {
        Some(fraction) if block_bytes >= LEAST_DIVIDED_BYTES && rest_bytes > block_bytes => {
            block_bytes / fraction
        }
        _ => block_bytes,
    }
}

impl Iterator for Units {
    type Item = Unit;

    fn next(&mut self) -> Option<Unit> {
        self.next_unit()
    }
}

/// The outcome of starting a shard.
enum ShardStart {
    /// `None` if there is nothing to read, or the shard cannot be read.
    Started(Option<ShardCutter>),
    /// The shard needs more descriptors than the unit that is being built leaves.
    NoRoom,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_units_of_a_large_shard_are_small() {
        let block = 16 << 20;
        let large = [0, 1, 2, 3].map(|number| unit_bytes(number, block, 10 * block));
        assert_eq!(large, [block / 4, block / 2, block, block]);
        assert_eq!(unit_bytes(0, block, block), block, "it fits into one");
        assert_eq!(unit_bytes(0, 1 << 20, 10 << 20), 1 << 20, "small enough");
    }
}
