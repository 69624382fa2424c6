//! The schema that counts: a schema file, else what the server kept on disk, else none
//! (`data-directory.md` 6).
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
    sync::Arc,
};

use super::{node::OpenedNode, warning::Warning};
use crate::{
    error::DiskError,
    schema::{ClusterSchema, ReadFrom, ShardState, file::SchemaFile},
};

/// Where class names, multi-tenancy and tenants were taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaSource {
    /// A saved answer of `GET /v1/schema`; tenants from the server's own files, if there are any.
    File(Arc<Path>),
    /// The files in which the server itself keeps its schema.
    Server(ReadFrom),
    /// The objects' own class names, and the names of directories and shards.
    Objects,
}

impl fmt::Display for SchemaSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchemaSource::File(path) => write!(formatter, "schema file {}", path.display()),
            SchemaSource::Server(read_from) => read_from.fmt(formatter),
            SchemaSource::Objects => formatter.write_str("objects and directory names"),
        }
    }
}

/// The classes that exist, as far as a schema tells.
#[derive(Debug)]
pub(crate) struct Known {
    pub source: SchemaSource,
    /// By name in lower case.
    pub classes: BTreeMap<String, KnownClass>,
}

/// A class of the schema.
#[derive(Debug)]
pub(crate) struct KnownClass {
    /// Exact name.
    pub name: String,
    pub multi_tenant: bool,
    pub definition: String,
    /// Those of all nodes; `None` when only the class is known.
    pub shards: Option<BTreeMap<String, ShardState>>,
}

impl Known {
    /// Reads the servers' own schemas, of which the newest counts, and puts `file` before it. With
    /// a file, a broken schema of a server's costs no more than the tenants' states; without one
    /// it is an error unless another node has it, because what the objects tell includes deleted
    /// classes and tenants that are there in part only.
    pub fn read(
        nodes: &[OpenedNode],
        file: Option<&SchemaFile>,
        warnings: &mut Vec<Warning>,
    ) -> Result<Known, DiskError> {
        let mut newest: Option<(&OpenedNode, ClusterSchema)> = None;
        let mut broken = Vec::new();
        for node in nodes {
            let schema = match ClusterSchema::read(&node.root) {
                Ok(Some(schema)) => schema,
                Ok(None) => continue,
                Err(error) => {
                    broken.push((node, error));
                    continue;
                }
            };
            newest = Some(match newest.take() {
                None => (node, schema),
                Some(present) => newer(present, (node, schema), warnings),
            });
        }
        if newest.is_none() && file.is_none() && !broken.is_empty() {
            let (node, source) = broken.swap_remove(0);
            return Err(DiskError::ServerSchema { path: node.path.to_path_buf(), source });
        }
        let tenants_known = newest.is_some();
        warnings.extend(broken.into_iter().map(|(node, error)| Warning::ServerSchema {
            path: node.path.to_path_buf(),
            reason: error.to_string(),
            tenants_known,
        }));
        Ok(Known::new(newest.map(|(_, schema)| schema), file, warnings))
    }

    fn new(
        server: Option<ClusterSchema>,
        file: Option<&SchemaFile>,
        warnings: &mut Vec<Warning>,
    ) -> Known {
        // A server of today leaves a `schema.db` without classes beside its RAFT store: alone, it
        // is what is left of a partial copy, and tells nothing.
        let server = server.filter(|schema| {
            !schema.classes.is_empty() || matches!(schema.read_from, ReadFrom::Raft { .. })
        });
        let Some(mut server) = server else {
            return match file {
                Some(file) => Known::of_file(file, BTreeMap::new()),
                None => Known { source: SchemaSource::Objects, classes: BTreeMap::new() },
            };
        };
        warnings.extend(std::mem::take(&mut server.warnings).into_iter().map(Warning::Schema));
        let classes = server.classes.into_iter().map(|(name, class)| {
            let known = KnownClass {
                multi_tenant: class.multi_tenant,
                definition: class.definition,
                // Data from before sharding was recorded names no shard: all on disk count.
                shards: Some(class.shards)
                    .filter(|shards| class.multi_tenant || !shards.is_empty()),
                name,
            };
            (known.name.to_ascii_lowercase(), known)
        });
        let classes = classes.collect();
        match file {
            Some(file) => Known::of_file(file, classes),
            None => Known { source: SchemaSource::Server(server.read_from), classes },
        }
    }

    /// The classes of the file, with the tenants that the server knows of them.
    fn of_file(file: &SchemaFile, mut server: BTreeMap<String, KnownClass>) -> Known {
        let classes = file.classes().iter().map(|class| {
            let key = class.name.to_ascii_lowercase();
            let server = server.remove(&key).filter(|server| server.name == class.name);
            let known = KnownClass {
                name: class.name.clone(),
                multi_tenant: class.multi_tenant,
                definition: class.definition.clone(),
                shards: server.and_then(|server| server.shards),
            };
            (key, known)
        });
        Known { source: SchemaSource::File(file.path().into()), classes: classes.collect() }
    }

    /// Whether a schema says which classes there are.
    pub fn is_told(&self) -> bool {
        self.source != SchemaSource::Objects
    }

    /// Whether there is a class whose directory is called so.
    pub fn has_class(&self, directory: &str) -> bool {
        self.classes.contains_key(directory)
    }

    /// Whether that class has this shard.
    pub fn has_shard(&self, directory: &str, shard: &str) -> bool {
        let shards = self.classes.get(directory).and_then(|class| class.shards.as_ref());
        shards.is_some_and(|shards| shards.contains_key(shard))
    }

    /// The names of all nodes that hold a shard.
    pub fn nodes(&self) -> BTreeSet<Arc<str>> {
        let shards = self.classes.values().filter_map(|class| class.shards.as_ref());
        // Tenants share their lists of nodes.
        let mut seen = BTreeSet::new();
        let lists = shards.flat_map(BTreeMap::values).map(|shard| &shard.nodes);
        let distinct = lists.filter(|nodes| seen.insert(nodes.as_ptr()));
        distinct.flat_map(|nodes| nodes.iter().cloned()).collect()
    }
}

type OfNode<'a> = (&'a OpenedNode, ClusterSchema);

/// The one whose RAFT log goes further, of equal ones the first; RAFT is newer than `schema.db`.
fn newer<'a>(left: OfNode<'a>, right: OfNode<'a>, warnings: &mut Vec<Warning>) -> OfNode<'a> {
    let right_is_newer = right.1.read_from.raft_index() > left.1.read_from.raft_index();
    let (newer, older) = if right_is_newer { (right, left) } else { (left, right) };
    if newer.1.classes != older.1.classes {
        warnings.push(Warning::SchemasDiffer {
            path: older.0.path.to_path_buf(),
            source: older.1.read_from.clone(),
            newer: newer.1.read_from.clone(),
        });
    }
    newer
}
