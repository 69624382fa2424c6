//! The classes and shards of the data directories, from the schema and from what is on disk.
//!
//! Reading order, each file using only those before it:
//!
//! * `name_list`, `warning`: what the operator should know.
//! * `flat_shards`, `listing`, `node`: a data directory, opened and listed.
//! * `effective_schema`, `stored_schemas`: the schema that counts, and what each directory's own says.
//! * `object_names`: class names in stored objects, for data without a schema.
//! * `on_disk`: what a directory holds.
//! * `one_cluster`, `node_names`: whether the directories are those of the nodes of one cluster, and of
//!   which nodes.
//! * `class`, `tenants`: the result.
//! * `matching`, `namesakes`, `classes`: schema and directories combined.
pub(crate) mod class;
pub(crate) mod classes;
pub(crate) mod effective_schema;
mod flat_shards;
pub(crate) mod listing;
mod matching;
pub(crate) mod name_list;
mod namesakes;
pub(crate) mod node;
pub(crate) mod node_names;
mod object_names;
pub(crate) mod on_disk;
pub(crate) mod one_cluster;
pub(crate) mod stored_schemas;
pub(crate) mod tenants;
pub(crate) mod warning;
