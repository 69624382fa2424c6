//! Segment files: header, checksum, and reading the nodes of a key range forward.
//!
//! The format is described in `lsm-segment.md` 1. All integers but the checksum are little-endian.
use std::{ops::Range, sync::Arc};

use uuid::Uuid;

use crate::{
    bucket::BucketFile,
    error::{LsmError, SegmentFault},
    forward_reader::ForwardReader,
};

/// Length of the header; the data section follows it (`lsm-segment.md` 1.1).
pub const HEADER_BYTES: u64 = 16;
/// Length of the CRC-32 at the end of version 1 (`lsm-segment.md` 1.2).
const FOOTER_BYTES: u64 = 4;
/// Length of a node of the primary tree: key length, UUID, start, end, left child, right child
/// (`lsm-segment.md` 3.2).
pub(crate) const NODE_BYTES: u64 = 52;
/// Keys of the objects bucket are UUIDs (`lsm-segment.md` 2).
pub(crate) const KEY_BYTES: u32 = 16;
/// Bytes of a node before its value: tombstone flag and length (`lsm-segment.md` 1.3).
const NODE_HEAD_BYTES: u64 = 9;
/// Length of the value of a tombstone with a time: the byte 1, then Unix milliseconds
/// (`lsm-segment.md` 1.3).
pub(crate) const TOMBSTONE_TIME_BYTES: u64 = 9;

/// Whether a tombstone can have a value of this length (`lsm-segment.md` 1.3). Another one means that the
/// tombstone flag of an object was damaged.
pub(crate) fn is_tombstone_value(value_bytes: u64) -> bool {
    value_bytes == 0 || value_bytes == TOMBSTONE_TIME_BYTES
}

/// Where the parts of a segment lie, as offsets in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentLayout {
    /// Compaction level.
    pub level: u16,
    /// Format version, 0 or 1.
    pub version: u16,
    /// Number of secondary keys of every node.
    pub secondary_indices: u16,
    /// End of the data section and start of the index area.
    pub index_start: u64,
    /// The primary key tree.
    pub primary_tree: Range<u64>,
    /// End of the index area: the end of the file without the footer.
    pub index_end: u64,
}

/// The error for `fault` in `file` at `offset`.
pub(crate) fn fault(file: &BucketFile, offset: u64, fault: SegmentFault) -> LsmError {
    LsmError::Segment { place: file.place.clone(), offset, fault }
}

impl SegmentLayout {
    /// Reads and checks the header, and finds the primary tree.
    ///
    /// # Errors
    /// When the file cannot be read, or its header is not that of a segment of objects.
    pub fn read(file: &BucketFile) -> Result<SegmentLayout, LsmError> {
        if file.bytes < HEADER_BYTES {
            let short = SegmentFault::TooShort { file_bytes: file.bytes };
            return Err(fault(file, 0, short));
        }
        let mut header = [0; HEADER_BYTES as usize];
        file.read_exact_at(&mut header, 0)?;
        let [l0, l1, v0, v1, s0, s1, t0, t1, index @ ..] = header;
        let version = u16::from_le_bytes([v0, v1]);
        let secondary_indices = u16::from_le_bytes([s0, s1]);
        let strategy = u16::from_le_bytes([t0, t1]);
        let index_start = u64::from_le_bytes(index);
        if version > 1 {
            return Err(fault(file, 2, SegmentFault::Version { version }));
        }
        if strategy != 0 {
            return Err(fault(file, 6, SegmentFault::Strategy { strategy }));
        }
        let index_end =
            if version == 1 { file.bytes.saturating_sub(FOOTER_BYTES) } else { file.bytes };
        let outside =
            || fault(file, 8, SegmentFault::IndexStart { index_start, file_bytes: file.bytes });
        let trees_start = index_start
            .checked_add(u64::from(secondary_indices).saturating_mul(8))
            .filter(|trees| index_start >= HEADER_BYTES && *trees <= index_end)
            .ok_or_else(outside)?;
        let mut layout = SegmentLayout {
            level: u16::from_le_bytes([l0, l1]),
            version,
            secondary_indices,
            index_start,
            primary_tree: trees_start..index_end,
            index_end,
        };
        if let Some(first) = layout.secondary_tree_offsets(file)?.first() {
            layout.primary_tree.end = *first;
        }
        Ok(layout)
    }

    /// Keys in the segment, tombstones included.
    pub fn keys(&self) -> u64 {
        let tree = &self.primary_tree;
        tree.end.saturating_sub(tree.start) / NODE_BYTES
    }

    /// Bytes of the data section.
    pub fn data_bytes(&self) -> u64 {
        self.index_start.saturating_sub(HEADER_BYTES)
    }

    /// The offset of each secondary tree (`lsm-segment.md` 3.1), ascending within the index area.
    pub(crate) fn secondary_tree_offsets(&self, file: &BucketFile) -> Result<Vec<u64>, LsmError> {
        let table_bytes = u64::from(self.secondary_indices).saturating_mul(8);
        let table = self.index_start..self.index_start.saturating_add(table_bytes);
        let mut lowest = table.end;
        let mut reader = ForwardReader::new(file, table);
        let mut offsets = Vec::with_capacity(usize::from(self.secondary_indices));
        for tree in 0..self.secondary_indices {
            let position = reader.position();
            let Some(bytes) = reader.take()? else { break };
            let offset = u64::from_le_bytes(bytes);
            if offset < lowest || offset > self.index_end {
                return Err(fault(file, position, SegmentFault::SecondaryOffset { tree, offset }));
            }
            lowest = offset;
            offsets.push(offset);
        }
        Ok(offsets)
    }

    /// Compares the checksum of a version 1 segment with its bytes; version 0 has none. `on_bytes` is
    /// called with the bytes that were read since the call before; in all, with the file's length.
    pub(crate) fn verify_checksum(
        &self,
        file: &BucketFile,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<Option<u32>, LsmError> {
        if self.version == 0 {
            on_bytes(file.bytes);
            return Ok(None);
        }
        let mut footer = [0; FOOTER_BYTES as usize];
        file.read_exact_at(&mut footer, self.index_end)?;
        let stored = u32::from_be_bytes(footer);
        on_bytes(FOOTER_BYTES);
        let mut hasher = crc32fast::Hasher::new();
        // The header comes last: a compaction writes it at its end (`lsm-segment.md` 1.2).
        for range in [HEADER_BYTES..self.index_end, 0..HEADER_BYTES] {
            let mut reader = ForwardReader::new(file, range);
            loop {
                let chunk = reader.chunk(u64::MAX)?;
                if chunk.is_empty() {
                    break;
                }
                hasher.update(chunk);
                on_bytes(chunk.len() as u64);
            }
        }
        let computed = hasher.finalize();
        if computed == stored {
            Ok(Some(stored))
        } else {
            Err(fault(file, self.index_end, SegmentFault::Checksum { stored, computed }))
        }
    }
}

/// Reads the nodes of a part of a segment in key order.
#[derive(Debug)]
pub(crate) struct SegmentReader {
    file: Arc<BucketFile>,
    secondary_indices: u16,
    /// Whether a checksum has proved what the nodes say.
    has_checksum: bool,
    buffer: Vec<u8>,
    /// The largest size of the buffer; the value of a larger node is not kept in it.
    buffer_bytes: usize,
    /// The unread part of `buffer`.
    unread: Range<usize>,
    /// Offset in the file after the last byte in `buffer`.
    loaded_to: u64,
    begin: u64,
    end: u64,
    /// The keys that may follow.
    keys: Range<Option<u128>>,
    node: Option<Node>,
}

/// A node of the data section.
#[derive(Debug)]
struct Node {
    key: u128,
    tombstone: bool,
    value_offset: u64,
    value_bytes: u64,
    /// The place of the value in the buffer, unless it does not fit.
    value: Option<Range<usize>>,
}

impl SegmentReader {
    /// Reads the nodes in `range`, which starts and ends at a node. Their keys must lie in `keys`
    /// (the end is excluded).
    pub fn new(
        file: Arc<BucketFile>,
        layout: &SegmentLayout,
        range: Range<u64>,
        keys: Range<Option<u128>>,
        buffer_bytes: usize,
    ) -> SegmentReader {
        SegmentReader {
            file,
            secondary_indices: layout.secondary_indices,
            has_checksum: layout.version > 0,
            buffer: Vec::new(),
            buffer_bytes,
            unread: 0..0,
            loaded_to: range.start,
            begin: range.start,
            end: range.end,
            keys,
            node: None,
        }
    }

    pub fn file(&self) -> &Arc<BucketFile> {
        &self.file
    }

    pub fn key(&self) -> Option<u128> {
        self.node.as_ref().map(|node| node.key)
    }

    pub fn is_tombstone(&self) -> bool {
        self.node.as_ref().is_some_and(|node| node.tombstone)
    }

    /// Offset in the file of the current node.
    pub fn node_start(&self) -> u64 {
        self.value_location().0.saturating_sub(NODE_HEAD_BYTES)
    }

    /// Offset in the file of the current value, and its length.
    pub fn value_location(&self) -> (u64, u64) {
        self.node.as_ref().map_or((0, 0), |node| (node.value_offset, node.value_bytes))
    }

    /// The current value; `None` if it does not fit into the buffer. It can then be read from its
    /// location in the file.
    pub fn value(&self) -> Option<&[u8]> {
        self.buffer.get(self.node.as_ref()?.value.clone()?)
    }

    /// Moves to the next node, and returns whether there is one.
    pub fn advance(&mut self) -> Result<bool, LsmError> {
        if let Some(node) = self.node.take() {
            self.skip_node(node)?;
        }
        let start = self.position();
        if start >= self.end {
            return Ok(false);
        }
        let head: [u8; 9] = self.peek_at(0)?;
        let [tombstone, length @ ..] = head;
        let value_bytes = u64::from_le_bytes(length);
        // The key's length and the key follow the value.
        let value_end = (head.len() as u64).saturating_add(value_bytes);
        let node_bytes = value_end.saturating_add(4).saturating_add(u64::from(KEY_BYTES));
        self.expect_remaining(node_bytes)?;
        let value_offset = start.saturating_add(head.len() as u64);
        let (value, trailer): (_, [u8; 20]) = if node_bytes <= self.buffer_bytes as u64 {
            // Both are within the buffer, so the cast is exact.
            let (from, to) = (head.len(), value_end as usize);
            let trailer = self.peek_at(to)?;
            let base = self.unread.start;
            (Some(base.saturating_add(from)..base.saturating_add(to)), trailer)
        } else {
            self.skip(value_end);
            (None, self.peek_at(0)?)
        };
        let [k0, k1, k2, k3, key @ ..] = trailer;
        let key_bytes = u32::from_le_bytes([k0, k1, k2, k3]);
        let key_offset = value_offset.saturating_add(value_bytes);
        if key_bytes != KEY_BYTES {
            return Err(fault(&self.file, key_offset, SegmentFault::KeyLength { key_bytes }));
        }
        let key = u128::from_be_bytes(key);
        let ordered = self.keys.start.is_none_or(|lowest| key >= lowest)
            && self.keys.end.is_none_or(|end| key < end);
        if !ordered {
            let key = Uuid::from_u128(key);
            return Err(fault(&self.file, key_offset, SegmentFault::KeyOrder { key }));
        }
        // The largest key has no successor: no node may follow it.
        match key.checked_add(1) {
            Some(lowest) => self.keys.start = Some(lowest),
            None => self.keys = Some(u128::MAX)..Some(0),
        }
        // Upstream's readers disagree on other values than 0 and 1 (`lsm-segment.md` 1.3).
        let tombstone = tombstone != 0;
        if tombstone && !self.has_checksum && !is_tombstone_value(value_bytes) {
            return Err(fault(&self.file, start, SegmentFault::TombstoneValue { value_bytes }));
        }
        self.node = Some(Node { key, tombstone, value_offset, value_bytes, value });
        Ok(true)
    }

    /// Skips the rest of the current node: its fixed part, then its secondary keys.
    fn skip_node(&mut self, node: Node) -> Result<(), LsmError> {
        let trailer = 4_u64.saturating_add(u64::from(KEY_BYTES));
        let fixed = if node.value.is_some() {
            node.value_bytes.saturating_add(9).saturating_add(trailer)
        } else {
            trailer
        };
        self.skip(fixed);
        for _ in 0..self.secondary_indices {
            self.expect_remaining(4)?;
            let length = u64::from(u32::from_le_bytes(self.peek_at(0)?)).saturating_add(4);
            self.expect_remaining(length)?;
            self.skip(length);
        }
        Ok(())
    }

    fn position(&self) -> u64 {
        self.loaded_to.saturating_sub(self.unread.len() as u64)
    }

    fn expect_remaining(&self, bytes: u64) -> Result<(), LsmError> {
        let remaining = self.end.saturating_sub(self.position());
        match bytes.checked_sub(remaining) {
            None | Some(0) => Ok(()),
            Some(excess_bytes) => {
                let crosses = SegmentFault::NodeCrossesEnd { excess_bytes };
                Err(fault(&self.file, self.position(), crosses))
            }
        }
    }

    fn skip(&mut self, bytes: u64) {
        let buffered = self.unread.len() as u64;
        if bytes <= buffered {
            self.unread.start = self.unread.start.saturating_add(bytes as usize);
        } else {
            self.loaded_to = self.loaded_to.saturating_add(bytes.saturating_sub(buffered));
            self.unread = 0..0;
        }
    }

    /// The `N` bytes at `distance` from the position; reads the file if needed.
    fn peek_at<const N: usize>(&mut self, distance: usize) -> Result<[u8; N], LsmError> {
        let needed = distance.saturating_add(N);
        self.expect_remaining(needed as u64)?;
        if self.unread.len() < needed {
            self.load(needed)?;
        }
        let bytes = self
            .buffer
            .get(self.unread.clone())
            .and_then(|unread| unread.get(distance..needed))
            .and_then(|bytes| bytes.first_chunk());
        Ok(*bytes.unwrap_or(&[0; N]))
    }

    /// Reads until the buffer has at least `needed` unread bytes, which must fit into the range and the
    /// buffer.
    fn load(&mut self, needed: usize) -> Result<(), LsmError> {
        let kept = self.unread.len();
        let rest = self.end.saturating_sub(self.position());
        // At most the size of the buffer, so the cast is exact.
        let wanted = (needed.max(self.buffer_bytes) as u64).min(rest) as usize;
        self.buffer.copy_within(self.unread.clone(), 0);
        self.buffer.resize(wanted, 0);
        let target = self.buffer.get_mut(kept..).unwrap_or_default();
        self.file.read_exact_at(target, self.loaded_to)?;
        self.loaded_to = self.loaded_to.saturating_add(target.len() as u64);
        self.file.goes_on(self.begin, self.loaded_to, self.end);
        self.unread = 0..wanted;
        Ok(())
    }
}
