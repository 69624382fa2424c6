//! Opens a consistent set of a shard's files while a server may be writing (`wal.md` 7).
use std::{thread, time::Duration};

use chrono::{DateTime, Utc};

use crate::{
    bucket::{Bucket, BucketFile, OpenBucket},
    cut_off::{CutOff, ReadSource},
    descriptors::{Descriptors, Permits},
    error::LsmError,
    leftovers::{self, ChosenFile, Decision, FileSet, IgnoredReason, ListedFile, SourceKind},
};

/// A log of at most this size is read into memory, so that a small tenant needs no descriptor.
/// The server never flushes a log that is not larger by default (`wal.md` 2).
const SMALL_LOG_BYTES: u64 = 4096;
/// Attempts before a shard counts as too busy.
const MAX_ATTEMPTS: u32 = 50;
/// Attempts in succession that must list the same interrupted compaction before it counts as left by
/// a crash: half a second, where a server takes a millisecond. A slower server does no harm: the
/// result of a compaction is complete before its inputs lose their names (`wal.md` 4).
const LEFTOVER_ATTEMPTS: u32 = 8;
/// The first pause between two attempts, and the longest; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Files that together hold the data of one moment.
pub(crate) struct FrozenFiles {
    /// A time before they were listed: every write acknowledged until then is in them.
    pub at: DateTime<Utc>,
    /// The files that are not read, with the reasons.
    pub ignored: Vec<(String, IgnoredReason)>,
    /// The files with data, oldest first, open or in memory.
    pub files: Vec<(SourceKind, BucketFile)>,
    /// The permits of the open ones.
    pub permits: Permits,
}

/// The outcome of [`freeze`].
pub(crate) enum Frozen {
    Files(FrozenFiles),
    /// There was no bucket at this time.
    Absent(DateTime<Utc>),
    /// The bucket needs more descriptors than the room.
    NoRoom,
}

/// The outcome of one attempt.
enum Attempt {
    Done(Frozen),
    /// The server is changing the bucket's files.
    Changing,
    /// It had to wait for descriptors, so the listing is stale.
    Waited,
}

/// Tries to open a bucket's files until they stay the same for as long as that takes. With `room`,
/// the bucket may need at most that many descriptors; without, this waits for as many as it needs. With
/// `pinned`, the files of that cut-off are opened at their length then, if all of them are still there.
///
/// # Errors
/// [`LsmError::Busy`] when the files change during every attempt; when a file cannot be opened.
pub(crate) fn freeze(
    bucket: &Bucket,
    descriptors: &Descriptors,
    room: Option<usize>,
    pinned: Option<&CutOff>,
) -> Result<Frozen, LsmError> {
    let mut freezing =
        Freezing { bucket, descriptors, room, pinned, permits: None, leftover: None };
    let mut pause = FIRST_PAUSE;
    let mut attempts = 0_u32;
    while attempts < MAX_ATTEMPTS {
        match freezing.attempt()? {
            Attempt::Changing => {
                attempts = attempts.saturating_add(1);
                thread::sleep(pause);
                pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            }
            Attempt::Waited => {}
            Attempt::Done(frozen) => return Ok(frozen),
        }
    }
    Err(LsmError::Busy { place: bucket.place(""), attempts })
}

/// A bucket that is being frozen, and what the attempts so far have shown.
struct Freezing<'a> {
    bucket: &'a Bucket,
    descriptors: &'a Descriptors,
    room: Option<usize>,
    pinned: Option<&'a CutOff>,
    permits: Option<Permits>,
    /// An interrupted compaction, and the number of attempts in succession that have listed it.
    leftover: Option<(FileSet, u32)>,
}

impl Freezing<'_> {
    /// Lists, opens and lists again (`wal.md` 7). Two listings that agree rule out three losses,
    /// because each of them changes a name or an inode: inputs and result of a compaction listed at
    /// different moments, a segment replaced by one that was created after the listing, and a log
    /// flushed into a segment that did not exist yet. Neither may have come to a name that was gone:
    /// both may have missed the same data, under two names.
    fn attempt(&mut self) -> Result<Attempt, LsmError> {
        let mut at = Utc::now();
        let Some(directory) = self.bucket.open_directory()? else {
            return Ok(Attempt::Done(Frozen::Absent(at)));
        };
        let first = directory.list()?;
        if first.changed {
            self.leftover = None;
            return Ok(Attempt::Changing);
        }
        let before = FileSet::of(&first.files);
        let pinned =
            self.pinned.and_then(|cut_off| Some((cut_off, pinned(cut_off, &first.files)?)));
        let is_pinned = pinned.is_some();
        let mut decision = leftovers::decide(first.files);
        if let Some((cut_off, chosen)) = pinned {
            at = cut_off.at;
            decision.chosen = chosen;
            decision.refused = None;
        } else if !self.is_settled(&decision, &before) {
            return Ok(Attempt::Changing);
        }
        if let Some(file) = decision.refused {
            return Err(LsmError::Compaction { place: self.bucket.place(&file) });
        }
        let needed = decision.chosen.iter().filter(|chosen| !is_small(chosen)).count();
        if self.room.is_some_and(|room| needed > room) {
            return Ok(Attempt::Done(Frozen::NoRoom));
        }
        let Some(permits) = self.permits(needed)? else { return Ok(Attempt::Waited) };
        let Some(files) = open_all(&directory, decision.chosen, is_pinned)? else {
            return Ok(self.changing(permits));
        };
        let second = directory.list()?;
        if second.changed || FileSet::of(&second.files) != before {
            return Ok(self.changing(permits));
        }
        let ignored = decision.ignored;
        Ok(Attempt::Done(Frozen::Files(FrozenFiles { at, ignored, files, permits })))
    }

    /// The files were closed; the permits are kept for the next attempt.
    fn changing(&mut self, permits: Permits) -> Attempt {
        self.permits = Some(permits);
        Attempt::Changing
    }

    /// Whether the names decide what to read. They do not while a compaction switches to its result;
    /// if they stay like that, a crash is the cause.
    fn is_settled(&mut self, decision: &Decision, files: &FileSet) -> bool {
        if !decision.is_ambiguous() {
            self.leftover = None;
            return true;
        }
        let before = self.leftover.take().filter(|(seen, _)| seen == files);
        let attempts = before.map_or(0, |(_, attempts)| attempts).saturating_add(1);
        self.leftover = Some((files.clone(), attempts));
        attempts >= LEFTOVER_ATTEMPTS
    }

    /// Permits for `needed` descriptors, or `None` if it had to wait for them.
    fn permits(&mut self, needed: usize) -> Result<Option<Permits>, LsmError> {
        let allowed_files = self.descriptors.total();
        if needed > allowed_files {
            let place = self.bucket.place("");
            return Err(LsmError::TooManyFiles { place, needed_files: needed, allowed_files });
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

/// The files of an earlier snapshot at their length then; `None` if one is not there any more.
fn pinned(cut_off: &CutOff, listed: &[ListedFile]) -> Option<Vec<ChosenFile>> {
    let pin = |source: &ReadSource| {
        let found = listed.iter().find(|file| source.may_be(file))?;
        let file = ListedFile { bytes: source.size_bytes, ..found.clone() };
        let kind = if source.is_log() { SourceKind::Log } else { SourceKind::Segment };
        Some(ChosenFile { file, kind, leftover: false })
    };
    cut_off.sources.iter().map(pin).collect()
}

/// Whether a file is read into memory rather than kept open.
fn is_small(chosen: &ChosenFile) -> bool {
    chosen.kind == SourceKind::Log && chosen.file.bytes <= SMALL_LOG_BYTES
}

/// Opens all files, oldest first; `None` if one is no longer the one that was listed. Pinned ones are read
/// up to the length of their pin.
fn open_all(
    directory: &OpenBucket<'_>,
    chosen: Vec<ChosenFile>,
    is_pinned: bool,
) -> Result<Option<Vec<(SourceKind, BucketFile)>>, LsmError> {
    let mut files = Vec::with_capacity(chosen.len());
    for chosen in chosen {
        let small = is_small(&chosen);
        let mut opened = directory.open(&chosen.file)?;
        if is_pinned && let Some(file) = &mut opened {
            file.bytes = chosen.file.bytes;
        }
        let file = match opened {
            Some(file) if small && file.bytes <= SMALL_LOG_BYTES => file.into_memory()?,
            Some(file) if !small => file,
            _ => return Ok(None),
        };
        files.push((chosen.kind, file));
    }
    Ok(Some(files))
}
