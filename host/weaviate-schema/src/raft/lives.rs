//! Which log entry made a class or tenant again under the name of a deleted one
//! (`data-directory.md` 5.5).
use std::collections::BTreeMap;

use prost::Message;

use crate::{
    cluster::ClassState,
    names,
    raft::command::{AddTenantsPayload, ApplyRequest, Command, DeleteTenantsPayload},
};

/// Deletions and the creations that follow them, in all entries of the log. A life that no deletion
/// in the log precedes is not recorded.
#[derive(Debug, Default)]
pub(super) struct Lives {
    /// By directory of the class.
    classes: BTreeMap<String, ClassLives>,
}

#[derive(Debug, Default)]
struct ClassLives {
    /// The class itself.
    class: Life,
    /// Its tenants by name.
    tenants: BTreeMap<String, Life>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// As far as the log goes back.
    #[default]
    First,
    Deleted,
    /// RAFT index of the entry that made it again.
    Again(u64),
}

impl Life {
    /// A creation counts after a deletion only: a server refuses a name that is in use.
    fn create(&mut self, index: u64) {
        if *self == Life::Deleted {
            *self = Life::Again(index);
        }
    }
}

impl Lives {
    /// Records the command of log entry `index`.
    pub fn record(&mut self, index: u64, request: &ApplyRequest) {
        let payload = request.payload.as_slice();
        let directory = || names::class_directory(&request.class);
        match Command::from_number(request.number) {
            // Its tenants are deleted with it.
            Some(Command::DeleteClass) => {
                let deleted = ClassLives { class: Life::Deleted, tenants: BTreeMap::new() };
                self.classes.insert(directory(), deleted);
            }
            Some(Command::AddClass | Command::RestoreClass) => {
                if let Some(lives) = self.classes.get_mut(&directory()) {
                    lives.class.create(index);
                }
            }
            Some(Command::DeleteTenants) => {
                let Ok(payload) = DeleteTenantsPayload::decode(payload) else { return };
                let lives = self.classes.entry(directory()).or_default();
                let deleted = payload.tenants.into_iter().map(|name| (name, Life::Deleted));
                lives.tenants.extend(deleted);
            }
            Some(Command::AddTenants) => {
                let Some(lives) = self.classes.get_mut(&directory()) else { return };
                let Ok(payload) = AddTenantsPayload::decode(payload) else { return };
                let is_again = matches!(lives.class, Life::Again(_));
                for tenant in payload.tenants {
                    // The tenants of a class that was made again are all new.
                    let unseen = if is_again { Life::Deleted } else { Life::First };
                    lives.tenants.entry(tenant.name).or_insert(unseen).create(index);
                }
            }
            _ => {}
        }
    }

    /// Sets [`crate::ShardState::made_again_at`] of the shards of class `name`.
    pub fn mark(&self, name: &str, class: &mut ClassState) {
        let Some(lives) = self.classes.get(&names::class_directory(name)) else { return };
        for (shard, state) in &mut class.shards {
            let life = lives.tenants.get(shard).copied().unwrap_or_default();
            state.made_again_at = match (life, lives.class) {
                (Life::Again(index), _) | (_, Life::Again(index)) => index,
                _ => 0,
            };
        }
    }
}
