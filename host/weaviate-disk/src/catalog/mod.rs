//! The classes and shards of the data directories, from the schema and from what is on disk.
//!
//! Reading order, each file using only those before it:
//!
//! * `name_list`, `warning`: what the operator should know.
//! * `flat_shards`, `listing`, `node`: a data directory, opened and listed.
//! * `effective_schema`: the schema that counts.
//! * `object_names`: class names in stored objects, for data without a schema.
//! * `on_disk`, `node_names`: what a directory holds, and which node of the schema it belongs to.
//! * `class`, `tenants`: the result.
//! * `matching`, `classes`: schema and directories combined.
pub(crate) mod class;
pub(crate) mod classes;
pub(crate) mod effective_schema;
mod flat_shards;
pub(crate) mod listing;
mod matching;
pub(crate) mod name_list;
pub(crate) mod node;
pub(crate) mod node_names;
mod object_names;
pub(crate) mod on_disk;
pub(crate) mod tenants;
pub(crate) mod warning;
