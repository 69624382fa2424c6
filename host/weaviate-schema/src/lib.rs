//! Reads the schema of a Weaviate cluster: its classes, their definitions, their shards (tenants),
//! and the nodes that hold them.
//!
//! There are two sources: the files in which a server stores its schema ([`stored::read`]), and a
//! saved answer of `GET /v1/schema` ([`SchemaFile::parse`]). Everything is read-only and blocking.
//! No file of a stored schema is read outside of the data directory. Which of the two sources
//! counts, and which shards have data, is for the caller to decide.
//!
//! Reading order, each file using only those before it:
//!
//! * [`names`]: which names classes, shards and their directories may have.
//! * `error`, `warning`: what can go wrong, and what was skipped.
//! * `definition`, `sharding`: the two JSON documents that describe a class.
//! * `history`: the entries of RAFT's log, to compare it with another node's.
//! * `cluster`: the result, [`ClusterSchema`].
//! * `schema_file`: the saved answer.
//! * `regular_file`, `retry`, [`bbolt`]: how a file is read while a server writes to it.
//! * [`schema_db`]: the stored schema of servers before 1.25.
//! * [`raft`]: the stored schema of servers since 1.25, a snapshot and a log.
//! * [`stored`]: which of these two counts.
pub mod bbolt;
mod cluster;
mod definition;
mod error;
mod history;
pub mod names;
pub mod raft;
mod regular_file;
mod retry;
pub mod schema_db;
mod schema_file;
mod sharding;
pub mod stored;
mod warning;

pub use cluster::{ClassState, ClusterSchema, ReadFrom};
pub use definition::Property;
pub use error::{PageError, SchemaError};
pub use history::{Agreement, Foreign, History, Position};
pub use schema_file::{SchemaClass, SchemaFile, SchemaFileError, SchemaFileFault};
pub use sharding::{Nodes, ShardState, ShardStatus};
pub use warning::SchemaWarning;
