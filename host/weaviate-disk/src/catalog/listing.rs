//! Lists the top level of a data directory, in the layout since 1.22 and in the flat one before it
//! (`data-directory.md` 1 and 2).
use std::{collections::BTreeSet, io, path::Path};

use cap_std::fs::Dir;
use offloom_weaviate_access::explain;
use offloom_weaviate_lsm::layout::Layout;

use super::flat_shards::{self, FLAT_ENDING};
use crate::{error::DiskError, schema::names};

/// Marks the layout of 1.22 and later.
const HIERARCHY_MARKER: &str = "migration1.22.fs.hierarchy";

/// An entry of a directory that may be a class's or a shard's.
#[derive(Debug)]
pub(crate) struct Entry {
    pub name: String,
    pub kind: EntryKind,
}

/// What an entry is.
#[derive(Debug)]
pub(crate) enum EntryKind {
    Directory,
    /// A file or something else that holds no class and no shard.
    NoDirectory,
    /// It cannot be examined, so it may be a directory.
    Unknown(io::Error),
}

/// The entries that may hold classes and shards, before they are compared with a schema.
#[derive(Debug)]
pub(crate) struct Listing {
    /// [`Layout::Flat`] if one shard lies so. A server that was killed during its migration leaves
    /// shards in both layouts.
    pub layout: Layout,
    /// Whether the marker of 1.22 exists.
    pub is_marked: bool,
    /// Those with the name of a class directory, in byte order.
    pub classes: Vec<Entry>,
    /// Those that are, or may be, shards of the flat layout, in byte order.
    pub flat_shards: Vec<Entry>,
    /// Names of such shards that are gone, and left a counter.
    pub lost_flat_shards: Vec<String>,
}

impl Listing {
    pub fn read(root: &Dir, path: &Path) -> Result<Listing, DiskError> {
        let is_marked = root.try_exists(HIERARCHY_MARKER).map_err(|error| {
            let source = explain(error, root, "", HIERARCHY_MARKER);
            DiskError::OpenDirectory { path: path.to_owned(), source }
        })?;
        let may_count = |name: &str| names::is_class_directory(name) || name.ends_with(FLAT_ENDING);
        let mut counted = if is_marked { BTreeSet::new() } else { flat_shards::counted(root)? };
        let (mut classes, mut flat_shards) = (Vec::new(), Vec::new());
        for mut entry in entries(root, "", may_count)? {
            let is_flat = !is_marked
                && entry.name.ends_with(FLAT_ENDING)
                && (counted.remove(&entry.name) || entry.may_be_flat_shard(root));
            if is_flat {
                flat_shards.push(entry);
            } else if names::is_class_directory(&entry.name) {
                classes.push(entry);
            }
        }
        let lost_flat_shards: Vec<String> = counted.into_iter().collect();
        let has_flat = !flat_shards.is_empty() || !lost_flat_shards.is_empty();
        let layout = if has_flat { Layout::Flat } else { Layout::Hierarchical };
        Ok(Listing { layout, is_marked, classes, flat_shards, lost_flat_shards })
    }
}

impl Entry {
    /// Whether an entry with the name of a shard of the flat layout is, or may be, one. A class
    /// `x_lsm` with a tenant `objects` lies in the newer layout.
    fn may_be_flat_shard(&mut self, root: &Dir) -> bool {
        match self.kind {
            EntryKind::NoDirectory => return false,
            EntryKind::Unknown(_) => return true,
            EntryKind::Directory => {}
        }
        let objects = format!("{}/objects", self.name);
        let looked = is_directory(root, &objects).and_then(|has_objects| {
            Ok(has_objects && !is_directory(root, &format!("{objects}/lsm"))?)
        });
        looked.unwrap_or_else(|error| {
            self.kind = EntryKind::Unknown(error);
            true
        })
    }
}

/// Whether `path` is a directory. It is none if it does not exist.
///
/// # Errors
/// When it cannot be examined: then it may be one.
pub(super) fn is_directory(root: &Dir, path: &str) -> io::Result<bool> {
    match root.metadata(path) {
        Ok(metadata) => Ok(metadata.is_dir()),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(false),
            _ => Err(explain(error, root, "", path)),
        },
    }
}

/// The entries of `directory` (the data directory if empty) with a name for which `accepts` is true, in
/// byte order of their names.
///
/// # Errors
/// When `directory` cannot be listed. An entry that cannot be examined is no error.
pub(super) fn entries(
    root: &Dir,
    directory: &str,
    accepts: impl Fn(&str) -> bool,
) -> Result<Vec<Entry>, DiskError> {
    let shown = if directory.is_empty() { "." } else { directory };
    let failed = |error| {
        let source = explain(error, root, "", shown);
        DiskError::List { entry: shown.to_owned(), source }
    };
    let mut found = Vec::new();
    for child in root.read_dir(shown).map_err(failed)? {
        let child = child.map_err(failed)?;
        let Ok(name) = child.file_name().into_string() else { continue };
        if !accepts(&name) {
            continue;
        }
        let path = Path::new(directory).join(&name).display().to_string();
        let kind = match child.file_type() {
            Ok(kind) if kind.is_symlink() => kind_behind_link(root, &path),
            Ok(kind) if kind.is_dir() => EntryKind::Directory,
            Ok(_) => EntryKind::NoDirectory,
            Err(error) => EntryKind::Unknown(explain(error, root, "", &path)),
        };
        found.push(Entry { name, kind });
    }
    found.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(found)
}

/// A link is as good as what it leads to, if that lies in the data directory.
fn kind_behind_link(root: &Dir, path: &str) -> EntryKind {
    let error = match root.metadata(path) {
        Ok(metadata) if metadata.is_dir() => return EntryKind::Directory,
        Ok(_) => return EntryKind::NoDirectory,
        Err(error) => explain(error, root, "", path),
    };
    // A denial, and a link out of the directory, are explained. The rest are links that lead nowhere.
    EntryKind::Unknown(match error.kind() {
        io::ErrorKind::PermissionDenied => error,
        kind => io::Error::new(kind, format!("it is a link that cannot be followed: {error}")),
    })
}
