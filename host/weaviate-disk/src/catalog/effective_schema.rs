//! The effective schema: that of a schema file, else the newest stored in the data directories, else
//! none (`data-directory.md` 6).
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, btree_map},
    fmt,
    path::Path,
    sync::Arc,
};

use super::warning::Warning;
use crate::{
    error::DiskError,
    schema::{ClusterSchema, ReadFrom, SchemaFile, ShardState, names},
};

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
    /// With a schema file: the names of the classes in the server's own schema, by class directory.
    stored: BTreeMap<String, BTreeSet<String>>,
    /// Whether these are all that the server has: a `schema.db` may be out of date.
    stored_in_raft: bool,
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
    /// Why the class is not read although it is in the schema.
    pub fault: Option<Arc<DiskError>>,
    /// Further classes of the directory: their names differ in case alone.
    pub namesakes: Vec<EffectiveClass>,
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
                Some(file) => EffectiveSchema::with_file(file, Vec::new(), false),
                None => EffectiveSchema {
                    source: SchemaSource::Objects,
                    classes: BTreeMap::new(),
                    stored: BTreeMap::new(),
                    stored_in_raft: false,
                },
            };
        };
        warnings.extend(std::mem::take(&mut server.warnings).into_iter().map(Warning::Schema));
        let classes = server.classes.into_iter().map(|(name, class)| EffectiveClass {
            multi_tenant: class.multi_tenant,
            definition: class.definition,
            // Data from before sharding states lists no shard: then all on disk count.
            shards: Some(class.shards).filter(|shards| class.multi_tenant || !shards.is_empty()),
            shards_changed_at: class.shards_changed_at,
            name,
            fault: None,
            namesakes: Vec::new(),
        });
        let classes: Vec<EffectiveClass> = classes.collect();
        match file {
            Some(file) => {
                let is_raft = matches!(server.read_from, ReadFrom::Raft { .. });
                EffectiveSchema::with_file(file, classes, is_raft)
            }
            None => EffectiveSchema {
                source: SchemaSource::Server(server.read_from),
                classes: by_directory(classes),
                stored: BTreeMap::new(),
                stored_in_raft: false,
            },
        }
    }

    /// The classes of the file, with their shards in the stored schema.
    fn with_file(file: &SchemaFile, stored: Vec<EffectiveClass>, is_raft: bool) -> EffectiveSchema {
        let mut stored_names = BTreeMap::<String, BTreeSet<String>>::new();
        for class in &stored {
            let directory = names::class_directory(&class.name);
            stored_names.entry(directory).or_default().insert(class.name.clone());
        }
        let mut stored: HashMap<String, EffectiveClass> =
            stored.into_iter().map(|class| (class.name.clone(), class)).collect();
        let classes = file.classes().iter().map(|class| {
            let stored = stored.remove(&class.name);
            let shards_changed_at = stored.as_ref().map_or(0, |stored| stored.shards_changed_at);
            let contradicts =
                stored.as_ref().is_some_and(|stored| stored.multi_tenant != class.multi_tenant);
            let fault = contradicts.then(|| DiskError::SchemaFileTenancy {
                file: file.path().to_owned(),
                class: class.name.clone(),
                multi_tenant: class.multi_tenant,
            });
            EffectiveClass {
                name: class.name.clone(),
                multi_tenant: class.multi_tenant,
                definition: class.definition.clone(),
                shards: stored.and_then(|stored| stored.shards),
                shards_changed_at,
                fault: fault.map(Arc::new),
                namesakes: Vec::new(),
            }
        });
        EffectiveSchema {
            source: SchemaSource::File(file.path().into()),
            classes: by_directory(classes),
            // A store without classes is that of a server which has lost them.
            stored_in_raft: is_raft && !stored_names.is_empty(),
            stored: stored_names,
        }
    }

    /// Whether the server's RAFT store lists classes, and none with this directory: what lies there is
    /// of a deleted class. Only where there is a schema file.
    pub fn is_deleted(&self, directory: &str) -> bool {
        self.stored_in_raft && !self.stored.contains_key(directory)
    }

    /// Whether the server's RAFT store has the class; `None` if that is not known. Only where there is
    /// a schema file.
    pub fn is_in_raft(&self, directory: &str, class: &str) -> Option<bool> {
        let has_class = || self.stored.get(directory).is_some_and(|names| names.contains(class));
        self.stored_in_raft.then(has_class)
    }

    /// The names of the classes with this directory in the server's own schema. Only where there is a
    /// schema file.
    pub fn stored_names(&self, directory: &str) -> impl Iterator<Item = &String> {
        self.stored.get(directory).into_iter().flatten()
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

    /// This shard of a class of this directory.
    pub fn shard(&self, directory: &str, shard: &str) -> Option<&ShardState> {
        let mut classes = self.classes.get(directory).into_iter().flat_map(EffectiveClass::all);
        classes.find_map(|class| class.shards.as_ref()?.get(shard))
    }

    /// All shards.
    pub fn shards_mut(&mut self) -> impl Iterator<Item = &mut ShardState> {
        let lists = self.classes.values_mut().flat_map(|class| {
            let namesakes = class.namesakes.iter_mut().map(|class| &mut class.shards);
            std::iter::once(&mut class.shards).chain(namesakes)
        });
        lists.flatten().flat_map(BTreeMap::values_mut)
    }

    /// The names of all nodes that hold a shard.
    pub fn node_names(&self) -> BTreeSet<Arc<str>> {
        let classes = self.classes.values().flat_map(EffectiveClass::all);
        let shards = classes.filter_map(|class| class.shards.as_ref());
        // Tenants share their lists of nodes.
        let mut seen = BTreeSet::new();
        let lists = shards.flat_map(BTreeMap::values).map(|shard| &shard.nodes);
        let distinct = lists.filter(|nodes| seen.insert(nodes.as_ptr()));
        distinct.flat_map(|nodes| nodes.iter().cloned()).collect()
    }
}

impl EffectiveClass {
    /// The class and those that share its directory.
    pub fn all(&self) -> impl Iterator<Item = &EffectiveClass> {
        std::iter::once(self).chain(&self.namesakes)
    }
}

/// The classes by directory.
fn by_directory(
    classes: impl IntoIterator<Item = EffectiveClass>,
) -> BTreeMap<String, EffectiveClass> {
    let mut sorted = BTreeMap::<String, EffectiveClass>::new();
    for class in classes {
        match sorted.entry(names::class_directory(&class.name)) {
            btree_map::Entry::Vacant(entry) => drop(entry.insert(class)),
            btree_map::Entry::Occupied(mut entry) => entry.get_mut().namesakes.push(class),
        }
    }
    sorted
}
