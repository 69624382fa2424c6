//! The data directories of one or several nodes, open, and what each is called in the schema.
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

use cap_std::{
    ambient_authority,
    fs::{Dir, MetadataExt},
};

use crate::{
    catalog::effective_schema::EffectiveSchema,
    error::DiskError,
    layout::{FoundClass, Layout, Listing},
    schema::ShardState,
};

/// The data directory of one node, opened for reading. Nothing outside of it is reached, nothing in
/// it is written. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Node {
    path: Arc<Path>,
    pub(crate) root: Arc<Dir>,
    layout: Layout,
    names: Arc<[Arc<str>]>,
}

impl Node {
    /// The directory as it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How its shards lie.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// What the node may be called in the schema: the one name under which most of the directory's
    /// shards lie. Several when they agree equally well, all when no shard of the schema is on
    /// disk; none without a schema that places shards.
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    pub(crate) fn shared_path(&self) -> Arc<Path> {
        self.path.clone()
    }

    /// Whether the shard should lie here, whichever of its names is the right one.
    pub(crate) fn should_hold(&self, shard: &ShardState) -> bool {
        shard.nodes.is_empty() || self.names.iter().all(|name| shard.nodes.contains(name))
    }

    /// Whether the shard may lie here.
    pub(crate) fn may_hold(&self, shard: &ShardState) -> bool {
        shard.nodes.is_empty() || self.names.iter().any(|name| shard.nodes.contains(name))
    }
}

/// A data directory that was opened and listed, and not yet compared with a schema.
#[derive(Debug)]
pub(crate) struct OpenedNode {
    pub path: Arc<Path>,
    pub root: Arc<Dir>,
    pub listing: Listing,
}

impl OpenedNode {
    pub fn open(path: &Path) -> Result<OpenedNode, DiskError> {
        let failed = |source| DiskError::OpenDirectory { path: path.to_owned(), source };
        let root = Arc::new(Dir::open_ambient_dir(path, ambient_authority()).map_err(failed)?);
        let listing = Listing::read(&root, path)?;
        Ok(OpenedNode { path: path.into(), root, listing })
    }

    /// Whether a server has left its files here, be it without a class.
    pub fn is_a_servers(&self) -> bool {
        let exists = |name: &str| self.root.try_exists(name).unwrap_or(false);
        self.listing.marked || exists("raft") || exists("schema.db")
    }

    /// Finds out what `known` calls the node.
    pub fn named(self, known: &EffectiveSchema, found: &BTreeMap<String, FoundClass>) -> Node {
        Node {
            path: self.path,
            root: self.root,
            layout: self.listing.layout,
            names: names(known, found),
        }
    }
}

/// No directory may be given twice: its deletions would count as differences.
pub(crate) fn refuse_twins(nodes: &[OpenedNode]) -> Result<(), DiskError> {
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

fn names(known: &EffectiveSchema, found: &BTreeMap<String, FoundClass>) -> Arc<[Arc<str>]> {
    let mut counts: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    for (directory, found) in found {
        let shards = known.classes.get(directory).and_then(|class| class.shards.as_ref());
        let Some(shards) = shards else { continue };
        for state in found.shards.keys().filter_map(|shard| shards.get(shard)) {
            for node in state.nodes.iter() {
                let count = counts.entry(node.clone()).or_default();
                *count = count.saturating_add(1);
            }
        }
    }
    let Some(most) = counts.values().copied().max() else {
        return known.node_names().into_iter().collect();
    };
    counts.into_iter().filter(|(_, count)| *count == most).map(|(name, _)| name).collect()
}
