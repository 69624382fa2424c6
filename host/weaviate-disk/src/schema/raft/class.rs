//! A class while the RAFT log is replayed.
use std::collections::BTreeMap;

use super::{
    super::{
        cluster::{self, ClassState, ShardState},
        definition::{ClassFacts, Definition},
        sharding::ShardingState,
    },
    command::{ClassPayload, PropertyPayload, ReplicaPayload},
    replay::Refusal,
    tenants::Transfers,
};

#[derive(Debug)]
pub(super) struct Class {
    definition: Definition,
    /// Of the definition.
    facts: ClassFacts,
    /// What the sharding state says, 0 when it says nothing.
    recorded_factor: u32,
    pub shards: BTreeMap<String, ShardState>,
    /// Tenants on their way to or from cold storage.
    pub transfers: Transfers,
}

impl Class {
    /// A class of this definition.
    pub fn new(definition: Definition, sharding: ShardingState) -> Result<Class, Refusal> {
        let facts = definition.facts()?;
        if !crate::names::is_class_name(&facts.name) {
            return Err(Refusal::Name { name: facts.name });
        }
        Ok(Class {
            definition,
            facts,
            recorded_factor: sharding.replication_factor(),
            shards: sharding.into_shards(),
            transfers: Transfers::default(),
        })
    }

    /// With tenants that were on their way when a snapshot was made.
    pub fn with_transfers(self, transfers: Transfers) -> Class {
        Class { transfers, ..self }
    }

    pub fn name(&self) -> &str {
        &self.facts.name
    }

    pub fn is_multi_tenant(&self) -> bool {
        self.facts.multi_tenant
    }

    pub fn replication_factor(&self) -> u32 {
        cluster::replication_factor(self.recorded_factor, &self.facts)
    }

    /// UPDATE_CLASS. A higher replication factor is refused before the copies are there.
    pub fn update(&mut self, payload: ClassPayload) -> Result<(), Refusal> {
        let mut definition = self.definition.clone();
        definition.update(payload.class);
        let facts = definition.facts()?;
        let factor = facts.replication_factor;
        if factor > self.facts.replication_factor {
            let copies = usize::try_from(factor).unwrap_or(usize::MAX);
            if let Some(shard) = self.shards.iter().find(|(_, shard)| shard.nodes.len() < copies) {
                return Err(Refusal::TooFewCopies { shard: shard.0.clone(), factor });
            }
        }
        (self.definition, self.facts) = (definition, facts);
        if let Some(state) = payload.state {
            self.recorded_factor = state.replication_factor();
            self.shards = state.into_shards();
        }
        if factor > 0 && self.recorded_factor > 0 {
            self.recorded_factor = factor;
        }
        Ok(())
    }

    /// ADD_PROPERTY.
    pub fn add_properties(&mut self, payload: PropertyPayload) -> Result<(), Refusal> {
        let mut definition = self.definition.clone();
        let added = payload.properties.into_iter().flatten().chain(payload.property).collect();
        definition.add_properties(added)?;
        self.facts = definition.facts()?;
        self.definition = definition;
        Ok(())
    }

    /// UPDATE_PROPERTY.
    pub fn update_property(&mut self, payload: PropertyPayload) -> Result<(), Refusal> {
        let mut definition = self.definition.clone();
        let property = payload.property.ok_or(Refusal::NoProperty)?;
        if !definition.update_property(property)? {
            return Err(Refusal::NoProperty);
        }
        self.facts = definition.facts()?;
        self.definition = definition;
        Ok(())
    }

    /// ADD_REPLICA_TO_SHARD, and the end of a replica's movement.
    pub fn add_replica(&mut self, payload: ReplicaPayload) -> Result<(), Refusal> {
        let shard = self.shard(&payload.shard)?;
        if !shard.nodes.iter().any(|node| **node == *payload.node) {
            let added = payload.node.as_str().into();
            shard.nodes = shard.nodes.iter().cloned().chain([added]).collect();
        }
        Ok(())
    }

    /// DELETE_REPLICA_FROM_SHARD.
    pub fn delete_replica(&mut self, payload: &ReplicaPayload) -> Result<(), Refusal> {
        let shard = self.shard(&payload.shard)?;
        shard.nodes = shard.nodes.iter().filter(|node| ***node != *payload.node).cloned().collect();
        Ok(())
    }

    fn shard(&mut self, name: &str) -> Result<&mut ShardState, Refusal> {
        self.shards.get_mut(name).ok_or_else(|| Refusal::UnknownShards { names: name.to_owned() })
    }

    pub fn finish(self) -> (String, ClassState) {
        let name = self.facts.name.clone();
        let state =
            ClassState::new(&self.definition, self.facts, self.recorded_factor, self.shards);
        (name, state)
    }
}
