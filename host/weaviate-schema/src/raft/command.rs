//! The commands in the RAFT log and their payloads (`data-directory.md` 5.1).
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{definition::Definition, sharding::ShardingState};

/// The data of a log entry: a command.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct ApplyRequest {
    /// Type of the command, see [`Command::from_number`].
    #[prost(int32, tag = "1")]
    pub number: i32,
    #[prost(string, tag = "2")]
    pub class: String,
    #[prost(bytes = "vec", tag = "4")]
    pub payload: Vec<u8>,
}

/// The types of commands that change classes, tenants or their placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    AddClass,
    UpdateClass,
    DeleteClass,
    RestoreClass,
    AddProperty,
    UpdateProperty,
    AddReplica,
    DeleteReplica,
    AddTenants,
    UpdateTenants,
    DeleteTenants,
    ProcessTenants,
    /// Replica movement.
    MoveReplica,
    /// Gives the cluster its id, once.
    SetClusterId,
    /// A known command that does not change the schema: shard status, aliases, roles, users,
    /// namespaces, the progress of replication and of distributed tasks.
    Unrelated,
}

impl Command {
    /// `None` for an unknown number.
    pub fn from_number(number: i32) -> Option<Command> {
        Some(match number {
            1 => Command::AddClass,
            2 => Command::UpdateClass,
            3 => Command::DeleteClass,
            4 => Command::RestoreClass,
            5 => Command::AddProperty,
            6 => Command::UpdateProperty,
            11 => Command::AddReplica,
            12 => Command::DeleteReplica,
            16 => Command::AddTenants,
            17 => Command::UpdateTenants,
            18 => Command::DeleteTenants,
            19 => Command::ProcessTenants,
            212 => Command::MoveReplica,
            400 => Command::SetClusterId,
            10 | 40..=42 | 60..=65 | 80..=85 | 90..=94 | 99 => Command::Unrelated,
            200..=211 | 213 | 220..=225 | 300..=309 => Command::Unrelated,
            _ => return None,
        })
    }

    /// Upstream's name of the command.
    pub fn name(self) -> &'static str {
        match self {
            Command::AddClass => "ADD_CLASS",
            Command::UpdateClass => "UPDATE_CLASS",
            Command::DeleteClass => "DELETE_CLASS",
            Command::RestoreClass => "RESTORE_CLASS",
            Command::AddProperty => "ADD_PROPERTY",
            Command::UpdateProperty => "UPDATE_PROPERTY",
            Command::AddReplica => "ADD_REPLICA_TO_SHARD",
            Command::DeleteReplica => "DELETE_REPLICA_FROM_SHARD",
            Command::AddTenants => "ADD_TENANT",
            Command::UpdateTenants => "UPDATE_TENANT",
            Command::DeleteTenants => "DELETE_TENANT",
            Command::ProcessTenants => "TENANT_PROCESS",
            Command::MoveReplica => "REPLICATION_REPLICATE_ADD_REPLICA_TO_SHARD",
            Command::SetClusterId => "CLUSTER_ID_SET",
            Command::Unrelated => "UNRELATED",
        }
    }
}

/// Payload of ADD_CLASS, RESTORE_CLASS and UPDATE_CLASS.
#[derive(Debug, Deserialize)]
pub(super) struct ClassPayload {
    #[serde(rename = "Class")]
    pub class: Definition,
    /// Absent in an update that does not change the shards.
    #[serde(rename = "State")]
    pub state: Option<ShardingState>,
}

/// Payload of ADD_PROPERTY, which may have several properties, and of UPDATE_PROPERTY.
#[derive(Debug, Deserialize)]
pub(super) struct PropertyPayload {
    #[serde(rename = "Properties")]
    pub properties: Option<Vec<Box<RawValue>>>,
    #[serde(rename = "Property")]
    pub property: Option<Box<RawValue>>,
}

/// Payload of ADD_REPLICA_TO_SHARD, DELETE_REPLICA_FROM_SHARD and replica movement.
#[derive(Debug, Deserialize)]
pub(super) struct ReplicaPayload {
    #[serde(rename = "Shard")]
    pub shard: String,
    #[serde(rename = "TargetNode")]
    pub node: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Tenant {
    #[prost(string, tag = "1")]
    pub name: String,
    /// RAFT's name of the status.
    #[prost(string, tag = "2")]
    pub status: String,
}

/// Payload of ADD_TENANT.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct AddTenantsPayload {
    #[prost(string, repeated, tag = "1")]
    pub cluster_nodes: Vec<String>,
    #[prost(message, repeated, tag = "2")]
    pub tenants: Vec<Tenant>,
}

/// Payload of UPDATE_TENANT.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct UpdateTenantsPayload {
    #[prost(message, repeated, tag = "1")]
    pub tenants: Vec<Tenant>,
    #[prost(string, repeated, tag = "2")]
    pub cluster_nodes: Vec<String>,
}

/// Payload of DELETE_TENANT.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct DeleteTenantsPayload {
    #[prost(string, repeated, tag = "1")]
    pub tenants: Vec<String>,
}

/// Payload of CLUSTER_ID_SET.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct ClusterIdPayload {
    #[prost(string, tag = "1")]
    pub cluster_id: String,
}

/// Payload of TENANT_PROCESS: a node's progress with moving tenants to or from cold storage.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct ProcessTenantsPayload {
    #[prost(string, tag = "1")]
    pub node: String,
    #[prost(enumeration = "Transfer", tag = "2")]
    pub transfer: i32,
    #[prost(message, repeated, tag = "3")]
    pub reports: Vec<TenantReport>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct TenantReport {
    #[prost(enumeration = "Progress", tag = "1")]
    pub progress: i32,
    #[prost(message, optional, tag = "2")]
    pub tenant: Option<Tenant>,
}

/// A direction: to cold storage or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Transfer {
    Unspecified = 0,
    Freezing = 1,
    Unfreezing = 2,
}

/// The progress of a node with a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Progress {
    Unspecified = 0,
    Started = 1,
    Done = 2,
    Aborted = 3,
}

impl Progress {
    /// Whether this is the node's last report.
    pub fn is_end(self) -> bool {
        matches!(self, Progress::Done | Progress::Aborted)
    }
}
