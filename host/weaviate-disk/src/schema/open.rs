//! Opens and reads the schema's files: within the data directory, regular files only.
use std::{io, os::unix::fs::FileExt};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};

use super::error::SchemaReadError;

/// `O_NONBLOCK`, so that a pipe in place of a file cannot hang the export.
const O_NONBLOCK: i32 = if cfg!(target_os = "linux") { 0o4000 } else { 0x4 };

/// The file `name` in `directory` and its length; `None` when there is none. `path` is how
/// messages call it.
pub(super) fn file(
    directory: &Dir,
    name: &str,
    path: &str,
) -> Result<Option<(std::fs::File, u64)>, SchemaReadError> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(O_NONBLOCK);
    let opened = directory
        .open_with(name, &options)
        .map(cap_std::fs::File::into_std)
        .and_then(|file| file.metadata().map(|metadata| (file, metadata)));
    let failed = |source| SchemaReadError::Read { file: path.to_owned(), source };
    match opened {
        Ok((file, metadata)) if metadata.is_file() => Ok(Some((file, metadata.len()))),
        Ok(_) => Err(failed(io::Error::other("not a regular file"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// The first `bytes` of `file`, which must have been its length.
pub(super) fn read_whole(
    file: &std::fs::File,
    bytes: u64,
    path: &str,
) -> Result<Vec<u8>, SchemaReadError> {
    let failed = |source| SchemaReadError::Read { file: path.to_owned(), source };
    let length = usize::try_from(bytes).map_err(|error| failed(io::Error::other(error)))?;
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(length).map_err(|error| failed(io::Error::other(error)))?;
    buffer.resize(length, 0);
    match file.read_exact_at(&mut buffer, 0) {
        Ok(()) => Ok(buffer),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(SchemaReadError::Changed { file: path.to_owned() })
        }
        Err(source) => Err(failed(source)),
    }
}
