//! Applies the commands of the RAFT log to the classes, as a server does when it starts.
use std::collections::{BTreeMap, btree_map::Entry};

use prost::Message;
use serde::Deserialize;

use crate::{
    cluster::{ClusterSchema, ReadFrom},
    history::{History, Mark},
    names,
    raft::{
        class::Class,
        command::{ApplyRequest, ClassPayload, ClusterIdPayload, Command},
        lives::Lives,
        refusal::Refusal,
        snapshot::Snapshot,
    },
    warning::SchemaWarning,
};

/// The classes, as of some entry of the log.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// By directory: two classes may not share one.
    classes: BTreeMap<String, Class>,
    lives: Lives,
    history: History,
    warnings: Vec<SchemaWarning>,
}

impl Replay {
    /// Starts with the classes of a snapshot.
    pub fn of_snapshot(snapshot: Snapshot) -> Replay {
        let directory = |class: &Class| names::class_directory(class.name());
        let classes = snapshot.classes.into_iter().map(|class| (directory(&class), class));
        let Snapshot { last, servers, cluster_id, .. } = snapshot;
        let history = History::of_snapshot(last, servers, cluster_id);
        Replay { classes: classes.collect(), history, ..Replay::default() }
    }

    /// Adds log entry `index` to the history, whatever it is for.
    pub fn add(&mut self, index: u64, mark: Mark) {
        self.history.add(index, mark);
    }

    /// A later configuration of the cluster replaces the one before.
    pub fn configure(&mut self, servers: Vec<String>) {
        self.history.servers = servers;
    }

    /// Records the lives in log entry `index`, whose command a snapshot includes.
    pub fn record(&mut self, index: u64, request: &ApplyRequest) {
        self.lives.record(index, request);
    }

    /// Applies the command of log entry `index`. One that cannot be applied becomes a warning.
    pub fn apply(&mut self, index: u64, request: &ApplyRequest) {
        self.record(index, request);
        let class = request.class.clone();
        let Some(command) = Command::from_number(request.number) else {
            self.pass_over(index, request.number);
            return;
        };
        if let Err(refusal) = self.apply_command(index, command, request) {
            let (command, reason) = (command.name(), refusal.to_string());
            self.warnings.push(SchemaWarning::NotApplied { index, command, class, reason });
        }
    }

    /// Adds an entry of an unknown type to the one warning about them.
    fn pass_over(&mut self, index: u64, number: i32) {
        let present = self.warnings.iter_mut().find_map(|warning| match warning {
            SchemaWarning::UnknownCommands { numbers, entries, .. } => Some((numbers, entries)),
            _ => None,
        });
        if let Some((numbers, entries)) = present {
            numbers.insert(number);
            *entries = entries.saturating_add(1);
        } else {
            let numbers = [number].into();
            self.warnings.push(SchemaWarning::UnknownCommands {
                numbers,
                entries: 1,
                first: index,
            });
        }
    }

    /// The schema after the last applied command.
    pub fn finish(self, read_from: ReadFrom) -> ClusterSchema {
        let marked = |class: Class| {
            let (name, mut state) = class.finish();
            self.lives.mark(&name, &mut state);
            (name, state)
        };
        let classes = self.classes.into_values().map(marked).collect();
        let (history, warnings) = (Some(self.history), self.warnings);
        ClusterSchema { read_from, classes, history, warnings }
    }

    fn apply_command(
        &mut self,
        index: u64,
        command: Command,
        request: &ApplyRequest,
    ) -> Result<(), Refusal> {
        let payload = request.payload.as_slice();
        match command {
            Command::AddClass | Command::RestoreClass => self.add_class(index, json(payload)?)?,
            Command::UpdateClass => {
                let payload: ClassPayload = json(payload)?;
                let name = payload.class.settings()?.name;
                self.class(&name)?.update(payload)?;
            }
            // A class that does not exist is ignored. The case of the name does not matter.
            Command::DeleteClass => {
                self.classes.remove(&names::class_directory(&request.class));
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
                let class = self.multi_tenant(&request.class)?;
                class.add_tenants(Message::decode(payload)?)?;
                class.shards_changed_at = index;
            }
            Command::UpdateTenants => {
                self.multi_tenant(&request.class)?.update_tenants(Message::decode(payload)?)?;
            }
            Command::DeleteTenants => {
                let class = self.multi_tenant(&request.class)?;
                class.delete_tenants(Message::decode(payload)?);
                class.shards_changed_at = index;
            }
            Command::ProcessTenants => {
                self.multi_tenant(&request.class)?.process_tenants(Message::decode(payload)?)?;
            }
            Command::SetClusterId => {
                // Set once: a later one is ignored.
                if let Ok(ClusterIdPayload { cluster_id }) = Message::decode(payload)
                    && !cluster_id.is_empty()
                {
                    self.history.cluster_id.get_or_insert(cluster_id);
                }
            }
            Command::Unrelated => {}
        }
        Ok(())
    }

    /// Refuses a class whose name differs from another's in case only: both would share a directory.
    fn add_class(&mut self, index: u64, payload: ClassPayload) -> Result<(), Refusal> {
        let sharding = payload.state.ok_or(Refusal::NoShardingState)?;
        let class = Class::new(payload.class, sharding, index)?;
        match self.classes.entry(names::class_directory(class.name())) {
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
        let class = self.classes.get_mut(&names::class_directory(name));
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
