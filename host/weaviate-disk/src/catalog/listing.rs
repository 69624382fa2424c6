//! Lists the top level of a data directory, in the layout since 1.22 and in the flat one before it
//! (`data-directory.md` 1 and 2).
use std::path::Path;

use cap_std::fs::Dir;
use offloom_weaviate_lsm::layout::Layout;

use super::flat_shards::{FLAT_ENDING, FlatShards};
use crate::{error::DiskError, schema::names};

/// Marks the layout of 1.22 and later.
const HIERARCHY_MARKER: &str = "migration1.22.fs.hierarchy";

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
    /// Names of such directories that are gone, and left a counter.
    pub lost_flat_shards: Vec<String>,
}

impl Listing {
    pub fn read(root: &Dir, path: &Path) -> Result<Listing, DiskError> {
        let failed = |source| DiskError::OpenDirectory { path: path.to_owned(), source };
        let is_marked = root.try_exists(HIERARCHY_MARKER).map_err(failed)?;
        let may_count = |name: &str| names::is_class_directory(name) || name.ends_with(FLAT_ENDING);
        let mut top = subdirectories(root, "", may_count)?;
        top.sort();
        let FlatShards { shards: flat_shards, lost: lost_flat_shards, others } = if is_marked {
            FlatShards { others: top, ..FlatShards::default() }
        } else {
            FlatShards::among(root, top)?
        };
        let mut class_directories = others;
        class_directories.retain(|name| names::is_class_directory(name));
        let has_flat = !flat_shards.is_empty() || !lost_flat_shards.is_empty();
        let layout = if has_flat { Layout::Flat } else { Layout::Hierarchical };
        Ok(Listing { layout, is_marked, class_directories, flat_shards, lost_flat_shards })
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
