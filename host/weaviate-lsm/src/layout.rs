//! Where the files of a shard lie in a data directory (`data-directory.md` 1 and 3).
use std::fmt;

/// How the files of a shard lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `<class>/<shard>/lsm/objects`: 1.22 and later.
    Hierarchical,
    /// `<class>_<shard>_lsm/objects`: before 1.22.
    Flat,
}

impl Layout {
    /// The directory of a shard's objects bucket, relative to the data directory.
    pub(crate) fn bucket_path(self, class_directory: &str, shard: &str) -> String {
        match self {
            Layout::Hierarchical => format!("{class_directory}/{shard}/lsm/objects"),
            Layout::Flat => format!("{class_directory}_{shard}_lsm/objects"),
        }
    }

    /// The file with a shard's version, relative to the data directory.
    pub(crate) fn version_path(self, class_directory: &str, shard: &str) -> String {
        match self {
            Layout::Hierarchical => format!("{class_directory}/{shard}/version"),
            Layout::Flat => format!("{class_directory}_{shard}.version"),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Layout::Hierarchical => "a directory per class and shard (1.22 and later)",
            Layout::Flat => "all shards at the top level (before 1.22)",
        })
    }
}
