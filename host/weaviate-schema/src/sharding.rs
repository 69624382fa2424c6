//! The shards (tenants) of a class, and the JSON of a sharding state that lists them
//! (`data-directory.md` 5.1).
use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::Deserialize;

/// A shard (tenant).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardState {
    /// [`ShardStatus::Hot`] for a shard of a class without tenants.
    pub status: ShardStatus,
    /// Names of the nodes that hold it.
    pub nodes: Nodes,
    /// RAFT index of the log entry that made it, if a shard of the same name was deleted before, as
    /// far as the log goes back; else 0 (`data-directory.md` 5.5).
    pub made_again_at: u64,
}

/// Names of nodes. Shards on the same nodes often share one list.
pub type Nodes = Arc<[Arc<str>]>;

/// The status of a tenant (`data-directory.md` 5.1 and 7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShardStatus {
    /// ACTIVE: in use.
    Hot,
    /// INACTIVE: the same files as an active tenant's, not in use.
    Cold,
    /// OFFLOADED: the files are in cloud storage.
    Frozen,
    /// OFFLOADING: being uploaded; the files may vanish at any moment.
    Freezing,
    /// ONLOADING: being downloaded into place; the files must not be read.
    Unfreezing,
    /// A status that this version does not know.
    Other(String),
}

impl ShardStatus {
    /// The status of this name. Accepts RAFT's and REST's names; an empty name is HOT.
    pub fn from_name(name: &str) -> ShardStatus {
        match name {
            "" | "HOT" | "ACTIVE" => ShardStatus::Hot,
            "COLD" | "INACTIVE" => ShardStatus::Cold,
            "FROZEN" | "OFFLOADED" => ShardStatus::Frozen,
            "FREEZING" | "OFFLOADING" => ShardStatus::Freezing,
            "UNFREEZING" | "ONLOADING" => ShardStatus::Unfreezing,
            other => ShardStatus::Other(other.to_owned()),
        }
    }
}

/// RAFT's name of the status.
impl fmt::Display for ShardStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            ShardStatus::Hot => "HOT",
            ShardStatus::Cold => "COLD",
            ShardStatus::Frozen => "FROZEN",
            ShardStatus::Freezing => "FREEZING",
            ShardStatus::Unfreezing => "UNFREEZING",
            ShardStatus::Other(name) => name,
        })
    }
}

/// The sharding state of a class. Its virtual shards, most of its bytes, are not read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShardingState {
    physical: Option<BTreeMap<String, PhysicalShard>>,
    replication_factor: Option<i64>,
}

/// A shard in a sharding state.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PhysicalShard {
    belongs_to_nodes: Option<Vec<String>>,
    /// In data from before replication.
    belongs_to_node: Option<String>,
    status: Option<String>,
}

impl ShardingState {
    /// Replicas of each shard; 0 if the sharding state does not state it.
    pub fn replication_factor(&self) -> u32 {
        self.replication_factor.and_then(|factor| u32::try_from(factor).ok()).unwrap_or(0)
    }

    /// The shards by name.
    pub fn into_shards(self) -> BTreeMap<String, ShardState> {
        shards(self.physical.unwrap_or_default())
    }
}

/// The states of `physical` shards. Shards on the same nodes share one list of them, since there
/// may be very many tenants.
pub(crate) fn shards(
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
        ShardState {
            status: ShardStatus::from_name(&shard.status.unwrap_or_default()),
            nodes,
            made_again_at: 0,
        }
    };
    physical.into_iter().map(|(name, shard)| (name, state(shard))).collect()
}
