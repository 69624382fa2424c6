//! Whether an open data directory would be opened as the same again, from times and sizes of the entries
//! that opening looks at (`data-directory.md` 1, 2 and 5).
use std::{
    io,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cap_std::{
    ambient_authority,
    fs::{Dir, Metadata, MetadataExt},
};

use crate::schema::names;

/// Two changes within one step of a file system's clock look like one. Steps are up to 2 s (FAT), and
/// the clock of a file server may be some seconds late.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// The stored schema since 1.25 (`data-directory.md` 5.1 and 5.2), and before (5.4).
const STORED_SCHEMAS: [&str; 2] = ["raft", "schema.db"];

/// `raft/snapshots/<name>/<file>` is the deepest entry that opening reads.
const MAX_DEPTH: usize = 3;

/// The state of data directories as far as [`crate::DataDirectory::open_nodes`] depends on it: their
/// lists of classes and shards, and their stored schemas. Rows are no part of it. See
/// [`crate::DataDirectory::depends_on_entries_alone`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    entries: Vec<(String, Stamp)>,
}

/// What changes whenever a file or the list of a directory changes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    /// Since 1970, in nanoseconds.
    modified: i128,
    /// The same, also for permissions.
    changed: i128,
}

impl Fingerprint {
    /// Takes it. Blocking, and as long as it takes to list the directories; no class is listed.
    ///
    /// # Errors
    /// When an entry cannot be examined, for instance because it has just been removed.
    pub fn take(paths: &[impl AsRef<Path>]) -> io::Result<Fingerprint> {
        let mut fingerprint = Fingerprint { entries: Vec::new() };
        for path in paths {
            let first = fingerprint.entries.len();
            let root = Dir::open_ambient_dir(path, ambient_authority())?;
            fingerprint.add(String::new(), &root.dir_metadata()?);
            for entry in root.entries()? {
                let Ok(name) = entry?.file_name().into_string() else { continue };
                if STORED_SCHEMAS.contains(&name.as_str()) {
                    fingerprint.add_all(&root, &name, MAX_DEPTH)?;
                } else if names::is_class_directory(&name) {
                    fingerprint.add(name.clone(), &root.metadata(&name)?);
                }
            }
            // Directories are listed in any order.
            if let Some(of_node) = fingerprint.entries.get_mut(first..) {
                of_node.sort_by(|left, right| left.0.cmp(&right.0));
            }
        }
        Ok(fingerprint)
    }

    /// Takes that of a single file, such as a schema file. Blocking.
    ///
    /// # Errors
    /// When it cannot be examined.
    pub fn of_file(path: &Path) -> io::Result<Fingerprint> {
        let mut fingerprint = Fingerprint { entries: Vec::new() };
        let metadata = Metadata::from_just_metadata(std::fs::metadata(path)?);
        fingerprint.add(path.display().to_string(), &metadata);
        Ok(fingerprint)
    }

    /// Whether a later change gives another fingerprint: nothing changed shortly before `taken`, the time
    /// before this one was taken.
    pub fn is_settled(&self, taken: SystemTime) -> bool {
        let Ok(taken) = taken.duration_since(UNIX_EPOCH) else { return false };
        let Ok(taken) = i128::try_from(taken.saturating_sub(SETTLED_AFTER).as_nanos()) else {
            return false;
        };
        self.entries.iter().all(|(_, stamp)| stamp.modified.max(stamp.changed) < taken)
    }

    fn add_all(&mut self, root: &Dir, path: &str, depth: usize) -> io::Result<()> {
        let metadata = root.metadata(path)?;
        self.add(path.to_owned(), &metadata);
        let Some(depth) = depth.checked_sub(1).filter(|_| metadata.is_dir()) else {
            return Ok(());
        };
        for entry in root.read_dir(path)? {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            self.add_all(root, &format!("{path}/{name}"), depth)?;
        }
        Ok(())
    }

    fn add(&mut self, path: String, metadata: &Metadata) {
        let nanoseconds = |seconds: i64, nanoseconds: i64| {
            i128::from(seconds).saturating_mul(1_000_000_000).saturating_add(nanoseconds.into())
        };
        let stamp = Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        };
        self.entries.push((path, stamp));
    }
}
