//! The primary key tree of a segment: checking it, seeking in it, and walking it sparsely.
//!
//! Of a tree only the blocks that were read last are held in memory (`lsm-segment.md` 3.2).
use std::{cell::RefCell, ops::Range, sync::Arc};

use crate::{
    bucket::BucketFile,
    error::{LsmError, SegmentFault},
    forward_reader::ForwardReader,
    segment::{HEADER_BYTES, KEY_BYTES, NODE_BYTES, SegmentLayout, fault},
};

/// Length of the fields that follow the key.
const NODE_TAIL_BYTES: usize = 32;

/// One node of a primary tree.
#[derive(Debug, Clone, Copy)]
struct TreeNode {
    key: u128,
    start: u64,
    end: u64,
    left: Option<u64>,
    right: Option<u64>,
}

/// Start, end and children from the fields after a key; a negative child is none.
fn tree_fields(tail: [u8; NODE_TAIL_BYTES]) -> (u64, u64, i64, i64) {
    let [s0, s1, s2, s3, s4, s5, s6, s7, rest @ ..] = tail;
    let [e0, e1, e2, e3, e4, e5, e6, e7, children @ ..] = rest;
    let [l0, l1, l2, l3, l4, l5, l6, l7, right @ ..] = children;
    (
        u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
        u64::from_le_bytes([e0, e1, e2, e3, e4, e5, e6, e7]),
        i64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]),
        i64::from_le_bytes(right),
    )
}

/// Checks all trees of a segment in one pass: sizes and pointers of the nodes, and whether the
/// primary tree covers the data. This finds a file that was cut.
pub(crate) fn check_trees(file: &BucketFile, layout: &SegmentLayout) -> Result<(), LsmError> {
    check_primary(file, layout)?;
    let mut starts = layout.secondary_tree_offsets(file)?;
    starts.push(layout.index_end);
    for (start, end) in starts.iter().zip(starts.iter().skip(1)) {
        let mut reader = ForwardReader::new(file, *start..*end);
        while reader.remaining() > 0 {
            let position = reader.position();
            let cut = || fault(file, position, SegmentFault::TreeCut);
            let key_bytes = u32::from_le_bytes(reader.take()?.ok_or_else(cut)?);
            if reader.remaining() < u64::from(key_bytes) {
                return Err(cut());
            }
            let mut left = u64::from(key_bytes);
            while left > 0 {
                left = left.saturating_sub(reader.chunk(left)?.len() as u64);
            }
            let tail = reader.take()?.ok_or_else(cut)?;
            check_fields(file, layout, position, &(*start..*end), tail)?;
        }
    }
    Ok(())
}

fn check_primary(file: &BucketFile, layout: &SegmentLayout) -> Result<(), LsmError> {
    let tree = layout.primary_tree.clone();
    let mut reader = ForwardReader::new(file, tree.clone());
    let mut covered_bytes = 0_u64;
    while reader.remaining() > 0 {
        let position = reader.position();
        let cut = || fault(file, position, SegmentFault::TreeCut);
        let key_bytes = u32::from_le_bytes(reader.take()?.ok_or_else(cut)?);
        if key_bytes != KEY_BYTES {
            return Err(fault(file, position, SegmentFault::KeyLength { key_bytes }));
        }
        let _key: [u8; KEY_BYTES as usize] = reader.take()?.ok_or_else(cut)?;
        let tail = reader.take()?.ok_or_else(cut)?;
        let bytes = check_fields(file, layout, position, &tree, tail)?;
        covered_bytes = covered_bytes.saturating_add(bytes);
    }
    let data_bytes = layout.index_start.saturating_sub(HEADER_BYTES);
    if covered_bytes != data_bytes {
        let coverage = SegmentFault::TreeCoverage { covered_bytes, data_bytes };
        return Err(fault(file, tree.start, coverage));
    }
    Ok(())
}

/// Checks the pointers of a node, and returns the length of its data.
fn check_fields(
    file: &BucketFile,
    layout: &SegmentLayout,
    position: u64,
    tree: &Range<u64>,
    tail: [u8; NODE_TAIL_BYTES],
) -> Result<u64, LsmError> {
    let (start, end, left, right) = tree_fields(tail);
    if start < HEADER_BYTES || end <= start || end > layout.index_start {
        return Err(fault(file, position, SegmentFault::TreePointer { start, end }));
    }
    let tree_bytes = tree.end.saturating_sub(tree.start);
    for child in [left, right] {
        if u64::try_from(child).is_ok_and(|child| child >= tree_bytes) {
            return Err(fault(file, position, SegmentFault::TreeChild { child }));
        }
    }
    Ok(end.saturating_sub(start))
}

/// A subtree, and the bounds of its keys and its data. The bounds shrink with every step down, so
/// that a damaged pointer cannot form a cycle.
#[derive(Debug, Clone)]
struct Subtree {
    root: Option<u64>,
    data: Range<u64>,
    /// The lowest and the highest key.
    keys: (u128, u128),
}

/// A segment's primary tree, read block by block.
#[derive(Debug)]
pub struct KeyTree {
    file: Arc<BucketFile>,
    tree: Range<u64>,
    data_end: u64,
    /// The block that was read last of those that share a slot.
    blocks: RefCell<Box<[Option<TreeBlock>; SLOTS]>>,
}

/// A part of a tree in memory.
#[derive(Debug)]
struct TreeBlock {
    number: u64,
    bytes: Vec<u8>,
}

/// Bytes of a block: 78 nodes. A server writes neighbours near each other, so that a way down touches a few
/// blocks; read node by node, replaced objects took a tenth of an export of small ones.
const BLOCK_BYTES: u64 = 78 * NODE_BYTES;

/// Blocks of a tree in memory.
const SLOTS: usize = 16;

impl KeyTree {
    /// The primary tree of `file`, whose layout is `layout`.
    pub fn new(file: Arc<BucketFile>, layout: &SegmentLayout) -> KeyTree {
        let (tree, data_end) = (layout.primary_tree.clone(), layout.index_start);
        KeyTree { file, tree, data_end, blocks: RefCell::default() }
    }

    fn whole(&self) -> Subtree {
        let root = (!self.tree.is_empty()).then_some(0);
        Subtree { root, data: HEADER_BYTES..self.data_end, keys: (0, u128::MAX) }
    }

    /// Offset of the first data node whose key is not below `key`; the end of the data if there is
    /// none.
    ///
    /// # Errors
    /// When the file cannot be read, or the tree contradicts itself.
    pub fn seek(&self, key: u128) -> Result<u64, LsmError> {
        let mut below = self.whole();
        while let Some(node) = self.root(&below)? {
            let (left, right) = children(&below, &node);
            below = if key <= node.key { left } else { right };
        }
        Ok(below.data.end)
    }

    /// Offset of the data node of `key`; `None` if the tree names no such node.
    ///
    /// # Errors
    /// As [`KeyTree::seek`].
    pub(crate) fn find(&self, key: u128) -> Result<Option<u64>, LsmError> {
        let mut below = self.whole();
        while let Some(node) = self.root(&below)? {
            if node.key == key {
                return Ok(Some(node.start));
            }
            let (left, right) = children(&below, &node);
            below = if key < node.key { left } else { right };
        }
        Ok(None)
    }

    /// The bytes of the node at `offset` in the tree, which has them.
    fn node(&self, offset: u64) -> Result<[u8; NODE_BYTES as usize], LsmError> {
        let (number, in_block) = (offset / BLOCK_BYTES, offset % BLOCK_BYTES);
        // At most 15 and 4,055, so the casts are exact.
        let (slot, in_block) = ((number % SLOTS as u64) as usize, in_block as usize);
        let mut blocks = self.blocks.borrow_mut();
        let slot = blocks.get_mut(slot);
        if let Some(slot) = slot {
            if slot.as_ref().is_none_or(|held| held.number != number) {
                let start = self.tree.start.saturating_add(offset.saturating_sub(in_block as u64));
                let bytes = self.tree.end.saturating_sub(start).min(BLOCK_BYTES);
                let mut bytes = vec![0; bytes as usize];
                self.file.read_exact_at(&mut bytes, start)?;
                *slot = Some(TreeBlock { number, bytes });
            }
            let block = slot.as_ref().and_then(|held| held.bytes.get(in_block..));
            if let Some(node) = block.and_then(|rest| rest.first_chunk()) {
                return Ok(*node);
            }
        }
        // A damaged pointer may lead to the end of a block.
        let mut node = [0; NODE_BYTES as usize];
        self.file.read_exact_at(&mut node, self.tree.start.saturating_add(offset))?;
        Ok(node)
    }

    /// The root of a subtree, checked against the subtree's bounds.
    fn root(&self, subtree: &Subtree) -> Result<Option<TreeNode>, LsmError> {
        let data = &subtree.data;
        let Some(offset) = subtree.root else {
            if data.is_empty() {
                return Ok(None);
            }
            let gap = SegmentFault::TreePointer { start: data.start, end: data.end };
            return Err(fault(&self.file, self.tree.start, gap));
        };
        let position = self.tree.start.saturating_add(offset);
        if self.tree.end.saturating_sub(position) < NODE_BYTES {
            return Err(fault(&self.file, position, SegmentFault::TreeCut));
        }
        let bytes = self.node(offset)?;
        let [k0, k1, k2, k3, rest @ ..] = bytes;
        let key_bytes = u32::from_le_bytes([k0, k1, k2, k3]);
        if key_bytes != KEY_BYTES {
            return Err(fault(&self.file, position, SegmentFault::KeyLength { key_bytes }));
        }
        let (Some(key), Some(tail)) = (rest.first_chunk(), rest.last_chunk()) else {
            return Err(fault(&self.file, position, SegmentFault::TreeCut));
        };
        let key = u128::from_be_bytes(*key);
        let (start, end, left, right) = tree_fields(*tail);
        if start < data.start || end <= start || end > data.end {
            return Err(fault(&self.file, position, SegmentFault::TreePointer { start, end }));
        }
        if key < subtree.keys.0 || key > subtree.keys.1 {
            return Err(fault(&self.file, position, SegmentFault::TreeOrder));
        }
        let (left, right) = (u64::try_from(left).ok(), u64::try_from(right).ok());
        Ok(Some(TreeNode { key, start, end, left, right }))
    }
}

/// The two subtrees below `node`, the root of `subtree`.
fn children(subtree: &Subtree, node: &TreeNode) -> (Subtree, Subtree) {
    let left = Subtree {
        root: node.left,
        data: subtree.data.start..node.start,
        keys: (subtree.keys.0, node.key.saturating_sub(1)),
    };
    let right = Subtree {
        root: node.right,
        data: node.end..subtree.data.end,
        keys: (node.key.saturating_add(1), subtree.keys.1),
    };
    (left, right)
}

/// Walks a tree in key order without the subtrees whose data is smaller than a step. The number of
/// nodes read is that of the steps in the data, the number in memory is the depth of the tree.
#[derive(Debug)]
pub struct SparseWalk {
    step_bytes: u64,
    /// Nodes that come next, each before its right subtree.
    stack: Vec<(TreeNode, Subtree)>,
    started: bool,
}

impl SparseWalk {
    /// A walk in steps of about `step_bytes` of data.
    pub fn new(step_bytes: u64) -> SparseWalk {
        SparseWalk { step_bytes, stack: Vec::new(), started: false }
    }

    /// The next key on the walk, and the offset of its data node.
    ///
    /// # Errors
    /// As [`KeyTree::seek`].
    pub fn next(&mut self, tree: &KeyTree) -> Result<Option<(u128, u64)>, LsmError> {
        if !self.started {
            self.started = true;
            self.descend(tree, tree.whole())?;
        }
        let Some((node, right)) = self.stack.pop() else { return Ok(None) };
        self.descend(tree, right)?;
        Ok(Some((node.key, node.start)))
    }

    fn descend(&mut self, tree: &KeyTree, from: Subtree) -> Result<(), LsmError> {
        let mut below = from;
        while below.data.end.saturating_sub(below.data.start) >= self.step_bytes.max(1) {
            let Some(node) = tree.root(&below)? else { break };
            let (left, right) = children(&below, &node);
            self.stack.push((node, right));
            below = left;
        }
        Ok(())
    }
}
