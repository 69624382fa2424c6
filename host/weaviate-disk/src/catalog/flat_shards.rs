//! Counters of shards in the flat layout, which show that a shard was there (`data-directory.md` 1).
use std::collections::BTreeSet;

use cap_std::fs::Dir;
use offloom_weaviate_access::explain;

use crate::error::DiskError;

/// Ends the name of a shard's directory in the flat layout.
pub(super) const FLAT_ENDING: &str = "_lsm";
/// Ends the name of the file that counts a shard's document ids in the flat layout.
const COUNTER_ENDING: &str = ".indexcount";

/// The names of the directories that belong to the counters at the top of a data directory.
///
/// # Errors
/// When it cannot be listed.
pub(super) fn counted(root: &Dir) -> Result<BTreeSet<String>, DiskError> {
    let failed =
        |error| DiskError::List { entry: ".".to_owned(), source: explain(error, root, "", ".") };
    let mut counted = BTreeSet::new();
    for entry in root.read_dir(".").map_err(failed)? {
        let Ok(name) = entry.map_err(failed)?.file_name().into_string() else { continue };
        if let Some(stem) = name.strip_suffix(COUNTER_ENDING) {
            counted.insert(format!("{stem}{FLAT_ENDING}"));
        }
    }
    Ok(counted)
}
