//! Takes hold of a consistent set of a shard's files while a server may be writing (`wal.md` 7).
use std::{thread, time::Duration};

use chrono::{DateTime, Utc};

use crate::{
    bucket::{Bucket, BucketFile, OpenBucket},
    descriptors::{Descriptors, Permits},
    error::DiskError,
    leftovers::{self, ChosenFile, Decision, FileSet, IgnoredReason, SourceKind},
};

/// A log of at most so many bytes is read into memory, so that a small tenant costs no descriptor.
/// The server never flushes a log that is not larger by default (`wal.md` 2).
const SMALL_LOG_BYTES: u64 = 4096;
/// Looks at a shard before it counts as too busy.
const MAX_LOOKS: u32 = 50;
/// Looks, one after the other, that show the same interrupted compaction before it counts as what
/// a crash left: half a second, where a server takes a millisecond. A server that takes longer does
/// no harm: the result of a compaction is complete before its inputs lose their names (`wal.md` 4).
const LEFTOVER_LOOKS: u32 = 8;
/// The first pause between two looks, and the longest; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Files that were all there at one moment, as far as their readers can tell.
pub(crate) struct FrozenFiles {
    /// Before they were listed: every write acknowledged until then is in them.
    pub at: DateTime<Utc>,
    pub ignored: Vec<(String, IgnoredReason)>,
    /// Oldest first, open or in memory.
    pub files: Vec<(SourceKind, BucketFile)>,
    /// For those that are open.
    pub permits: Permits,
}

/// What freezing a bucket came to.
pub(crate) enum Frozen {
    Files(FrozenFiles),
    /// There is no bucket, and when that was seen.
    Absent(DateTime<Utc>),
    /// It needs more descriptors than there is room for.
    NoRoom,
}

/// What a look at a bucket came to.
enum Look {
    Settled(Frozen),
    /// The server is at work in it.
    Changing,
    /// Others had the descriptors; by now the look is an old one.
    Waited,
}

/// Looks at a bucket until its files stay the same for as long as it takes to open them. With
/// `room` it may need at most so many descriptors; without, this waits for as many as it needs.
pub(crate) fn freeze(
    bucket: &Bucket,
    descriptors: &Descriptors,
    room: Option<usize>,
) -> Result<Frozen, DiskError> {
    let mut watch = Watch { bucket, descriptors, room, permits: None, leftover: None };
    let mut pause = FIRST_PAUSE;
    let mut looks = 0_u32;
    while looks < MAX_LOOKS {
        match watch.look()? {
            Look::Changing => {
                looks = looks.saturating_add(1);
                thread::sleep(pause);
                pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            }
            Look::Waited => {}
            Look::Settled(frozen) => return Ok(frozen),
        }
    }
    Err(DiskError::Busy { place: bucket.place(""), looks })
}

/// A bucket that is looked at again and again, and what is known of it from the looks before.
struct Watch<'a> {
    bucket: &'a Bucket,
    descriptors: &'a Descriptors,
    room: Option<usize>,
    permits: Option<Permits>,
    /// An interrupted compaction, and how many looks in succession have shown it.
    leftover: Option<(FileSet, u32)>,
}

impl Watch<'_> {
    /// Lists, opens and lists again (`wal.md` 7). Three losses are ruled out by two listings that
    /// agree, because each of them changes a name or an inode: inputs and result of a compaction
    /// seen at different moments, a segment cleaned up in favour of one that came after the
    /// listing, and a log flushed into a segment that was not there yet.
    fn look(&mut self) -> Result<Look, DiskError> {
        let at = Utc::now();
        let Some(directory) = self.bucket.open_directory()? else {
            return Ok(Look::Settled(Frozen::Absent(at)));
        };
        let listed = directory.list()?;
        let before = FileSet::of(&listed);
        let decision = leftovers::decide(listed);
        if !self.is_settled(&decision, &before) {
            return Ok(Look::Changing);
        }
        if let Some(file) = decision.refused {
            return Err(DiskError::Compaction { place: self.bucket.place(&file) });
        }
        let needed = decision.chosen.iter().filter(|chosen| !is_small(chosen)).count();
        if self.room.is_some_and(|room| needed > room) {
            return Ok(Look::Settled(Frozen::NoRoom));
        }
        let Some(permits) = self.permits(needed)? else { return Ok(Look::Waited) };
        let Some(files) = hold(&directory, decision.chosen)? else {
            return Ok(self.changing(permits));
        };
        if FileSet::of(&directory.list()?) != before {
            return Ok(self.changing(permits));
        }
        let ignored = decision.ignored;
        Ok(Look::Settled(Frozen::Files(FrozenFiles { at, ignored, files, permits })))
    }

    /// The files were closed; the permits are good for the next look.
    fn changing(&mut self, permits: Permits) -> Look {
        self.permits = Some(permits);
        Look::Changing
    }

    /// Whether the names tell what to read. While a compaction switches to its result they do not;
    /// when they stay like that, a crash left them so.
    fn is_settled(&mut self, decision: &Decision, files: &FileSet) -> bool {
        if !decision.is_ambiguous() {
            self.leftover = None;
            return true;
        }
        let before = self.leftover.take().filter(|(seen, _)| seen == files);
        let looks = before.map_or(0, |(_, looks)| looks).saturating_add(1);
        self.leftover = Some((files.clone(), looks));
        looks >= LEFTOVER_LOOKS
    }

    /// Permits for `needed` descriptors, or `None` when that took waiting.
    fn permits(&mut self, needed: usize) -> Result<Option<Permits>, DiskError> {
        let allowed_files = self.descriptors.total();
        if needed > allowed_files {
            let place = self.bucket.place("");
            return Err(DiskError::TooManyFiles { place, needed_files: needed, allowed_files });
        }
        if let Some(mut permits) = self.permits.take().filter(|permits| permits.count() >= needed) {
            permits.keep(needed);
            return Ok(Some(permits));
        }
        let free = self.descriptors.try_take(needed);
        if free.is_none() {
            self.permits = Some(self.descriptors.take(needed));
        }
        Ok(free)
    }
}

/// Whether a file is read into memory at once.
fn is_small(chosen: &ChosenFile) -> bool {
    chosen.kind == SourceKind::Log && chosen.file.bytes <= SMALL_LOG_BYTES
}

/// Opens all of them, oldest first; `None` when one is no longer what was listed.
fn hold(
    directory: &OpenBucket<'_>,
    chosen: Vec<ChosenFile>,
) -> Result<Option<Vec<(SourceKind, BucketFile)>>, DiskError> {
    let mut files = Vec::with_capacity(chosen.len());
    for chosen in chosen {
        let small = is_small(&chosen);
        let file = match directory.open(&chosen.file)? {
            Some(file) if small && file.bytes <= SMALL_LOG_BYTES => file.into_memory()?,
            Some(file) if !small => file,
            _ => return Ok(None),
        };
        files.push((chosen.kind, file));
    }
    Ok(Some(files))
}
