//! The bytes of a bbolt file: a small one is copied at once, a large one read page by page.
use std::{borrow::Cow, io, os::unix::fs::FileExt};

use cap_std::fs::Dir;

use super::super::{error::SchemaReadError, open};

/// Up to this length one read takes the whole file, so that a commit rarely comes in between.
/// Beyond it a RAFT log of many gigabytes costs no memory.
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
    /// With the file that it is a copy of, unless there is none.
    Copy(Vec<u8>, Option<std::fs::File>),
    Open(std::fs::File),
}

impl PagedFile {
    /// `None` when there is no file `name` in `directory`; `path` is for messages.
    pub fn open(
        directory: &Dir,
        name: &str,
        path: &str,
    ) -> Result<Option<PagedFile>, SchemaReadError> {
        let Some((file, bytes)) = open::file(directory, name, path)? else { return Ok(None) };
        let content = if bytes <= COPY_BYTES {
            Content::Copy(open::read_whole(&file, bytes, path)?, Some(file))
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

    /// `None` when the file ends before.
    pub fn read(&self, offset: u64, bytes: u64) -> Result<Option<Cow<'_, [u8]>>, SchemaReadError> {
        match &self.content {
            Content::Copy(copy, _) => Ok(part(copy, offset, bytes).map(Cow::Borrowed)),
            Content::Open(file) => Ok(self.read_from(file, offset, bytes)?.map(Cow::Owned)),
        }
    }

    /// The same, from the file as it is now and not from the copy.
    pub fn read_fresh(
        &self,
        offset: u64,
        bytes: u64,
    ) -> Result<Option<Cow<'_, [u8]>>, SchemaReadError> {
        match &self.content {
            Content::Copy(_, Some(file)) => {
                Ok(self.read_from(file, offset, bytes)?.map(Cow::Owned))
            }
            Content::Copy(_, None) | Content::Open(_) => self.read(offset, bytes),
        }
    }

    /// What is allocated is no more than the file has.
    fn read_from(
        &self,
        file: &std::fs::File,
        offset: u64,
        bytes: u64,
    ) -> Result<Option<Vec<u8>>, SchemaReadError> {
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
                Err(SchemaReadError::Changed { file: self.path.clone() })
            }
            Err(source) => Err(SchemaReadError::Read { file: self.path.clone(), source }),
        }
    }
}

fn part(copy: &[u8], offset: u64, bytes: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(bytes).ok()?)?;
    copy.get(start..end)
}
