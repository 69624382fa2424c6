//! Reads the pairs of a bbolt file without its lock, while a server may be writing to it
//! (`data-directory.md` 5.3).
//!
//! A server keeps the tree of transaction T as it is until T + 1 is committed, because pages are
//! copied on write and freed pages come back into use one commit later. So a walk is right when
//! the newest meta page is the same behind it as before it, and [`SchemaReadError::Changed`] when
//! it is not, whatever the walk itself ran into.
mod file;
mod page;

use std::{borrow::Cow, collections::HashSet};

use cap_std::fs::Dir;

use self::{
    file::PagedFile,
    page::{Leaf, Meta, Page},
};
use super::error::{PageFault, SchemaReadError};

/// Levels of branches and buckets below one another. Real trees have less than ten.
const MAX_DEPTH: usize = 64;

/// A bbolt file at its newest commit.
#[derive(Debug)]
pub struct Database {
    file: PagedFile,
    /// `None` for a file of 0 bytes, which the next start of the server would fill.
    meta: Option<Meta>,
}

/// Where a walk is.
struct Walk {
    /// Pages of the tree so far, with their overflow: each is read once, so that a walk ends and
    /// costs no more than the file has bytes.
    seen: HashSet<u64>,
    /// Names of the buckets from the root to the present one.
    path: Vec<Vec<u8>>,
    /// Branches and buckets around the present page.
    depth: usize,
}

impl Database {
    /// Opens the file `name` in `directory`; `path` is how messages call it. `None` when there is
    /// no such file.
    ///
    /// # Errors
    /// [`SchemaReadError::Read`], or [`SchemaReadError::NoMetaPage`].
    pub fn open(
        directory: &Dir,
        name: &str,
        path: &str,
    ) -> Result<Option<Database>, SchemaReadError> {
        PagedFile::open(directory, name, path)?.map(Database::of).transpose()
    }

    /// The database that a file called `path` with these bytes is.
    ///
    /// # Errors
    /// [`SchemaReadError::NoMetaPage`].
    pub fn from_bytes(path: &str, bytes: Vec<u8>) -> Result<Database, SchemaReadError> {
        Database::of(PagedFile::from_bytes(path, bytes))
    }

    fn of(file: PagedFile) -> Result<Database, SchemaReadError> {
        if file.is_empty() {
            return Ok(Database { file, meta: None });
        }
        match newest_meta(|offset, bytes| file.read(offset, bytes))? {
            Some(meta) => Ok(Database { file, meta: Some(meta) }),
            None => Err(SchemaReadError::NoMetaPage { file: file.path().to_owned() }),
        }
    }

    /// How messages call the file.
    pub fn path(&self) -> &str {
        self.file.path()
    }

    /// Calls `visit` with every pair of every bucket: the names of the buckets from the root to
    /// the pair's own, its key and its value. A bucket's pairs come in the order of their keys.
    ///
    /// # Errors
    /// [`SchemaReadError::Changed`] when a commit came in between: then nothing that was visited
    /// may be used. Else a page that is damaged or cannot be read, or the error of `visit`.
    pub fn for_each_pair(
        &self,
        mut visit: impl FnMut(&[Vec<u8>], &[u8], &[u8]) -> Result<(), SchemaReadError>,
    ) -> Result<(), SchemaReadError> {
        let Some(meta) = &self.meta else { return Ok(()) };
        let mut walk = Walk { seen: HashSet::new(), path: Vec::new(), depth: 0 };
        let walked = self.walk_page(meta, meta.root_page, &mut walk, &mut visit);
        let newest = newest_meta(|offset, bytes| self.file.read_fresh(offset, bytes))?;
        if newest.is_none_or(|newest| newest.transaction != meta.transaction) {
            return Err(SchemaReadError::Changed { file: self.path().to_owned() });
        }
        walked
    }

    fn walk_page(
        &self,
        meta: &Meta,
        id: u64,
        walk: &mut Walk,
        visit: &mut dyn FnMut(&[Vec<u8>], &[u8], &[u8]) -> Result<(), SchemaReadError>,
    ) -> Result<(), SchemaReadError> {
        let bytes = self.page_bytes(meta, id, walk)?;
        let page = Page::parse(&bytes).map_err(|fault| self.fault(id, fault))?;
        self.walk_elements(meta, id, &page, walk, visit)
    }

    /// `id` is for messages: the page itself, or the one that holds it inline.
    fn walk_elements(
        &self,
        meta: &Meta,
        id: u64,
        page: &Page<'_>,
        walk: &mut Walk,
        visit: &mut dyn FnMut(&[Vec<u8>], &[u8], &[u8]) -> Result<(), SchemaReadError>,
    ) -> Result<(), SchemaReadError> {
        walk.depth = walk.depth.saturating_add(1);
        if walk.depth > MAX_DEPTH {
            return Err(self.fault(id, PageFault::TooDeep { limit: MAX_DEPTH }));
        }
        match page {
            Page::Branch(branch) => {
                for child in branch.children() {
                    let child = child.map_err(|fault| self.fault(id, fault))?;
                    self.walk_page(meta, child, walk, visit)?;
                }
            }
            Page::Leaf(leaf) => {
                for element in leaf.elements() {
                    match element.map_err(|fault| self.fault(id, fault))? {
                        Leaf::Pair { key, value } => visit(&walk.path, key, value)?,
                        Leaf::Bucket { name, root_page: 0, inline } => {
                            let page =
                                Page::parse(inline).map_err(|fault| self.fault(id, fault))?;
                            walk.path.push(name.to_vec());
                            self.walk_elements(meta, id, &page, walk, visit)?;
                            walk.path.pop();
                        }
                        Leaf::Bucket { name, root_page, .. } => {
                            walk.path.push(name.to_vec());
                            self.walk_page(meta, root_page, walk, visit)?;
                            walk.path.pop();
                        }
                    }
                }
            }
        }
        walk.depth = walk.depth.saturating_sub(1);
        Ok(())
    }

    /// The page and its overflow, for the first and only time.
    fn page_bytes(
        &self,
        meta: &Meta,
        id: u64,
        walk: &mut Walk,
    ) -> Result<Cow<'_, [u8]>, SchemaReadError> {
        let out_of_file =
            || self.fault(id, PageFault::OutOfFile { last: meta.end_page.saturating_sub(1) });
        let page_bytes = u64::from(meta.page_bytes);
        let read = |pages: u64| {
            let within = id.checked_add(pages).is_some_and(|end| end <= meta.end_page);
            let place = id.checked_mul(page_bytes).zip(pages.checked_mul(page_bytes));
            match place.filter(|_| within) {
                Some((offset, bytes)) => self.file.read(offset, bytes)?.ok_or_else(out_of_file),
                None => Err(out_of_file()),
            }
        };
        let first = read(1)?;
        let overflow = Page::overflow(&first, id).map_err(|fault| self.fault(id, fault))?;
        let pages = u64::from(overflow).saturating_add(1);
        let bytes = if overflow == 0 { first } else { read(pages)? };
        for page in id..id.saturating_add(pages) {
            if !walk.seen.insert(page) {
                return Err(self.fault(page, PageFault::Twice));
            }
        }
        Ok(bytes)
    }

    fn fault(&self, page: u64, fault: PageFault) -> SchemaReadError {
        SchemaReadError::Page { file: self.path().to_owned(), page, fault }
    }
}

/// The valid meta page with the higher transaction. The second one lies behind the first, at a
/// distance that only a valid meta page states: without one, sizes are tried.
fn newest_meta<'f>(
    read: impl Fn(u64, u64) -> Result<Option<Cow<'f, [u8]>>, SchemaReadError>,
) -> Result<Option<Meta>, SchemaReadError> {
    let meta_at = |offset: u64| -> Result<Option<Meta>, SchemaReadError> {
        let page = read(offset, Meta::END_BYTES)?;
        Ok(page.as_deref().and_then(Meta::parse))
    };
    let first = meta_at(0)?;
    let second = match &first {
        Some(first) => meta_at(u64::from(first.page_bytes))?,
        None => {
            let mut second = None;
            for page_bytes in Meta::page_sizes() {
                second = meta_at(u64::from(page_bytes))?
                    .filter(|meta| meta.page_bytes == page_bytes)
                    .or(second);
            }
            second
        }
    };
    Ok(first.into_iter().chain(second).max_by_key(|meta| meta.transaction))
}
