//! The frozen view of one copy of a shard: its files, held open, checked and indexed.
use std::{fmt, ops::Range, sync::Arc};

use chrono::{DateTime, Utc};

use crate::{
    bucket::{Bucket, BucketFile},
    descriptors::{Descriptors, Permits},
    emptiness::{self, Holding},
    error::{LogFault, LsmError, Place},
    freeze::{Frozen, FrozenFiles, freeze},
    key_index,
    leftovers::{self, IgnoredReason, SourceKind},
    segment::{HEADER_BYTES, SegmentLayout},
    wal::{LogIndex, TornTail},
};

pub use crate::cut_off::{CutOff, ReadSource};

/// Something about a shard's files that the operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShardWarning {
    /// The shard was written by newer code than this knows; its objects are read all the same.
    ShardVersion {
        /// The shard; no file.
        place: Place,
        /// As stored in its file `version`.
        version: u16,
    },
    /// A file has the extension of data, and a name that no version of Weaviate gives.
    UnknownFile {
        /// The file.
        place: Place,
    },
    /// The end of a log is not a whole record and is left out (`wal.md` 1.3).
    TornLog {
        /// The log.
        place: Place,
        /// Where the first bad record starts.
        offset: u64,
        /// Bytes from there to the end of the file.
        dropped_bytes: u64,
        /// What is wrong with that record.
        fault: LogFault,
    },
}

impl fmt::Display for ShardWarning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ShardWarning::ShardVersion { place, version } => write!(
                formatter,
                "{place}: shard version {version} is newer than the newest known one \
                 ({SHARD_VERSION})"
            ),
            ShardWarning::UnknownFile { place } => write!(
                formatter,
                "{place} is left out: its name is not one that Weaviate gives to data"
            ),
            ShardWarning::TornLog { place, offset, dropped_bytes, fault } => write!(
                formatter,
                "{place}, offset {offset}: {dropped_bytes} bytes at the end are left out: {fault}"
            ),
        }
    }
}

/// The newest known shard version; it concerns the inverted index only
/// (`data-directory.md` 3).
const SHARD_VERSION: u16 = 2;

/// One file with data, held open, and where its data lies.
#[derive(Debug)]
pub struct SourceFile {
    /// The file.
    pub file: Arc<BucketFile>,
    /// Index of the shard's copy that it belongs to.
    pub(crate) copy: usize,
    /// Where its data lies.
    pub content: Content,
}

/// Where the data of a file lies.
#[derive(Debug)]
pub enum Content {
    /// Of a segment.
    Segment(SegmentLayout),
    /// Of a log.
    Log(LogIndex),
}

/// The files of one shard, oldest first. They stay readable when the server removes them.
#[derive(Debug)]
pub struct ShardSnapshot {
    /// Where the files were found; of several copies, the first.
    pub bucket: Bucket,
    /// Index of the shard in its class.
    pub shard_index: u32,
    /// The files of one copy after those of another.
    pub sources: Vec<SourceFile>,
    /// The permits of the open files among the sources.
    permits: Vec<Permits>,
    /// Number of the shard's copies, those without data included; `None` if there is only one.
    pub(crate) copies: Option<usize>,
}

/// The outcome of [`ShardSnapshot::take`].
#[derive(Debug)]
pub struct SnapshotResult {
    /// The data; `None` if there is nothing to read.
    pub snapshot: Option<ShardSnapshot>,
    /// What was found besides the data.
    pub report: SnapshotReport,
}

/// What a snapshot found besides the data.
#[derive(Debug)]
pub struct SnapshotReport {
    /// Which writes are in the snapshot.
    pub cut_off: CutOff,
    /// What the operator should know.
    pub warnings: Vec<ShardWarning>,
    /// Why there is nothing to read, if so.
    pub skip_reason: Option<&'static str>,
}

impl ShardSnapshot {
    /// Those of the shard's files that can be read, unchecked, with logs up to `log_bytes`: enough
    /// to read a few objects. `None` if the bucket cannot be listed.
    pub fn peek(bucket: Bucket, log_bytes: u64) -> Option<ShardSnapshot> {
        let decision = leftovers::decide(bucket.list().ok()??);
        let sources = decision.chosen.into_iter().filter_map(|chosen| {
            let mut listed = chosen.file;
            if chosen.kind == SourceKind::Log {
                listed.bytes = listed.bytes.min(log_bytes);
            }
            let file = bucket.open(&listed).ok()?;
            let content = match chosen.kind {
                SourceKind::Segment => Content::Segment(SegmentLayout::read(&file).ok()?),
                SourceKind::Log => Content::Log(LogIndex::read(&file).ok()?),
            };
            Some(SourceFile { file: Arc::new(file), copy: 0, content })
        });
        let sources = sources.collect();
        let permits = Vec::new();
        Some(ShardSnapshot { bucket, shard_index: 0, sources, permits, copies: None })
    }

    /// Chooses, opens and checks the shard's files; the rows themselves are not read. With `room`,
    /// returns `None` if the shard needs more than that many descriptors. Without, waits until as
    /// many as it needs are free. `pinned` is the cut-off of an earlier snapshot: the same bytes are taken
    /// again if all of its files are still there, and those of now otherwise.
    ///
    /// # Errors
    /// When a file cannot be read or violates its format, or no consistent set can be opened; when the
    /// shard is neither an empty one nor holds an object.
    pub fn take(
        bucket: Bucket,
        shard_index: u32,
        descriptors: &Descriptors,
        room: Option<usize>,
        pinned: Option<&CutOff>,
    ) -> Result<Option<SnapshotResult>, LsmError> {
        let read = || read(&bucket, shard_index, descriptors, room, pinned);
        let holds_objects = |taken: &Option<SnapshotResult>| {
            taken.as_ref().is_none_or(|taken| taken.snapshot.is_some())
        };
        let (taken, holding) = emptiness::read_settled(&bucket, read, holds_objects)?;
        let Some(mut taken) = taken else { return Ok(None) };
        taken.report.skip_reason = match holding {
            Holding::Objects => None,
            Holding::Nothing => Some("no data"),
            Holding::Dropped => Some("no data on disk"),
            Holding::Lost(lost) => return Err(LsmError::Lost { place: bucket.place(""), lost }),
        };
        Ok(Some(taken))
    }

    /// Joins the snapshots of all copies, in their order; `None` stands for a copy without data.
    pub(crate) fn joined(copies: Vec<Option<ShardSnapshot>>) -> Option<ShardSnapshot> {
        let count = copies.len();
        let mut copies = copies.into_iter().flatten();
        let mut joined = copies.next()?;
        for (copy, other) in (1..).zip(copies) {
            let sources = other.sources.into_iter();
            joined.sources.extend(sources.map(|source| SourceFile { copy, ..source }));
            joined.permits.extend(other.permits);
        }
        joined.copies = (count > 1).then_some(count);
        Some(joined)
    }

    /// Number of files that it holds open.
    pub fn open_files(&self) -> usize {
        self.permits.iter().map(Permits::count).sum()
    }
}

/// Reads a bucket's files once, as they are at one moment; `None` if it needs more descriptors than
/// the room.
fn read(
    bucket: &Bucket,
    shard_index: u32,
    descriptors: &Descriptors,
    room: Option<usize>,
    pinned: Option<&CutOff>,
) -> Result<Option<SnapshotResult>, LsmError> {
    let frozen = freeze(bucket, descriptors, room, pinned)?;
    let FrozenFiles { at, ignored, files, permits } = match frozen {
        Frozen::Files(frozen) => frozen,
        Frozen::Absent(at) => {
            return Ok(Some(SnapshotResult { snapshot: None, report: SnapshotReport::at(at) }));
        }
        Frozen::NoRoom => return Ok(None),
    };
    let mut report = SnapshotReport::at(at);
    if let Some(version) = bucket.shard_version().filter(|version| *version > SHARD_VERSION) {
        let place = bucket.place("");
        report.warnings.push(ShardWarning::ShardVersion { place, version });
    }
    for (name, reason) in ignored {
        if reason == IgnoredReason::UnknownName {
            report.warnings.push(ShardWarning::UnknownFile { place: bucket.place(&name) });
        }
    }
    let mut sources = Vec::with_capacity(files.len());
    for (kind, file) in files {
        let content = match kind {
            SourceKind::Segment => report.check_segment(&file)?,
            SourceKind::Log => report.index_log(&file)?,
        };
        sources.push(SourceFile { file: Arc::new(file), copy: 0, content });
    }
    let bucket = bucket.clone();
    let permits = vec![permits];
    let snapshot = (!sources.iter().all(SourceFile::is_empty)).then_some(ShardSnapshot {
        bucket,
        shard_index,
        sources,
        permits,
        copies: None,
    });
    Ok(Some(SnapshotResult { snapshot, report }))
}

impl SourceFile {
    /// The whole file as positions: offsets of nodes in a segment, indexes of entries in a log.
    pub fn whole(&self) -> Range<u64> {
        match &self.content {
            Content::Segment(layout) => HEADER_BYTES..layout.index_start,
            Content::Log(index) => 0..index.entries.len() as u64,
        }
    }

    fn is_empty(&self) -> bool {
        match &self.content {
            Content::Segment(layout) => layout.primary_tree.is_empty(),
            Content::Log(index) => index.entries.is_empty(),
        }
    }
}

impl SnapshotReport {
    /// The report on a shard whose files are not read.
    pub fn not_read() -> SnapshotReport {
        SnapshotReport::at(Utc::now())
    }

    fn at(at: DateTime<Utc>) -> SnapshotReport {
        let cut_off = CutOff { at, newest_segment: None, sources: Vec::new() };
        SnapshotReport { cut_off, warnings: Vec::new(), skip_reason: None }
    }

    /// Checks header, checksum and trees; the data nodes are checked when they are read.
    fn check_segment(&mut self, file: &BucketFile) -> Result<Content, LsmError> {
        self.cut_off.newest_segment = Some(file.place.file.to_string());
        let layout = SegmentLayout::read(file)?;
        let crc = layout.verify_checksum(file, &mut |_| {})?;
        key_index::check_trees(file, &layout)?;
        self.cut_off.sources.push(ReadSource::of(file, file.bytes, crc)?);
        Ok(Content::Segment(layout))
    }

    /// Indexes a log. A torn tail is only a warning: the records before it are kept.
    fn index_log(&mut self, file: &BucketFile) -> Result<Content, LsmError> {
        let index = LogIndex::read(file)?;
        let mut bytes = file.bytes;
        if let Some(TornTail { offset, dropped_bytes, fault }) = index.torn.clone() {
            bytes = offset;
            let place = file.place.clone();
            self.warnings.push(ShardWarning::TornLog { place, offset, dropped_bytes, fault });
        }
        let crc = file.crc(bytes)?;
        self.cut_off.sources.push(ReadSource::of(file, bytes, Some(crc))?);
        Ok(Content::Log(index))
    }
}
