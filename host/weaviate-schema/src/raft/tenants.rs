//! The commands that change the tenants of a class (`data-directory.md` 5.1 and 7).
use std::{collections::BTreeMap, sync::Arc};

use crate::{
    raft::{
        class::Class,
        command::{
            AddTenantsPayload, DeleteTenantsPayload, ProcessTenantsPayload, Progress, Tenant,
            Transfer, UpdateTenantsPayload,
        },
        placement::{Placement, PlacementError},
        refusal::Refusal,
        transfers::{self, NodeReport},
    },
    sharding::{Nodes, ShardState, ShardStatus},
};

impl Class {
    /// ADD_TENANT. Existing tenants are not changed.
    pub fn add_tenants(&mut self, payload: AddTenantsPayload) -> Result<(), Refusal> {
        let mut placement = Placement::new(&payload.cluster_nodes, self.replication_factor())?;
        // Assign all nodes before adding a tenant: for a repeated name the last assignment counts.
        let mut assigned: BTreeMap<String, Nodes> = BTreeMap::new();
        for tenant in &payload.tenants {
            let status = self.shards.get(&tenant.name).map(|shard| &shard.status);
            if matches!(status, None | Some(ShardStatus::Frozen | ShardStatus::Freezing)) {
                assigned.insert(tenant.name.clone(), placement.assign());
            }
        }
        for Tenant { name, status } in payload.tenants {
            if let Some(nodes) = assigned.get(&name) {
                let status = ShardStatus::from_name(&status);
                let nodes = nodes.clone();
                self.shards.entry(name).or_insert(ShardState { status, nodes, made_again_at: 0 });
            }
        }
        Ok(())
    }

    /// UPDATE_TENANT. Unknown tenants are refused after the others are updated.
    pub fn update_tenants(&mut self, payload: UpdateTenantsPayload) -> Result<(), Refusal> {
        let placement = Placement::new(&payload.cluster_nodes, self.replication_factor());
        // All tenants that leave cold storage are assigned the same, first nodes.
        let restore_nodes = placement.map(|mut placement| {
            let mut nodes = placement.assign().to_vec();
            nodes.sort();
            Nodes::from(nodes)
        });
        let mut unknown = Vec::new();
        for Tenant { name, status } in payload.tenants {
            match self.shards.get(&name).cloned() {
                Some(present) => {
                    self.update_tenant(
                        name,
                        present,
                        ShardStatus::from_name(&status),
                        &restore_nodes,
                    )?;
                }
                None => unknown.push(name),
            }
        }
        if unknown.is_empty() { Ok(()) } else { Err(Refusal::unknown_shards(&unknown)) }
    }

    /// A tenant that is to be frozen or restored is in transfer until the nodes have reported.
    fn update_tenant(
        &mut self,
        name: String,
        present: ShardState,
        wanted: ShardStatus,
        restore_nodes: &Result<Nodes, PlacementError>,
    ) -> Result<(), Refusal> {
        if present.status == wanted || self.is_in_transfer_to(&name, &present.status, &wanted) {
            return Ok(());
        }
        let is_frozen = matches!(present.status, ShardStatus::Frozen | ShardStatus::Freezing);
        let shard = match (is_frozen, wanted) {
            (false, ShardStatus::Frozen) => {
                self.start_transfer(
                    &name,
                    Transfer::Freezing,
                    &present.nodes,
                    &ShardStatus::Frozen,
                );
                ShardState { status: ShardStatus::Freezing, ..present }
            }
            (true, wanted) if wanted != ShardStatus::Frozen => {
                let nodes = restore_nodes.clone()?;
                // Each node of the frozen tenant corresponds to one of the new nodes.
                let receiving = nodes.get(..present.nodes.len()).unwrap_or(&nodes);
                self.start_transfer(&name, Transfer::Unfreezing, receiving, &wanted);
                ShardState { status: ShardStatus::Unfreezing, nodes, ..present }
            }
            (_, wanted) => ShardState { status: wanted, ..present },
        };
        self.shards.insert(name, shard);
        Ok(())
    }

    /// Whether a transfer to the wanted status is in progress.
    fn is_in_transfer_to(&self, name: &str, present: &ShardStatus, wanted: &ShardStatus) -> bool {
        match present {
            ShardStatus::Freezing => *wanted == ShardStatus::Frozen,
            ShardStatus::Unfreezing => self
                .transfers
                .get(&(name.to_owned(), Transfer::Unfreezing))
                .is_some_and(|reports| reports.values().any(|report| report.status == *wanted)),
            _ => false,
        }
    }

    fn start_transfer(
        &mut self,
        name: &str,
        transfer: Transfer,
        nodes: &[Arc<str>],
        status: &ShardStatus,
    ) {
        let reports = self.transfers.entry((name.to_owned(), transfer)).or_default();
        for node in nodes {
            let report = NodeReport { progress: Progress::Started, status: status.clone() };
            reports.insert(node.to_string(), report);
        }
    }

    /// DELETE_TENANT. Unknown tenants are ignored.
    pub fn delete_tenants(&mut self, payload: DeleteTenantsPayload) {
        for name in payload.tenants {
            self.shards.remove(&name);
            self.transfers.remove(&(name.clone(), Transfer::Freezing));
            self.transfers.remove(&(name, Transfer::Unfreezing));
        }
    }

    /// TENANT_PROCESS: a node has finished or aborted the transfer of some tenants. Reports of
    /// transfers that were not started on that node are ignored.
    pub fn process_tenants(&mut self, payload: ProcessTenantsPayload) -> Result<(), Refusal> {
        let transfer = payload.transfer();
        for entry in &payload.reports {
            let Some(Tenant { name, status }) = &entry.tenant else { continue };
            let Some(shard) = self.shards.get_mut(name) else {
                return Err(Refusal::unknown_shards(std::slice::from_ref(name)));
            };
            let key = (name.clone(), transfer);
            let Some(reports) = self.transfers.get_mut(&key) else { continue };
            let Some(report) = reports.get_mut(&payload.node) else { continue };
            report.progress = entry.progress();
            // When a tenant is restored, the wanted status counts: a report may lack it.
            if transfer == Transfer::Freezing {
                report.status = ShardStatus::from_name(status);
            }
            if let Some(status) = transfers::status_after(transfer, reports) {
                shard.status = status;
            }
            if reports.values().all(|report| report.progress.is_end()) {
                self.transfers.remove(&key);
            }
        }
        Ok(())
    }
}
