//! Reads the pairs of a bbolt file without its lock, while a server may be writing to it
//! (`data-directory.md` 5.3).
//!
//! Pages are copied on write, and freed pages are used again one commit later. So the tree of
//! transaction T stays intact until T + 1 is committed. A walk is therefore correct if the newest
//! meta page is the same after the walk as before it. If it is not, the result is
//! [`SchemaError::Changed`], even if the walk itself failed.
//!
//! Reading order: `file` (bytes), `page` (their format), `walk` (the tree).
mod file;
mod page;
mod walk;

use std::borrow::Cow;

use cap_std::fs::Dir;

use self::{file::PagedFile, page::Meta, walk::Walk};
use crate::error::SchemaError;

/// A bbolt file, as of its newest commit.
#[derive(Debug)]
pub struct Database {
    file: PagedFile,
    /// `None` for a file of 0 bytes: the server had not written to it yet.
    meta: Option<Meta>,
}

impl Database {
    /// Opens the file `name` in `directory`; `None` if there is none. `path` is its name in errors.
    ///
    /// # Errors
    /// [`SchemaError::Read`], or [`SchemaError::NoMetaPage`].
    pub fn open(directory: &Dir, name: &str, path: &str) -> Result<Option<Database>, SchemaError> {
        PagedFile::open(directory, name, path)?.map(Database::of).transpose()
    }

    /// A database in memory: `bytes` is the content of a file, `path` its name in errors.
    ///
    /// # Errors
    /// [`SchemaError::NoMetaPage`].
    pub fn from_bytes(path: &str, bytes: Vec<u8>) -> Result<Database, SchemaError> {
        Database::of(PagedFile::from_bytes(path, bytes))
    }

    fn of(file: PagedFile) -> Result<Database, SchemaError> {
        if file.is_empty() {
            return Ok(Database { file, meta: None });
        }
        match newest_meta(|offset, bytes| file.read(offset, bytes))? {
            Some(meta) => Ok(Database { file, meta: Some(meta) }),
            None => Err(SchemaError::NoMetaPage { file: file.path().to_owned() }),
        }
    }

    /// The name of the file in errors.
    pub fn path(&self) -> &str {
        self.file.path()
    }

    /// Calls `visit` with every pair of every bucket: the names of the buckets from the root to
    /// the pair's own bucket, the key and the value. The pairs of a bucket are in the order of their
    /// keys.
    ///
    /// # Errors
    /// [`SchemaError::Changed`] if there was a commit during the walk: discard all visited pairs.
    /// Else [`SchemaError::Page`], [`SchemaError::Read`], or the error of `visit`.
    pub fn for_each_pair(
        &self,
        visit: impl FnMut(&[Vec<u8>], &[u8], &[u8]) -> Result<(), SchemaError>,
    ) -> Result<(), SchemaError> {
        let Some(meta) = &self.meta else { return Ok(()) };
        let walked = Walk::new(&self.file, meta, visit).bucket(meta.root_page);
        let newest = newest_meta(|offset, bytes| self.file.read_fresh(offset, bytes))?;
        if newest.is_none_or(|newest| newest.transaction != meta.transaction) {
            return Err(SchemaError::Changed { file: self.path().to_owned() });
        }
        walked
    }
}

/// The valid meta page with the higher transaction. The second meta page starts at the page size,
/// which only a valid meta page states. If the first is not valid, all page sizes are tried.
fn newest_meta<'f>(
    read: impl Fn(u64, u64) -> Result<Option<Cow<'f, [u8]>>, SchemaError>,
) -> Result<Option<Meta>, SchemaError> {
    let meta_at = |offset: u64| -> Result<Option<Meta>, SchemaError> {
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
