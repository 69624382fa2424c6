//! The stored schema of a cluster: its classes, their shards (tenants), and the files that hold it.
use std::{collections::BTreeMap, fmt, ops::RangeInclusive};

use crate::{
    definition::{ClassSettings, Definition, Property},
    history::History,
    sharding::ShardState,
    warning::SchemaWarning,
};

/// The classes of a cluster, as one of its nodes stores them. Every node stores all classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSchema {
    /// The files that hold it.
    pub read_from: ReadFrom,
    /// By exact name.
    pub classes: BTreeMap<String, ClassState>,
    /// The entries of RAFT's log, if the schema is RAFT's.
    pub history: Option<History>,
    /// What was skipped, in the order of reading.
    pub warnings: Vec<SchemaWarning>,
}

/// The files that a [`ClusterSchema`] was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadFrom {
    /// `raft/`, 1.25 and later (`data-directory.md` 5.1 and 5.2).
    Raft {
        /// Name of the snapshot's directory, if there was one.
        snapshot: Option<String>,
        /// Indexes of the log entries that follow the snapshot, if there were any.
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
    /// JSON as in `GET /v1/schema`: what is needed to create the class again.
    pub definition: String,
    /// Whether its shards are tenants.
    pub multi_tenant: bool,
    /// How many nodes a shard should be on, at least 1.
    pub replication_factor: u32,
    /// In the order of the definition.
    pub properties: Vec<Property>,
    /// The shards (tenants) on all nodes, by name.
    pub shards: BTreeMap<String, ShardState>,
    /// RAFT index of the last log entry that made or deleted shards, or of a later one; 0 if the
    /// schema is not RAFT's.
    pub shards_changed_at: u64,
}

impl ReadFrom {
    /// RAFT index of the last log entry that the schema includes; `None` for `schema.db`.
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

impl ClassState {
    /// `recorded_factor` is the replication factor of the sharding state, or 0.
    pub(crate) fn new(
        definition: &Definition,
        settings: ClassSettings,
        recorded_factor: u32,
        shards: BTreeMap<String, ShardState>,
    ) -> ClassState {
        ClassState {
            definition: definition.to_text(),
            multi_tenant: settings.multi_tenant,
            replication_factor: replication_factor(recorded_factor, &settings),
            properties: settings.properties,
            shards,
            shards_changed_at: 0,
        }
    }
}

/// The replication factor of the sharding state (`recorded_factor`), else of the definition, else 1
/// (`data-directory.md` 5.1).
pub(crate) fn replication_factor(recorded_factor: u32, settings: &ClassSettings) -> u32 {
    if recorded_factor > 0 { recorded_factor } else { settings.replication_factor.max(1) }
}
