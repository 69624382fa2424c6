//! Where the exact names of classes, their tenants and their places in the cluster come from: the
//! server's own files ([`ClusterSchema`]), a saved answer of REST, or the objects.
pub mod bbolt;
mod cluster;
mod definition;
mod error;
pub(crate) mod file;
mod open;
pub mod raft;
mod retry;
pub mod schema_db;
mod sharding;
mod warning;

pub use cluster::{ClassState, ClusterSchema, Nodes, Property, ReadFrom, ShardState, ShardStatus};
pub use error::{PageFault, SchemaReadError};
pub use warning::SchemaWarning;
