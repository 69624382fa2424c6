//! The effective schema: that of a schema file, else the newest stored in the data directories, else
//! none (`data-directory.md` 6).
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
    sync::Arc,
};

use cap_std::fs::Dir;

use super::warning::Warning;
use crate::{
    error::DiskError,
    schema::{ClusterSchema, ReadFrom, SchemaFile, ShardState, names, stored},
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
}

impl EffectiveSchema {
    /// Reads the stored schemas of all data directories, each given by path and handle, and uses the
    /// newest. Also returns what each directory's own log says, in the same order. The classes of `file` take precedence over those of the stored schema.
    ///
    /// # Errors
    /// If a stored schema cannot be read, no other directory has one, and there is no file. With a
    /// file, only the status of tenants is lost, which is a warning. The objects do not replace a
    /// stored schema: they include deleted classes, and tenants whose files are incomplete.
    pub fn read<'a>(
        directories: impl IntoIterator<Item = (&'a Path, &'a Dir)>,
        file: Option<&SchemaFile>,
        warnings: &mut Vec<Warning>,
    ) -> Result<(EffectiveSchema, Vec<OwnSchema>), DiskError> {
        let mut newest: Option<StoredSchema> = None;
        let (mut unreadable, mut own) = (Vec::new(), Vec::<OwnSchema>::new());
        for (path, root) in directories {
            let index = own.len();
            own.push(OwnSchema::default());
            let schema = match stored::read(root) {
                Ok(Some(schema)) => schema,
                Ok(None) => continue,
                Err(error) => {
                    unreadable.push((path, error));
                    continue;
                }
            };
            let last_entry = schema.read_from.raft_index();
            let (present, stored) = (newest.take(), (index, path, schema));
            let (newer, older) = match present {
                None => (stored, None),
                Some(present) => newer(present, stored, warnings),
            };
            newest = Some(newer);
            if let Some(own) = own.get_mut(index) {
                own.last_entry = last_entry;
            }
            if let Some((index, _, schema)) = older
                && let Some(own) = own.get_mut(index)
            {
                let schema = EffectiveSchema::new(Some(schema), None, &mut Vec::new());
                own.older = Some(schema).filter(EffectiveSchema::lists_classes);
            }
        }
        if newest.is_none() && file.is_none() && !unreadable.is_empty() {
            let (path, source) = unreadable.swap_remove(0);
            return Err(DiskError::ServerSchema { path: path.to_owned(), source });
        }
        let tenants_known = newest.is_some();
        warnings.extend(unreadable.into_iter().map(|(path, error)| Warning::ServerSchema {
            path: path.to_owned(),
            reason: error.to_string(),
            tenants_known,
        }));
        let newest = newest.map(|(_, _, schema)| schema);
        Ok((EffectiveSchema::new(newest, file, warnings), own))
    }

    fn new(
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
            let class = EffectiveClass {
                name: class.name.clone(),
                multi_tenant: class.multi_tenant,
                definition: class.definition.clone(),
                shards: stored.and_then(|stored| stored.shards),
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
        let shards = self.classes.get(directory).and_then(|class| class.shards.as_ref());
        shards.is_some_and(|shards| shards.contains_key(shard))
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

/// What a data directory's own log says.
#[derive(Debug, Default)]
pub(crate) struct OwnSchema {
    /// RAFT index of its last entry.
    pub last_entry: Option<u64>,
    /// Its schema, if it is older than the one that counts.
    pub older: Option<EffectiveSchema>,
}

/// A stored schema, and the index and path of its data directory.
type StoredSchema<'a> = (usize, &'a Path, ClusterSchema);

/// The schema with the higher RAFT index, or `left` if they are equal, and the other one if it
/// differs. RAFT is newer than `schema.db`.
fn newer<'a>(
    left: StoredSchema<'a>,
    right: StoredSchema<'a>,
    warnings: &mut Vec<Warning>,
) -> (StoredSchema<'a>, Option<StoredSchema<'a>>) {
    let right_is_newer = right.2.read_from.raft_index() > left.2.read_from.raft_index();
    let (newer, older) = if right_is_newer { (right, left) } else { (left, right) };
    if newer.2.classes == older.2.classes {
        return (newer, None);
    }
    warnings.push(Warning::SchemasDiffer {
        path: older.1.to_owned(),
        source: older.2.read_from.clone(),
        newer: newer.2.read_from.clone(),
    });
    (newer, Some(older))
}
