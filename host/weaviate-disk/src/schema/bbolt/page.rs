//! The bytes of meta, branch and leaf pages, checked before they are used (`data-directory.md`
//! 5.3).
use super::super::error::PageFault;

/// Id u64, flags u16, count u16, overflow u32.
const HEADER: usize = 16;
/// Of a branch: pos u32, ksize u32, page u64. Of a leaf: flags, pos, ksize, vsize, u32 each.
const ELEMENT: usize = 16;
/// Root page u64, sequence u64.
const BUCKET: usize = 16;
/// Page flags.
const BRANCH: u16 = 1;
const LEAF: u16 = 2;
/// Element flag.
const NESTED_BUCKET: u32 = 1;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;

/// A meta page whose checksum is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meta {
    pub page_bytes: u32,
    pub root_page: u64,
    /// One past the highest page in use (high water).
    pub end_page: u64,
    pub transaction: u64,
}

impl Meta {
    /// Of a meta page, up to and with the checksum.
    pub const END_BYTES: u64 = 80;

    /// What a meta page may state: powers of two around those of operating systems.
    pub fn page_sizes() -> impl Iterator<Item = u32> {
        (9..=24).map(|shift| 1 << shift)
    }

    /// From the start of a page; `None` when it is no valid meta page.
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

/// A page of the tree, its overflow included.
#[derive(Debug)]
pub(super) enum Page<'a> {
    Branch(Branch<'a>),
    Leaf(Elements<'a>),
}

/// What a leaf holds at one key.
#[derive(Debug)]
pub(super) enum Leaf<'a> {
    Pair {
        key: &'a [u8],
        value: &'a [u8],
    },
    Bucket {
        name: &'a [u8],
        /// 0 for a bucket that lies within the leaf.
        root_page: u64,
        /// The page of such a bucket.
        inline: &'a [u8],
    },
}

impl<'a> Page<'a> {
    /// How many pages the page with this header runs on, once it is known to be page `id`.
    pub fn overflow(page: &[u8], id: u64) -> Result<u32, PageFault> {
        let cut = PageFault::OutOfFile { last: id };
        let (Some(found), Some(overflow)) = (u64_at(page, 0), u32_at(page, 12)) else {
            return Err(cut);
        };
        if found == id { Ok(overflow) } else { Err(PageFault::Id { found }) }
    }

    /// Of the bytes of a page with its overflow, or of an inline bucket.
    pub fn parse(bytes: &'a [u8]) -> Result<Page<'a>, PageFault> {
        let flags = u16_at(bytes, 8).unwrap_or_default();
        let count = u16_at(bytes, 10).unwrap_or_default();
        let elements = Elements { bytes, count };
        match flags {
            BRANCH => Ok(Page::Branch(Branch(elements))),
            LEAF => Ok(Page::Leaf(elements)),
            _ => Err(PageFault::Flags { flags }),
        }
    }
}

/// The elements of a branch page.
#[derive(Debug)]
pub(super) struct Branch<'a>(Elements<'a>);

impl Branch<'_> {
    /// The pages below.
    pub fn children(&self) -> impl Iterator<Item = Result<u64, PageFault>> {
        let mut previous = Previous::default();
        (0..self.0.count).map(move |element| {
            let header = self.0.header(element)?;
            let lost = || self.0.out_of_place(element);
            let (position, key_bytes) =
                u32_at(header, 0).zip(u32_at(header, 4)).ok_or_else(lost)?;
            self.0.data(element, position, key_bytes, 0, &mut previous)?;
            u64_at(header, 8).ok_or_else(lost)
        })
    }
}

/// A table of elements, and their data behind it.
#[derive(Debug)]
pub(super) struct Elements<'a> {
    bytes: &'a [u8],
    count: u16,
}

/// The element before: keys ascend and data never overlaps, so that a page is worth no more work
/// than its bytes.
#[derive(Debug, Default)]
struct Previous<'a> {
    end: usize,
    key: Option<&'a [u8]>,
}

impl<'a> Elements<'a> {
    /// The pairs and buckets of a leaf.
    pub fn elements(&self) -> impl Iterator<Item = Result<Leaf<'a>, PageFault>> {
        let mut previous = Previous::default();
        (0..self.count).map(move |element| {
            let header = self.header(element)?;
            let lost = || self.out_of_place(element);
            let (flags, position) = u32_at(header, 0).zip(u32_at(header, 4)).ok_or_else(lost)?;
            let (key_bytes, value_bytes) =
                u32_at(header, 8).zip(u32_at(header, 12)).ok_or_else(lost)?;
            let (key, value) =
                self.data(element, position, key_bytes, value_bytes, &mut previous)?;
            if flags & NESTED_BUCKET == 0 {
                return Ok(Leaf::Pair { key, value });
            }
            let root_page = u64_at(value, 0).ok_or_else(lost)?;
            let inline = value.get(BUCKET..).ok_or_else(lost)?;
            Ok(Leaf::Bucket { name: key, root_page, inline })
        })
    }

    fn header(&self, element: u16) -> Result<&'a [u8], PageFault> {
        let start = self.header_start(element);
        self.bytes
            .get(start..start.saturating_add(ELEMENT))
            .ok_or_else(|| self.out_of_place(element))
    }

    fn header_start(&self, element: u16) -> usize {
        HEADER.saturating_add(usize::from(element).saturating_mul(ELEMENT))
    }

    /// Key and value: `position` counts from the element's own header.
    fn data(
        &self,
        element: u16,
        position: u32,
        key_bytes: u32,
        value_bytes: u32,
        previous: &mut Previous<'a>,
    ) -> Result<(&'a [u8], &'a [u8]), PageFault> {
        let lost = || self.out_of_place(element);
        let add = |offset: usize, bytes: u32| offset.checked_add(usize::try_from(bytes).ok()?);
        let start = add(self.header_start(element), position).ok_or_else(lost)?;
        let middle = add(start, key_bytes).ok_or_else(lost)?;
        let end = add(middle, value_bytes).ok_or_else(lost)?;
        if start < self.header_start(self.count).max(previous.end) {
            return Err(lost());
        }
        let key = self.bytes.get(start..middle).ok_or_else(lost)?;
        let value = self.bytes.get(middle..end).ok_or_else(lost)?;
        if previous.key.is_some_and(|before| before >= key) {
            return Err(PageFault::Order { element });
        }
        *previous = Previous { end, key: Some(key) };
        Ok((key, value))
    }

    fn out_of_place(&self, element: u16) -> PageFault {
        PageFault::Element { element, count: self.count }
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
