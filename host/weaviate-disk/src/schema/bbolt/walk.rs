//! Goes through the tree of pages of a bbolt file, bucket by bucket (`data-directory.md` 5.3).
use std::{borrow::Cow, collections::HashSet};

use super::{
    super::error::{PageFault, SchemaReadError},
    file::PagedFile,
    page::{Leaf, Meta, Page},
};

/// Levels of branches and buckets within one another. Real trees have less than ten.
const MAX_DEPTH: usize = 64;

/// Where a walk is.
pub(super) struct Walk<'f, V> {
    file: &'f PagedFile,
    meta: &'f Meta,
    /// Gets every pair.
    visit: V,
    /// Pages of the tree so far, with their overflow: each is read once, so that a walk ends and
    /// costs no more than the file has bytes.
    seen: HashSet<u64>,
    /// Names of the buckets from the root to the present one.
    path: Vec<Vec<u8>>,
    /// Branches and buckets around the present page.
    depth: usize,
}

impl<'f, V> Walk<'f, V>
where
    V: FnMut(&[Vec<u8>], &[u8], &[u8]) -> Result<(), SchemaReadError>,
{
    pub fn new(file: &'f PagedFile, meta: &'f Meta, visit: V) -> Self {
        Walk { file, meta, visit, seen: HashSet::new(), path: Vec::new(), depth: 0 }
    }

    /// All pairs of the bucket whose root is page `id`, and of the buckets in it.
    pub fn bucket(&mut self, id: u64) -> Result<(), SchemaReadError> {
        let bytes = self.page(id)?;
        self.elements(id, &bytes)
    }

    /// `bytes` are a page's with its overflow, or those of a bucket that lies within page `id`.
    fn elements(&mut self, id: u64, bytes: &[u8]) -> Result<(), SchemaReadError> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_DEPTH {
            return Err(self.fault(id, PageFault::TooDeep { limit: MAX_DEPTH }));
        }
        match Page::parse(bytes).map_err(|fault| self.fault(id, fault))? {
            Page::Branch(branch) => {
                for child in branch.children() {
                    let child = child.map_err(|fault| self.fault(id, fault))?;
                    self.bucket(child)?;
                }
            }
            Page::Leaf(leaf) => {
                for element in leaf.elements() {
                    match element.map_err(|fault| self.fault(id, fault))? {
                        Leaf::Pair { key, value } => (self.visit)(&self.path, key, value)?,
                        Leaf::Bucket { name, root_page, inline } => {
                            self.path.push(name.to_vec());
                            match root_page {
                                0 => self.elements(id, inline)?,
                                _ => self.bucket(root_page)?,
                            }
                            self.path.pop();
                        }
                    }
                }
            }
        }
        self.depth = self.depth.saturating_sub(1);
        Ok(())
    }

    /// The bytes of page `id` and its overflow, for the first and only time.
    fn page(&mut self, id: u64) -> Result<Cow<'f, [u8]>, SchemaReadError> {
        let first = self.pages(id, 1)?;
        let overflow = Page::overflow(&first, id).map_err(|fault| self.fault(id, fault))?;
        let count = u64::from(overflow).saturating_add(1);
        let bytes = if overflow == 0 { first } else { self.pages(id, count)? };
        for page in id..id.saturating_add(count) {
            if !self.seen.insert(page) {
                return Err(self.fault(page, PageFault::Twice));
            }
        }
        Ok(bytes)
    }

    fn pages(&self, id: u64, count: u64) -> Result<Cow<'f, [u8]>, SchemaReadError> {
        let page_bytes = u64::from(self.meta.page_bytes);
        let end = id.checked_add(count).filter(|end| *end <= self.meta.end_page);
        let place = id.checked_mul(page_bytes).zip(count.checked_mul(page_bytes));
        let read = match place.filter(|_| end.is_some()) {
            Some((offset, bytes)) => self.file.read(offset, bytes)?,
            None => None,
        };
        let last = self.meta.end_page.saturating_sub(1);
        read.ok_or_else(|| self.fault(id, PageFault::OutOfFile { last }))
    }

    fn fault(&self, page: u64, fault: PageFault) -> SchemaReadError {
        SchemaReadError::Page { file: self.file.path().to_owned(), page, fault }
    }
}
