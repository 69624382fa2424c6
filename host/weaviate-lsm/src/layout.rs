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
        format!("{}/objects", self.store_path(class_directory, shard))
    }

    /// The folders of every shard from the top down, the last of them that of its objects bucket,
    /// relative to the data directory.
    pub(crate) fn folders(self, class_directory: &str, shard: &str) -> Vec<String> {
        let inner =
            [self.store_path(class_directory, shard), self.bucket_path(class_directory, shard)];
        match self {
            Layout::Hierarchical => {
                [format!("{class_directory}/{shard}")].into_iter().chain(inner).collect()
            }
            Layout::Flat => inner.into(),
        }
    }

    fn store_path(self, class_directory: &str, shard: &str) -> String {
        match self {
            Layout::Hierarchical => format!("{class_directory}/{shard}/lsm"),
            Layout::Flat => format!("{class_directory}_{shard}_lsm"),
        }
    }

    /// The file that counts a shard's document ids, relative to the data directory.
    pub(crate) fn counter_path(self, class_directory: &str, shard: &str) -> String {
        match self {
            Layout::Hierarchical => format!("{class_directory}/{shard}/indexcount"),
            Layout::Flat => format!("{class_directory}_{shard}.indexcount"),
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
