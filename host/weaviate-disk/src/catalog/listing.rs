//! Lists the top level of a data directory, in the layout since 1.22 and in the flat one before it
//! (`data-directory.md` 1 and 2).
use std::path::Path;

use cap_std::fs::Dir;
use offloom_weaviate_lsm::layout::Layout;

use crate::{error::DiskError, schema::names};

/// Marks the layout of 1.22 and later.
const HIERARCHY_MARKER: &str = "migration1.22.fs.hierarchy";
/// Ends the name of a shard's directory in the flat layout.
pub(super) const FLAT_ENDING: &str = "_lsm";

/// The directories that may hold classes and shards, before they are compared with a schema.
#[derive(Debug)]
pub(crate) struct Listing {
    /// [`Layout::Flat`] if one shard lies so. A server that was killed during its migration leaves
    /// shards in both layouts.
    pub layout: Layout,
    /// Whether the marker of 1.22 exists.
    pub is_marked: bool,
    /// Names of directories that may be a class's.
    pub class_directories: Vec<String>,
    /// Names of directories that are shards of the flat layout.
    pub flat_shards: Vec<String>,
}

impl Listing {
    pub fn read(root: &Dir, path: &Path) -> Result<Listing, DiskError> {
        let failed = |source| DiskError::OpenDirectory { path: path.to_owned(), source };
        let is_marked = root.try_exists(HIERARCHY_MARKER).map_err(failed)?;
        let may_count = |name: &str| names::is_class_directory(name) || name.ends_with(FLAT_ENDING);
        let mut top = subdirectories(root, "", may_count)?;
        top.sort();
        let is_flat = |name: &String| {
            let objects = format!("{name}/objects");
            // A class `x_lsm` with a tenant `objects` lies in the newer layout.
            name.ends_with(FLAT_ENDING)
                && root.is_dir(&objects)
                && !root.is_dir(format!("{objects}/lsm"))
        };
        let (flat_shards, mut class_directories): (Vec<_>, Vec<_>) =
            top.into_iter().partition(|name| !is_marked && is_flat(name));
        class_directories.retain(|name| names::is_class_directory(name));
        let layout = if flat_shards.is_empty() { Layout::Hierarchical } else { Layout::Flat };
        Ok(Listing { layout, is_marked, class_directories, flat_shards })
    }
}

/// The names of the directories in `entry` (the root if empty) for which `accepts` is true.
pub(super) fn subdirectories(
    root: &Dir,
    entry: &str,
    accepts: impl Fn(&str) -> bool,
) -> Result<Vec<String>, DiskError> {
    let shown = if entry.is_empty() { "." } else { entry };
    let failed = |source| DiskError::List { entry: shown.to_owned(), source };
    let mut names = Vec::new();
    for child in root.read_dir(shown).map_err(failed)? {
        let child = child.map_err(failed)?;
        let Ok(name) = child.file_name().into_string() else { continue };
        if !accepts(&name) {
            continue;
        }
        let kind = child.file_type().map_err(failed)?;
        let is_directory = if kind.is_symlink() {
            let path = format!("{shown}/{name}");
            match root.metadata(&path) {
                Ok(metadata) => metadata.is_dir(),
                Err(source) => return Err(DiskError::Link { entry: path, source }),
            }
        } else {
            kind.is_dir()
        };
        if is_directory {
            names.push(name);
        }
    }
    Ok(names)
}
