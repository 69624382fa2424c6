//! Combines the classes and shards of the schema with those in the data directories.
use std::collections::BTreeMap;

use offloom_weaviate_lsm::layout::Layout;

use super::{
    class::{Class, Shard, ShardLocation, SkipReason},
    effective_schema::{EffectiveClass, EffectiveSchema},
    matching::Matching,
    node::Node,
    object_names,
    on_disk::ClassOnDisk,
    warning::Warning,
};
use crate::schema::names;

/// The shards of a class in all data directories.
#[derive(Debug, Default)]
struct LocatedClass {
    shards: BTreeMap<String, Vec<ShardLocation>>,
    has_data: bool,
}

/// The classes of the schema, with or without data; without a schema, those that the directories
/// suggest. Sorted by name. `on_disk` has the classes in the directory of each node.
pub(crate) fn combine(
    nodes: &[Node],
    known: &EffectiveSchema,
    on_disk: Vec<BTreeMap<String, ClassOnDisk>>,
    warnings: &mut Vec<Warning>,
) -> Vec<Class> {
    let mut located = locate(on_disk);
    let mut classes = Vec::new();
    for (directory, class) in &known.classes {
        let on_disk = located.remove(directory);
        classes.push(class_of_schema(class, directory, on_disk, nodes, warnings));
    }
    for (directory, class) in located {
        if !class.has_data {
            warnings.push(Warning::NoShards { directory });
        } else if known.lists_classes() {
            warnings.push(Warning::ClassNotInSchema { directory });
        } else {
            classes.push(guessed_class(nodes, directory, class, warnings));
        }
    }
    classes.sort_by(|left, right| left.name.cmp(&right.name));
    classes
}

fn locate(on_disk: Vec<BTreeMap<String, ClassOnDisk>>) -> BTreeMap<String, LocatedClass> {
    let mut located: BTreeMap<String, LocatedClass> = BTreeMap::new();
    for (node, classes) in on_disk.into_iter().enumerate() {
        for (directory, on_disk) in classes {
            let class = located.entry(directory).or_default();
            class.has_data = class.has_data || on_disk.has_data;
            for (shard, layout) in on_disk.shards {
                class.shards.entry(shard).or_default().push(ShardLocation { node, layout });
            }
        }
    }
    located
}

fn class_of_schema(
    class: &EffectiveClass,
    directory: &str,
    located: Option<LocatedClass>,
    nodes: &[Node],
    warnings: &mut Vec<Warning>,
) -> Class {
    let has_directory = located.is_some();
    let on_disk = located.unwrap_or_default().shards;
    let mut shards: Vec<Shard> = match &class.shards {
        Some(known) => {
            let mut matching = Matching::new(class, nodes);
            let shards = matching.shards(known, on_disk);
            matching.warn(has_directory, warnings);
            shards
        }
        None => on_disk.into_iter().map(unmatched_shard).collect(),
    };
    // The directory of a class is made with the class, so that its tenants are gone with it.
    let is_gone = !has_directory && nodes.iter().all(|node| node.layout() == Layout::Hierarchical);
    for shard in shards.iter_mut().filter(|_| is_gone) {
        if shard.skip_reason == Some(SkipReason::TenantWithoutData) {
            shard.skip_reason = Some(SkipReason::NoData);
        }
    }
    Class {
        name: class.name.as_str().into(),
        directory: directory.into(),
        multi_tenant: class.multi_tenant,
        definition: Some(class.definition.as_str().into()),
        shards: shards.into(),
    }
}

/// A shard that no schema describes.
fn unmatched_shard((name, locations): (String, Vec<ShardLocation>)) -> Shard {
    Shard { name: name.into(), status: None, skip_reason: None, locations: locations.into() }
}

/// A class that no schema describes: its name comes from its objects, or else from its directory.
fn guessed_class(
    nodes: &[Node],
    directory: String,
    located: LocatedClass,
    warnings: &mut Vec<Warning>,
) -> Class {
    let unnamed = Class {
        name: directory.as_str().into(),
        directory: directory.as_str().into(),
        multi_tenant: false,
        definition: None,
        shards: located.shards.into_iter().map(unmatched_shard).collect(),
    };
    let buckets = unnamed.shards.iter().flat_map(|shard| unnamed.buckets(shard, nodes));
    let name = object_names::class_name(buckets).unwrap_or_else(|| {
        let name = names::capitalised(&directory);
        warnings.push(Warning::ClassNameGuessed { directory, name: name.clone() });
        name
    });
    let tenant = unnamed.shards.iter().find(|shard| !names::is_generated_shard(&shard.name));
    if let Some(shard) = tenant {
        let (class, shard) = (name.clone(), shard.name.to_string());
        warnings.push(Warning::MultiTenancyGuessed { class, shard });
    }
    Class { name: name.into(), multi_tenant: tenant.is_some(), ..unnamed.clone() }
}
