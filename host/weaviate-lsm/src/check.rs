//! Reads every byte of a shard's files and reports what is damaged: checksums, key trees, records and
//! objects, also objects that newer ones replace. An export reads less.
use std::{fmt, sync::Arc};

use offloom_rows::ObjectLimit;
use uuid::Uuid;

use crate::{
    bucket::{Bucket, BucketFile},
    descriptors::Descriptors,
    error::{LogFault, LsmError, ObjectFault, Place, SegmentFault},
    freeze::{Frozen, freeze},
    key_index::{self, KeyTree, SparseWalk},
    leftovers::SourceKind,
    object::{self, FaultAt, VectorEntries},
    segment::{self, HEADER_BYTES, SegmentLayout, SegmentReader},
    wal::LogIndex,
};

/// Findings of a bucket that are listed one by one; further ones are only counted.
pub const MAX_FINDINGS: usize = 100;

/// Read-ahead in the data section of a segment.
const READ_AHEAD_BYTES: usize = 256 * 1024;

/// A large object is no damage: the largest that any export takes.
const LIMIT: ObjectLimit = ObjectLimit::LARGEST;

/// What is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingKind {
    /// A file cannot be opened or read, or no consistent set of files can be chosen.
    Unreadable,
    /// The header of a segment, or its table of secondary trees.
    Header,
    /// The checksum of a segment.
    Checksum,
    /// A key tree of a segment.
    KeyTree,
    /// The lengths and keys in the data section of a segment.
    Node,
    /// A record of a log. A log that ends within a record is whole: a crash leaves it so.
    Log,
    /// A stored object.
    Object,
}

impl FindingKind {
    /// One word or two, as in a report.
    pub fn name(self) -> &'static str {
        match self {
            FindingKind::Unreadable => "unreadable",
            FindingKind::Header => "header",
            FindingKind::Checksum => "checksum",
            FindingKind::KeyTree => "key tree",
            FindingKind::Node => "node",
            FindingKind::Log => "log record",
            FindingKind::Object => "object",
        }
    }
}

/// One damaged place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file; the bucket if no file can be named.
    pub place: Place,
    /// Offset in the file, if it could be read.
    pub offset: Option<u64>,
    /// What is damaged.
    pub kind: FindingKind,
    /// How.
    pub reason: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.place)?;
        if let Some(offset) = self.offset {
            write!(formatter, ", offset {offset}")?;
        }
        write!(formatter, ": {}: {}", self.kind.name(), self.reason)
    }
}

impl Finding {
    fn of_error(bucket: &Bucket, kind: FindingKind, error: LsmError) -> Finding {
        let (place, offset, kind, reason) = match error {
            LsmError::Segment { place, offset, fault } => {
                (place, Some(offset), kind, fault.to_string())
            }
            LsmError::Read { place, offset, source } => {
                (place, offset, FindingKind::Unreadable, source.to_string())
            }
            LsmError::Changed { place } => {
                let reason = "the file was replaced or cut while it was being read".to_owned();
                (place, None, FindingKind::Unreadable, reason)
            }
            other @ (LsmError::NotAFile { .. }
            | LsmError::NotUtf8 { .. }
            | LsmError::Lost { .. }
            | LsmError::List { .. }
            | LsmError::Busy { .. }
            | LsmError::TooManyFiles { .. }
            | LsmError::Compaction { .. }) => {
                (bucket.place(""), None, FindingKind::Unreadable, other.to_string())
            }
        };
        Finding { place, offset, kind, reason }
    }
}

/// What was found in the files of a bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Check {
    /// The first [`MAX_FINDINGS`] findings, file by file.
    pub findings: Vec<Finding>,
    /// Number of further findings.
    pub more: u64,
    /// Stored objects that were decoded, replaced ones included.
    pub objects: u64,
}

impl Check {
    /// Number of findings.
    pub fn found(&self) -> u64 {
        self.more.saturating_add(self.findings.len() as u64)
    }

    fn add(&mut self, finding: Finding) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }
}

/// Reads all data of a bucket, whose files stay open meanwhile: a server may write. Every file is
/// read twice; `on_bytes` is called with the bytes that were read since the call before.
pub fn check(bucket: &Bucket, descriptors: &Descriptors, on_bytes: &mut dyn FnMut(u64)) -> Check {
    let mut check = Check::default();
    let frozen = match freeze(bucket, descriptors, None, None) {
        Ok(Frozen::Files(frozen)) => frozen,
        Ok(Frozen::Absent(_) | Frozen::NoRoom) => return check,
        Err(error) => {
            check.add(Finding::of_error(bucket, FindingKind::Unreadable, error));
            return check;
        }
    };
    let mut entries = VectorEntries::default();
    for (kind, file) in frozen.files {
        let mut checking = Checking {
            bucket,
            file: Arc::new(file),
            check: &mut check,
            entries: &mut entries,
            on_bytes,
        };
        match kind {
            SourceKind::Segment => checking.segment(),
            SourceKind::Log => checking.log(),
        }
    }
    check
}

/// One file that is being checked.
struct Checking<'a> {
    bucket: &'a Bucket,
    file: Arc<BucketFile>,
    check: &'a mut Check,
    entries: &'a mut VectorEntries,
    on_bytes: &'a mut dyn FnMut(u64),
}

impl Checking<'_> {
    /// Each part is checked although another one is damaged, as far as it can be found.
    fn segment(&mut self) {
        let layout = match SegmentLayout::read(&self.file) {
            Ok(layout) => layout,
            Err(error) => return self.failed(FindingKind::Header, error),
        };
        if let Err(error) = layout.verify_checksum(&self.file, self.on_bytes) {
            self.failed(FindingKind::Checksum, error);
        }
        let tree = match key_index::check_trees(&self.file, &layout) {
            Ok(()) => Some(KeyTree::new(self.file.clone(), &layout)),
            Err(error) => {
                self.failed(FindingKind::KeyTree, error);
                None
            }
        };
        self.nodes(&layout, tree);
    }

    /// Reads the data section node by node, beside a walk over the key tree, which must name each.
    fn nodes(&mut self, layout: &SegmentLayout, tree: Option<KeyTree>) {
        let mut tree = tree.map(|tree| (tree, SparseWalk::new(1)));
        let mut nodes = SegmentReader::new(
            self.file.clone(),
            layout,
            HEADER_BYTES..layout.index_start,
            None..None,
            READ_AHEAD_BYTES,
        );
        let mut read_to = HEADER_BYTES;
        loop {
            match nodes.advance() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return self.failed(FindingKind::Node, error),
            }
            let Some(key) = nodes.key() else { break };
            let (offset, value_bytes) = nodes.value_location();
            let start = nodes.node_start();
            (self.on_bytes)(start.saturating_sub(read_to));
            read_to = start;
            if let Some((tree_nodes, walk)) = &mut tree
                && let Err(error) = self.same_node(walk.next(tree_nodes), (key, start))
            {
                tree = None;
                self.failed(FindingKind::KeyTree, error);
            }
            if nodes.is_tombstone() {
                continue;
            }
            match nodes.value() {
                Some(value) => self.object(key, offset, value),
                None => self.object_at(key, offset, value_bytes),
            }
        }
        (self.on_bytes)(self.file.bytes.saturating_sub(read_to));
    }

    /// Compares what the tree has next with the node of the data section.
    fn same_node(
        &self,
        named: Result<Option<(u128, u64)>, LsmError>,
        (key, start): (u128, u64),
    ) -> Result<(), LsmError> {
        if named? == Some((key, start)) {
            return Ok(());
        }
        let unnamed = SegmentFault::TreeLacks { key: Uuid::from_u128(key) };
        Err(segment::fault(&self.file, start, unnamed))
    }

    fn log(&mut self) {
        let index = match LogIndex::read(&self.file) {
            Ok(index) => index,
            Err(error) => return self.failed(FindingKind::Log, error),
        };
        (self.on_bytes)(self.file.bytes);
        if let Some(torn) = &index.torn
            && torn.fault != LogFault::Cut
        {
            let reason = format!(
                "{}; it and what follows, {} bytes, cannot be read",
                torn.fault, torn.dropped_bytes
            );
            self.add(FindingKind::Log, Some(torn.offset), reason);
        }
        for entry in &index.entries {
            if let Some(value_bytes) = entry.value_bytes() {
                self.object_at(entry.key, entry.value_offset, value_bytes);
            }
        }
        (self.on_bytes)(self.file.bytes);
    }

    /// Reads and decodes a value that is in no buffer.
    fn object_at(&mut self, key: u128, offset: u64, value_bytes: u64) {
        if value_bytes > LIMIT.value_bytes() {
            let fault = ObjectFault::TooLarge { row_bytes: value_bytes, limit: LIMIT };
            return self.add(FindingKind::Object, Some(offset), fault.to_string());
        }
        // The value was checked to lie within the file, and is within the limit.
        let mut value = vec![0; value_bytes as usize];
        match self.file.read_exact_at(&mut value, offset) {
            Ok(()) => self.object(key, offset, &value),
            Err(error) => self.failed(FindingKind::Object, error),
        }
    }

    fn object(&mut self, key: u128, at: u64, value: &[u8]) {
        self.check.objects = self.check.objects.saturating_add(1);
        if let Err(FaultAt { offset, fault }) = object::decode(value, key, LIMIT, self.entries) {
            let reason = format!("{}: {fault}", Uuid::from_u128(key));
            self.add(FindingKind::Object, Some(at.saturating_add(offset)), reason);
        }
    }

    fn failed(&mut self, kind: FindingKind, error: LsmError) {
        self.check.add(Finding::of_error(self.bucket, kind, error));
    }

    fn add(&mut self, kind: FindingKind, offset: Option<u64>, reason: String) {
        let place = self.file.place.clone();
        self.check.add(Finding { place, offset, kind, reason });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_findings_are_listed_and_all_are_counted() {
        let place =
            Place { class: "Note".into(), shard: "s".into(), file: "f.db".into(), node: None };
        let mut check = Check::default();
        for offset in 0..250 {
            let reason = "the value is empty".to_owned();
            let place = place.clone();
            let kind = FindingKind::Object;
            check.add(Finding { place, offset: Some(offset), kind, reason });
        }
        assert_eq!((check.findings.len(), check.more, check.found()), (MAX_FINDINGS, 150, 250));
        assert_eq!(
            check.findings[MAX_FINDINGS - 1].to_string(),
            "class Note, shard s, file f.db, offset 99: object: the value is empty"
        );
    }
}
