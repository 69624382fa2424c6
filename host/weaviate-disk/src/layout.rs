//! Lists the classes and shards of a data directory, in the layout of 1.22 and in the flat one
//! before it (`data-directory.md` 1 and 2).
use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::Arc,
};

use cap_std::fs::Dir;

use crate::{
    bucket::Bucket,
    catalog::{effective_schema::EffectiveSchema, object_names},
    error::DiskError,
    report::Warning,
    schema::names,
};

/// Marks the layout of 1.22 and later.
const HIERARCHY_MARKER: &str = "migration1.22.fs.hierarchy";
/// Ends the name of a shard's directory in the flat layout.
const FLAT_ENDING: &str = "_lsm";
/// The one shard of every class before classes had several; no layout that was ever read here.
const UNSHARDED: &str = "single";

/// How the files of a shard lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `<class>/<shard>/lsm/objects`: 1.22 and later.
    Hierarchical,
    /// `<class>_<shard>_lsm/objects`: before 1.22.
    Flat,
}

impl fmt::Display for Layout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Layout::Hierarchical => "a directory per class and shard (1.22 and later)",
            Layout::Flat => "all shards at the top level (before 1.22)",
        })
    }
}

/// What the directory holds, before any schema is asked.
#[derive(Debug)]
pub(crate) struct Listing {
    /// [`Layout::Flat`] when one shard lies so. A server that died while it moved from one layout
    /// to the other leaves both.
    pub layout: Layout,
    /// Whether the marker of 1.22 is there.
    pub marked: bool,
    /// Names of directories that may be a class's.
    classes: Vec<String>,
    /// Names of directories that are shards of the flat layout.
    flat_shards: Vec<String>,
}

/// A directory, or several of the flat layout, that may be a class's.
#[derive(Debug, Default)]
pub(crate) struct FoundClass {
    pub shards: BTreeMap<String, Layout>,
    /// Whether a shard has `lsm`: without it only a schema makes this a class.
    pub has_data: bool,
}

impl Listing {
    pub fn read(root: &Dir, path: &std::path::Path) -> Result<Listing, DiskError> {
        let failed = |source| DiskError::OpenDirectory { path: path.to_owned(), source };
        let marked = root.try_exists(HIERARCHY_MARKER).map_err(failed)?;
        let wanted = |name: &str| names::is_class_directory(name) || name.ends_with(FLAT_ENDING);
        let mut top = list_directories(root, "", wanted)?;
        top.sort();
        let is_flat = |name: &String| {
            let objects = format!("{name}/objects");
            // A class `x_lsm` with a tenant `objects` lies in the newer layout.
            name.ends_with(FLAT_ENDING)
                && root.is_dir(&objects)
                && !root.is_dir(format!("{objects}/lsm"))
        };
        let (flat_shards, mut classes): (Vec<_>, Vec<_>) =
            top.into_iter().partition(|name| !marked && is_flat(name));
        classes.retain(|name| names::is_class_directory(name));
        let layout = if flat_shards.is_empty() { Layout::Hierarchical } else { Layout::Flat };
        Ok(Listing { layout, marked, classes, flat_shards })
    }

    /// The classes by the names of their directories: in lower case.
    pub fn classes(
        &self,
        root: &Arc<Dir>,
        known: &EffectiveSchema,
        warnings: &mut Vec<Warning>,
    ) -> Result<BTreeMap<String, FoundClass>, DiskError> {
        let mut found = BTreeMap::new();
        for directory in &self.classes {
            found.insert(directory.clone(), FoundClass::read(root, directory, warnings)?);
        }
        for entry in &self.flat_shards {
            let Some((directory, shard)) = flat_shard(root, entry, known)? else {
                warnings.push(Warning::NoShards { directory: entry.clone() });
                continue;
            };
            let class: &mut FoundClass = found.entry(directory).or_default();
            class.shards.insert(shard, Layout::Flat);
            class.has_data = true;
        }
        Ok(found)
    }
}

impl FoundClass {
    fn read(
        root: &Dir,
        directory: &str,
        warnings: &mut Vec<Warning>,
    ) -> Result<FoundClass, DiskError> {
        // Names with a dot are Weaviate's own: `.snapshots`, `<shard>.<nanos>.<hex>.deleteme`.
        let mut children = list_directories(root, directory, |name| !name.contains('.'))?;
        children.sort();
        let mut found = FoundClass::default();
        for name in children {
            if names::is_shard(&name) {
                found.has_data = found.has_data || root.is_dir(format!("{directory}/{name}/lsm"));
                found.shards.insert(name, Layout::Hierarchical);
            } else {
                let directory = format!("{directory}/{name}");
                warnings.push(Warning::UnknownDirectory { directory });
            }
        }
        Ok(found)
    }
}

/// The class directory and shard that `<class>_<shard>_lsm` stands for. Both may hold underscores:
/// the schema decides, or the class that the first objects name. `None` where there is nothing to
/// read.
fn flat_shard(
    root: &Arc<Dir>,
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
    // Whichever split: the path is the same.
    let bucket = Bucket {
        root: root.clone(),
        node: None,
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
    if has_bytes { Err(DiskError::FlatShard { entry: entry.to_owned() }) } else { Ok(None) }
}

/// The only item, if there is exactly one.
fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    items.next().filter(|_| items.next().is_none())
}

/// The names of the directories in `entry` (the root when empty) that `wanted` accepts.
fn list_directories(
    root: &Dir,
    entry: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<String>, DiskError> {
    let shown = if entry.is_empty() { "." } else { entry };
    let failed = |source| DiskError::List { entry: shown.to_owned(), source };
    let mut names = Vec::new();
    for child in root.read_dir(shown).map_err(failed)? {
        let child = child.map_err(failed)?;
        let Ok(name) = child.file_name().into_string() else { continue };
        if !wanted(&name) {
            continue;
        }
        let kind = child.file_type().map_err(failed)?;
        let is_directory = if kind.is_symlink() {
            let path = format!("{shown}/{name}");
            match root.metadata(&path) {
                Ok(metadata) => metadata.is_dir(),
                Err(source) => return Err(DiskError::Link { entry: path, source }),
            }
        } else {
            kind.is_dir()
        };
        if is_directory {
            names.push(name);
        }
    }
    Ok(names)
}
