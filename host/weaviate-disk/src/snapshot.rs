//! The frozen view of one shard: its files, held open and checked, and what their logs hold.
use std::{ops::Range, sync::Arc};

use chrono::{DateTime, Utc};

use crate::{
    bucket::{Bucket, BucketFile},
    copies::{Differences, ShardCopies},
    descriptors::{Descriptors, Permits},
    error::DiskError,
    freeze::{Frozen, FrozenFiles, freeze},
    key_index,
    leftovers::{self, IgnoredReason, SourceKind},
    report::{CutOff, LogLength, Warning},
    segment::{HEADER_BYTES, SegmentLayout},
    wal::{LogIndex, TornTail},
};

/// The newest shard version that is known; it concerns the inverted index only
/// (`data-directory.md` 3).
const SHARD_VERSION: u16 = 2;

/// One file with data, held open, and what was learned of it.
#[derive(Debug)]
pub(crate) struct SourceFile {
    pub file: Arc<BucketFile>,
    /// Which of the shard's copies it belongs to.
    pub copy: usize,
    pub content: Content,
}

/// What a file holds.
#[derive(Debug)]
pub(crate) enum Content {
    Segment(SegmentLayout),
    Log(LogIndex),
}

/// The files of one shard, oldest first. They stay readable when the server removes them.
#[derive(Debug)]
pub(crate) struct ShardSnapshot {
    pub bucket: Bucket,
    /// Index of the shard in its class.
    pub shard_index: u32,
    /// Those of one copy together.
    pub sources: Vec<SourceFile>,
    /// For the descriptors among the sources.
    permits: Vec<Permits>,
    /// Set for a shard that several directories hold.
    pub copies: Option<Copies>,
}

/// The copies of a shard.
#[derive(Debug)]
pub(crate) struct Copies {
    /// How many there are, those without data included.
    pub count: usize,
    pub differences: Differences,
}

/// What was found of a shard, besides its data.
#[derive(Debug)]
pub(crate) struct Findings {
    pub cut_off: CutOff,
    pub warnings: Vec<Warning>,
    /// Why there is nothing to read.
    pub skip_reason: Option<&'static str>,
    /// Where there are several directories.
    pub copies: Option<ShardCopies>,
    /// Why one of several copies cannot be trusted; the others are read.
    pub broken_copy: Option<DiskError>,
}

impl ShardSnapshot {
    /// The shard's files as far as they can be read, unchecked, with logs up to `log_bytes`: good
    /// for a look at a few objects. `None` when nothing can be read.
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

    /// Chooses, opens and checks the shard's files; the rows themselves are not read. With `room`
    /// the shard may need at most so many descriptors, else nothing is taken; without, this waits
    /// for as many as it needs.
    pub fn take(
        bucket: Bucket,
        shard_index: u32,
        descriptors: &Descriptors,
        room: Option<usize>,
    ) -> Result<Option<(Option<ShardSnapshot>, Findings)>, DiskError> {
        let frozen = match freeze(&bucket, descriptors, room)? {
            Frozen::Files(frozen) => frozen,
            Frozen::Absent(at) => {
                return Ok(Some((None, Findings::nothing(at, "no data on disk"))));
            }
            Frozen::NoRoom => return Ok(None),
        };
        let FrozenFiles { at, ignored, files, permits } = frozen;
        let mut findings = Findings::nothing(at, "no data");
        if let Some(version) = bucket.shard_version().filter(|version| *version > SHARD_VERSION) {
            let place = bucket.place("");
            findings.warnings.push(Warning::ShardVersion { place, version });
        }
        for (name, reason) in ignored {
            if reason == IgnoredReason::UnknownName {
                findings.warnings.push(Warning::UnknownFile { place: bucket.place(&name) });
            }
        }
        let mut sources = Vec::with_capacity(files.len());
        for (kind, file) in files {
            let content = match kind {
                SourceKind::Segment => findings.check_segment(&file)?,
                SourceKind::Log => findings.index_log(&file)?,
            };
            sources.push(SourceFile { file: Arc::new(file), copy: 0, content });
        }
        if sources.iter().all(SourceFile::is_empty) {
            return Ok(Some((None, findings)));
        }
        findings.skip_reason = None;
        let permits = vec![permits];
        let snapshot = ShardSnapshot { bucket, shard_index, sources, permits, copies: None };
        Ok(Some((Some(snapshot), findings)))
    }

    /// One snapshot of all copies, in their order; `None` stands for a copy without data.
    pub fn joined(
        copies: Vec<Option<ShardSnapshot>>,
        differences: Differences,
    ) -> Option<ShardSnapshot> {
        let count = copies.len();
        let mut copies = copies.into_iter().flatten();
        let mut joined = copies.next()?;
        for (copy, other) in (1..).zip(copies) {
            let sources = other.sources.into_iter();
            joined.sources.extend(sources.map(|source| SourceFile { copy, ..source }));
            joined.permits.extend(other.permits);
        }
        joined.copies = (count > 1).then_some(Copies { count, differences });
        Some(joined)
    }

    /// How many descriptors it holds.
    pub fn open_files(&self) -> usize {
        self.permits.iter().map(Permits::count).sum()
    }
}

impl SourceFile {
    /// All of it, as positions in a [`crate::merge::ShardRange`].
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

impl Findings {
    /// Of a shard that is skipped for a reason of its class's.
    pub fn not_looked_at() -> Findings {
        let cut_off = CutOff { at: Utc::now(), newest_segment: None, logs: Vec::new() };
        Findings {
            cut_off,
            warnings: Vec::new(),
            skip_reason: None,
            copies: None,
            broken_copy: None,
        }
    }

    fn nothing(at: DateTime<Utc>, reason: &'static str) -> Findings {
        let cut_off = CutOff { at, newest_segment: None, logs: Vec::new() };
        Findings {
            cut_off,
            warnings: Vec::new(),
            skip_reason: Some(reason),
            copies: None,
            broken_copy: None,
        }
    }

    /// Header, checksum and trees; the data nodes are checked as they are read.
    fn check_segment(&mut self, file: &BucketFile) -> Result<Content, DiskError> {
        self.cut_off.newest_segment = Some(file.place.file.to_string());
        let layout = SegmentLayout::read(file)?;
        layout.verify_checksum(file)?;
        key_index::check_trees(file, &layout)?;
        Ok(Content::Segment(layout))
    }

    /// A torn tail is a warning: what stands before it is kept.
    fn index_log(&mut self, file: &BucketFile) -> Result<Content, DiskError> {
        let index = LogIndex::read(file)?;
        let mut bytes = file.bytes;
        if let Some(TornTail { offset, dropped_bytes, fault }) = index.torn.clone() {
            bytes = offset;
            let place = file.place.clone();
            self.warnings.push(Warning::TornLog { place, offset, dropped_bytes, fault });
        }
        self.cut_off.logs.push(LogLength { name: file.place.file.to_string(), bytes });
        Ok(Content::Log(index))
    }
}
