//! Leaves the page cache of the system as it was: the server beside needs it. Pages that only this program
//! has brought in are dropped again.
//!
//! Linux says which pages of a file are in the cache to its owner and to who may write it. For others all
//! pages seem to be there, so that none is dropped.
use std::fs::File;
use std::num::NonZeroU64;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Advice, fadvise};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A file is looked at in pieces of this size, each with a byte for a page.
const WINDOW_BYTES: u64 = 1 << 30;

/// After so many bytes that were read, pages are dropped for the first time: a large file must not fill the
/// cache while it is read.
const STEP_BYTES: u64 = 32 << 20;

/// A file whose cached pages lie so scattered is left alone.
const MAX_RANGES: usize = 65_536;

/// The part of a file that was not in the page cache when it was opened.
#[derive(Debug)]
pub(crate) struct UncachedPart {
    /// In bytes, whole pages.
    ranges: Vec<Range<u64>>,
    /// Bytes that were read since.
    read: AtomicU64,
}

impl UncachedPart {
    /// Of the first `bytes` of a file. Where the system does not say, it is empty.
    pub fn of(file: &File, bytes: u64) -> UncachedPart {
        let ranges = uncached(file, bytes).unwrap_or_default();
        if !ranges.is_empty() {
            // What the system reads ahead by itself may arrive after the file is closed, and stay.
            let _ = fadvise(file, 0, None, Advice::Random);
        }
        UncachedPart { ranges, read: AtomicU64::new(0) }
    }

    /// Some bytes of the file were read.
    pub fn was_read(&self, file: &File, bytes: u64) {
        let before = self.read.fetch_add(bytes, Ordering::Relaxed);
        if before / STEP_BYTES != before.saturating_add(bytes) / STEP_BYTES {
            self.drop_pages(file);
        }
    }

    /// A part of the file will be read next: the system may begin.
    pub fn will_be_read(&self, file: &File, part: Range<u64>) {
        let length = NonZeroU64::new(part.end.saturating_sub(part.start));
        if !self.ranges.is_empty() && length.is_some() {
            let _ = fadvise(file, part.start, length, Advice::WillNeed);
        }
    }

    /// The file is closed.
    pub fn close(&self, file: &File) {
        if self.read.load(Ordering::Relaxed) > 0 {
            self.drop_pages(file);
        }
    }

    fn drop_pages(&self, file: &File) {
        for range in &self.ranges {
            let length = NonZeroU64::new(range.end.saturating_sub(range.start));
            // It is advice: without it the pages stay until others need their place.
            let _ = fadvise(file, range.start, length, Advice::DontNeed);
        }
    }
}

/// `None` if the system does not say, or there are too many ranges.
fn uncached(file: &File, bytes: u64) -> Option<Vec<Range<u64>>> {
    let page = rustix::param::page_size() as u64;
    let mut ranges: Vec<Range<u64>> = Vec::new();
    let mut offset: u64 = 0;
    while offset < bytes {
        let length = bytes.checked_sub(offset)?.min(WINDOW_BYTES);
        let cached = cached_pages(file, offset, usize::try_from(length).ok()?)?;
        let pages = (offset..).step_by(usize::try_from(page).ok()?).zip(&cached);
        for (start, _) in pages.filter(|(_, is_cached)| !**is_cached) {
            let end = start.checked_add(page)?;
            let count = ranges.len();
            match ranges.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ if count < MAX_RANGES => ranges.push(start..end),
                _ => return None,
            }
        }
        offset = offset.checked_add(length)?;
    }
    Some(ranges)
}

/// For each page of a part of a file, whether it is in the page cache. `offset` is a multiple of
/// [`WINDOW_BYTES`], and `length` is not 0.
#[expect(unsafe_code)]
fn cached_pages(file: &File, offset: u64, length: usize) -> Option<Vec<bool>> {
    let mut flags = vec![0_u8; length.div_ceil(rustix::param::page_size())];
    // SAFETY: a new mapping at a place that the kernel chooses overlaps no other. It may be neither read
    // nor written, so that no access can meet the end of a file that becomes shorter, and no reference
    // into it is made.
    let mapped = unsafe {
        mmap(ptr::null_mut(), length, ProtFlags::empty(), MapFlags::SHARED, file, offset).ok()?
    };
    // SAFETY: the range is the mapping above, whose begin is a page's. `flags` has a byte for each of its
    // pages, which is all that mincore writes.
    let looked = unsafe { libc::mincore(mapped, length, flags.as_mut_ptr()) };
    // SAFETY: the mapping was made above with this length, and nothing refers to it any more.
    let unmapped = unsafe { munmap(mapped, length) };
    // The other bits are reserved.
    (looked == 0 && unmapped.is_ok()).then(|| flags.iter().map(|flag| flag & 1 == 1).collect())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};

    use super::*;

    /// A file on a disk whose pages can be dropped, with nothing of it in the cache.
    fn cold_file(bytes: usize) -> File {
        // The folder of temporary files may be in memory.
        let mut file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        file.write_all(&vec![7; bytes]).unwrap();
        file.sync_all().unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        file.rewind().unwrap();
        file
    }

    fn cached_bytes(file: &File, bytes: u64) -> u64 {
        let uncached = uncached(file, bytes).unwrap();
        bytes - uncached.iter().map(|range| range.end.min(bytes) - range.start).sum::<u64>()
    }

    #[test]
    fn pages_that_were_not_there_are_dropped_and_others_stay() {
        let bytes: u64 = 3 << 20;
        let mut file = cold_file(3 << 20);
        assert_eq!(cached_bytes(&file, bytes), 0);
        // Another program has read the first page, and nothing ahead of it.
        fadvise(&file, 0, None, Advice::Random).unwrap();
        file.read_exact(&mut [0; 4096]).unwrap();
        let before = cached_bytes(&file, bytes);
        assert!((1..bytes).contains(&before), "{before}");
        let part = UncachedPart::of(&file, bytes);
        part.will_be_read(&file, 0..bytes);
        file.rewind().unwrap();
        file.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(cached_bytes(&file, bytes), bytes);
        part.close(&file);
        assert_eq!(cached_bytes(&file, bytes), bytes, "nothing was read by this program");
        part.was_read(&file, bytes);
        part.close(&file);
        assert_eq!(cached_bytes(&file, bytes), before);
    }

    #[test]
    fn a_large_file_is_dropped_while_it_is_read() {
        let bytes = STEP_BYTES + 1;
        let mut file = cold_file(usize::try_from(bytes).unwrap());
        let part = UncachedPart::of(&file, bytes);
        file.read_to_end(&mut Vec::new()).unwrap();
        part.was_read(&file, STEP_BYTES - 1);
        assert_eq!(cached_bytes(&file, bytes), bytes);
        part.was_read(&file, 1);
        assert_eq!(cached_bytes(&file, bytes), 0);
    }

    #[test]
    fn an_empty_file_has_no_pages() {
        let file = cold_file(0);
        assert_eq!(uncached(&file, 0), Some(Vec::new()));
        UncachedPart::of(&file, 0).close(&file);
    }
}
