//! Matches the shards of a class in the schema with those on disk (`data-directory.md` 7 and 8).
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    class::{Attribution, Shard, ShardLocation, SkipReason},
    effective_schema::EffectiveClass,
    node::Node,
    warning::{Examples, Warning},
};
use crate::schema::{ShardState, ShardStatus};

/// Matches the shards of a class, and collects those where schema and directories disagree.
pub(super) struct Matching<'a> {
    class: &'a EffectiveClass,
    nodes: &'a [Node],
    /// On disk, not in the schema.
    unknown: Examples,
    /// On disk, and placed on other nodes by the schema.
    misplaced: Examples,
    /// The same, and also on disk on their own nodes.
    misplaced_copies: Examples,
    /// Placed on these nodes by the schema, and not on disk.
    missing: Examples,
    /// On disk, but not on all of their nodes.
    missing_copies: Examples,
    /// Placed on nodes whose directories were not given.
    elsewhere: Examples,
    other_nodes: BTreeSet<Arc<str>>,
    /// With files of an older life on a node that was down when they were made again.
    older_lives: Examples,
}

impl Matching<'_> {
    pub fn new<'a>(class: &'a EffectiveClass, nodes: &'a [Node]) -> Matching<'a> {
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
            older_lives: Examples::default(),
        }
    }

    /// The shards of the class: those in `known`, which is its schema, and those on disk.
    pub fn shards(
        &mut self,
        known: &BTreeMap<String, ShardState>,
        on_disk: BTreeMap<String, Vec<ShardLocation>>,
    ) -> Vec<Shard> {
        let mut shards = Vec::with_capacity(on_disk.len());
        for (name, state) in known.iter().filter(|(name, _)| !on_disk.contains_key(*name)) {
            shards.extend(self.without_directory(name, state));
        }
        for (name, locations) in on_disk {
            shards.extend(self.with_directory(name, known, locations));
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
            fault: None,
            attribution: Attribution::Schema,
            locations: Box::default(),
        })
    }

    fn with_directory(
        &mut self,
        name: String,
        known: &BTreeMap<String, ShardState>,
        locations: Vec<ShardLocation>,
    ) -> Option<Shard> {
        let state = known.get(&name);
        let (skip_reason, locations) = match state {
            None => {
                self.unknown.add(&name);
                (Some(SkipReason::NotInSchema), Vec::new())
            }
            Some(state) if !is_readable(&state.status) => {
                (Some(SkipReason::Status(state.status.clone())), Vec::new())
            }
            Some(state) => match self.placed_here(&name, state, locations) {
                placed if placed.is_empty() => {
                    let shard = self.without_directory(&name, state)?;
                    return Some(Shard { skip_reason: Some(SkipReason::OlderLife), ..shard });
                }
                placed => (None, placed),
            },
        };
        let status = state.map(|state| state.status.clone());
        Some(Shard {
            name: name.into(),
            status,
            skip_reason,
            fault: None,
            attribution: Attribution::Schema,
            locations: locations.into(),
        })
    }

    /// The locations on the nodes that the schema places the shard on. Any other location is used
    /// only if there is none of these: the files there may be an unfinished copy. Files of an older
    /// life are never used.
    fn placed_here(
        &mut self,
        name: &str,
        state: &ShardState,
        mut locations: Vec<ShardLocation>,
    ) -> Vec<ShardLocation> {
        let nodes = self.nodes;
        let may_hold =
            |at: &ShardLocation| nodes.get(at.node).is_some_and(|node| node.may_hold(state));
        let exists = |node: usize| locations.iter().any(|at| at.node == node);
        let lacks_copy =
            nodes.iter().enumerate().any(|(index, node)| node.should_hold(state) && !exists(index));
        if lacks_copy {
            self.missing_copies.add(name);
        }
        let found = locations.len();
        locations.retain(|at| !nodes.get(at.node).is_some_and(|node| node.has_older_life(state)));
        if locations.len() < found {
            self.older_lives.add(name);
        }
        let placed: Vec<ShardLocation> = locations.iter().copied().filter(may_hold).collect();
        if placed.len() == locations.len() {
            return locations;
        }
        if placed.is_empty() {
            self.misplaced.add(name);
            return locations;
        }
        self.misplaced_copies.add(name);
        placed
    }

    /// Adds the warnings on what was collected; `has_directory` is whether the class has one.
    pub fn warn(self, has_directory: bool, warnings: &mut Vec<Warning>) {
        let class = || self.class.name.clone();
        let not_empty = |shards: &Examples| Some(shards.clone()).filter(|shards| shards.total > 0);
        if let Some(shards) = not_empty(&self.missing) {
            warnings.push(Warning::ShardsMissing { class: class(), has_directory, shards });
        }
        if let Some(shards) = not_empty(&self.unknown) {
            warnings.push(Warning::ShardsNotInSchema { class: class(), shards });
        }
        if let Some(shards) = not_empty(&self.older_lives) {
            warnings.push(Warning::OlderLives { class: class(), shards });
        }
        if let Some(shards) = not_empty(&self.misplaced) {
            warnings.push(Warning::ShardsMisplaced { class: class(), shards });
        }
        if let Some(shards) = not_empty(&self.misplaced_copies) {
            warnings.push(Warning::CopiesMisplaced { class: class(), shards });
        }
        if let Some(shards) = not_empty(&self.missing_copies) {
            warnings.push(Warning::CopiesMissing { class: class(), shards });
        }
        if let Some(shards) = not_empty(&self.elsewhere) {
            let nodes = self.other_nodes.iter().map(ToString::to_string).collect();
            warnings.push(Warning::ShardsElsewhere { class: class(), shards, nodes });
        }
    }
}

/// Whether a tenant's files are complete. In any other state they may not be (`data-directory.md`
/// 7).
fn is_readable(status: &ShardStatus) -> bool {
    matches!(status, ShardStatus::Hot | ShardStatus::Cold)
}
