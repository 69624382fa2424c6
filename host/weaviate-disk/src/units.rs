//! Cuts the rows of a class into units: shards in byte order of their names, each by key range.
//!
//! Where the cuts lie depends on the data and on the size of a block alone, and no row is read:
//! node sizes come from the key trees and from the indexes of the logs (`architecture.md`).
use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    ops::Range,
    sync::Arc,
};

use offloom_rows::Schema;

use crate::{
    bad_data::{Faults, ReadOptions},
    class::{Class, Shard},
    copies,
    cursor::UnitCursor,
    directory::DataDirectory,
    error::DiskError,
    key_index::{KeyTree, SparseWalk},
    merge::{Merge, ShardRange},
    report::ShardSummary,
    snapshot::{Content, Findings, ShardSnapshot},
};

/// How a class is cut.
#[derive(Debug, Clone, Copy)]
pub struct UnitOptions {
    /// Bytes of raw rows that fill one block, about.
    pub block_bytes: u64,
}

/// Shards in one unit at the most: their snapshots are in memory together.
const MAX_UNIT_SHARDS: usize = 4096;
/// The part of a block that a unit may be larger, rather than leave a small rest: 1 / this.
const SLACK: u64 = 8;

/// Rows that fill one block, about: key ranges of one shard or of several. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Unit(Arc<UnitParts>);

#[derive(Debug)]
struct UnitParts {
    number: u64,
    raw_bytes: u64,
    schema: Arc<Schema>,
    ranges: Vec<ShardRange>,
}

impl Unit {
    /// Its place in the order of the class's units, from 0.
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// Bytes of the rows as they are stored, replaced and deleted ones included: no less than what
    /// there is to export.
    pub fn raw_bytes(&self) -> u64 {
        self.0.raw_bytes
    }

    /// The columns of its rows.
    pub fn schema(&self) -> &Schema {
        &self.0.schema
    }

    /// A cursor on its rows; may be called again, for another try: the files stay open until the
    /// unit is dropped.
    pub fn open(&self, options: &ReadOptions) -> UnitCursor {
        UnitCursor::new(self.clone(), options.clone())
    }

    /// Reads the unit's nodes to their ends, without building rows, and names every shard that
    /// cannot be read, with the reason. Blocking. After one shard failed this finds the others at
    /// once.
    pub fn failing_shards(&self) -> Faults {
        let mut faults = Faults::default();
        for range in &self.0.ranges {
            let read = Merge::open(range).and_then(|mut merge| {
                while merge.advance()? {}
                Ok(())
            });
            if let Err(error) = read {
                faults.shard_failed(range.snapshot.shard_index, error.to_string());
            }
        }
        faults
    }

    /// The same unit without the rows of these shards, by index. Their other key ranges, in other
    /// units, are not concerned.
    pub fn without(&self, shards: &BTreeSet<u32>) -> Unit {
        let remains = |range: &&ShardRange| !shards.contains(&range.snapshot.shard_index);
        Unit(Arc::new(UnitParts {
            number: self.0.number,
            raw_bytes: self.0.raw_bytes,
            schema: self.0.schema.clone(),
            ranges: self.0.ranges.iter().filter(remains).cloned().collect(),
        }))
    }

    pub(crate) fn ranges(&self) -> &[ShardRange] {
        &self.0.ranges
    }
}

/// The units of a class in order. A shard that cannot be trusted has its error in
/// [`Units::shards`], and the others go on.
///
/// The snapshot of a shard is taken when the iterator reaches it. Its files are then open until the
/// last unit of the shard is dropped; when [`crate::Descriptors`] does not allow more of them, the
/// iterator waits for units to be dropped, so that shards are taken in waves.
#[derive(Debug)]
pub struct Units {
    directory: DataDirectory,
    class: Class,
    schema: Arc<Schema>,
    block_bytes: u64,
    next_shard: usize,
    cutter: Option<ShardCutter>,
    ranges: Vec<ShardRange>,
    ranges_bytes: u64,
    /// Files that the shards of `ranges` and of `cutter` hold open.
    open_files: usize,
    number: u64,
    shards: Vec<ShardSummary>,
}

impl Units {
    pub(crate) fn new(directory: DataDirectory, class: Class, options: UnitOptions) -> Units {
        Units {
            schema: Arc::new(class.row_schema()),
            directory,
            class,
            block_bytes: options.block_bytes.max(1),
            next_shard: 0,
            cutter: None,
            ranges: Vec::new(),
            ranges_bytes: 0,
            open_files: 0,
            number: 0,
            shards: Vec::new(),
        }
    }

    /// The shards that were reached so far, in order; all of them once the iterator has ended.
    pub fn shards(&self) -> &[ShardSummary] {
        &self.shards
    }

    /// As [`Units::shards`], to be kept.
    pub fn into_shards(self) -> Vec<ShardSummary> {
        self.shards
    }

    /// Takes the snapshot of a shard, unless the unit that is being made must go first.
    fn begin_shard(&mut self, shard: &Shard) -> Begun {
        let index = u32::try_from(self.next_shard).unwrap_or(u32::MAX);
        let taken = match &shard.skip_reason {
            Some(_) => Ok(Some((None, Findings::not_looked_at()))),
            None => {
                // Whoever waits for descriptors must not hold what others wait for.
                let room =
                    self.directory.descriptors().unit_files().saturating_sub(self.open_files);
                let room = (!self.ranges.is_empty()).then_some(room);
                copies::take(&self.directory, &self.class, shard, index, room)
            }
        };
        let (snapshot, findings, error) = match taken {
            Ok(Some((snapshot, mut findings))) => {
                let error = findings.broken_copy.take().map(Arc::new);
                (snapshot, Some(findings), error)
            }
            Ok(None) => return Begun::NoRoom,
            Err(error) => (None, None, Some(Arc::new(error))),
        };
        self.next_shard = self.next_shard.saturating_add(1);
        let (cut_off, warnings, found_reason, copies) = match findings {
            Some(found) => (Some(found.cut_off), found.warnings, found.skip_reason, found.copies),
            None => (None, Vec::new(), None, None),
        };
        let decided = shard.skip_reason.as_ref().map(ToString::to_string);
        self.shards.push(ShardSummary {
            shard: shard.name.to_string(),
            index,
            cut_off,
            skip_reason: decided.or(found_reason.map(str::to_owned)),
            error,
            warnings,
            copies,
        });
        Begun::Shard(snapshot.map(|snapshot| {
            self.open_files = self.open_files.saturating_add(snapshot.open_files());
            ShardCutter::new(Arc::new(snapshot), self.block_bytes)
        }))
    }

    /// A shard whose trees turn out to be wrong while it is cut: what was cut before remains.
    fn fail_shard(&mut self, error: DiskError) {
        self.cutter = None;
        if let Some(shard) = self.shards.last_mut() {
            shard.error = Some(Arc::new(error));
        }
    }

    fn next_unit(&mut self) -> Option<Unit> {
        loop {
            if let Some(cutter) = &mut self.cutter {
                let budget = self.block_bytes.saturating_sub(self.ranges_bytes);
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
                match self.begin_shard(&shard) {
                    Begun::Shard(cutter) => self.cutter = cutter,
                    Begun::NoRoom => return self.finish_unit(),
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
        self.open_files = self.cutter.as_ref().map_or(0, |cutter| cutter.snapshot.open_files());
        let parts = UnitParts {
            number: self.number,
            raw_bytes: std::mem::take(&mut self.ranges_bytes),
            schema: self.schema.clone(),
            ranges: std::mem::take(&mut self.ranges),
        };
        self.number = self.number.saturating_add(1);
        Some(Unit(Arc::new(parts)))
    }
}

impl Iterator for Units {
    type Item = Unit;

    fn next(&mut self) -> Option<Unit> {
        self.next_unit()
    }
}

/// What came of taking a shard's snapshot.
enum Begun {
    /// `None` when there is nothing to read, or nothing that can be trusted.
    Shard(Option<ShardCutter>),
    /// There are too few descriptors while others are held.
    NoRoom,
}

/// How far the ranges that were cut have come in one source.
#[derive(Debug)]
struct SourcePart {
    /// Start of the next range: an offset in a segment, an index into a log's entries.
    position: u64,
    end: u64,
    /// Bytes before `position`, and in the whole source.
    position_bytes: u64,
    end_bytes: u64,
    /// Bytes before the last key that the walk has seen.
    seen_bytes: u64,
}

/// Goes ahead through the keys of one source in steps.
#[derive(Debug)]
enum Walk {
    Segment { tree: KeyTree, sparse: SparseWalk },
    Log { next: usize, next_bytes: u64 },
}

/// Cuts one shard into key ranges.
#[derive(Debug)]
struct ShardCutter {
    snapshot: Arc<ShardSnapshot>,
    /// In the order of the snapshot's sources.
    parts: Vec<SourcePart>,
    /// First key of the next range.
    start_key: Option<u128>,
    step_bytes: u64,
    /// Empty until the shard turns out to need more than one range.
    walks: Vec<Walk>,
    /// The next key on each walk, its source, and the bytes before it there.
    heads: BinaryHeap<Reverse<(u128, usize, u64)>>,
    done: bool,
}

/// Steps of a walk in a block, shared out among the sources.
const STEPS: u64 = 8;
/// No step need be finer: the keys of a segment of 100 GB are then 1.6 million reads.
const LEAST_STEP_BYTES: u64 = 64 * 1024;

impl ShardCutter {
    fn new(snapshot: Arc<ShardSnapshot>, block_bytes: u64) -> ShardCutter {
        let parts: Vec<SourcePart> = snapshot
            .sources
            .iter()
            .map(|source| {
                let range = source.whole();
                let bytes = match &source.content {
                    Content::Segment(_) => range.clone(),
                    Content::Log(index) => 0..index.node_bytes(),
                };
                SourcePart {
                    position: range.start,
                    end: range.end,
                    position_bytes: bytes.start,
                    end_bytes: bytes.end,
                    seen_bytes: bytes.start,
                }
            })
            .collect();
        let coarse = block_bytes / STEPS;
        let fine = coarse.checked_div(parts.len() as u64).unwrap_or(coarse);
        ShardCutter {
            snapshot,
            parts,
            start_key: None,
            step_bytes: fine.max(coarse.min(LEAST_STEP_BYTES)).max(1),
            walks: Vec::new(),
            heads: BinaryHeap::new(),
            done: false,
        }
    }

    /// Whether the last range was cut.
    fn is_done(&self) -> bool {
        self.done
    }

    /// The next range of about `budget` bytes, or the rest if that is at most `slack` more; and its
    /// bytes.
    fn cut(&mut self, budget: u64, slack: u64) -> Result<(ShardRange, u64), DiskError> {
        let rest = self.parts.iter().fold(0_u64, |sum, part| {
            sum.saturating_add(part.end_bytes.saturating_sub(part.position_bytes))
        });
        let cut_key = if rest <= budget.saturating_add(slack) { None } else { self.walk(budget)? };
        let Some(cut_key) = cut_key else {
            self.done = true;
            let parts = self.parts.iter().map(|part| part.position..part.end).collect();
            return Ok((self.range(parts, self.start_key..None), rest));
        };
        let mut ranges = Vec::with_capacity(self.parts.len());
        let mut bytes = 0_u64;
        let sources = self.snapshot.sources.iter().zip(&self.walks);
        for (part, (source, walk)) in self.parts.iter_mut().zip(sources) {
            let start = part.position;
            let start_bytes = part.position_bytes;
            match (&source.content, walk) {
                (Content::Segment(_), Walk::Segment { tree, .. }) => {
                    part.position = tree.seek(cut_key)?.max(start);
                    part.position_bytes = part.position;
                }
                (Content::Log(index), _) => {
                    let rest = index.entries.get(start as usize..).unwrap_or_default();
                    let before = rest.iter().take_while(|entry| entry.key < cut_key);
                    let (entries, entry_bytes) = before.fold((0_u64, 0_u64), |sum, entry| {
                        (sum.0.saturating_add(1), sum.1.saturating_add(entry.node_bytes()))
                    });
                    part.position = start.saturating_add(entries);
                    part.position_bytes = start_bytes.saturating_add(entry_bytes);
                }
                (Content::Segment(_), Walk::Log { .. }) => {}
            }
            part.seen_bytes = part.position_bytes;
            bytes = bytes.saturating_add(part.position_bytes.saturating_sub(start_bytes));
            ranges.push(start..part.position);
        }
        let keys = self.start_key..Some(cut_key);
        self.start_key = Some(cut_key);
        Ok((self.range(ranges.into(), keys), bytes))
    }

    fn range(&self, parts: Box<[Range<u64>]>, keys: Range<Option<u128>>) -> ShardRange {
        ShardRange { snapshot: self.snapshot.clone(), keys, parts }
    }

    /// Goes ahead until about `budget` bytes lie behind; the key there, or `None` at the end.
    fn walk(&mut self, budget: u64) -> Result<Option<u128>, DiskError> {
        if self.walks.is_empty() {
            self.start_walks()?;
        }
        let mut passed_bytes = 0_u64;
        while let Some(Reverse((key, source, bytes))) = self.heads.pop() {
            self.step(source)?;
            if let Some(part) = self.parts.get_mut(source) {
                passed_bytes = passed_bytes.saturating_add(bytes.saturating_sub(part.seen_bytes));
                part.seen_bytes = part.seen_bytes.max(bytes);
            }
            if passed_bytes >= budget && self.start_key.is_none_or(|start| key > start) {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    fn start_walks(&mut self) -> Result<(), DiskError> {
        for source in &self.snapshot.sources {
            self.walks.push(match &source.content {
                Content::Segment(layout) => Walk::Segment {
                    tree: KeyTree::new(source.file.clone(), layout),
                    sparse: SparseWalk::new(self.step_bytes),
                },
                Content::Log(_) => Walk::Log { next: 0, next_bytes: 0 },
            });
        }
        for source in 0..self.walks.len() {
            self.step(source)?;
        }
        Ok(())
    }

    /// Puts the next key of a walk among the heads.
    fn step(&mut self, source: usize) -> Result<(), DiskError> {
        let content = self.snapshot.sources.get(source).map(|source| &source.content);
        let next = match (self.walks.get_mut(source), content) {
            (Some(Walk::Segment { tree, sparse }), _) => sparse.next(tree)?,
            (Some(Walk::Log { next, next_bytes }), Some(Content::Log(index))) => {
                let from = *next_bytes;
                let mut found = None;
                while let Some(entry) = index.entries.get(*next) {
                    if next_bytes.saturating_sub(from) >= self.step_bytes {
                        found = Some((entry.key, *next_bytes));
                        break;
                    }
                    *next_bytes = next_bytes.saturating_add(entry.node_bytes());
                    *next = next.saturating_add(1);
                }
                found
            }
            _ => None,
        };
        if let Some((key, bytes)) = next {
            self.heads.push(Reverse((key, source, bytes)));
        }
        Ok(())
    }
}
