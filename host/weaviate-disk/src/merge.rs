//! Merges the files of a shard within a key range: the newest one that knows a key decides.
//!
//! The rule is that of `lsm-segment.md` 4.
use std::{cmp::Reverse, collections::BinaryHeap, ops::Range, sync::Arc};

use crate::{
    bucket::BucketFile,
    copies::{DifferenceCounts, Ruling, Verdict},
    error::{DiskError, Place},
    object::{self, MAX_VALUE_BYTES},
    segment::{SegmentRun, TOMBSTONE_TIME_BYTES},
    snapshot::{Content, ShardSnapshot},
    wal::LogEntry,
};

/// A key range of one shard.
#[derive(Debug, Clone)]
pub(crate) struct ShardRange {
    pub snapshot: Arc<ShardSnapshot>,
    /// The keys, without the end; `None` is open.
    pub keys: Range<Option<u128>>,
    /// The part of each source, in the order of the snapshot's: offsets of nodes in a segment,
    /// indexes of entries in a log.
    pub parts: Box<[Range<u64>]>,
}

/// Read-ahead in a segment, shared out when there are many.
const READ_AHEAD_BYTES: usize = 256 * 1024;
/// Read-ahead of all segments of a shard together.
const ALL_READ_AHEAD_BYTES: usize = 8 * 1024 * 1024;
/// The least that is worth a system call.
const LEAST_READ_AHEAD_BYTES: usize = 16 * 1024;

/// The part of a log that belongs to a range.
#[derive(Debug)]
struct LogRun {
    snapshot: Arc<ShardSnapshot>,
    source: usize,
    file: Arc<BucketFile>,
    /// Behind the current entry.
    next: usize,
    end: usize,
}

impl LogRun {
    fn entry(&self) -> Option<LogEntry> {
        let source = self.snapshot.sources.get(self.source)?;
        match &source.content {
            Content::Log(index) => index.entries.get(self.next.checked_sub(1)?).copied(),
            Content::Segment(_) => None,
        }
    }

    fn advance(&mut self) -> bool {
        let more = self.next < self.end;
        if more {
            self.next = self.next.saturating_add(1);
        }
        more
    }
}

#[derive(Debug)]
enum Run {
    Segment(SegmentRun),
    Log(LogRun),
}

impl Run {
    fn key(&self) -> Option<u128> {
        match self {
            Run::Segment(run) => run.key(),
            Run::Log(run) => run.entry().map(|entry| entry.key),
        }
    }

    fn is_tombstone(&self) -> bool {
        match self {
            Run::Segment(run) => run.is_tombstone(),
            Run::Log(run) => run.entry().is_some_and(|entry| entry.value_bytes().is_none()),
        }
    }

    fn advance(&mut self) -> Result<bool, DiskError> {
        match self {
            Run::Segment(run) => run.advance(),
            Run::Log(run) => Ok(run.advance()),
        }
    }

    fn file(&self) -> &BucketFile {
        match self {
            Run::Segment(run) => run.file(),
            Run::Log(run) => &run.file,
        }
    }

    /// Offset in the file of the current value, and its length.
    fn value_place(&self) -> (u64, u64) {
        match self {
            Run::Segment(run) => run.value_place(),
            Run::Log(run) => run.entry().map_or((0, 0), |entry| {
                let bytes = entry.value_bytes().unwrap_or_else(|| entry.tombstone_bytes());
                (entry.value_offset, bytes)
            }),
        }
    }

    /// `N` bytes at `start` in the current value; `None` when it is shorter.
    fn peek_value<const N: usize>(&self, start: u64) -> Result<Option<[u8; N]>, DiskError> {
        let (offset, value_bytes) = self.value_place();
        if start.saturating_add(N as u64) > value_bytes {
            return Ok(None);
        }
        let mut peeked = [0; N];
        self.file().read_exact_at(&mut peeked, offset.saturating_add(start))?;
        Ok(Some(peeked))
    }

    /// What it says of its current key. An object too short to tell its time is no version to
    /// prefer to another copy's.
    fn verdict(&self) -> Result<Verdict, DiskError> {
        if !self.is_tombstone() {
            let updated = match self.held_value() {
                Some(value) => object::update_time(value),
                None => {
                    let head: Option<[u8; object::TIMES_END]> = self.peek_value(0)?;
                    head.and_then(|head| object::update_time(&head))
                }
            };
            return Ok(Verdict::Live(updated.unwrap_or(i64::MIN)));
        }
        let (_, value_bytes) = self.value_place();
        let value: Option<[u8; 9]> =
            if value_bytes == TOMBSTONE_TIME_BYTES { self.peek_value(0)? } else { None };
        Ok(Verdict::Deleted(match value {
            Some([1, time @ ..]) => Some(i64::from_le_bytes(time)),
            _ => None,
        }))
    }

    /// The current value, when it was read together with its key.
    fn held_value(&self) -> Option<&[u8]> {
        match self {
            Run::Segment(run) => run.value(),
            Run::Log(_) => None,
        }
    }
}

/// A live object as it is stored.
#[derive(Debug)]
pub(crate) struct StoredRow<'a> {
    pub key: u128,
    pub place: &'a Place,
    /// Where in the file the value starts.
    pub offset: u64,
    pub value_bytes: u64,
    /// `None` when it is larger than [`MAX_VALUE_BYTES`].
    pub value: Option<&'a [u8]>,
}

/// The live objects of a range in key order.
#[derive(Debug)]
pub(crate) struct Merge {
    runs: Vec<Run>,
    /// The current key of every run but the winner; of equal keys the newest run comes first.
    heads: BinaryHeap<(Reverse<u128>, usize)>,
    winner: Option<usize>,
    copies: Option<MergedCopies>,
    /// The winner's value, when its run does not hold it.
    loaded: Vec<u8>,
}

/// What a merge of several copies of a shard needs besides.
#[derive(Debug)]
struct MergedCopies {
    snapshot: Arc<ShardSnapshot>,
    start_key: Option<u128>,
    /// Of every run, the copy that it belongs to.
    of_runs: Vec<usize>,
    counts: DifferenceCounts,
    /// Of the current key: the newest run of each copy, and what it says.
    runs: Vec<usize>,
    verdicts: Vec<Verdict>,
}

/// Memory that the next values may use again; more is given back.
const KEPT_VALUE_BYTES: usize = 1024 * 1024;

impl Merge {
    /// Starts in the files that hold something in the range.
    pub fn open(range: &ShardRange) -> Result<Merge, DiskError> {
        let snapshot = &range.snapshot;
        let used = range.parts.iter().filter(|part| !part.is_empty()).count();
        let read_ahead = ALL_READ_AHEAD_BYTES
            .checked_div(used)
            .unwrap_or(0)
            .clamp(LEAST_READ_AHEAD_BYTES, READ_AHEAD_BYTES);
        let mut runs = Vec::with_capacity(used);
        let mut of_runs = Vec::new();
        for (index, (source, part)) in snapshot.sources.iter().zip(&range.parts).enumerate() {
            if part.is_empty() {
                continue;
            }
            if snapshot.copies.is_some() {
                of_runs.push(source.copy);
            }
            let file = source.file.clone();
            runs.push(match &source.content {
                Content::Segment(layout) => Run::Segment(SegmentRun::new(
                    file,
                    layout.secondary_indices,
                    part.clone(),
                    range.keys.clone(),
                    read_ahead,
                )),
                Content::Log(_) => Run::Log(LogRun {
                    snapshot: snapshot.clone(),
                    source: index,
                    file,
                    // Indexes of a vector.
                    next: part.start as usize,
                    end: part.end as usize,
                }),
            });
        }
        let heads = BinaryHeap::with_capacity(used);
        let copies = snapshot.copies.as_ref().map(|_| MergedCopies {
            snapshot: snapshot.clone(),
            start_key: range.keys.start,
            of_runs,
            counts: DifferenceCounts::default(),
            runs: Vec::new(),
            verdicts: Vec::new(),
        });
        let mut merge = Merge { runs, heads, winner: None, copies, loaded: Vec::new() };
        for run in 0..used {
            merge.step(run)?;
        }
        Ok(merge)
    }

    /// Moves a run to its next key, and back among the heads if there is one.
    fn step(&mut self, index: usize) -> Result<(), DiskError> {
        if let Some(run) = self.runs.get_mut(index)
            && run.advance()?
            && let Some(key) = run.key()
        {
            self.heads.push((Reverse(key), index));
        }
        Ok(())
    }

    /// Moves to the next live object; whether there is one.
    pub fn advance(&mut self) -> Result<bool, DiskError> {
        if let Some(winner) = self.winner.take() {
            self.step(winner)?;
        }
        while let Some((key, newest)) = self.heads.pop() {
            let winner = match self.copies.take() {
                None => self.newest(key, newest)?,
                Some(mut copies) => {
                    let winner = self.newest_of_copies(key, newest, &mut copies);
                    self.copies = Some(copies);
                    winner?
                }
            };
            if let Some(winner) = winner {
                self.load(winner)?;
                self.winner = Some(winner);
                return Ok(true);
            }
        }
        if let Some(copies) = &self.copies
            && let Some(of_shard) = &copies.snapshot.copies
        {
            of_shard.differences.record(copies.start_key, copies.counts);
        }
        Ok(false)
    }

    /// The run whose object is the live one under `key`: `newest`, unless that deletes it.
    fn newest(&mut self, key: Reverse<u128>, newest: usize) -> Result<Option<usize>, DiskError> {
        while let Some(shadowed) = self.pop_same(key) {
            self.step(shadowed)?;
        }
        if self.runs.get(newest).is_some_and(Run::is_tombstone) {
            self.step(newest)?;
            return Ok(None);
        }
        Ok(Some(newest))
    }

    /// The run whose object is the live one under `key`, of several copies: in each the newest run
    /// counts, and between them the newest version.
    fn newest_of_copies(
        &mut self,
        key: Reverse<u128>,
        newest: usize,
        copies: &mut MergedCopies,
    ) -> Result<Option<usize>, DiskError> {
        copies.runs.clear();
        copies.runs.push(newest);
        // Runs come from the last one of the last copy to the first one of the first.
        let mut last = copies.of_runs.get(newest).copied();
        while let Some(run) = self.pop_same(key) {
            let copy = copies.of_runs.get(run).copied();
            if copy == last {
                self.step(run)?;
            } else {
                last = copy;
                copies.runs.push(run);
            }
        }
        copies.runs.reverse();
        copies.verdicts.clear();
        for run in &copies.runs {
            let verdict = self.runs.get(*run).map(Run::verdict).transpose()?;
            copies.verdicts.extend(verdict);
        }
        let count = copies.snapshot.copies.as_ref().map_or(1, |copies| copies.count);
        let ruling = Ruling::of(&copies.verdicts, count);
        copies.counts.add(ruling);
        let winner = ruling.winner.and_then(|winner| copies.runs.get(winner).copied());
        for run in copies.runs.iter().filter(|run| Some(**run) != winner) {
            self.step(*run)?;
        }
        Ok(winner)
    }

    /// The next run that stands on `key` too, newest first.
    fn pop_same(&mut self, key: Reverse<u128>) -> Option<usize> {
        self.heads.peek().filter(|head| head.0 == key)?;
        self.heads.pop().map(|(_, run)| run)
    }

    /// Reads the current value of a run that does not hold it.
    fn load(&mut self, winner: usize) -> Result<(), DiskError> {
        let Some(run) = self.runs.get(winner) else { return Ok(()) };
        let (offset, bytes) = run.value_place();
        if run.held_value().is_some() || bytes > MAX_VALUE_BYTES {
            return Ok(());
        }
        if self.loaded.capacity() > KEPT_VALUE_BYTES {
            self.loaded = Vec::new();
        }
        // Lies within the file, as was checked when its key was found, and within the limit.
        self.loaded.resize(bytes as usize, 0);
        run.file().read_exact_at(&mut self.loaded, offset)
    }

    /// The current object.
    pub fn row(&self) -> Option<StoredRow<'_>> {
        let run = self.runs.get(self.winner?)?;
        let (offset, value_bytes) = run.value_place();
        let loaded = || (value_bytes <= MAX_VALUE_BYTES).then_some(self.loaded.as_slice());
        Some(StoredRow {
            key: run.key()?,
            place: &run.file().place,
            offset,
            value_bytes,
            value: run.held_value().or_else(loaded),
        })
    }
}
