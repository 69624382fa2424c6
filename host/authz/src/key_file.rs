//! The file of our own with keys and their users.
use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::files;
use crate::principal::NOBODY;
use crate::secret::Secret;

const MAX_BYTES: u64 = 16 << 20;

/// Why the file gives no keys. No key is in the text.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("cannot read api_keys_file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A line has another form.
    #[error("{path}, line {line}: write a user, a space and a key; # begins a comment")]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// A key stands there for two users.
    #[error(
        "{path}, line {line}: the key is that of another line as well: give each user a key of their own"
    )]
    Twice {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// A reserved name.
    #[error(
        "{path}, line {line}: '{NOBODY}' is Weaviate's placeholder for nobody: give the user another name"
    )]
    Nobody {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// Nobody could come in.
    #[error("{path} has no keys: write a user, a space and a key into it, for each user a line")]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// The keys of a file with their users. Blocks.
///
/// # Errors
/// [`KeyFileError`].
pub(crate) fn read_key_file(
    path: &Path,
    warnings: &mut Vec<String>,
) -> Result<Vec<(Secret, String)>, KeyFileError> {
    let read = |source| KeyFileError::Read { path: path.to_owned(), source };
    let bytes = files::read(path, MAX_BYTES).map_err(read)?;
    let bytes = bytes.ok_or_else(|| read(io::Error::from(io::ErrorKind::NotFound)))?;
    if fs::metadata(path).map_err(read)?.mode() & 0o077 != 0 {
        warnings.push(format!(
            "{} can be read by other users of this machine: chmod 600 it",
            path.display()
        ));
    }
    parse(path, &bytes)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<(Secret, String)>, KeyFileError> {
    let mut pairs = Vec::new();
    let mut seen = HashSet::new();
    for (line, bytes) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let bad = || KeyFileError::Line { path: path.to_owned(), line };
        let text = str::from_utf8(bytes).map_err(|_| bad())?.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let mut words = text.split_whitespace();
        let (Some(user), Some(key), None) = (words.next(), words.next(), words.next()) else {
            return Err(bad());
        };
        if user == NOBODY {
            return Err(KeyFileError::Nobody { path: path.to_owned(), line });
        }
        if !seen.insert(key) {
            return Err(KeyFileError::Twice { path: path.to_owned(), line });
        }
        pairs.push((Secret::new(key), user.to_owned()));
    }
    if pairs.is_empty() {
        return Err(KeyFileError::Empty { path: path.to_owned() });
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_users_and_keys_and_errors_name_the_line_without_the_key() {
        let parse = |text: &str| parse(Path::new("keys"), text.as_bytes());
        let pairs = parse("# ours\n\nalice  key-a\r\nbob key-b\n").unwrap();
        let pairs: Vec<_> = pairs.iter().map(|(key, user)| (key.reveal(), user.as_str())).collect();
        assert_eq!(pairs, [("key-a", "alice"), ("key-b", "bob")]);
        for (text, expected) in [
            ("alice hush\nbob", "keys, line 2: write"),
            ("alice hush more", "keys, line 1: write"),
            ("alice hush\nbob hush", "keys, line 2: the key"),
            ("wv_internal_empty hush", "keys, line 1: 'wv_internal_empty'"),
            ("# nobody", "no keys"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("hush"), "{text}: {error}");
        }
    }
}
