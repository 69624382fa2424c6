//! The bytes of a bbolt file: a small file is copied at once, a large one is read page by page.
use std::{borrow::Cow, io, os::unix::fs::FileExt};

use cap_std::fs::Dir;

use crate::{error::SchemaError, regular_file};

/// A file up to this length is read at once, so that a commit rarely happens in between. A longer
/// one, such as a RAFT log of many gigabytes, is not held in memory.
const COPY_BYTES: u64 = 32 * 1024 * 1024;

/// An open bbolt file.
#[derive(Debug)]
pub(super) struct PagedFile {
    path: String,
    bytes: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// The bytes, and the file that they were copied from, if there is one.
    Copy(Vec<u8>, Option<std::fs::File>),
    Open(std::fs::File),
}

impl PagedFile {
    /// Opens the file `name` in `directory`; `None` if there is none. `path` is its name in errors.
    pub fn open(directory: &Dir, name: &str, path: &str) -> Result<Option<PagedFile>, SchemaError> {
        let Some((file, bytes)) = regular_file::open(directory, name, path)? else {
            return Ok(None);
        };
        let content = if bytes <= COPY_BYTES {
            Content::Copy(regular_file::read_whole(&file, bytes, path)?, Some(file))
        } else {
            Content::Open(file)
        };
        Ok(Some(PagedFile { path: path.to_owned(), bytes, content }))
    }

    pub fn from_bytes(path: &str, copy: Vec<u8>) -> PagedFile {
        let bytes = u64::try_from(copy.len()).unwrap_or(u64::MAX);
        PagedFile { path: path.to_owned(), bytes, content: Content::Copy(copy, None) }
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// `None` if the file ends before `offset + bytes`.
    pub fn read(&self, offset: u64, bytes: u64) -> Result<Option<Cow<'_, [u8]>>, SchemaError> {
        match &self.content {
            Content::Copy(copy, _) => Ok(part(copy, offset, bytes).map(Cow::Borrowed)),
            Content::Open(file) => Ok(self.read_from(file, offset, bytes)?.map(Cow::Owned)),
        }
    }

    /// As [`Self::read`], but from the file as it is now, not from the copy.
    pub fn read_fresh(
        &self,
        offset: u64,
        bytes: u64,
    ) -> Result<Option<Cow<'_, [u8]>>, SchemaError> {
        match &self.content {
            Content::Copy(_, Some(file)) => {
                Ok(self.read_from(file, offset, bytes)?.map(Cow::Owned))
            }
            Content::Copy(_, None) | Content::Open(_) => self.read(offset, bytes),
        }
    }

    /// Allocates no more than the file's length.
    fn read_from(
        &self,
        file: &std::fs::File,
        offset: u64,
        bytes: u64,
    ) -> Result<Option<Vec<u8>>, SchemaError> {
        let (Some(end), Ok(length)) = (offset.checked_add(bytes), usize::try_from(bytes)) else {
            return Ok(None);
        };
        if end > self.bytes {
            return Ok(None);
        }
        let mut buffer = vec![0; length];
        match file.read_exact_at(&mut buffer, offset) {
            Ok(()) => Ok(Some(buffer)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(SchemaError::Changed { file: self.path.clone() })
            }
            Err(source) => Err(SchemaError::Read { file: self.path.clone(), source }),
        }
    }
}

fn part(copy: &[u8], offset: u64, bytes: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(bytes).ok()?)?;
    copy.get(start..end)
}
