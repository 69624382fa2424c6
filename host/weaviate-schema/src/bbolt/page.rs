//! The format of meta, branch and leaf pages, checked before use (`data-directory.md` 5.3).
use crate::error::PageError;

/// Length of a page header: id u64, flags u16, count u16, overflow u32.
const HEADER: usize = 16;
/// Length of an element. In a branch: pos u32, ksize u32, page u64. In a leaf: flags, pos, ksize,
/// vsize, u32 each.
const ELEMENT: usize = 16;
/// Length of a bucket's header: root page u64, sequence u64.
const BUCKET: usize = 16;
/// Flags of a page.
const BRANCH: u16 = 1;
const LEAF: u16 = 2;
/// Flag of an element.
const NESTED_BUCKET: u32 = 1;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;

/// A meta page with a valid checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meta {
    pub page_bytes: u32,
    pub root_page: u64,
    /// One past the highest page in use (high-water mark).
    pub end_page: u64,
    pub transaction: u64,
}

impl Meta {
    /// Length of a meta page up to the end of its checksum.
    pub const END_BYTES: u64 = 80;

    /// The page sizes that a meta page may state: powers of two around those of operating systems.
    pub fn page_sizes() -> impl Iterator<Item = u32> {
        (9..=24).map(|shift| 1 << shift)
    }

    /// Reads the start of a page; `None` if it is not a valid meta page.
    pub fn parse(page: &[u8]) -> Option<Meta> {
        let meta = page.get(HEADER..)?;
        let checked = meta.get(..56)?;
        let page_bytes = u32_at(meta, 8)?;
        let valid = u32_at(meta, 0)? == MAGIC
            && u32_at(meta, 4)? == VERSION
            && Meta::page_sizes().any(|size| size == page_bytes)
            && u64_at(meta, 56)? == fnv_1a(checked);
        valid.then_some(Meta {
            page_bytes,
            root_page: u64_at(meta, 16)?,
            end_page: u64_at(meta, 40)?,
            transaction: u64_at(meta, 48)?,
        })
    }
}

/// A page of the tree, including its overflow.
#[derive(Debug)]
pub(super) enum Page<'a> {
    Branch(Branch<'a>),
    Leaf(Elements<'a>),
}

/// An element of a leaf.
#[derive(Debug)]
pub(super) enum Leaf<'a> {
    Pair {
        key: &'a [u8],
        value: &'a [u8],
    },
    Bucket {
        name: &'a [u8],
        /// 0 for an inline bucket, which lies within the leaf.
        root_page: u64,
        /// The page of an inline bucket.
        inline: &'a [u8],
    },
}

impl<'a> Page<'a> {
    /// The number of overflow pages after the page with this header, which must be page `id`.
    pub fn overflow(page: &[u8], id: u64) -> Result<u32, PageError> {
        let out_of_file = PageError::OutOfFile { last: id };
        let (Some(found), Some(overflow)) = (u64_at(page, 0), u32_at(page, 12)) else {
            return Err(out_of_file);
        };
        if found == id { Ok(overflow) } else { Err(PageError::Id { found }) }
    }

    /// Reads a page with its overflow, or an inline bucket.
    pub fn parse(bytes: &'a [u8]) -> Result<Page<'a>, PageError> {
        let flags = u16_at(bytes, 8).unwrap_or_default();
        let count = u16_at(bytes, 10).unwrap_or_default();
        let elements = Elements { bytes, count };
        match flags {
            BRANCH => Ok(Page::Branch(Branch(elements))),
            LEAF => Ok(Page::Leaf(elements)),
            _ => Err(PageError::Flags { flags }),
        }
    }
}

/// The elements of a branch page.
#[derive(Debug)]
pub(super) struct Branch<'a>(Elements<'a>);

impl Branch<'_> {
    /// The numbers of the child pages.
    pub fn children(&self) -> impl Iterator<Item = Result<u64, PageError>> {
        let mut previous = Previous::default();
        (0..self.0.count).map(move |element| {
            let header = self.0.header(element)?;
            let misplaced = || self.0.misplaced(element);
            let (position, key_bytes) =
                u32_at(header, 0).zip(u32_at(header, 4)).ok_or_else(misplaced)?;
            self.0.data(element, position, key_bytes, 0, &mut previous)?;
            u64_at(header, 8).ok_or_else(misplaced)
        })
    }
}

/// A table of elements, followed by their data.
#[derive(Debug)]
pub(super) struct Elements<'a> {
    bytes: &'a [u8],
    count: u16,
}

/// The element before. Keys must ascend and data must not overlap, which bounds the work by the
/// length of the page.
#[derive(Debug, Default)]
struct Previous<'a> {
    end: usize,
    key: Option<&'a [u8]>,
}

impl<'a> Elements<'a> {
    /// The pairs and buckets of a leaf.
    pub fn elements(&self) -> impl Iterator<Item = Result<Leaf<'a>, PageError>> {
        let mut previous = Previous::default();
        (0..self.count).map(move |element| {
            let header = self.header(element)?;
            let misplaced = || self.misplaced(element);
            let (flags, position) =
                u32_at(header, 0).zip(u32_at(header, 4)).ok_or_else(misplaced)?;
            let (key_bytes, value_bytes) =
                u32_at(header, 8).zip(u32_at(header, 12)).ok_or_else(misplaced)?;
            let (key, value) =
                self.data(element, position, key_bytes, value_bytes, &mut previous)?;
            if flags & NESTED_BUCKET == 0 {
                return Ok(Leaf::Pair { key, value });
            }
            let root_page = u64_at(value, 0).ok_or_else(misplaced)?;
            let inline = value.get(BUCKET..).ok_or_else(misplaced)?;
            Ok(Leaf::Bucket { name: key, root_page, inline })
        })
    }

    fn header(&self, element: u16) -> Result<&'a [u8], PageError> {
        let start = self.header_start(element);
        self.bytes.get(start..start.saturating_add(ELEMENT)).ok_or_else(|| self.misplaced(element))
    }

    fn header_start(&self, element: u16) -> usize {
        HEADER.saturating_add(usize::from(element).saturating_mul(ELEMENT))
    }

    /// Key and value of an element. `position` is relative to the element's header.
    fn data(
        &self,
        element: u16,
        position: u32,
        key_bytes: u32,
        value_bytes: u32,
        previous: &mut Previous<'a>,
    ) -> Result<(&'a [u8], &'a [u8]), PageError> {
        let misplaced = || self.misplaced(element);
        let add = |offset: usize, bytes: u32| offset.checked_add(usize::try_from(bytes).ok()?);
        let start = add(self.header_start(element), position).ok_or_else(misplaced)?;
        let middle = add(start, key_bytes).ok_or_else(misplaced)?;
        let end = add(middle, value_bytes).ok_or_else(misplaced)?;
        if start < self.header_start(self.count).max(previous.end) {
            return Err(misplaced());
        }
        let key = self.bytes.get(start..middle).ok_or_else(misplaced)?;
        let value = self.bytes.get(middle..end).ok_or_else(misplaced)?;
        if previous.key.is_some_and(|before| before >= key) {
            return Err(PageError::Order { element });
        }
        *previous = Previous { end, key: Some(key) };
        Ok((key, value))
    }

    fn misplaced(&self, element: u16) -> PageError {
        PageError::Element { element, count: self.count }
    }
}

fn fnv_1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    array_at(bytes, offset).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    array_at(bytes, offset).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    array_at(bytes, offset).map(u64::from_le_bytes)
}
