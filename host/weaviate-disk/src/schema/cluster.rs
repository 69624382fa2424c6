//! What a server's own schema says of its cluster: classes, tenants, and where their shards lie.
use std::{collections::BTreeMap, fmt, ops::RangeInclusive, sync::Arc};

use cap_std::fs::Dir;
use serde::{Deserialize, Deserializer};

use super::{
    definition::{ClassFacts, Definition},
    error::SchemaReadError,
    raft, schema_db,
    warning::SchemaWarning,
};

/// The classes of a cluster as one of its nodes keeps them on disk. All nodes keep all classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSchema {
    /// Which files tell it.
    pub read_from: ReadFrom,
    /// By exact name.
    pub classes: BTreeMap<String, ClassState>,
    /// What was odd, in the order of reading.
    pub warnings: Vec<SchemaWarning>,
}

/// The files that a [`ClusterSchema`] comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadFrom {
    /// `raft/`, 1.25 and later (`data-directory.md` 5.1 and 5.2).
    Raft {
        /// Name of the snapshot's directory, when there was one.
        snapshot: Option<String>,
        /// Indexes of the log entries that were replayed on top, when there were any.
        entries: Option<RangeInclusive<u64>>,
    },
    /// `schema.db`, before 1.25 (`data-directory.md` 5.4).
    SchemaDb {
        /// Its version: 2, or 0 for 0 and 1.
        version: u64,
    },
}

/// A class (collection).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassState {
    /// JSON as `GET /v1/schema` would have it: what is needed to create the class again.
    pub definition: String,
    /// Whether its shards are tenants.
    pub multi_tenant: bool,
    /// How many nodes a shard should have, at least 1.
    pub replication_factor: u32,
    /// In the order of the definition.
    pub properties: Vec<Property>,
    /// The shards (tenants) by name, those of all nodes.
    pub shards: BTreeMap<String, ShardState>,
}

/// A property of a class.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Property {
    /// Exact name.
    pub name: String,
    /// `text`, `int[]`, ... or the classes that a reference may lead to.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub data_type: Vec<String>,
    /// Of an `object` or `object[]`.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub nested_properties: Vec<Property>,
}

/// A shard (tenant).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardState {
    /// [`ShardStatus::Hot`] for a shard of a class without tenants.
    pub status: ShardStatus,
    /// Names of the nodes that hold it.
    pub nodes: Nodes,
}

/// Names of nodes. Shards that lie on the same nodes often share one list.
pub type Nodes = Arc<[Arc<str>]>;

/// The state of a tenant (`data-directory.md` 5.1 and 7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShardStatus {
    /// ACTIVE: in use.
    Hot,
    /// INACTIVE: the same files, nobody writing.
    Cold,
    /// OFFLOADED: the files are elsewhere.
    Frozen,
    /// OFFLOADING: being uploaded; the files may vanish at any moment.
    Freezing,
    /// ONLOADING: being downloaded into place; not to be read.
    Unfreezing,
    /// A state that this version does not know.
    Other(String),
}

impl ReadFrom {
    /// The last entry of the RAFT log that it includes.
    pub fn raft_index(&self) -> Option<u64> {
        match self {
            ReadFrom::Raft { entries: Some(entries), .. } => Some(*entries.end()),
            // `<term>-<index>-<milliseconds>`.
            ReadFrom::Raft { snapshot: Some(name), .. } => name.split('-').nth(1)?.parse().ok(),
            ReadFrom::Raft { .. } => Some(0),
            ReadFrom::SchemaDb { .. } => None,
        }
    }
}

impl fmt::Display for ReadFrom {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadFrom::Raft { snapshot: None, entries: None } => formatter.write_str("RAFT, empty"),
            ReadFrom::Raft { snapshot: Some(snapshot), entries: None } => {
                write!(formatter, "RAFT snapshot {snapshot}")
            }
            ReadFrom::Raft { snapshot: None, entries: Some(entries) } => {
                write!(formatter, "RAFT log up to entry {}", entries.end())
            }
            ReadFrom::Raft { snapshot: Some(snapshot), entries: Some(entries) } => {
                write!(formatter, "RAFT snapshot {snapshot}, log up to entry {}", entries.end())
            }
            ReadFrom::SchemaDb { .. } => formatter.write_str("schema.db"),
        }
    }
}

impl ClusterSchema {
    /// The schema that the server kept: RAFT's, or that of `schema.db` when RAFT has no class,
    /// because servers of today leave an old `schema.db` behind (`data-directory.md` 5.4). `None`
    /// when there is neither.
    ///
    /// # Errors
    /// See [`SchemaReadError`]. A broken RAFT log is one, and no reason to trust `schema.db`.
    pub fn read(data_directory: &Dir) -> Result<Option<ClusterSchema>, SchemaReadError> {
        let raft = raft::read(data_directory)?;
        if raft.as_ref().is_some_and(|schema| !schema.classes.is_empty()) {
            return Ok(raft);
        }
        let older = schema_db::read(data_directory)?;
        Ok(older.filter(|schema| !schema.classes.is_empty() || raft.is_none()).or(raft))
    }
}

impl ClassState {
    /// `recorded_factor` is what the sharding state says, 0 when it says nothing.
    pub(super) fn new(
        definition: &Definition,
        facts: ClassFacts,
        recorded_factor: u32,
        shards: BTreeMap<String, ShardState>,
    ) -> ClassState {
        ClassState {
            definition: definition.to_text(),
            multi_tenant: facts.multi_tenant,
            replication_factor: replication_factor(recorded_factor, &facts),
            properties: facts.properties,
            shards,
        }
    }
}

/// The sharding state knows the factor since 1.31.0, the definition before (`data-directory.md`
/// 5.1).
pub(super) fn replication_factor(recorded: u32, facts: &ClassFacts) -> u32 {
    if recorded > 0 { recorded } else { facts.replication_factor.max(1) }
}

impl ShardStatus {
    /// From a name in the schema: RAFT's or REST's, empty for HOT.
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

/// RAFT's name for it.
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

/// Go writes an empty list as `null`.
fn null_as_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
