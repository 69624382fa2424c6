//! What a manifest says of the source of an export: its shards, up to where each was read, and what is
//! missing.
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::timestamp;

/// Shards beyond this number are listed in `shards.jsonl`, so that the manifest stays short.
pub const MAX_SHARDS_IN_MANIFEST: usize = 1_000;

/// A file of a shard at the moment of its snapshot. Increments stand on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceCutOff {
    /// File name.
    pub name: String,
    /// Its length.
    pub size_bytes: u64,
    /// When it was written last, UTC, by its file system.
    #[serde(with = "timestamp")]
    pub modified_at: DateTime<Utc>,
    /// CRC-32 of its first 16 bytes, 8 hex digits; of all bytes, if there are fewer.
    pub header_crc: String,
    /// Bytes that were read: in a log up to the first bad record.
    pub bytes_read: u64,
    /// CRC-32, 8 hex digits: of a segment the one that it ends with, absent if it has none; of a log that
    /// of the bytes that were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc: Option<String>,
}

/// Up to where a shard was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CutOff {
    /// When the snapshot was taken, UTC.
    #[serde(with = "timestamp")]
    pub at: DateTime<Utc>,
    /// File name of the newest segment; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_segment: Option<String>,
    /// The files that were read, oldest first; none in manifests of releases that did not list them.
    #[serde(default)]
    pub sources: Vec<SourceCutOff>,
}

/// A shard (a tenant, in a multi-tenant class) and its run of rows in the files of its class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shard {
    /// Exact class name.
    pub class: String,
    /// Shard or tenant name.
    pub shard: String,
    /// Rows written.
    pub rows: u64,
    /// Id of its first row; absent without rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_id: Option<String>,
    /// Id of its last row; absent without rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_id: Option<String>,
    /// Up to where it was read; absent when it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_off: Option<CutOff>,
    /// Why it was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_reason: Option<String>,
    /// Why it could not be read, or not to its end: `rows` are then not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Objects that broke their format or were too large, and were left out; absent when there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects_left_out: Option<u64>,
    /// Where it lay and how its copies differed, when it was read from several directories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<ShardCopies>,
}

/// The copies of a shard in the directories of several nodes, read as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardCopies {
    /// Those that held it, with up to where each was read.
    pub directories: Vec<ShardCopy>,
    /// Objects that not all copies had in the same version.
    pub differing_objects: u64,
    /// Those of them that were exported although a copy had deleted them at a time that it had not
    /// kept.
    pub kept_against_deletes: u64,
}

/// The copy of a shard in one directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardCopy {
    /// The data directory.
    pub directory: String,
    /// Up to where it was read.
    pub cut_off: CutOff,
}

/// Where the rows came from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Data directories.
    pub directories: Vec<String>,
    /// Where class names and multi-tenancy were taken from.
    pub schema_from: String,
    /// Class by class, in the order in which their rows stand in the class's files. Empty in a
    /// stored manifest that has `shards_key`.
    #[serde(default)]
    pub shards: Vec<Shard>,
    /// Key of the attachment with the shards, one a line, when there are more than
    /// [`MAX_SHARDS_IN_MANIFEST`]. Set by [`crate::manifest::Manifest::commit`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards_key: Option<String>,
}

/// A part of the source that is not in the files of an export that was allowed to lack it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Missing {
    /// Exact class name.
    pub class: String,
    /// Shard or tenant; absent when the whole class is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// How many objects; absent when it is all of the shard, or from some place on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<u64>,
    /// Why.
    pub reason: String,
}

/// The tenants that an export covers of a class of which it does not cover all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CoveredTenants {
    /// Their names, sorted.
    Names(Vec<String>),
    /// Their number, where there are more than [`MAX_SHARDS_IN_MANIFEST`].
    Number(u64),
}

impl CoveredTenants {
    /// These tenants, which are sorted.
    pub fn of(tenants: Vec<String>) -> CoveredTenants {
        if tenants.len() <= MAX_SHARDS_IN_MANIFEST {
            CoveredTenants::Names(tenants)
        } else {
            CoveredTenants::Number(tenants.len() as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_a_thousand_tenants_are_counted() {
        let tenants =
            |count: usize| CoveredTenants::of((0..count).map(|n| n.to_string()).collect());
        let json = |count| serde_json::to_value(tenants(count)).unwrap();
        assert_eq!(json(1_000).as_array().unwrap().len(), 1_000);
        assert_eq!(json(1_001), 1_001);
        for count in [1, 1_001] {
            let back: CoveredTenants = serde_json::from_value(json(count)).unwrap();
            assert_eq!(back, tenants(count));
        }
    }
}
