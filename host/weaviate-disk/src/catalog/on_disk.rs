//! The classes and shards that one data directory holds (`data-directory.md` 1 and 2).
use std::{
    collections::{BTreeMap, HashSet},
    io,
    sync::Arc,
};

use offloom_weaviate_lsm::{LsmError, bucket::Bucket, layout::Layout};

use super::{
    effective_schema::EffectiveSchema,
    flat_shards::FLAT_ENDING,
    listing::{Entry, EntryKind, entries, is_directory},
    node::OpenedNode,
    object_names,
    warning::Warning,
};
use crate::{error::DiskError, schema::names};

/// Name of the only shard of every class before classes had several. Such data is not supported.
const UNSHARDED: &str = "single";

/// The shards of a class in one data directory.
#[derive(Debug, Default)]
pub(crate) struct ClassOnDisk {
    /// The shards by name.
    pub shards: BTreeMap<String, Layout>,
    /// Whether a shard has a directory `lsm` or a counter, or may have one. If none has, only a schema
    /// makes this a class.
    pub has_data: bool,
    /// Why shards of the class may be unknown.
    pub faults: Vec<Arc<DiskError>>,
    /// Why some of the shards cannot be read, by name.
    pub shard_faults: BTreeMap<String, Arc<LsmError>>,
}

/// The classes in the data directory of `node`, by the names of their directories (in lower case). What
/// cannot be read is the fault of the class or shard that it may belong to.
pub(crate) fn classes(
    node: &mut OpenedNode,
    known: &EffectiveSchema,
    warnings: &mut Vec<Warning>,
) -> BTreeMap<String, ClassOnDisk> {
    let mut classes: BTreeMap<String, ClassOnDisk> = BTreeMap::new();
    for Entry { name, kind } in std::mem::take(&mut node.listing.classes) {
        let class = match kind {
            EntryKind::Directory => ClassOnDisk::read(node, &name, known, warnings),
            EntryKind::NoDirectory if known.has_class(&name) => {
                ClassOnDisk::faulty(DiskError::NotADirectory { entry: name.clone() })
            }
            EntryKind::NoDirectory => continue,
            EntryKind::Unknown(source) => {
                ClassOnDisk::faulty(DiskError::List { entry: name.clone(), source })
            }
        };
        classes.insert(name, class);
    }
    for entry in std::mem::take(&mut node.listing.flat_shards) {
        add_flat_shard(entry, false, node, known, &mut classes, warnings);
    }
    for name in std::mem::take(&mut node.listing.lost_flat_shards) {
        let entry = Entry { name, kind: EntryKind::Directory };
        add_flat_shard(entry, true, node, known, &mut classes, warnings);
    }
    classes
}

impl ClassOnDisk {
    fn faulty(fault: DiskError) -> ClassOnDisk {
        let faults = vec![Arc::new(fault)];
        ClassOnDisk { has_data: true, faults, ..ClassOnDisk::default() }
    }

    fn read(
        node: &OpenedNode,
        directory: &str,
        known: &EffectiveSchema,
        warnings: &mut Vec<Warning>,
    ) -> ClassOnDisk {
        // Names with a dot are Weaviate's own: `.snapshots`, `<shard>.<nanos>.<hex>.deleteme`.
        let children = match entries(&node.root, directory, |name| !name.contains('.')) {
            Ok(children) => children,
            Err(fault) => return ClassOnDisk::faulty(fault),
        };
        let mut class = ClassOnDisk::default();
        for Entry { name, kind } in children {
            let path = format!("{directory}/{name}");
            if !names::is_shard(&name) {
                if !matches!(kind, EntryKind::NoDirectory) {
                    warnings.push(Warning::UnknownDirectory { directory: path });
                }
                continue;
            }
            let fault = match kind {
                EntryKind::Directory => {
                    // A shard that cannot be examined may have one. Reading it gives the error.
                    let has_lsm = || is_directory(&node.root, &format!("{path}/lsm"));
                    let has_counter = || node.root.try_exists(format!("{path}/indexcount"));
                    class.has_data = class.has_data
                        || has_lsm().unwrap_or(true)
                        || has_counter().unwrap_or(true);
                    None
                }
                EntryKind::NoDirectory if known.has_shard(directory, &name) => {
                    Some(io::Error::from(io::ErrorKind::NotADirectory))
                }
                EntryKind::NoDirectory => continue,
                EntryKind::Unknown(source) => Some(source),
            };
            if let Some(source) = fault {
                class.has_data = true;
                class.shard_faults.insert(name.clone(), unlisted(path, source));
            }
            class.shards.insert(name, Layout::Hierarchical);
        }
        class
    }
}

fn unlisted(entry: String, source: io::Error) -> Arc<LsmError> {
    Arc::new(LsmError::List { entry, source })
}

/// What `<class>_<shard>_lsm` may stand for. Both may contain underscores.
struct FlatShard<'a> {
    entry: &'a str,
    /// Class directory and shard, the shortest class first.
    splits: Vec<(&'a str, &'a str)>,
}

/// Adds a shard of the flat layout to its class. One that cannot be attributed is a fault of every
/// class that it may belong to. With `is_lost`, only its counter is there.
fn add_flat_shard(
    Entry { name, kind }: Entry,
    is_lost: bool,
    node: &OpenedNode,
    known: &EffectiveSchema,
    classes: &mut BTreeMap<String, ClassOnDisk>,
    warnings: &mut Vec<Warning>,
) {
    let flat = FlatShard::new(&name);
    let unreadable = match kind {
        EntryKind::Unknown(source) => Some(source),
        EntryKind::Directory | EntryKind::NoDirectory => None,
    };
    let in_schema = flat.known_shard(known);
    let (owner, unreadable) = match unreadable {
        None => (flat.owner(in_schema, node, known), None),
        // A class `x_lsm` in the newer layout.
        Some(source) if in_schema.is_none() && known.has_class(&name) => {
            let fault = DiskError::List { entry: name.clone(), source };
            classes.insert(name, ClassOnDisk::faulty(fault));
            return;
        }
        Some(source) => match in_schema.or_else(|| flat.of_known_class(known)) {
            Some(split) => (Ok(Some(split)), Some(source)),
            None => (Err(DiskError::List { entry: name.clone(), source }), None),
        },
    };
    let fault = match owner {
        Ok(Some((class, shard))) => {
            let class = classes.entry(class.to_owned()).or_default();
            // A server that was killed during its migration has moved it without its counter.
            if !is_lost || !class.shards.contains_key(shard) {
                class.shards.insert(shard.to_owned(), Layout::Flat);
            }
            class.has_data = true;
            if let Some(source) = unreadable {
                class.shard_faults.insert(shard.to_owned(), unlisted(name.clone(), source));
            }
            return;
        }
        Ok(None) => {
            if !is_lost {
                warnings.push(Warning::NoShards { directory: name.clone() });
            }
            return;
        }
        Err(fault) => Arc::new(fault),
    };
    for owner in flat.possible_owners(known) {
        let class = classes.entry(owner).or_default();
        class.has_data = true;
        class.faults.push(fault.clone());
    }
}

impl<'a> FlatShard<'a> {
    fn new(entry: &'a str) -> FlatShard<'a> {
        let stem = entry.strip_suffix(FLAT_ENDING).unwrap_or(entry);
        let splits = stem
            .match_indices('_')
            .filter_map(|(at, _)| Some((stem.get(..at)?, stem.get(at.saturating_add(1)..)?)))
            .filter(|(class, shard)| names::is_class_directory(class) && names::is_shard(shard))
            .collect();
        FlatShard { entry, splits }
    }

    /// The only split whose shard is in the schema.
    fn known_shard(&self, known: &EffectiveSchema) -> Option<(&'a str, &'a str)> {
        let splits = self.splits.iter().copied();
        only(splits.filter(|(class, shard)| known.has_shard(class, shard)))
    }

    /// The only split whose class is in the schema.
    fn of_known_class(&self, known: &EffectiveSchema) -> Option<(&'a str, &'a str)> {
        only(self.splits.iter().copied().filter(|(class, _)| known.has_class(class)))
    }

    /// The class directory and the shard: the schema decides, or else the class name in the first
    /// objects. `None` if there is nothing to read.
    fn owner(
        &self,
        in_schema: Option<(&'a str, &'a str)>,
        node: &OpenedNode,
        known: &EffectiveSchema,
    ) -> Result<Option<(&'a str, &'a str)>, DiskError> {
        if in_schema.is_some() {
            return Ok(in_schema);
        }
        let entry = || self.entry.to_owned();
        if self.splits.iter().any(|(_, shard)| *shard == UNSHARDED) {
            return Err(DiskError::Unsharded { entry: entry() });
        }
        let Some((class, shard)) = self.splits.first().copied() else {
            return Err(DiskError::FlatShard { entry: entry() });
        };
        // The path is the same for every split.
        let bucket = Bucket {
            root: node.root.clone(),
            directory: node.path.clone(),
            one_of_several: false,
            class_directory: class.into(),
            class: class.into(),
            shard: shard.into(),
            layout: Layout::Flat,
        };
        let prefixes: HashSet<&str> = self.splits.iter().map(|(class, _)| *class).collect();
        let named = object_names::find_name(bucket.clone(), |name| {
            prefixes.contains(name.to_ascii_lowercase().as_str())
        });
        if let Some(name) = named.map(|name| name.to_ascii_lowercase())
            && let Some(split) = self.splits.iter().find(|(class, _)| *class == name)
        {
            return Ok(Some(*split));
        }
        if let Some(split) = self.of_known_class(known) {
            return Ok(Some(split));
        }
        let files = bucket.list()?.unwrap_or_default();
        let has_bytes = files.iter().any(|file| file.bytes > 0);
        if has_bytes || bucket.counts_objects()? {
            Err(DiskError::FlatShard { entry: entry() })
        } else {
            Ok(None)
        }
    }

    /// The directories of the classes that it may belong to: those in the schema, or else the one that
    /// its name suggests. The shards of a class without tenants have generated names.
    fn possible_owners(&self, known: &EffectiveSchema) -> Vec<String> {
        let in_schema = self.splits.iter().filter(|(class, _)| known.has_class(class));
        let in_schema: Vec<String> = in_schema.map(|(class, _)| (*class).to_owned()).collect();
        if !in_schema.is_empty() {
            return in_schema;
        }
        let generated = self.splits.last().filter(|(_, shard)| names::is_generated_shard(shard));
        let guessed = generated.or(self.splits.first()).map_or(self.entry, |(class, _)| *class);
        vec![guessed.to_owned()]
    }
}

/// The only item, if there is exactly one.
fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    items.next().filter(|_| items.next().is_none())
}
