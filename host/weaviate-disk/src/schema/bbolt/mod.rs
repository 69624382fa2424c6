//! Reads the pairs of a bbolt file without its lock, while a server may be writing to it
//! (`data-directory.md` 5.3).
//!
//! A server keeps the tree of transaction T as it is until T + 1 is committed, because pages are
//! copied on write and freed pages come back into use one commit later. So a walk is right when
//! the newest meta page is the same behind it as before it, and [`SchemaReadError::Changed`] when
//! it is not, whatever the walk itself ran into.
mod file;
mod page;
mod walk;

use std::borrow::Cow;

use cap_std::fs::Dir;

use self::{file::PagedFile, page::Meta, walk::Walk};
use super::error::SchemaReadError;

/// A bbolt file at its newest commit.
#[derive(Debug)]
pub struct Database {
    file: PagedFile,
    /// `None` for a file of 0 bytes, which the next start of the server would fill.
    meta: Option<Meta>,
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
        visit: impl FnMut(&[Vec<u8>], &[u8], &[u8]) -> Result<(), SchemaReadError>,
    ) -> Result<(), SchemaReadError> {
        let Some(meta) = &self.meta else { return Ok(()) };
        let walked = Walk::new(&self.file, meta, visit).bucket(meta.root_page);
        let newest = newest_meta(|offset, bytes| self.file.read_fresh(offset, bytes))?;
        if newest.is_none_or(|newest| newest.transaction != meta.transaction) {
            return Err(SchemaReadError::Changed { file: self.path().to_owned() });
        }
        walked
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
