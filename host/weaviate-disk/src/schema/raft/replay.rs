//! Applies the commands of the RAFT log to the classes, as a server does when it starts.
use std::collections::{BTreeMap, btree_map::Entry};

use prost::Message;
use serde::Deserialize;

use super::{
    super::{
        cluster::{ClusterSchema, ReadFrom},
        warning::SchemaWarning,
    },
    class::Class,
    command::{ApplyRequest, ClassPayload, Command},
    placement::PlacementFault,
};

/// The classes, up to some entry of the log.
#[derive(Debug)]
pub(super) struct Replay {
    /// By name in lower case, because no two names differ in case only.
    classes: BTreeMap<String, Class>,
    warnings: Vec<SchemaWarning>,
}

/// Why a command was not applied, as it was not by the server that wrote it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("its payload cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    #[error("its payload cannot be read: {0}")]
    Protobuf(#[from] prost::DecodeError),
    #[error("`{name}` is no class name")]
    Name { name: String },
    #[error("class {name} exists")]
    ClassExists { name: String },
    #[error("there is no such class")]
    UnknownClass,
    #[error("it has no sharding state")]
    NoShardingState,
    #[error("there is no such property")]
    NoProperty,
    #[error("there is no shard {names}")]
    UnknownShards { names: String },
    #[error("the class has no tenants")]
    NotMultiTenant,
    #[error("shard {shard} has too few copies for a replication factor of {factor}")]
    TooFewCopies { shard: String, factor: u32 },
    #[error(transparent)]
    Placement(#[from] PlacementFault),
}

impl Replay {
    /// From the classes of a snapshot, or from none.
    pub fn new(classes: Vec<Class>) -> Replay {
        let key = |class: &Class| class.name().to_ascii_lowercase();
        let classes = classes.into_iter().map(|class| (key(&class), class)).collect();
        Replay { classes, warnings: Vec::new() }
    }

    /// Applies the command of log entry `index`; one that cannot be applied is a warning.
    pub fn apply(&mut self, index: u64, request: &ApplyRequest) {
        let class = request.class.clone();
        let Some(command) = Command::from_number(request.number) else {
            let number = request.number;
            self.warnings.push(SchemaWarning::UnknownCommand { index, number, class });
            return;
        };
        if let Err(refusal) = self.apply_command(command, request) {
            let (command, reason) = (command.name(), refusal.to_string());
            self.warnings.push(SchemaWarning::NotApplied { index, command, class, reason });
        }
    }

    /// The classes, and what was odd.
    pub fn finish(self, read_from: ReadFrom) -> ClusterSchema {
        let classes = self.classes.into_values().map(Class::finish).collect();
        ClusterSchema { read_from, classes, warnings: self.warnings }
    }

    fn apply_command(&mut self, command: Command, request: &ApplyRequest) -> Result<(), Refusal> {
        let payload = request.payload.as_slice();
        match command {
            Command::AddClass | Command::RestoreClass => self.add_class(json(payload)?)?,
            Command::UpdateClass => {
                let payload: ClassPayload = json(payload)?;
                let name = payload.class.facts()?.name;
                self.class(&name)?.update(payload)?;
            }
            // Deleting what is not there is no fault.
            Command::DeleteClass => {
                if self.class(&request.class).is_ok() {
                    self.classes.remove(&request.class.to_ascii_lowercase());
                }
            }
            Command::AddProperty => self.class(&request.class)?.add_properties(json(payload)?)?,
            Command::UpdateProperty => {
                self.class(&request.class)?.update_property(json(payload)?)?
            }
            Command::AddReplica | Command::MoveReplica => {
                self.class(&request.class)?.add_replica(json(payload)?)?;
            }
            Command::DeleteReplica => {
                self.class(&request.class)?.delete_replica(&json(payload)?)?
            }
            Command::AddTenants => {
                self.multi_tenant(&request.class)?.add_tenants(Message::decode(payload)?)?;
            }
            Command::UpdateTenants => {
                self.multi_tenant(&request.class)?.update_tenants(Message::decode(payload)?)?;
            }
            Command::DeleteTenants => {
                self.multi_tenant(&request.class)?.delete_tenants(Message::decode(payload)?);
            }
            Command::ProcessTenants => {
                self.multi_tenant(&request.class)?.process_tenants(Message::decode(payload)?)?;
            }
            Command::Unrelated => {}
        }
        Ok(())
    }

    /// Two classes whose names differ in case only would share a directory: refused.
    fn add_class(&mut self, payload: ClassPayload) -> Result<(), Refusal> {
        let class = Class::new(payload.class, payload.state.ok_or(Refusal::NoShardingState)?)?;
        match self.classes.entry(class.name().to_ascii_lowercase()) {
            Entry::Occupied(present) => {
                Err(Refusal::ClassExists { name: present.get().name().to_owned() })
            }
            Entry::Vacant(place) => {
                place.insert(class);
                Ok(())
            }
        }
    }

    fn class(&mut self, name: &str) -> Result<&mut Class, Refusal> {
        let class = self.classes.get_mut(&name.to_ascii_lowercase());
        class.filter(|class| class.name() == name).ok_or(Refusal::UnknownClass)
    }

    fn multi_tenant(&mut self, name: &str) -> Result<&mut Class, Refusal> {
        let class = self.class(name)?;
        if class.is_multi_tenant() { Ok(class) } else { Err(Refusal::NotMultiTenant) }
    }
}

fn json<'p, T: Deserialize<'p>>(payload: &'p [u8]) -> Result<T, Refusal> {
    Ok(serde_json::from_slice(payload)?)
}
