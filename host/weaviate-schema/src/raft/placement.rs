//! Chooses the nodes of new tenants (`data-directory.md` 5.1, tenant placement).
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::sharding::Nodes;

/// Limit of nodes, more than any cluster has.
const MAX_NODES: usize = 1000;

/// Assigns nodes to tenants, round robin.
#[derive(Debug)]
pub(super) struct Placement {
    nodes: Vec<Arc<str>>,
    replicas: usize,
    /// Index of the next node.
    next: usize,
    /// Indexes of the nodes that were a tenant's first node in this round.
    used: HashSet<usize>,
    /// Lists of nodes by their first node. Tenants share them.
    lists: HashMap<usize, Nodes>,
}

/// Why tenants cannot be placed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PlacementError {
    #[error("{replicas} replicas need as many nodes, and the command has {nodes}")]
    TooFewNodes { nodes: usize, replicas: u32 },
    #[error("the command has {nodes} nodes, more than the limit of {MAX_NODES}")]
    TooManyNodes { nodes: usize },
    #[error("node {node} is listed twice")]
    Repeated { node: String },
}

impl Placement {
    /// `nodes` are those that the command names, `replicas` is the replication factor.
    pub fn new(nodes: &[String], replicas: u32) -> Result<Placement, PlacementError> {
        let too_few = PlacementError::TooFewNodes { nodes: nodes.len(), replicas };
        let replicas = usize::try_from(replicas).unwrap_or(usize::MAX).max(1);
        if replicas > nodes.len() {
            return Err(too_few);
        }
        if nodes.len() > MAX_NODES {
            return Err(PlacementError::TooManyNodes { nodes: nodes.len() });
        }
        let mut seen = HashSet::new();
        if let Some(node) = nodes.iter().find(|node| !seen.insert(node.as_str())) {
            return Err(PlacementError::Repeated { node: node.clone() });
        }
        Ok(Placement {
            nodes: nodes.iter().map(|node| Arc::from(node.as_str())).collect(),
            replicas,
            next: 0,
            used: HashSet::new(),
            lists: HashMap::new(),
        })
    }

    /// The nodes of the next tenant: the next one that was not a tenant's first node in this round,
    /// and those that follow it for the other replicas.
    pub fn assign(&mut self) -> Nodes {
        if self.used.len() == self.nodes.len() {
            self.used.clear();
        }
        let mut first = self.advance();
        while !self.used.insert(first) {
            first = self.advance();
        }
        for _ in 1..self.replicas {
            self.advance();
        }
        let nodes = &self.nodes;
        let assigned = || nodes.iter().cycle().skip(first).take(self.replicas).cloned().collect();
        self.lists.entry(first).or_insert_with(assigned).clone()
    }

    fn advance(&mut self) -> usize {
        let current = self.next;
        self.next = current.saturating_add(1);
        if self.next >= self.nodes.len() {
            self.next = 0;
        }
        current
    }
}
