//! Which nodes a new tenant lies on (`data-directory.md` 5.1, tenant placement).
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::super::cluster::Nodes;

/// More nodes than any cluster has.
const MAX_NODES: usize = 1000;

/// Deals nodes to tenants, in turn.
#[derive(Debug)]
pub(super) struct Placement {
    nodes: Vec<Arc<str>>,
    replicas: usize,
    /// The node that comes next.
    next: usize,
    /// Which were first nodes in this round.
    used: HashSet<usize>,
    /// By the first node: tenants share these lists.
    lists: HashMap<usize, Nodes>,
}

/// Why tenants cannot be placed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PlacementFault {
    #[error("there are {nodes} nodes for {replicas} copies")]
    TooFewNodes { nodes: usize, replicas: u32 },
    #[error("there are {nodes} nodes, more than the {MAX_NODES} that a cluster may have")]
    TooManyNodes { nodes: usize },
    #[error("node {node} is listed twice")]
    Repeated { node: String },
}

impl Placement {
    pub fn new(nodes: &[String], replicas: u32) -> Result<Placement, PlacementFault> {
        let too_few = PlacementFault::TooFewNodes { nodes: nodes.len(), replicas };
        let replicas = usize::try_from(replicas).unwrap_or(usize::MAX).max(1);
        if replicas > nodes.len() {
            return Err(too_few);
        }
        if nodes.len() > MAX_NODES {
            return Err(PlacementFault::TooManyNodes { nodes: nodes.len() });
        }
        let mut seen = HashSet::new();
        if let Some(node) = nodes.iter().find(|node| !seen.insert(node.as_str())) {
            return Err(PlacementFault::Repeated { node: node.clone() });
        }
        Ok(Placement {
            nodes: nodes.iter().map(|node| Arc::from(node.as_str())).collect(),
            replicas,
            next: 0,
            used: HashSet::new(),
            lists: HashMap::new(),
        })
    }

    /// The nodes of the next tenant: one that was not the first of a tenant in this round, and
    /// those behind it for the other copies.
    pub fn deal(&mut self) -> Nodes {
        if self.used.len() == self.nodes.len() {
            self.used.clear();
        }
        let mut first = self.step();
        while !self.used.insert(first) {
            first = self.step();
        }
        for _ in 1..self.replicas {
            self.step();
        }
        let nodes = &self.nodes;
        let dealt = || nodes.iter().cycle().skip(first).take(self.replicas).cloned().collect();
        self.lists.entry(first).or_insert_with(dealt).clone()
    }

    fn step(&mut self) -> usize {
        let current = self.next;
        self.next = current.saturating_add(1);
        if self.next >= self.nodes.len() {
            self.next = 0;
        }
        current
    }
}
