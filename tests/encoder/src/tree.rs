//! The search tree that stands behind a segment's data (`lsm-segment.md 3.2`).

use std::collections::VecDeque;
use std::io::Write;
use std::ops::Range;

use crate::error::{EncodeError, length_as};

/// In which order the nodes of a tree are stored; its shape is the same in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeOrder {
    /// Level by level from the root, as servers wrote until July 2026.
    Level,
    /// Van Emde Boas: the upper half of the levels first, then each subtree below, recursively.
    VanEmdeBoas,
}

/// A key and where its data node lies, as absolute offsets in the file.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub key: Vec<u8>,
    pub start: u64,
    pub end: u64,
}

/// Bytes of a tree node without its key.
const FIXED_NODE_BYTES: u64 = 36;

/// Writes the balanced tree over `entries`, which must be sorted by key.
pub(crate) fn write_tree(
    out: &mut impl Write,
    entries: &[Entry],
    order: TreeOrder,
) -> Result<u64, EncodeError> {
    let positions = match order {
        TreeOrder::Level => level_order(entries.len()),
        TreeOrder::VanEmdeBoas => van_emde_boas_order(entries.len()),
    };
    let mut offsets = vec![None; entries.len()];
    let mut tree_bytes = 0_u64;
    for subtree in &positions {
        if let (Some(offset), Some(entry)) =
            (offsets.get_mut(middle(subtree)), entries.get(middle(subtree)))
        {
            *offset = Some(tree_bytes);
            tree_bytes += FIXED_NODE_BYTES + length_as::<u64>("key", entry.key.len(), u64::MAX)?;
        }
    }
    let child = |subtree: Range<usize>| -> i64 {
        if subtree.is_empty() {
            return -1;
        }
        let offset = offsets.get(middle(&subtree)).copied().flatten();
        offset.and_then(|offset| i64::try_from(offset).ok()).unwrap_or(-1)
    };
    for subtree in &positions {
        let Some(entry) = entries.get(middle(subtree)) else { continue };
        let key_bytes: u32 = length_as("key", entry.key.len(), u32::MAX.into())?;
        out.write_all(&key_bytes.to_le_bytes())?;
        out.write_all(&entry.key)?;
        out.write_all(&entry.start.to_le_bytes())?;
        out.write_all(&entry.end.to_le_bytes())?;
        out.write_all(&child(left(subtree)).to_le_bytes())?;
        out.write_all(&child(right(subtree)).to_le_bytes())?;
    }
    Ok(tree_bytes)
}

/// The root of the subtree over the sorted entries `subtree`, which is not empty.
fn middle(subtree: &Range<usize>) -> usize {
    subtree.start + (subtree.len().saturating_sub(1)) / 2
}

fn left(subtree: &Range<usize>) -> Range<usize> {
    subtree.start..middle(subtree)
}

fn right(subtree: &Range<usize>) -> Range<usize> {
    middle(subtree) + 1..subtree.end
}

/// Every subtree of the tree over `count` entries, level by level.
fn level_order(count: usize) -> Vec<Range<usize>> {
    let mut order = Vec::with_capacity(count);
    let mut waiting = VecDeque::new();
    waiting.push_back(0..count);
    while let Some(subtree) = waiting.pop_front() {
        if !subtree.is_empty() {
            waiting.extend([left(&subtree), right(&subtree)]);
            order.push(subtree);
        }
    }
    order
}

/// Every subtree of the tree over `count` entries, in van Emde Boas order.
fn van_emde_boas_order(count: usize) -> Vec<Range<usize>> {
    let levels = usize::BITS - count.leading_zeros();
    let mut order = Vec::with_capacity(count);
    place_levels(0..count, levels, &mut order, &mut Vec::new());
    order
}

/// Places the upper `levels` of `subtree`; what hangs below them goes to `below`, left to right.
fn place_levels(
    subtree: Range<usize>,
    levels: u32,
    order: &mut Vec<Range<usize>>,
    below: &mut Vec<Range<usize>>,
) {
    if subtree.is_empty() || levels == 0 {
        return;
    }
    if levels == 1 {
        below.extend([left(&subtree), right(&subtree)]);
        order.push(subtree);
        return;
    }
    let upper = levels.div_ceil(2);
    let mut lower = Vec::new();
    place_levels(subtree, upper, order, &mut lower);
    for subtree in lower {
        place_levels(subtree, levels - upper, order, below);
    }
}
