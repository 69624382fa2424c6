//! The data directory of a node: opened, and with the node's name in the schema.
use std::{collections::HashMap, path::Path, sync::Arc};

use cap_std::{
    ambient_authority,
    fs::{Dir, MetadataExt},
};

use offloom_weaviate_access::explain_path;
use offloom_weaviate_lsm::layout::Layout;

use super::listing::Listing;
use crate::{error::DiskError, schema::ShardState};

/// The data directory of one node, opened for reading. Nothing outside of it is opened, and nothing in
/// it is written. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Node {
    pub(super) path: Arc<Path>,
    pub(super) root: Arc<Dir>,
    layout: Layout,
    names: Arc<[Arc<str>]>,
}

impl Node {
    /// The directory as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How the files of its shards lie.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The names that the node may have in the schema: the one that the schema places most of the
    /// directory's shards on. Several if they match equally well; all if no shard of the schema is
    /// on disk; none without a schema that places shards.
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// Whether the schema places the shard here under every name that the node may have.
    pub(crate) fn should_hold(&self, shard: &ShardState) -> bool {
        shard.nodes.is_empty() || self.names.iter().all(|name| shard.nodes.contains(name))
    }

    /// Whether the schema places the shard here under one of the names that the node may have.
    pub(crate) fn may_hold(&self, shard: &ShardState) -> bool {
        shard.nodes.is_empty() || self.names.iter().any(|name| shard.nodes.contains(name))
    }
}

/// A data directory that is open and listed, but not yet compared with a schema.
#[derive(Debug)]
pub(crate) struct OpenedNode {
    pub path: Arc<Path>,
    pub root: Arc<Dir>,
    pub listing: Listing,
}

impl OpenedNode {
    pub fn open(path: &Path) -> Result<OpenedNode, DiskError> {
        let failed = |error| {
            let source = explain_path(error, path);
            DiskError::OpenDirectory { path: path.to_owned(), source }
        };
        let root = Arc::new(Dir::open_ambient_dir(path, ambient_authority()).map_err(failed)?);
        let listing = Listing::read(&root, path)?;
        Ok(OpenedNode { path: path.into(), root, listing })
    }

    /// Whether a server has used the directory, even without a class. What cannot be examined is there.
    pub fn is_used_by_server(&self) -> bool {
        let exists = |name: &str| self.root.try_exists(name).unwrap_or(true);
        self.listing.is_marked || exists("raft") || exists("schema.db")
    }

    /// The node with the names that it may have in the schema.
    pub fn named(self, names: Arc<[Arc<str>]>) -> Node {
        Node { path: self.path, root: self.root, layout: self.listing.layout, names }
    }
}

/// Refuses a directory that is given twice: its shards would count as copies of themselves.
pub(crate) fn refuse_duplicates(nodes: &[OpenedNode]) -> Result<(), DiskError> {
    let mut seen = HashMap::new();
    for node in nodes {
        let failed = |source| DiskError::OpenDirectory { path: node.path.to_path_buf(), source };
        let metadata = node.root.dir_metadata().map_err(failed)?;
        if let Some(other) = seen.insert((metadata.dev(), metadata.ino()), &node.path) {
            let (path, other) = (node.path.to_path_buf(), other.to_path_buf());
            return Err(DiskError::DirectoryTwice { path, other });
        }
    }
    Ok(())
}
