//! Reads the files that a user names: the guest, the schema file, the settings.
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A schema of many thousand classes has some megabytes.
pub const MAX_SCHEMA_BYTES: u64 = 256 * 1024 * 1024;

/// The largest guest that may be loaded.
pub const MAX_GUEST_BYTES: u64 = 64 * 1024 * 1024;

/// Settings are a page of text.
pub const MAX_SETTINGS_BYTES: u64 = 1024 * 1024;

/// The content of the file at `path`, which is opened once: what is checked is what is read. Blocking.
///
/// # Errors
/// When it cannot be read, is no regular file (a pipe would never end), or has more than `max_bytes`.
pub fn read(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut content = Vec::new();
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > max_bytes {
        return Err(io::Error::other(format!("it has more than {max_bytes} bytes")));
    }
    Ok(content)
}

/// Opens without waiting: a pipe without a writer would block for ever.
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_within_its_limit_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert!(read(&path, 4).unwrap_err().to_string().contains("more than 4 bytes"));
        let fifo = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        for path in [&fifo, Path::new("/dev/zero"), folder.path()] {
            let error = read(path, 5).unwrap_err().to_string();
            assert!(error.contains("regular file"), "{}: {error}", path.display());
        }
        let missing = read(&folder.path().join("none"), 5).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
