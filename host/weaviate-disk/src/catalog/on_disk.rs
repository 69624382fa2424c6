//! The classes and shards that one data directory holds (`data-directory.md` 1 and 2).
use std::collections::{BTreeMap, HashSet};

use offloom_weaviate_lsm::{bucket::Bucket, layout::Layout};

use super::{
    effective_schema::EffectiveSchema, flat_shards::FLAT_ENDING, listing::subdirectories,
    node::OpenedNode, object_names, warning::Warning,
};
use crate::{error::DiskError, schema::names};

/// Name of the only shard of every class before classes had several. Such data is not supported.
const UNSHARDED: &str = "single";

/// The shards of a class in one data directory.
#[derive(Debug, Default)]
pub(crate) struct ClassOnDisk {
    /// The shards by name.
    pub shards: BTreeMap<String, Layout>,
    /// Whether a shard has a directory `lsm` or a counter. If none has, only a schema makes this a class.
    pub has_data: bool,
}

/// The classes in the data directory of `node`, by the names of their directories (in lower case).
pub(crate) fn classes(
    node: &OpenedNode,
    known: &EffectiveSchema,
    warnings: &mut Vec<Warning>,
) -> Result<BTreeMap<String, ClassOnDisk>, DiskError> {
    let mut classes = BTreeMap::new();
    for directory in &node.listing.class_directories {
        classes.insert(directory.clone(), ClassOnDisk::read(node, directory, warnings)?);
    }
    for entry in &node.listing.flat_shards {
        let Some((directory, shard)) = flat_shard(node, entry, known)? else {
            warnings.push(Warning::NoShards { directory: entry.clone() });
            continue;
        };
        let class: &mut ClassOnDisk = classes.entry(directory).or_default();
        class.shards.insert(shard, Layout::Flat);
        class.has_data = true;
    }
    for entry in &node.listing.lost_flat_shards {
        let Some((directory, shard)) = flat_shard(node, entry, known)? else { continue };
        let class: &mut ClassOnDisk = classes.entry(directory).or_default();
        // A server that was killed during its migration has moved it without its counter.
        class.shards.entry(shard).or_insert(Layout::Flat);
        class.has_data = true;
    }
    Ok(classes)
}

impl ClassOnDisk {
    fn read(
        node: &OpenedNode,
        directory: &str,
        warnings: &mut Vec<Warning>,
    ) -> Result<ClassOnDisk, DiskError> {
        // Names with a dot are Weaviate's own: `.snapshots`, `<shard>.<nanos>.<hex>.deleteme`.
        let mut children = subdirectories(&node.root, directory, |name| !name.contains('.'))?;
        children.sort();
        let mut class = ClassOnDisk::default();
        for name in children {
            if names::is_shard(&name) {
                let path = |file: &str| format!("{directory}/{name}/{file}");
                class.has_data = class.has_data
                    || node.root.is_dir(path("lsm"))
                    || node.root.is_file(path("indexcount"));
                class.shards.insert(name, Layout::Hierarchical);
            } else {
                let directory = format!("{directory}/{name}");
                warnings.push(Warning::UnknownDirectory { directory });
            }
        }
        Ok(class)
    }
}

/// The class directory and the shard that `<class>_<shard>_lsm` stands for. Both may contain
/// underscores: the schema decides, or else the class name in the first objects. `None` if there is
/// nothing to read.
fn flat_shard(
    node: &OpenedNode,
    entry: &str,
    known: &EffectiveSchema,
) -> Result<Option<(String, String)>, DiskError> {
    let stem = entry.strip_suffix(FLAT_ENDING).unwrap_or(entry);
    let splits: Vec<(&str, &str)> = stem
        .match_indices('_')
        .filter_map(|(place, _)| Some((stem.get(..place)?, stem.get(place.saturating_add(1)..)?)))
        .filter(|(class, shard)| names::is_class_directory(class) && names::is_shard(shard))
        .collect();
    let owned = |split: (&str, &str)| Some((split.0.to_owned(), split.1.to_owned()));
    let is_known = |(class, shard): &(&str, &str)| known.has_shard(class, shard);
    if let Some(split) = only(splits.iter().copied().filter(is_known)) {
        return Ok(owned(split));
    }
    if splits.iter().any(|(_, shard)| *shard == UNSHARDED) {
        return Err(DiskError::Unsharded { entry: entry.to_owned() });
    }
    let Some((class, shard)) = splits.first().copied() else {
        return Err(DiskError::FlatShard { entry: entry.to_owned() });
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
    let prefixes: HashSet<&str> = splits.iter().map(|(class, _)| *class).collect();
    let named = object_names::find_name(bucket.clone(), |name| {
        prefixes.contains(name.to_ascii_lowercase().as_str())
    });
    if let Some(name) = named.map(|name| name.to_ascii_lowercase())
        && let Some(split) = splits.iter().find(|(class, _)| *class == name)
    {
        return Ok(owned(*split));
    }
    if let Some(split) = only(splits.iter().copied().filter(|(class, _)| known.has_class(class))) {
        return Ok(owned(split));
    }
    let has_bytes = bucket.list()?.unwrap_or_default().iter().any(|file| file.bytes > 0);
    if has_bytes || bucket.counts_objects()? {
        Err(DiskError::FlatShard { entry: entry.to_owned() })
    } else {
        Ok(None)
    }
}

/// The only item, if there is exactly one.
fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    items.next().filter(|_| items.next().is_none())
}
