//! Merges the files of a shard within a key range: of each key, the newest node counts.
//!
//! The rule is described in `lsm-segment.md` 4, that for several copies in `data-directory.md` 8.
use std::{cmp::Reverse, collections::BinaryHeap, ops::Range, sync::Arc};

use offloom_rows::ObjectLimit;
use uuid::Uuid;

use crate::{
    bucket::BucketFile,
    error::{LsmError, SegmentFault},
    key_index::KeyTree,
    object,
    ruling::{DifferenceCounts, Ruling, Verdict},
    segment::{self, SegmentReader, TOMBSTONE_TIME_BYTES},
    snapshot::{Content, ShardSnapshot},
    wal::LogEntry,
};

/// A key range of one shard.
#[derive(Debug, Clone)]
pub struct ShardRange {
    /// The shard's files.
    pub snapshot: Arc<ShardSnapshot>,
    /// The keys, without the end; `None` is no bound.
    pub keys: Range<Option<u128>>,
    /// The part of each of the snapshot's sources, in their order: offsets of nodes in a segment,
    /// indexes of entries in a log.
    pub parts: Box<[Range<u64>]>,
}

/// Read-ahead in a segment, unless there are many.
const READ_AHEAD_BYTES: usize = 256 * 1024;
/// Read-ahead of all segments of a shard together.
const ALL_READ_AHEAD_BYTES: usize = 8 * 1024 * 1024;
/// The least read-ahead that is worth a system call.
const LEAST_READ_AHEAD_BYTES: usize = 16 * 1024;

/// Reads the entries of a part of a log in key order.
#[derive(Debug)]
struct LogReader {
    snapshot: Arc<ShardSnapshot>,
    source: usize,
    file: Arc<BucketFile>,
    /// Index of the entry after the current one.
    next: usize,
    end: usize,
}

impl LogReader {
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

/// One input of a merge: a part of a file, read in key order.
#[derive(Debug)]
enum Input {
    /// With the key tree, if only that can prove the key of a node that is not decoded.
    Segment(SegmentReader, Option<Box<KeyTree>>),
    Log(LogReader),
}

impl Input {
    fn key(&self) -> Option<u128> {
        match self {
            Input::Segment(reader, _) => reader.key(),
            Input::Log(reader) => reader.entry().map(|entry| entry.key),
        }
    }

    fn is_tombstone(&self) -> bool {
        match self {
            Input::Segment(reader, _) => reader.is_tombstone(),
            Input::Log(reader) => reader.entry().is_some_and(|entry| entry.value_bytes().is_none()),
        }
    }

    fn advance(&mut self) -> Result<bool, LsmError> {
        match self {
            Input::Segment(reader, tree) => {
                let more = reader.advance()?;
                if let Some(tree) = tree
                    && reader.is_tombstone()
                {
                    confirm_key(reader, tree)?;
                }
                Ok(more)
            }
            Input::Log(reader) => Ok(reader.advance()),
        }
    }

    /// Proves the key of a live node that a newer one replaces: with another key it would replace or
    /// lose another object.
    fn confirm_replaced(&self) -> Result<(), LsmError> {
        match self {
            Input::Segment(reader, Some(tree)) if !reader.is_tombstone() => {
                confirm_key(reader, tree)
            }
            _ => Ok(()),
        }
    }

    fn file(&self) -> &Arc<BucketFile> {
        match self {
            Input::Segment(reader, _) => reader.file(),
            Input::Log(reader) => &reader.file,
        }
    }

    /// Offset in the file of the current value, and its length.
    fn value_location(&self) -> (u64, u64) {
        match self {
            Input::Segment(reader, _) => reader.value_location(),
            Input::Log(reader) => reader.entry().map_or((0, 0), |entry| {
                let bytes = entry.value_bytes().unwrap_or_else(|| entry.tombstone_bytes());
                (entry.value_offset, bytes)
            }),
        }
    }

    /// The `N` bytes at `start` in the current value; `None` if it is shorter.
    fn peek_value<const N: usize>(&self, start: u64) -> Result<Option<[u8; N]>, LsmError> {
        let (offset, value_bytes) = self.value_location();
        if start.saturating_add(N as u64) > value_bytes {
            return Ok(None);
        }
        let mut peeked = [0; N];
        self.file().read_exact_at(&mut peeked, offset.saturating_add(start))?;
        Ok(Some(peeked))
    }

    /// The state of its current key. An object too short to have an update time counts as older
    /// than any other copy's.
    fn verdict(&self) -> Result<Verdict, LsmError> {
        if !self.is_tombstone() {
            let updated = match self.buffered_value() {
                Some(value) => object::update_time(value),
                None => {
                    let head: Option<[u8; object::HEADER_BYTES]> = self.peek_value(0)?;
                    head.and_then(|head| object::update_time(&head))
                }
            };
            return Ok(Verdict::Live(updated.unwrap_or(i64::MIN)));
        }
        let (_, value_bytes) = self.value_location();
        let value: Option<[u8; 9]> =
            if value_bytes == TOMBSTONE_TIME_BYTES { self.peek_value(0)? } else { None };
        Ok(Verdict::Deleted(match value {
            Some([1, time @ ..]) => Some(i64::from_le_bytes(time)),
            _ => None,
        }))
    }

    /// The current value, if it was read together with its key.
    fn buffered_value(&self) -> Option<&[u8]> {
        match self {
            Input::Segment(reader, _) => reader.value(),
            Input::Log(_) => None,
        }
    }
}

/// Compares the key of a node with the key tree, if the node is not decoded: a live object holds its id
/// a second time.
fn confirm_key(reader: &SegmentReader, tree: &KeyTree) -> Result<(), LsmError> {
    let Some(key) = reader.key() else { return Ok(()) };
    let start = reader.node_start();
    if tree.find(key)? == Some(start) {
        return Ok(());
    }
    let lacks = SegmentFault::TreeLacks { key: Uuid::from_u128(key) };
    Err(segment::fault(reader.file(), start, lacks))
}

/// A live object as it is stored.
#[derive(Debug)]
pub struct StoredRow<'a> {
    /// The object's id as a number.
    pub key: u128,
    /// The file that holds it.
    pub file: &'a Arc<BucketFile>,
    /// Offset of the value in the file.
    pub offset: u64,
    /// Length of the value.
    pub value_bytes: u64,
    /// The value; `None` if it is too large to become a row.
    pub value: Option<&'a [u8]>,
}

/// The live objects of a range in key order.
#[derive(Debug)]
pub struct Merge {
    /// Oldest first within each copy.
    inputs: Vec<Input>,
    /// The current key of every input but the winner; of equal keys the newest input comes first.
    heads: BinaryHeap<(Reverse<u128>, usize)>,
    /// The input whose object is the current one.
    winner: Option<usize>,
    copies: Option<CopiesMerge>,
    /// The winner's value, if its input did not buffer it.
    loaded: Vec<u8>,
    /// Values with more bytes are not read.
    max_value_bytes: u64,
}

/// The additional state of a merge of several copies of a shard.
#[derive(Debug)]
struct CopiesMerge {
    /// Number of copies, those without data included.
    copies: usize,
    /// The index of each input's copy.
    copy_of_input: Vec<usize>,
    counts: DifferenceCounts,
    /// The newest input of each copy that has the current key.
    candidates: Vec<usize>,
    /// The states of the current key in `candidates`.
    verdicts: Vec<Verdict>,
}

/// The most memory that is kept for the next values.
const KEPT_VALUE_BYTES: usize = 1024 * 1024;

impl Merge {
    /// Opens the files that have data in the range, and reads the first node of each. The values of
    /// objects beyond `limit` are not read.
    ///
    /// # Errors
    /// When a file cannot be read, or a node violates the format.
    // Over 60 lines: one constructor for both kinds of file and for copies.
    pub fn open(range: &ShardRange, limit: ObjectLimit) -> Result<Merge, LsmError> {
        let snapshot = &range.snapshot;
        let used = range.parts.iter().filter(|part| !part.is_empty()).count();
        let read_ahead = ALL_READ_AHEAD_BYTES
            .checked_div(used)
            .unwrap_or(0)
            .clamp(LEAST_READ_AHEAD_BYTES, READ_AHEAD_BYTES);
        let mut inputs = Vec::with_capacity(used);
        let mut copy_of_input = Vec::new();
        for (index, (source, part)) in snapshot.sources.iter().zip(&range.parts).enumerate() {
            if part.is_empty() {
                continue;
            }
            if snapshot.copies.is_some() {
                copy_of_input.push(source.copy);
            }
            let file = source.file.clone();
            inputs.push(match &source.content {
                Content::Segment(layout) => Input::Segment(
                    SegmentReader::new(
                        file.clone(),
                        layout,
                        part.clone(),
                        range.keys.clone(),
                        read_ahead,
                    ),
                    (layout.version == 0).then(|| Box::new(KeyTree::new(file, layout))),
                ),
                Content::Log(_) => Input::Log(LogReader {
                    snapshot: snapshot.clone(),
                    source: index,
                    file,
                    // Indexes of a vector, so the casts are exact.
                    next: part.start as usize,
                    end: part.end as usize,
                }),
            });
        }
        let heads = BinaryHeap::with_capacity(used);
        let copies = snapshot.copies.map(|copies| CopiesMerge {
            copies,
            copy_of_input,
            counts: DifferenceCounts::default(),
            candidates: Vec::new(),
            verdicts: Vec::new(),
        });
        let max_value_bytes = limit.value_bytes();
        let loaded = Vec::new();
        let mut merge = Merge { inputs, heads, winner: None, copies, loaded, max_value_bytes };
        for input in 0..used {
            merge.step(input)?;
        }
        Ok(merge)
    }

    /// Moves an input to its next key, and adds that to the heads.
    fn step(&mut self, index: usize) -> Result<(), LsmError> {
        if let Some(input) = self.inputs.get_mut(index)
            && input.advance()?
            && let Some(key) = input.key()
        {
            self.heads.push((Reverse(key), index));
        }
        Ok(())
    }

    /// Moves an input past a node that is not used.
    fn pass(&mut self, index: usize) -> Result<(), LsmError> {
        self.inputs.get(index).map_or(Ok(()), Input::confirm_replaced)?;
        self.step(index)
    }

    /// Moves to the next live object, and returns whether there is one.
    ///
    /// # Errors
    /// As [`Merge::open`].
    pub fn advance(&mut self) -> Result<bool, LsmError> {
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
        Ok(false)
    }

    /// The input whose object is live under `key`: `newest`, unless that has a tombstone.
    fn newest(&mut self, key: Reverse<u128>, newest: usize) -> Result<Option<usize>, LsmError> {
        while let Some(shadowed) = self.pop_same(key) {
            self.pass(shadowed)?;
        }
        if self.inputs.get(newest).is_some_and(Input::is_tombstone) {
            self.step(newest)?;
            return Ok(None);
        }
        Ok(Some(newest))
    }

    /// The input whose object is live under `key` where there are several copies: the newest input
    /// counts within a copy, and the newest version between copies.
    fn newest_of_copies(
        &mut self,
        key: Reverse<u128>,
        newest: usize,
        copies: &mut CopiesMerge,
    ) -> Result<Option<usize>, LsmError> {
        copies.candidates.clear();
        copies.candidates.push(newest);
        // Inputs come from the last one of the last copy to the first one of the first.
        let mut last = copies.copy_of_input.get(newest).copied();
        while let Some(input) = self.pop_same(key) {
            let copy = copies.copy_of_input.get(input).copied();
            if copy == last {
                self.pass(input)?;
            } else {
                last = copy;
                copies.candidates.push(input);
            }
        }
        copies.candidates.reverse();
        copies.verdicts.clear();
        for input in &copies.candidates {
            let verdict = self.inputs.get(*input).map(Input::verdict).transpose()?;
            copies.verdicts.extend(verdict);
        }
        let ruling = Ruling::of(&copies.verdicts, copies.copies);
        copies.counts.count(ruling);
        let winner = ruling.winner.and_then(|winner| copies.candidates.get(winner).copied());
        for input in copies.candidates.iter().filter(|input| Some(**input) != winner) {
            self.pass(*input)?;
        }
        Ok(winner)
    }

    /// The newest of the remaining inputs whose current key is `key`.
    fn pop_same(&mut self, key: Reverse<u128>) -> Option<usize> {
        self.heads.peek().filter(|head| head.0 == key)?;
        self.heads.pop().map(|(_, input)| input)
    }

    /// Reads the winner's value, unless its input has buffered it.
    fn load(&mut self, winner: usize) -> Result<(), LsmError> {
        let Some(input) = self.inputs.get(winner) else { return Ok(()) };
        let (offset, bytes) = input.value_location();
        if input.buffered_value().is_some() || bytes > self.max_value_bytes {
            return Ok(());
        }
        if self.loaded.capacity() > KEPT_VALUE_BYTES {
            self.loaded = Vec::new();
        }
        // The value was checked to lie within the file, and is within the limit.
        self.loaded.resize(bytes as usize, 0);
        input.file().read_exact_at(&mut self.loaded, offset)
    }

    /// How often the copies of the shard disagreed about the objects so far.
    pub fn differences(&self) -> DifferenceCounts {
        self.copies.as_ref().map(|copies| copies.counts).unwrap_or_default()
    }

    /// The current object.
    pub fn row(&self) -> Option<StoredRow<'_>> {
        let input = self.inputs.get(self.winner?)?;
        let (offset, value_bytes) = input.value_location();
        let loaded = || (value_bytes <= self.max_value_bytes).then_some(self.loaded.as_slice());
        Some(StoredRow {
            key: input.key()?,
            file: input.file(),
            offset,
            value_bytes,
            value: input.buffered_value().or_else(loaded),
        })
    }
}
