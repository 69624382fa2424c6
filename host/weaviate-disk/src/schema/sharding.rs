//! The sharding state of a class as Weaviate keeps it in JSON (`data-directory.md` 5.1).
use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;

use super::cluster::{Nodes, ShardState, ShardStatus};

/// Of a whole class. The virtual shards, most of its bytes, are passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShardingState {
    physical: Option<BTreeMap<String, PhysicalShard>>,
    replication_factor: Option<i64>,
}

/// Of one shard.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PhysicalShard {
    belongs_to_nodes: Option<Vec<String>>,
    /// Of data from before replication.
    belongs_to_node: Option<String>,
    status: Option<String>,
}

impl ShardingState {
    /// 0 when it does not say.
    pub fn replication_factor(&self) -> u32 {
        self.replication_factor.and_then(|factor| u32::try_from(factor).ok()).unwrap_or(0)
    }

    /// The shards by name.
    pub fn into_shards(self) -> BTreeMap<String, ShardState> {
        shards(self.physical.unwrap_or_default())
    }
}

/// Shards that lie on the same nodes get one list of them: there may be very many tenants.
pub(super) fn shards(
    physical: impl IntoIterator<Item = (String, PhysicalShard)>,
) -> BTreeMap<String, ShardState> {
    let mut lists: BTreeMap<Vec<String>, Nodes> = BTreeMap::new();
    let mut state = |shard: PhysicalShard| {
        let nodes = shard.belongs_to_nodes.filter(|nodes| !nodes.is_empty());
        let legacy = || shard.belongs_to_node.into_iter().filter(|node| !node.is_empty()).collect();
        let names: Vec<String> = nodes.unwrap_or_else(legacy);
        let nodes = match lists.get(&names) {
            Some(nodes) => nodes.clone(),
            None => {
                let nodes: Nodes = names.iter().map(|name| Arc::from(name.as_str())).collect();
                lists.insert(names, nodes.clone());
                nodes
            }
        };
        ShardState { status: ShardStatus::from_name(&shard.status.unwrap_or_default()), nodes }
    };
    physical.into_iter().map(|(name, shard)| (name, state(shard))).collect()
}
