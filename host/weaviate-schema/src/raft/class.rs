//! A class during the replay of the RAFT log, and the commands that change it.
use std::collections::BTreeMap;

use crate::{
    cluster::{self, ClassState},
    definition::{ClassSettings, Definition},
    names,
    raft::{
        command::{ClassPayload, PropertyPayload, ReplicaPayload},
        refusal::Refusal,
        transfers::Transfers,
    },
    sharding::{ShardState, ShardingState},
};

/// A class, as of some entry of the log.
#[derive(Debug)]
pub(super) struct Class {
    definition: Definition,
    /// The settings in the definition.
    settings: ClassSettings,
    /// Replication factor of the sharding state, or 0.
    recorded_factor: u32,
    pub shards: BTreeMap<String, ShardState>,
    /// RAFT index of the last entry that made or deleted shards, or of a later one.
    pub shards_changed_at: u64,
    /// Tenants on their way to or from cold storage.
    pub transfers: Transfers,
}

impl Class {
    /// A class of this definition and these shards, which log entry `changed_at` or an earlier one
    /// made.
    pub fn new(
        definition: Definition,
        sharding: ShardingState,
        changed_at: u64,
    ) -> Result<Class, Refusal> {
        let settings = definition.settings()?;
        if !names::is_class_name(&settings.name) {
            return Err(Refusal::Name { name: settings.name });
        }
        Ok(Class {
            definition,
            settings,
            recorded_factor: sharding.replication_factor(),
            shards: sharding.into_shards(),
            shards_changed_at: changed_at,
            transfers: Transfers::default(),
        })
    }

    /// Adds the transfers that were in progress when a snapshot was made.
    pub fn with_transfers(self, transfers: Transfers) -> Class {
        Class { transfers, ..self }
    }

    pub fn name(&self) -> &str {
        &self.settings.name
    }

    pub fn is_multi_tenant(&self) -> bool {
        self.settings.multi_tenant
    }

    pub fn replication_factor(&self) -> u32 {
        cluster::replication_factor(self.recorded_factor, &self.settings)
    }

    /// UPDATE_CLASS. A higher replication factor is refused until every shard has the replicas.
    pub fn update(&mut self, payload: ClassPayload) -> Result<(), Refusal> {
        let mut definition = self.definition.clone();
        definition.update(payload.class);
        let settings = definition.settings()?;
        let factor = settings.replication_factor;
        if factor > self.settings.replication_factor {
            let replicas = usize::try_from(factor).unwrap_or(usize::MAX);
            if let Some(shard) = self.shards.iter().find(|(_, shard)| shard.nodes.len() < replicas)
            {
                return Err(Refusal::TooFewReplicas { shard: shard.0.clone(), factor });
            }
        }
        (self.definition, self.settings) = (definition, settings);
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
        self.settings = definition.settings()?;
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
        self.settings = definition.settings()?;
        self.definition = definition;
        Ok(())
    }

    /// ADD_REPLICA_TO_SHARD, and the same at the end of a replica movement.
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

    /// Name and state of the class.
    pub fn finish(self) -> (String, ClassState) {
        let name = self.settings.name.clone();
        let (factor, changed_at) = (self.recorded_factor, self.shards_changed_at);
        let state = ClassState::new(&self.definition, self.settings, factor, self.shards);
        (name, ClassState { shards_changed_at: changed_at, ..state })
    }
}
