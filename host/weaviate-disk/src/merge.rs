//! Merges the files of a shard within a key range: the newest one that knows a key decides.
//!
//! The rule is that of `lsm-segment.md` 4.
use std::{cmp::Reverse, collections::BinaryHeap, ops::Range, sync::Arc};

use crate::{
    bucket::BucketFile,
    error::{DiskError, Place},
    object::MAX_VALUE_BYTES,
    segment::SegmentRun,
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
                (entry.value_offset, entry.value_bytes().unwrap_or_default())
            }),
        }
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
    /// The winner's value, when its run does not hold it.
    loaded: Vec<u8>,
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
        for (index, (source, part)) in snapshot.sources.iter().zip(&range.parts).enumerate() {
            if part.is_empty() {
                continue;
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
        let mut merge = Merge { runs, heads, winner: None, loaded: Vec::new() };
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
        while let Some((key, winner)) = self.heads.pop() {
            while let Some((_, shadowed)) = self.heads.peek().filter(|head| head.0 == key) {
                let shadowed = *shadowed;
                self.heads.pop();
                self.step(shadowed)?;
            }
            if self.runs.get(winner).is_some_and(Run::is_tombstone) {
                self.step(winner)?;
                continue;
            }
            self.load(winner)?;
            self.winner = Some(winner);
            return Ok(true);
        }
        Ok(false)
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
