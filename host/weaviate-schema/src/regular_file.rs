//! Opens and reads the files of a stored schema: regular files within the data directory only.
use std::{io, os::unix::fs::FileExt};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use offloom_weaviate_access::explain;
use rustix::fs::OFlags;

use crate::error::SchemaError;

/// Opens the file `name` in `directory` and returns it with its length, or `None` if there is none.
/// `path` is its path in the data directory, which ends with `name`.
pub(crate) fn open(
    directory: &Dir,
    name: &str,
    path: &str,
) -> Result<Option<(std::fs::File, u64)>, SchemaError> {
    let mut options = OpenOptions::new();
    // Without it, opening a named pipe in place of a file would hang.
    options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let opened = directory
        .open_with(name, &options)
        .map(cap_std::fs::File::into_std)
        .and_then(|file| file.metadata().map(|metadata| (file, metadata)));
    let failed = |source| SchemaError::Read { file: path.to_owned(), source };
    match opened {
        Ok((file, metadata)) if metadata.is_file() => Ok(Some((file, metadata.len()))),
        Ok(_) => Err(failed(io::Error::other("not a regular file"))),
        Err(error) if is_absent(&error, directory, name) => Ok(None),
        Err(error) => {
            let within = path.strip_suffix(name).unwrap_or_default().trim_end_matches('/');
            Err(failed(explain(error, directory, within, name)))
        }
    }
}

/// Whether `error`, of opening `name` in `directory`, means that there is no such entry. A link that
/// leads nowhere is one.
pub(crate) fn is_absent(error: &io::Error, directory: &Dir, name: &str) -> bool {
    let found = || directory.symlink_metadata(name);
    error.kind() == io::ErrorKind::NotFound
        && found().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Reads the first `bytes` of `file`, where `bytes` was its length when it was opened.
pub(crate) fn read_whole(
    file: &std::fs::File,
    bytes: u64,
    path: &str,
) -> Result<Vec<u8>, SchemaError> {
    let failed = |source| SchemaError::Read { file: path.to_owned(), source };
    let length = usize::try_from(bytes).map_err(|error| failed(io::Error::other(error)))?;
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(length).map_err(|error| failed(io::Error::other(error)))?;
    buffer.resize(length, 0);
    match file.read_exact_at(&mut buffer, 0) {
        Ok(()) => Ok(buffer),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(SchemaError::Changed { file: path.to_owned() })
        }
        Err(source) => Err(failed(source)),
    }
}
