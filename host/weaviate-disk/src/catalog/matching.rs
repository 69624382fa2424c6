//! Matches the shards of a class in the schema with those on disk (`data-directory.md` 7 and 8).
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    class::{Attribution, Shard, ShardLocation, SkipReason},
    effective_schema::EffectiveClass,
    node::Node,
    stored_schemas::OwnSchema,
    warning::{Examples, Warning},
};
use crate::schema::{ShardState, ShardStatus};

/// Matches the shards of a class, and collects those where schema and directories disagree.
pub(super) struct Matching<'a> {
    class: &'a EffectiveClass,
    directory: &'a str,
    nodes: &'a [Node],
    /// By node.
    own: &'a [OwnSchema],
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
    /// With files of an older life on a node that was down when they were deleted.
    older_lives: Examples,
    /// With files of which no log says whether they are of an older life.
    unknown_lives: Examples,
}

impl Matching<'_> {
    /// `directory` is the class's; `own` has the own schema of each node.
    pub fn new<'a>(
        class: &'a EffectiveClass,
        directory: &'a str,
        nodes: &'a [Node],
        own: &'a [OwnSchema],
    ) -> Matching<'a> {
        Matching {
            class,
            directory,
            nodes,
            own,
            unknown: Examples::default(),
            misplaced: Examples::default(),
            misplaced_copies: Examples::default(),
            missing: Examples::default(),
            missing_copies: Examples::default(),
            elsewhere: Examples::default(),
            other_nodes: BTreeSet::new(),
            older_lives: Examples::default(),
            unknown_lives: Examples::default(),
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
        let holders: Vec<(&Node, &OwnSchema)> =
            self.nodes.iter().zip(self.own).filter(|(node, _)| node.should_hold(state)).collect();
        if holders.is_empty() {
            let may_be_here = self.nodes.iter().any(|node| node.may_hold(state));
            if is_readable(&state.status) && !may_be_here {
                self.add_elsewhere(name, state);
            }
            return None;
        }
        let is_made_later = holders.iter().all(|(node, own)| self.is_made_later(node, own, name));
        if is_made_later && is_readable(&state.status) && self.add_elsewhere(name, state) {
            return None;
        }
        let skip_reason = if !is_readable(&state.status) {
            SkipReason::Status(state.status.clone())
        } else if self.class.multi_tenant {
            SkipReason::TenantWithoutData
        } else if is_made_later {
            SkipReason::MadeLater
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

    /// Adds the shard, if the schema places it on nodes whose directories were not given; returns
    /// whether it does.
    fn add_elsewhere(&mut self, name: &str, state: &ShardState) -> bool {
        let is_given = |name: &Arc<str>| self.nodes.iter().any(|node| node.names().contains(name));
        let others: Vec<Arc<str>> =
            state.nodes.iter().filter(|name| !is_given(name)).cloned().collect();
        if !others.is_empty() {
            self.elsewhere.add(name);
        }
        self.other_nodes.extend(others.iter().cloned());
        !others.is_empty()
    }

    fn with_directory(
        &mut self,
        name: String,
        known: &BTreeMap<String, ShardState>,
        locations: Vec<ShardLocation>,
    ) -> Option<Shard> {
        let state = known.get(&name);
        let (skip_reason, locations) = match state {
            None if locations.iter().all(|at| self.was_known(at.node, &name)) => {
                self.older_lives.add(&name);
                (Some(SkipReason::OlderLife), Vec::new())
            }
            None => {
                self.unknown.add(&name);
                (Some(SkipReason::NotInSchema), Vec::new())
            }
            Some(state) if !is_readable(&state.status) => {
                (Some(SkipReason::Status(state.status.clone())), Vec::new())
            }
            Some(state) => match self.placed_here(&name, state, locations) {
                placed if placed.is_empty() => {
                    self.add_elsewhere(&name, state);
                    (Some(SkipReason::OlderLife), placed)
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
    /// life are never used, and those that may be are used only if there are no others.
    fn placed_here(
        &mut self,
        name: &str,
        state: &ShardState,
        mut locations: Vec<ShardLocation>,
    ) -> Vec<ShardLocation> {
        let (nodes, own, changed_at) = (self.nodes, self.own, self.class.shards_changed_at);
        let may_hold =
            |at: &ShardLocation| nodes.get(at.node).is_some_and(|node| node.may_hold(state));
        let lacks_copy = nodes.iter().zip(own).enumerate().any(|(index, (node, own))| {
            node.should_hold(state)
                && !locations.iter().any(|at| at.node == index)
                && !self.is_made_later(node, own, name)
        });
        if lacks_copy {
            self.missing_copies.add(name);
        }
        let life = |at: &ShardLocation| {
            own.get(at.node).map_or(Life::Unknown, |own| life(own, state, changed_at))
        };
        let found = locations.len();
        locations.retain(|at| life(at) != Life::Older);
        if locations.len() < found {
            self.older_lives.add(name);
        }
        if locations.iter().any(|at| life(at) == Life::Unknown) {
            if locations.iter().any(|at| life(at) == Life::Present && may_hold(at)) {
                locations.retain(|at| life(at) == Life::Present);
            } else {
                self.unknown_lives.add(name);
            }
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

    /// Whether the shard was made, or came to the node, after the last entry of the node's log.
    fn is_made_later(&self, node: &Node, own: &OwnSchema, name: &str) -> bool {
        let Some(older) = &own.older else { return false };
        !older.shard(self.directory, name).is_some_and(|shard| node.may_hold(shard))
    }

    /// Whether the node's own, older schema has this shard.
    fn was_known(&self, node: usize, name: &str) -> bool {
        let older = self.own.get(node).and_then(|own| own.older.as_ref());
        older.is_some_and(|older| older.has_shard(self.directory, name))
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
        if let Some(shards) = not_empty(&self.unknown_lives) {
            warnings.push(Warning::LivesUnknown { class: class(), shards });
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

/// Which life of a shard a node's files are of (`data-directory.md` 5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// The one in the schema.
    Present,
    /// One that ended when the shard was deleted.
    Older,
    /// No log says.
    Unknown,
}

/// The life that a node with this own schema has files of. Its class was last changed by log entry
/// `changed_at`.
fn life(own: &OwnSchema, state: &ShardState, changed_at: u64) -> Life {
    match own.last_entry {
        Some(last) if last < state.made_again_at => Life::Older,
        Some(last) if own.is_continued || changed_at <= last => Life::Present,
        Some(_) => Life::Unknown,
        None if state.made_again_at == 0 => Life::Present,
        None => Life::Unknown,
    }
}

/// Whether a tenant's files are complete. In any other state they may not be (`data-directory.md`
/// 7).
fn is_readable(status: &ShardStatus) -> bool {
    matches!(status, ShardStatus::Hot | ShardStatus::Cold)
}
