//! A segment file, written in one pass: only keys and offsets are held in memory.

use std::io::{Seek, SeekFrom, Write};

use crate::error::{EncodeError, length_as};
use crate::node::Node;
use crate::tree::{Entry, TreeOrder, write_tree};

/// Bytes of the header.
const HEADER_BYTES: u64 = 16;

/// What the header says and how the trees are stored.
#[derive(Debug, Clone)]
pub struct SegmentOptions {
    /// Compaction level; a flush writes 0.
    pub level: u16,
    /// 0 without, 1 with a checksum at the end.
    pub version: u16,
    /// Slots for secondary keys in every node.
    pub secondary_keys: u16,
    /// Order of the tree nodes.
    pub tree_order: TreeOrder,
}

impl Default for SegmentOptions {
    /// What a server of today writes by default.
    fn default() -> Self {
        Self { level: 0, version: 0, secondary_keys: 1, tree_order: TreeOrder::VanEmdeBoas }
    }
}

/// Writes a segment of the "replace" strategy node by node.
#[derive(Debug)]
pub struct SegmentWriter<W: Write + Seek> {
    out: W,
    options: SegmentOptions,
    position: u64,
    checksum: crc32fast::Hasher,
    primary: Vec<Entry>,
    secondary: Vec<Vec<Entry>>,
}

impl<W: Write + Seek> SegmentWriter<W> {
    /// Starts a segment at the beginning of `out`, which should be buffered.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn new(mut out: W, options: SegmentOptions) -> Result<Self, EncodeError> {
        // The header holds the start of the index, so it is written last.
        out.write_all(&[0; HEADER_BYTES as usize])?;
        let secondary = vec![Vec::new(); options.secondary_keys.into()];
        Ok(Self {
            out,
            options,
            position: HEADER_BYTES,
            checksum: crc32fast::Hasher::new(),
            primary: Vec::new(),
            secondary,
        })
    }

    /// Appends a node; slots for which it has no secondary key are filled with empty keys.
    ///
    /// # Errors
    /// A key that does not follow the one before, more secondary keys than slots, or a failed
    /// write.
    pub fn append(&mut self, node: &Node) -> Result<(), EncodeError> {
        let slots = usize::from(self.options.secondary_keys);
        if node.secondary_keys.len() > slots {
            return Err(EncodeError::SecondaryKeys {
                node: node.secondary_keys.len(),
                segment: self.options.secondary_keys,
            });
        }
        if let Some(previous) = self.primary.last().filter(|last| last.key >= node.key) {
            return Err(EncodeError::KeyOrder {
                previous: hex(&previous.key),
                key: hex(&node.key),
            });
        }
        let mut bytes = node.encode()?;
        bytes.extend(vec![0; 4 * (slots - node.secondary_keys.len())]);
        let start = self.position;
        self.write(&bytes)?;
        let end = self.position;
        self.primary.push(Entry { key: node.key.clone(), start, end });
        for (slot, tree) in self.secondary.iter_mut().enumerate() {
            let key = node.secondary_keys.get(slot).cloned().unwrap_or_default();
            tree.push(Entry { key, start, end });
        }
        Ok(())
    }

    /// Writes the trees, the checksum and the header, and gives the output back, flushed.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn finish(mut self) -> Result<W, EncodeError> {
        let index_start = self.position;
        let mut primary_tree = Vec::new();
        write_tree(&mut primary_tree, &self.primary, self.options.tree_order)?;
        let mut next_tree = index_start
            + 8 * u64::from(self.options.secondary_keys)
            + length_as::<u64>("tree", primary_tree.len(), u64::MAX)?;
        let mut secondary_trees = Vec::new();
        for mut entries in std::mem::take(&mut self.secondary) {
            let start = next_tree;
            entries.sort_by(|left, right| left.key.cmp(&right.key));
            let mut tree = Vec::new();
            next_tree += write_tree(&mut tree, &entries, self.options.tree_order)?;
            secondary_trees.push((start, tree));
        }
        for (start, _) in &secondary_trees {
            self.write(&start.to_le_bytes())?;
        }
        self.write(&primary_tree)?;
        for (_, tree) in &secondary_trees {
            self.write(tree)?;
        }

        let mut header = Vec::new();
        for field in [self.options.level, self.options.version, self.options.secondary_keys, 0] {
            header.extend(field.to_le_bytes());
        }
        header.extend(index_start.to_le_bytes());
        if self.options.version == 1 {
            // The checksum covers the header last (`lsm-segment.md 1.2`).
            self.checksum.update(&header);
            let checksum = std::mem::take(&mut self.checksum).finalize();
            self.out.write_all(&checksum.to_be_bytes())?;
        }
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&header)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.out.write_all(bytes)?;
        self.checksum.update(bytes);
        self.position += length_as::<u64>("segment", bytes.len(), u64::MAX)?;
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
