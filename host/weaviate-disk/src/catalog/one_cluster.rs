//! Refuses data directories that are not of the nodes of one cluster (`data-directory.md` 5.5).
use std::{collections::BTreeMap, path::Path, sync::Arc};

use super::{
    effective_schema::EffectiveSchema,
    node_names::ShardCounts,
    on_disk::ClassOnDisk,
    stored_schemas::{OwnSchema, not_one_cluster},
};
use crate::{
    error::{ClusterFault, DiskError},
    schema::Foreign,
};

/// A data directory, as far as it is compared with the others.
pub(crate) struct Compared<'a> {
    pub path: &'a Path,
    pub own: &'a OwnSchema,
    pub classes: &'a BTreeMap<String, ClassOnDisk>,
}

/// The names that the node of each directory may have in the schema; see [`super::node::Node::names`].
///
/// # Errors
/// If the directories are not of the nodes of one cluster.
pub(crate) fn node_names(
    directories: &[Compared<'_>],
    known: &EffectiveSchema,
) -> Result<Vec<Arc<[Arc<str>]>>, DiskError> {
    refuse_strangers(directories, known)?;
    let counts = |directory: &Compared<'_>| {
        let schema = directory.own.older.as_ref().unwrap_or(known);
        ShardCounts::new(schema, directory.classes)
    };
    let counts: Vec<ShardCounts> = directories.iter().map(counts).collect();
    let distinct = distinct_names(directories, &counts)?;
    let names = counts.iter().zip(distinct).map(|(counts, distinct)| {
        let most = counts.most();
        match distinct {
            Some(name) => [name].into(),
            None if most.is_empty() => known.node_names().into_iter().collect(),
            None => most.into(),
        }
    });
    Ok(names.collect())
}

/// Refuses directories that the schemas show to be of different clusters.
fn refuse_strangers(
    directories: &[Compared<'_>],
    known: &EffectiveSchema,
) -> Result<(), DiskError> {
    let newest = directories.iter().find(|directory| directory.own.is_newest);
    let Some(newest) = newest else { return Ok(()) };
    for directory in directories {
        let fault = applied_tail(directory, known).or_else(|| no_shard(directory, known));
        if let Some(fault) = fault {
            return Err(not_one_cluster(newest.path, directory.path, fault));
        }
    }
    Ok(())
}

/// A shard on disk that only the end of the log made, which another node's log replaced: it was
/// committed nevertheless.
fn applied_tail(directory: &Compared<'_>, known: &EffectiveSchema) -> Option<ClusterFault> {
    let tail = directory.own.tail.as_ref()?;
    let before = directory.own.older.as_ref().unwrap_or(known);
    let mut shards = shards(directory);
    let is_of_tail = |(class, shard): (&str, &str)| {
        let has = |schema: &EffectiveSchema| schema.has_shard(class, shard);
        has(&tail.schema) && !has(before) && !has(known)
    };
    shards.any(is_of_tail).then_some(ClusterFault::Logs(Foreign::Committed { at: tail.at }))
}

/// None of its shards is known, and its log does not show that they were once.
fn no_shard(directory: &Compared<'_>, known: &EffectiveSchema) -> Option<ClusterFault> {
    let lists_shards = known.classes.values().any(|class| class.shards.is_some());
    if directory.own.is_same_cluster || !lists_shards {
        return None;
    }
    let has_data = directory.classes.values().any(|class| class.has_data);
    let is_known = shards(directory).any(|(class, shard)| known.has_shard(class, shard));
    (has_data && !is_known).then_some(ClusterFault::NoShardInSchema)
}

fn shards<'a>(directory: &'a Compared<'_>) -> impl Iterator<Item = (&'a str, &'a str)> {
    directory.classes.iter().flat_map(|(directory, class)| {
        class.shards.keys().map(move |shard| (directory.as_str(), shard.as_str()))
    })
}

/// One name for each directory that has a shard of the schema, no two of them the same. None at all if
/// their most likely names allow that anyway.
fn distinct_names(
    directories: &[Compared<'_>],
    counts: &[ShardCounts],
) -> Result<Vec<Option<Arc<str>>>, DiskError> {
    let all: Vec<Vec<Arc<str>>> = counts.iter().map(ShardCounts::by_count).collect();
    let best: Vec<Vec<Arc<str>>> = counts.iter().map(ShardCounts::most).collect();
    if assign(&best).is_ok() {
        return Ok(vec![None; best.len()]);
    }
    match assign(&all) {
        Ok(holders) => {
            let mut names = vec![None; all.len()];
            for (name, holder) in holders {
                if let Some(place) = names.get_mut(holder) {
                    *place = Some(name);
                }
            }
            Ok(names)
        }
        Err(SameName { name, first, second }) => {
            let path = |index: usize| directories.get(index).map_or(Path::new(""), |it| it.path);
            let fault = ClusterFault::SameNode { node: name.to_string() };
            Err(not_one_cluster(path(first), path(second), fault))
        }
    }
}

/// Two directories that can only be of the same node.
struct SameName {
    name: Arc<str>,
    first: usize,
    second: usize,
}

/// Gives each directory with candidates one of them, and no two the same: a matching in a bipartite
/// graph, by augmenting paths.
fn assign(candidates: &[Vec<Arc<str>>]) -> Result<BTreeMap<Arc<str>, usize>, SameName> {
    let mut holders: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    for (directory, names) in candidates.iter().enumerate() {
        let Some(name) = names.first() else { continue };
        let mut tried = Vec::new();
        if !give_name(directory, candidates, &mut holders, &mut tried) {
            let first = holders.get(name).copied().unwrap_or(directory);
            return Err(SameName { name: name.clone(), first, second: directory });
        }
    }
    Ok(holders)
}

/// Gives `directory` a free name, or one whose holder can have another one.
fn give_name(
    directory: usize,
    candidates: &[Vec<Arc<str>>],
    holders: &mut BTreeMap<Arc<str>, usize>,
    tried: &mut Vec<Arc<str>>,
) -> bool {
    for name in candidates.get(directory).into_iter().flatten() {
        if tried.contains(name) {
            continue;
        }
        tried.push(name.clone());
        let is_free = match holders.get(name).copied() {
            None => true,
            Some(holder) => give_name(holder, candidates, holders, tried),
        };
        if is_free {
            holders.insert(name.clone(), directory);
            return true;
        }
    }
    false
}
