//! Finds the shards of the flat layout at the top of a data directory (`data-directory.md` 1).
use std::collections::BTreeSet;

use cap_std::fs::Dir;

use crate::error::DiskError;

/// Ends the name of a shard's directory in the flat layout.
pub(super) const FLAT_ENDING: &str = "_lsm";
/// Ends the name of the file that counts a shard's document ids in the flat layout.
const COUNTER_ENDING: &str = ".indexcount";

/// The directories at the top, those of flat shards apart.
#[derive(Debug, Default)]
pub(super) struct FlatShards {
    /// Names of directories that are shards.
    pub shards: Vec<String>,
    /// Names of directories of shards that are gone, and left a counter.
    pub lost: Vec<String>,
    /// Names of the other directories.
    pub others: Vec<String>,
}

impl FlatShards {
    /// Divides `directories`, which are those at the top. A directory is a shard by its objects, and
    /// by the counter beside it: then its objects are gone.
    pub fn among(root: &Dir, directories: Vec<String>) -> Result<FlatShards, DiskError> {
        let mut counted = counted(root)?;
        let mut found = FlatShards::default();
        for name in directories {
            let is_counted = counted.remove(&name);
            let objects = format!("{name}/objects");
            // A class `x_lsm` with a tenant `objects` lies in the newer layout.
            let has_objects = name.ends_with(FLAT_ENDING)
                && root.is_dir(&objects)
                && !root.is_dir(format!("{objects}/lsm"));
            let kind =
                if is_counted || has_objects { &mut found.shards } else { &mut found.others };
            kind.push(name);
        }
        found.lost = counted.into_iter().collect();
        Ok(found)
    }
}

/// The names of the directories that belong to the counters at the top.
fn counted(root: &Dir) -> Result<BTreeSet<String>, DiskError> {
    let failed = |source| DiskError::List { entry: ".".to_owned(), source };
    let mut counted = BTreeSet::new();
    for entry in root.read_dir(".").map_err(failed)? {
        let Ok(name) = entry.map_err(failed)?.file_name().into_string() else { continue };
        if let Some(stem) = name.strip_suffix(COUNTER_ENDING) {
            counted.insert(format!("{stem}{FLAT_ENDING}"));
        }
    }
    Ok(counted)
}
