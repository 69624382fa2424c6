//! Puts together what the schema says of classes and shards and what the directory holds, and
//! tells where they disagree.
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use cap_std::fs::Dir;

use crate::{
    bucket::Bucket,
    class::{Class, Shard, SkipReason},
    layout::{FoundClass, Layout},
    names,
    report::{Examples, Warning},
    schema::{
        ShardState, ShardStatus,
        known::{Known, KnownClass},
        objects,
    },
};

/// The classes of the schema, with or without data; without a schema, those that the directory
/// suggests. Sorted by name.
pub(crate) fn classes(
    root: &Arc<Dir>,
    known: &Known,
    mut found: BTreeMap<String, FoundClass>,
    warnings: &mut Vec<Warning>,
) -> Vec<Class> {
    let node = Node::guess(known, &found);
    let mut classes = Vec::new();
    for (directory, class) in &known.classes {
        let found = found.remove(directory);
        classes.push(described(class, directory, found, &node, warnings));
    }
    for (directory, found) in found {
        if !found.has_data {
            warnings.push(Warning::NoShards { directory });
        } else if known.is_told() {
            warnings.push(Warning::ClassNotInSchema { directory });
        } else {
            classes.push(guessed(root, directory, found, warnings));
        }
    }
    classes.sort_by(|left, right| left.name.cmp(&right.name));
    classes
}

/// What this node may be called in the schema: the one name under which most of the directory's
/// shards lie. Several when they agree equally well; all when nothing is on disk.
struct Node {
    names: BTreeSet<Arc<str>>,
}

impl Node {
    fn guess(known: &Known, found: &BTreeMap<String, FoundClass>) -> Node {
        let mut counts: HashMap<Arc<str>, usize> = HashMap::new();
        for (directory, found) in found {
            let shards = known.classes.get(directory).and_then(|class| class.shards.as_ref());
            let Some(shards) = shards else { continue };
            for state in found.shards.keys().filter_map(|shard| shards.get(shard)) {
                for node in state.nodes.iter() {
                    let count = counts.entry(node.clone()).or_default();
                    *count = count.saturating_add(1);
                }
            }
        }
        let Some(most) = counts.values().copied().max() else {
            return Node { names: known.nodes() };
        };
        let names = counts.into_iter().filter(|(_, count)| *count == most).map(|(name, _)| name);
        Node { names: names.collect() }
    }

    /// Whether the shard should lie here, whichever of its names is the right one.
    fn should_hold(&self, shard: &ShardState) -> bool {
        shard.nodes.is_empty() || self.names.iter().all(|name| shard.nodes.contains(name))
    }

    /// Whether the shard may lie here.
    fn may_hold(&self, shard: &ShardState) -> bool {
        shard.nodes.is_empty() || self.names.iter().any(|name| shard.nodes.contains(name))
    }
}

/// A class of the schema.
fn described(
    class: &KnownClass,
    directory: &str,
    found: Option<FoundClass>,
    node: &Node,
    warnings: &mut Vec<Warning>,
) -> Class {
    let has_directory = found.is_some();
    let found = found.unwrap_or_default().shards;
    let shards = match &class.shards {
        Some(known) => {
            let mut matching = Matching::new(class, node);
            let shards = matching.shards(known, found);
            matching.tell(has_directory, warnings);
            shards
        }
        None => found.into_iter().map(|(name, layout)| on_disk(name, layout)).collect(),
    };
    Class {
        name: class.name.as_str().into(),
        directory: directory.into(),
        multi_tenant: class.multi_tenant,
        definition: Some(class.definition.as_str().into()),
        shards: shards.into(),
    }
}

/// A shard of which no schema tells.
fn on_disk(name: String, layout: Layout) -> Shard {
    Shard { name: name.into(), status: None, skip_reason: None, layout }
}

/// Matches the shards of one class, and collects where schema and directory disagree.
struct Matching<'a> {
    class: &'a KnownClass,
    node: &'a Node,
    /// On disk, not in the schema.
    unknown: Examples,
    /// On disk, of other nodes by the schema.
    misplaced: Examples,
    /// Of this node by the schema, not on disk.
    missing: Examples,
    /// Of other nodes, which this directory does not stand for.
    elsewhere: Examples,
    other_nodes: BTreeSet<Arc<str>>,
}

impl Matching<'_> {
    fn new<'a>(class: &'a KnownClass, node: &'a Node) -> Matching<'a> {
        Matching {
            class,
            node,
            unknown: Examples::default(),
            misplaced: Examples::default(),
            missing: Examples::default(),
            elsewhere: Examples::default(),
            other_nodes: BTreeSet::new(),
        }
    }

    fn shards(
        &mut self,
        known: &BTreeMap<String, ShardState>,
        found: BTreeMap<String, Layout>,
    ) -> Vec<Shard> {
        let mut shards = Vec::with_capacity(found.len());
        for (name, state) in known.iter().filter(|(name, _)| !found.contains_key(*name)) {
            shards.extend(self.without_directory(name, state));
        }
        for (name, layout) in found {
            let state = known.get(&name);
            let skip_reason = self.with_directory(&name, state);
            let status = state.map(|state| state.status.clone());
            shards.push(Shard { name: name.into(), status, skip_reason, layout });
        }
        shards.sort_by(|left, right| left.name.cmp(&right.name));
        shards
    }

    fn without_directory(&mut self, name: &str, state: &ShardState) -> Option<Shard> {
        if !self.node.should_hold(state) {
            if is_readable(&state.status) && !self.node.may_hold(state) {
                self.elsewhere.add(name);
                self.other_nodes.extend(state.nodes.iter().cloned());
            }
            return None;
        }
        let skip_reason = if !is_readable(&state.status) {
            SkipReason::Status(state.status.clone())
        } else if self.class.multi_tenant {
            SkipReason::TenantWithoutData
        } else {
            self.missing.add(name);
            SkipReason::NoData
        };
        Some(Shard {
            name: name.into(),
            status: Some(state.status.clone()),
            skip_reason: Some(skip_reason),
            layout: Layout::Hierarchical,
        })
    }

    fn with_directory(&mut self, name: &str, state: Option<&ShardState>) -> Option<SkipReason> {
        let Some(state) = state else {
            self.unknown.add(name);
            return Some(SkipReason::NotInSchema);
        };
        if !is_readable(&state.status) {
            return Some(SkipReason::Status(state.status.clone()));
        }
        if !self.node.may_hold(state) {
            self.misplaced.add(name);
        }
        None
    }

    /// `has_directory` is the class's.
    fn tell(self, has_directory: bool, warnings: &mut Vec<Warning>) {
        let class = || self.class.name.clone();
        let some = |shards: &Examples| Some(shards.clone()).filter(|shards| shards.total > 0);
        if let Some(shards) = some(&self.missing) {
            warnings.push(Warning::ShardsMissing { class: class(), has_directory, shards });
        }
        if let Some(shards) = some(&self.unknown) {
            warnings.push(Warning::ShardsNotInSchema { class: class(), shards });
        }
        if let Some(shards) = some(&self.misplaced) {
            warnings.push(Warning::ShardsMisplaced { class: class(), shards });
        }
        if let Some(shards) = some(&self.elsewhere) {
            let nodes = self.other_nodes.iter().map(ToString::to_string).collect();
            warnings.push(Warning::ShardsElsewhere { class: class(), shards, nodes });
        }
    }
}

/// The files of a tenant in any other state may be there in part (`data-directory.md` 7).
fn is_readable(status: &ShardStatus) -> bool {
    matches!(status, ShardStatus::Hot | ShardStatus::Cold)
}

/// A class of which only the directory is known.
fn guessed(
    root: &Arc<Dir>,
    directory: String,
    found: FoundClass,
    warnings: &mut Vec<Warning>,
) -> Class {
    let class_directory: Arc<str> = directory.as_str().into();
    let buckets = found.shards.iter().map(|(shard, layout)| Bucket {
        root: root.clone(),
        class_directory: class_directory.clone(),
        class: class_directory.clone(),
        shard: shard.as_str().into(),
        layout: *layout,
    });
    let name = objects::class_name(buckets).unwrap_or_else(|| {
        let name = names::capitalised(&directory);
        warnings.push(Warning::ClassNameGuessed { directory, name: name.clone() });
        name
    });
    let tenant = found.shards.keys().find(|shard| !names::is_generated_shard(shard));
    if let Some(shard) = tenant {
        let (class, shard) = (name.clone(), shard.clone());
        warnings.push(Warning::MultiTenancyGuessed { class, shard });
    }
    Class {
        name: name.into(),
        directory: class_directory,
        multi_tenant: tenant.is_some(),
        definition: None,
        shards: found.shards.into_iter().map(|(name, layout)| on_disk(name, layout)).collect(),
    }
}
