//! The effective schema: that of a schema file, else the newest stored in the data directories, else
//! none (`data-directory.md` 6).
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
    sync::Arc,
};

use super::warning::Warning;
use crate::schema::{ClusterSchema, ReadFrom, SchemaFile, ShardState, names};

/// The source of class names, multi-tenancy and tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaSource {
    /// A saved answer of `GET /v1/schema`, with the tenants of the stored schema, if there is one.
    File(Arc<Path>),
    /// The files in which the server stores its schema.
    Server(ReadFrom),
    /// The class names in objects, and the names of directories and shards.
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

/// The classes of the effective schema.
#[derive(Debug)]
pub(crate) struct EffectiveSchema {
    pub source: SchemaSource,
    /// By class directory.
    pub classes: BTreeMap<String, EffectiveClass>,
}

/// A class of the effective schema.
#[derive(Debug)]
pub(crate) struct EffectiveClass {
    /// Exact name.
    pub name: String,
    pub multi_tenant: bool,
    pub definition: String,
    /// The shards on all nodes; `None` if the source does not list shards.
    pub shards: Option<BTreeMap<String, ShardState>>,
    /// RAFT index of the last entry that made or deleted shards, or of a later one; 0 without RAFT.
    pub shards_changed_at: u64,
}

impl EffectiveSchema {
    /// That of `server`, which is the newest stored schema, and of `file`, whose classes take precedence
    /// over those of the stored one.
    pub fn new(
        server: Option<ClusterSchema>,
        file: Option<&SchemaFile>,
        warnings: &mut Vec<Warning>,
    ) -> EffectiveSchema {
        // Servers from 1.25 on create a `schema.db` without classes beside `raft/`. Without `raft/`,
        // the directory is an incomplete copy, and such a file says nothing about the classes.
        let server = server.filter(|schema| {
            !schema.classes.is_empty() || matches!(schema.read_from, ReadFrom::Raft { .. })
        });
        let Some(mut server) = server else {
            return match file {
                Some(file) => EffectiveSchema::with_file(file, BTreeMap::new()),
                None => EffectiveSchema { source: SchemaSource::Objects, classes: BTreeMap::new() },
            };
        };
        warnings.extend(std::mem::take(&mut server.warnings).into_iter().map(Warning::Schema));
        let classes = server.classes.into_iter().map(|(name, class)| {
            let class = EffectiveClass {
                multi_tenant: class.multi_tenant,
                definition: class.definition,
                // Data from before sharding states lists no shard: then all on disk count.
                shards: Some(class.shards)
                    .filter(|shards| class.multi_tenant || !shards.is_empty()),
                shards_changed_at: class.shards_changed_at,
                name,
            };
            (names::class_directory(&class.name), class)
        });
        let classes = classes.collect();
        match file {
            Some(file) => EffectiveSchema::with_file(file, classes),
            None => EffectiveSchema { source: SchemaSource::Server(server.read_from), classes },
        }
    }

    /// The classes of the file, with their shards in the stored schema.
    fn with_file(
        file: &SchemaFile,
        mut stored: BTreeMap<String, EffectiveClass>,
    ) -> EffectiveSchema {
        let classes = file.classes().iter().map(|class| {
            let directory = names::class_directory(&class.name);
            let stored = stored.remove(&directory).filter(|stored| stored.name == class.name);
            let shards_changed_at = stored.as_ref().map_or(0, |stored| stored.shards_changed_at);
            let class = EffectiveClass {
                name: class.name.clone(),
                multi_tenant: class.multi_tenant,
                definition: class.definition.clone(),
                shards: stored.and_then(|stored| stored.shards),
                shards_changed_at,
            };
            (directory, class)
        });
        EffectiveSchema {
            source: SchemaSource::File(file.path().into()),
            classes: classes.collect(),
        }
    }

    /// Whether a schema lists the classes. If not, the directories do.
    pub fn lists_classes(&self) -> bool {
        self.source != SchemaSource::Objects
    }

    /// Whether it has a class of this directory.
    pub fn has_class(&self, directory: &str) -> bool {
        self.classes.contains_key(directory)
    }

    /// Whether the class of this directory has this shard.
    pub fn has_shard(&self, directory: &str, shard: &str) -> bool {
        self.shard(directory, shard).is_some()
    }

    /// This shard of the class of this directory.
    pub fn shard(&self, directory: &str, shard: &str) -> Option<&ShardState> {
        self.classes.get(directory)?.shards.as_ref()?.get(shard)
    }

    /// All shards.
    pub fn shards_mut(&mut self) -> impl Iterator<Item = &mut ShardState> {
        let classes = self.classes.values_mut().filter_map(|class| class.shards.as_mut());
        classes.flat_map(BTreeMap::values_mut)
    }

    /// The names of all nodes that hold a shard.
    pub fn node_names(&self) -> BTreeSet<Arc<str>> {
        let shards = self.classes.values().filter_map(|class| class.shards.as_ref());
        // Tenants share their lists of nodes.
        let mut seen = BTreeSet::new();
        let lists = shards.flat_map(BTreeMap::values).map(|shard| &shard.nodes);
        let distinct = lists.filter(|nodes| seen.insert(nodes.as_ptr()));
        distinct.flat_map(|nodes| nodes.iter().cloned()).collect()
    }
}
