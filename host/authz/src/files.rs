//! Files that a server rewrites: what says that one has changed, and reading with a limit.
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What differs once a file was written or replaced. `None`: there is no file.
pub(crate) type Fingerprint = Option<Written>;

/// Size, place and times of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The fingerprint of `path` at this moment.
///
/// # Errors
/// Everything but "there is no file".
pub(crate) fn fingerprint(path: &Path) -> io::Result<Fingerprint> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(Written {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// All of a file, which may have up to `limit` bytes. `None`: there is no file.
///
/// # Errors
/// It cannot be read, or is longer.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= limit) {
        Ok(Some(bytes))
    } else {
        Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {limit} bytes")))
    }
}
