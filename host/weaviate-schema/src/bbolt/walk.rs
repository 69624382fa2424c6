//! Walks the tree of pages of a bbolt file, bucket by bucket (`data-directory.md` 5.3).
use std::{borrow::Cow, collections::HashSet};

use crate::{
    bbolt::{
        file::PagedFile,
        page::{Leaf, Meta, Page},
    },
    error::{PageError, SchemaError},
};

/// Most bytes of a page with its overflow. A sparse file can claim any number. The largest real values
/// are classes with all their tenants, and entries of the log, of some megabytes.
const MAX_PAGE_BYTES: u64 = 256 * 1024 * 1024;

/// Limit of nested branches and buckets. Real trees have fewer than ten levels.
const MAX_DEPTH: usize = 64;

/// A walk in progress.
pub(super) struct Walk<'f, V> {
    file: &'f PagedFile,
    meta: &'f Meta,
    /// Receives every pair.
    visit: V,
    /// Pages read so far, with their overflow. Each is read once only, so that a walk ends and its
    /// cost is bounded by the length of the file.
    seen: HashSet<u64>,
    /// Names of the buckets from the root to the current one.
    path: Vec<Vec<u8>>,
    /// Number of branches and buckets that enclose the current page.
    depth: usize,
}

impl<'f, V> Walk<'f, V>
where
    V: FnMut(&[Vec<u8>], &[u8], &[u8]) -> Result<(), SchemaError>,
{
    pub fn new(file: &'f PagedFile, meta: &'f Meta, visit: V) -> Self {
        Walk { file, meta, visit, seen: HashSet::new(), path: Vec::new(), depth: 0 }
    }

    /// Visits all pairs of the bucket whose root is page `id`, and of the buckets in it.
    pub fn bucket(&mut self, id: u64) -> Result<(), SchemaError> {
        let bytes = self.page(id)?;
        self.elements(id, &bytes)
    }

    /// `bytes` is page `id` with its overflow, or an inline bucket in page `id`.
    fn elements(&mut self, id: u64, bytes: &[u8]) -> Result<(), SchemaError> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_DEPTH {
            return Err(self.invalid(id, PageError::TooDeep { limit: MAX_DEPTH }));
        }
        match Page::parse(bytes).map_err(|error| self.invalid(id, error))? {
            Page::Branch(branch) => {
                for child in branch.children() {
                    let child = child.map_err(|error| self.invalid(id, error))?;
                    self.bucket(child)?;
                }
            }
            Page::Leaf(leaf) => {
                for element in leaf.elements() {
                    match element.map_err(|error| self.invalid(id, error))? {
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

    /// Reads page `id` and its overflow, which must not have been read before.
    fn page(&mut self, id: u64) -> Result<Cow<'f, [u8]>, SchemaError> {
        let first = self.pages(id, 1)?;
        let overflow = Page::overflow(&first, id).map_err(|error| self.invalid(id, error))?;
        let count = u64::from(overflow).saturating_add(1);
        let page_bytes = u64::from(self.meta.page_bytes);
        if overflow > 0 && count.saturating_mul(page_bytes) > MAX_PAGE_BYTES {
            return Err(self.invalid(id, PageError::TooLarge { limit: MAX_PAGE_BYTES }));
        }
        let bytes = if overflow == 0 { first } else { self.pages(id, count)? };
        for page in id..id.saturating_add(count) {
            if !self.seen.insert(page) {
                return Err(self.invalid(page, PageError::Twice));
            }
        }
        Ok(bytes)
    }

    fn pages(&self, id: u64, count: u64) -> Result<Cow<'f, [u8]>, SchemaError> {
        let page_bytes = u64::from(self.meta.page_bytes);
        let end = id.checked_add(count).filter(|end| *end <= self.meta.end_page);
        let place = id.checked_mul(page_bytes).zip(count.checked_mul(page_bytes));
        let read = match place.filter(|_| end.is_some()) {
            Some((offset, bytes)) => self.file.read(offset, bytes)?,
            None => None,
        };
        let last = self.meta.end_page.saturating_sub(1);
        read.ok_or_else(|| self.invalid(id, PageError::OutOfFile { last }))
    }

    fn invalid(&self, page: u64, error: PageError) -> SchemaError {
        SchemaError::Page { file: self.file.path().to_owned(), page, error }
    }
}
