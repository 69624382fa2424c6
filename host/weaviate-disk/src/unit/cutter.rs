//! Cuts a shard into key ranges of about equal size.
//!
//! The cuts depend only on the data and the size of a block, so that an export is the same with any
//! number of workers. No row is read: node sizes come from the key trees and the indexes of the logs.
use std::{cmp::Reverse, collections::BinaryHeap, ops::Range, sync::Arc};

use offloom_weaviate_lsm::{
    LsmError,
    key_index::{KeyTree, SparseWalk},
    merge::ShardRange,
    snapshot::{Content, ShardSnapshot},
};

/// The position in one source after the ranges that were cut.
#[derive(Debug)]
struct SourcePart {
    /// Start of the next range: an offset in a segment, an index into a log's entries.
    position: u64,
    end: u64,
    /// Bytes before `position`, and in the whole source.
    position_bytes: u64,
    end_bytes: u64,
    /// Bytes before the last key that the walk has reached.
    seen_bytes: u64,
}

/// Walks ahead through the keys of one source in steps.
#[derive(Debug)]
enum Walk {
    Segment { tree: KeyTree, sparse: SparseWalk },
    Log { next: usize, next_bytes: u64 },
}

/// Cuts one shard into key ranges.
#[derive(Debug)]
pub(super) struct ShardCutter {
    snapshot: Arc<ShardSnapshot>,
    /// In the order of the snapshot's sources.
    parts: Vec<SourcePart>,
    /// First key of the next range; `None` is no bound.
    start_key: Option<u128>,
    step_bytes: u64,
    /// Empty until the shard needs a second range.
    walks: Vec<Walk>,
    /// The next key on each walk, the index of its source, and the bytes before it there.
    heads: BinaryHeap<Reverse<(u128, usize, u64)>>,
    done: bool,
}

/// Steps of all walks together in a block.
const STEPS: u64 = 8;
/// The least size of a step: a walk over a segment of 100 GB then reads 1.6 million keys.
const LEAST_STEP_BYTES: u64 = 64 * 1024;

impl ShardCutter {
    pub fn new(snapshot: Arc<ShardSnapshot>, block_bytes: u64) -> ShardCutter {
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

    /// Number of files that the shard holds open.
    pub fn open_files(&self) -> usize {
        self.snapshot.open_files()
    }

    /// Whether the last range was cut.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Bytes that were not cut yet.
    pub fn rest_bytes(&self) -> u64 {
        self.parts.iter().fold(0_u64, |sum, part| {
            sum.saturating_add(part.end_bytes.saturating_sub(part.position_bytes))
        })
    }

    /// Cuts the next range of about `budget` bytes, or the rest if that is at most `slack` more, and
    /// returns it with its size in bytes.
    pub fn cut(&mut self, budget: u64, slack: u64) -> Result<(ShardRange, u64), LsmError> {
        let rest = self.rest_bytes();
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

    /// Walks ahead by about `budget` bytes, and returns the key there, or `None` at the end.
    fn walk(&mut self, budget: u64) -> Result<Option<u128>, LsmError> {
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

    fn start_walks(&mut self) -> Result<(), LsmError> {
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

    /// Adds the next key of a walk to the heads.
    fn step(&mut self, source: usize) -> Result<(), LsmError> {
        let content = self.snapshot.sources.get(source).map(|source| &source.content);
        let next = match (self.walks.get_mut(source), content) {
            (Some(Walk::Segment { tree, sparse }), _) => sparse.next(tree)?,
            (Some(Walk::Log { next, next_bytes }), Some(Content::Log(index))) => {
                let from = *next_bytes;
                let mut reached = None;
                while let Some(entry) = index.entries.get(*next) {
                    if next_bytes.saturating_sub(from) >= self.step_bytes {
                        reached = Some((entry.key, *next_bytes));
                        break;
                    }
                    *next_bytes = next_bytes.saturating_add(entry.node_bytes());
                    *next = next.saturating_add(1);
                }
                reached
            }
            _ => None,
        };
        if let Some((key, bytes)) = next {
            self.heads.push(Reverse((key, source, bytes)));
        }
        Ok(())
    }
}
