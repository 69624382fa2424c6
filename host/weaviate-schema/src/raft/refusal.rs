//! Why a command of the RAFT log was not applied.
use crate::raft::placement::PlacementError;

/// Tenants that a message names before it counts the rest.
const NAMED_TENANTS: usize = 5;

/// Why a command was not applied. The server that wrote it did not apply it either.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("its payload cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    #[error("its payload cannot be read: {0}")]
    Protobuf(#[from] prost::DecodeError),
    #[error("`{name}` is not a class name")]
    Name { name: String },
    #[error("class {name} exists")]
    ClassExists { name: String },
    #[error("there is no such class")]
    UnknownClass,
    #[error("it has no sharding state")]
    NoShardingState,
    #[error("there is no such property")]
    NoProperty,
    #[error("there is no shard {names}")]
    UnknownShards { names: String },
    #[error("the class is not multi-tenant")]
    NotMultiTenant,
    #[error("shard {shard} has too few replicas for a replication factor of {factor}")]
    TooFewReplicas { shard: String, factor: u32 },
    #[error(transparent)]
    Placement(#[from] PlacementError),
}

impl Refusal {
    /// [`Refusal::UnknownShards`] of these tenants.
    pub fn unknown_shards(unknown: &[String]) -> Refusal {
        let named: Vec<&str> = unknown.iter().take(NAMED_TENANTS).map(String::as_str).collect();
        let mut names = named.join(", ");
        if unknown.len() > named.len() {
            names.push_str(&format!(" and {} more", unknown.len().saturating_sub(named.len())));
        }
        Refusal::UnknownShards { names }
    }
}
