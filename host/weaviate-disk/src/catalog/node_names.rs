//! Finds the name of a node by the shards in its data directory, in the schema of its own log: a node
//! that was down lacks the shards of the newest schema (`data-directory.md` 5.5).
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{effective_schema::EffectiveSchema, on_disk::ClassOnDisk};
use crate::schema::{Nodes, ShardState};

/// How many of the shards in a data directory a schema places on each node.
#[derive(Debug)]
pub(crate) struct ShardCounts(BTreeMap<Arc<str>, usize>);

impl ShardCounts {
    pub fn new(schema: &EffectiveSchema, classes: &BTreeMap<String, ClassOnDisk>) -> ShardCounts {
        let mut counts: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for (directory, class) in classes {
            for state in class.shards.keys().filter_map(|shard| schema.shard(directory, shard)) {
                for node in state.nodes.iter() {
                    let count = counts.entry(node.clone()).or_default();
                    *count = count.saturating_add(1);
                }
            }
        }
        ShardCounts(counts)
    }

    /// The names with the most shards: several if they have equally many, none if no shard of the
    /// schema is on disk.
    pub fn most(&self) -> Vec<Arc<str>> {
        let most = self.0.values().copied().max();
        let has_most = |(_, count): &(&Arc<str>, &usize)| Some(**count) == most;
        self.0.iter().filter(has_most).map(|(name, _)| name.clone()).collect()
    }

    /// All names, those with more shards first.
    pub fn by_count(&self) -> Vec<Arc<str>> {
        let mut names: Vec<_> = self.0.iter().collect();
        names.sort_by(|left, right| right.1.cmp(left.1));
        names.into_iter().map(|(name, _)| name.clone()).collect()
    }
}

/// Gives the only node of a cluster one name in the schema. It may have had another one when some
/// shards were made: the server renames those in memory only. `servers` is the newest configuration of
/// the cluster, if there is one; without, in the time before RAFT, shards were not moved between nodes.
pub(crate) fn rename_only_node(
    known: &mut EffectiveSchema,
    classes: &BTreeMap<String, ClassOnDisk>,
    servers: Option<&[String]>,
) {
    let only_node = |state: &ShardState| match &*state.nodes {
        [name] => Some(name.clone()),
        _ => None,
    };
    let on_disk = classes.iter().flat_map(|(directory, class)| {
        let shards = class.shards.keys();
        shards.filter_map(|shard| known.shard(directory, shard)).filter_map(only_node)
    });
    let names: BTreeSet<Arc<str>> = on_disk.collect();
    let name: Arc<str> = match (servers, names.last()) {
        (Some([name]), _) => name.as_str().into(),
        (None, Some(name)) => name.clone(),
        _ => return,
    };
    let nodes: Nodes = [name.clone()].into();
    for state in known.shards_mut() {
        if only_node(state).is_some_and(|old| old != name && names.contains(&old)) {
            state.nodes = nodes.clone();
        }
    }
}
