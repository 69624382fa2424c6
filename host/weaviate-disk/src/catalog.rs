//! Puts together what the schema says of classes and shards and what the directories hold, and
//! tells where they disagree.
pub(crate) mod effective_schema;
pub(crate) mod object_names;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use self::effective_schema::{EffectiveClass, EffectiveSchema};

use crate::{
    bucket::Bucket,
    class::{Class, Held, Shard, SkipReason},
    layout::FoundClass,
    nodes::Node,
    report::{Examples, Warning},
    schema::{ShardState, ShardStatus, names},
};

/// A class as it lies in all directories together.
#[derive(Debug, Default)]
struct Found {
    shards: BTreeMap<String, Vec<Held>>,
    has_data: bool,
}

/// The classes of the schema, with or without data; without a schema, those that the directories
/// suggest. Sorted by name. `found` is that of each node.
pub(crate) fn classes(
    nodes: &[Node],
    known: &EffectiveSchema,
    found: Vec<BTreeMap<String, FoundClass>>,
    warnings: &mut Vec<Warning>,
) -> Vec<Class> {
    let mut found = joined(found);
    let mut classes = Vec::new();
    for (directory, class) in &known.classes {
        let found = found.remove(directory);
        classes.push(described(class, directory, found, nodes, warnings));
    }
    for (directory, found) in found {
        if !found.has_data {
            warnings.push(Warning::NoShards { directory });
        } else if known.lists_classes() {
            warnings.push(Warning::ClassNotInSchema { directory });
        } else {
            classes.push(guessed(nodes, directory, found, warnings));
        }
    }
    classes.sort_by(|left, right| left.name.cmp(&right.name));
    classes
}

fn joined(found: Vec<BTreeMap<String, FoundClass>>) -> BTreeMap<String, Found> {
    let mut joined: BTreeMap<String, Found> = BTreeMap::new();
    for (node, classes) in found.into_iter().enumerate() {
        for (directory, found) in classes {
            let class = joined.entry(directory).or_default();
            class.has_data = class.has_data || found.has_data;
            for (shard, layout) in found.shards {
                class.shards.entry(shard).or_default().push(Held { node, layout });
            }
        }
    }
    joined
}

/// A class of the schema.
fn described(
    class: &EffectiveClass,
    directory: &str,
    found: Option<Found>,
    nodes: &[Node],
    warnings: &mut Vec<Warning>,
) -> Class {
    let has_directory = found.is_some();
    let found = found.unwrap_or_default().shards;
    let shards = match &class.shards {
        Some(known) => {
            let mut matching = Matching::new(class, nodes);
            let shards = matching.shards(known, found);
            matching.tell(has_directory, warnings);
            shards
        }
        None => found.into_iter().map(|(name, held)| on_disk(name, held)).collect(),
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
fn on_disk(name: String, held_by: Vec<Held>) -> Shard {
    Shard { name: name.into(), status: None, skip_reason: None, held_by: held_by.into() }
}

/// Matches the shards of one class, and collects where schema and directory disagree.
struct Matching<'a> {
    class: &'a EffectiveClass,
    nodes: &'a [Node],
    /// On disk, not in the schema.
    unknown: Examples,
    /// On disk, of other nodes by the schema.
    misplaced: Examples,
    /// The same, but also on disk where they belong.
    misplaced_copies: Examples,
    /// Of these nodes by the schema, not on disk.
    missing: Examples,
    /// On disk, but not on every node where they belong.
    missing_copies: Examples,
    /// Of nodes whose directories are not here.
    elsewhere: Examples,
    other_nodes: BTreeSet<Arc<str>>,
}

impl Matching<'_> {
    fn new<'a>(class: &'a EffectiveClass, nodes: &'a [Node]) -> Matching<'a> {
        Matching {
            class,
            nodes,
            unknown: Examples::default(),
            misplaced: Examples::default(),
            misplaced_copies: Examples::default(),
            missing: Examples::default(),
            missing_copies: Examples::default(),
            elsewhere: Examples::default(),
            other_nodes: BTreeSet::new(),
        }
    }

    fn shards(
        &mut self,
        known: &BTreeMap<String, ShardState>,
        found: BTreeMap<String, Vec<Held>>,
    ) -> Vec<Shard> {
        let mut shards = Vec::with_capacity(found.len());
        for (name, state) in known.iter().filter(|(name, _)| !found.contains_key(*name)) {
            shards.extend(self.without_directory(name, state));
        }
        for (name, held_by) in found {
            shards.push(self.with_directory(name, known, held_by));
        }
        shards.sort_by(|left, right| left.name.cmp(&right.name));
        shards
    }

    fn without_directory(&mut self, name: &str, state: &ShardState) -> Option<Shard> {
        if !self.nodes.iter().any(|node| node.should_hold(state)) {
            let may_be_here = self.nodes.iter().any(|node| node.may_hold(state));
            if is_readable(&state.status) && !may_be_here {
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
            held_by: Box::default(),
        })
    }

    fn with_directory(
        &mut self,
        name: String,
        known: &BTreeMap<String, ShardState>,
        held_by: Vec<Held>,
    ) -> Shard {
        let state = known.get(&name);
        let (skip_reason, held_by) = match state {
            None => {
                self.unknown.add(&name);
                (Some(SkipReason::NotInSchema), Vec::new())
            }
            Some(state) if !is_readable(&state.status) => {
                (Some(SkipReason::Status(state.status.clone())), Vec::new())
            }
            Some(state) => (None, self.belonging(&name, state, held_by)),
        };
        let status = state.map(|state| state.status.clone());
        Shard { name: name.into(), status, skip_reason, held_by: held_by.into() }
    }

    /// The directories of the nodes that a shard belongs to. Another one counts only where there
    /// is none of these: what lies there may be a copy that was being made.
    fn belonging(&mut self, name: &str, state: &ShardState, held_by: Vec<Held>) -> Vec<Held> {
        let nodes = self.nodes;
        let belongs = |held: &Held| nodes.get(held.node).is_some_and(|node| node.may_hold(state));
        let here = |node: usize| held_by.iter().any(|held| held.node == node);
        let missing =
            nodes.iter().enumerate().any(|(node, each)| each.should_hold(state) && !here(node));
        if missing {
            self.missing_copies.add(name);
        }
        let belonging: Vec<Held> = held_by.iter().copied().filter(belongs).collect();
        if belonging.len() == held_by.len() {
            return held_by;
        }
        if belonging.is_empty() {
            self.misplaced.add(name);
            return held_by;
        }
        self.misplaced_copies.add(name);
        belonging
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
        if let Some(shards) = some(&self.misplaced_copies) {
            warnings.push(Warning::CopiesMisplaced { class: class(), shards });
        }
        if let Some(shards) = some(&self.missing_copies) {
            warnings.push(Warning::CopiesMissing { class: class(), shards });
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
fn guessed(nodes: &[Node], directory: String, found: Found, warnings: &mut Vec<Warning>) -> Class {
    let class_directory: Arc<str> = directory.as_str().into();
    let buckets = found.shards.iter().flat_map(|(shard, held_by)| {
        let shard: Arc<str> = shard.as_str().into();
        let class_directory = class_directory.clone();
        held_by.iter().filter_map(move |held| {
            Some(Bucket {
                root: nodes.get(held.node)?.root.clone(),
                node: None,
                class_directory: class_directory.clone(),
                class: class_directory.clone(),
                shard: shard.clone(),
                layout: held.layout,
            })
        })
    });
    let name = object_names::class_name(buckets).unwrap_or_else(|| {
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
        shards: found.shards.into_iter().map(|(name, held)| on_disk(name, held)).collect(),
    }
}
