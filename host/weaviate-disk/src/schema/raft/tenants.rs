//! What the commands about tenants do to a class (`data-directory.md` 5.1 and 7).
use std::{collections::BTreeMap, sync::Arc};

use super::{
    super::cluster::{Nodes, ShardState, ShardStatus},
    class::Class,
    command::{
        AddTenantsPayload, DeleteTenantsPayload, ProcessTenantsPayload, Progress, Tenant, Transfer,
        UpdateTenantsPayload,
    },
    placement::{Placement, PlacementFault},
    replay::Refusal,
};

/// Tenants that a warning names before it counts the rest.
const NAMED_TENANTS: usize = 5;

/// Tenants on their way to or from cold storage, with the latest report of each of their nodes.
pub(super) type Transfers = BTreeMap<(String, Transfer), BTreeMap<String, Report>>;

/// How far a node has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    pub progress: Progress,
    /// What the tenant is in the end; of an aborted freezing, what it was before.
    pub status: ShardStatus,
}

impl Class {
    /// ADD_TENANT: tenants that exist stay as they are.
    pub fn add_tenants(&mut self, payload: AddTenantsPayload) -> Result<(), Refusal> {
        let mut placement = Placement::new(&payload.cluster_nodes, self.replication_factor())?;
        // All are dealt before any is added: of a name that stands twice the last deal counts.
        let mut dealt: BTreeMap<String, Nodes> = BTreeMap::new();
        for tenant in &payload.tenants {
            let status = self.shards.get(&tenant.name).map(|shard| &shard.status);
            if matches!(status, None | Some(ShardStatus::Frozen | ShardStatus::Freezing)) {
                dealt.insert(tenant.name.clone(), placement.deal());
            }
        }
        for Tenant { name, status } in payload.tenants {
            if let Some(nodes) = dealt.get(&name) {
                let status = ShardStatus::from_name(&status);
                self.shards.entry(name).or_insert(ShardState { status, nodes: nodes.clone() });
            }
        }
        Ok(())
    }

    /// UPDATE_TENANT: those that are not there are named once the others are done.
    pub fn update_tenants(&mut self, payload: UpdateTenantsPayload) -> Result<(), Refusal> {
        let placement = Placement::new(&payload.cluster_nodes, self.replication_factor());
        // Every tenant that leaves cold storage is dealt the first nodes.
        let back_on = placement.map(|mut placement| {
            let mut nodes = placement.deal().to_vec();
            nodes.sort();
            Nodes::from(nodes)
        });
        let mut unknown = Vec::new();
        for Tenant { name, status } in payload.tenants {
            match self.shards.get(&name).cloned() {
                Some(present) => {
                    self.update_tenant(name, present, ShardStatus::from_name(&status), &back_on)?;
                }
                None => unknown.push(name),
            }
        }
        if unknown.is_empty() { Ok(()) } else { Err(unknown_shards(&unknown)) }
    }

    /// Freezing and leaving cold storage take until the nodes have reported.
    fn update_tenant(
        &mut self,
        name: String,
        present: ShardState,
        wanted: ShardStatus,
        back_on: &Result<Nodes, PlacementFault>,
    ) -> Result<(), Refusal> {
        if present.status == wanted || self.is_on_its_way(&name, &present.status, &wanted) {
            return Ok(());
        }
        let is_frozen = matches!(present.status, ShardStatus::Frozen | ShardStatus::Freezing);
        let shard = match (is_frozen, wanted) {
            (false, ShardStatus::Frozen) => {
                self.start(&name, Transfer::Freezing, &present.nodes, &ShardStatus::Frozen);
                ShardState { status: ShardStatus::Freezing, ..present }
            }
            (true, wanted) if wanted != ShardStatus::Frozen => {
                let nodes = back_on.clone()?;
                // Each of the old nodes' copies goes to one of the new nodes.
                let taking = nodes.get(..present.nodes.len()).unwrap_or(&nodes);
                self.start(&name, Transfer::Unfreezing, taking, &wanted);
                ShardState { status: ShardStatus::Unfreezing, nodes }
            }
            (_, wanted) => ShardState { status: wanted, ..present },
        };
        self.shards.insert(name, shard);
        Ok(())
    }

    fn is_on_its_way(&self, name: &str, present: &ShardStatus, wanted: &ShardStatus) -> bool {
        match present {
            ShardStatus::Freezing => *wanted == ShardStatus::Frozen,
            ShardStatus::Unfreezing => self
                .transfers
                .get(&(name.to_owned(), Transfer::Unfreezing))
                .is_some_and(|reports| reports.values().any(|report| report.status == *wanted)),
            _ => false,
        }
    }

    fn start(&mut self, name: &str, transfer: Transfer, nodes: &[Arc<str>], status: &ShardStatus) {
        let reports = self.transfers.entry((name.to_owned(), transfer)).or_default();
        for node in nodes {
            let report = Report { progress: Progress::Started, status: status.clone() };
            reports.insert(node.to_string(), report);
        }
    }

    /// DELETE_TENANT: deleting what is not there is no fault.
    pub fn delete_tenants(&mut self, payload: DeleteTenantsPayload) {
        for name in payload.tenants {
            self.shards.remove(&name);
            self.transfers.remove(&(name.clone(), Transfer::Freezing));
            self.transfers.remove(&(name, Transfer::Unfreezing));
        }
    }

    /// TENANT_PROCESS: a node has done its part for some tenants, or given up. Reports about what
    /// was not started on that node are passed over.
    pub fn process_tenants(&mut self, payload: ProcessTenantsPayload) -> Result<(), Refusal> {
        let transfer = payload.transfer();
        for entry in &payload.reports {
            let Some(Tenant { name, status }) = &entry.tenant else { continue };
            let Some(shard) = self.shards.get_mut(name) else {
                return Err(unknown_shards(std::slice::from_ref(name)));
            };
            let key = (name.clone(), transfer);
            let Some(reports) = self.transfers.get_mut(&key) else { continue };
            let Some(report) = reports.get_mut(&payload.node) else { continue };
            report.progress = entry.progress();
            // On the way back what was asked for counts; the report does not always say it.
            if transfer == Transfer::Freezing {
                report.status = ShardStatus::from_name(status);
            }
            if let Some(status) = outcome(transfer, reports) {
                shard.status = status;
            }
            if reports.values().all(|report| report.progress.is_end()) {
                self.transfers.remove(&key);
            }
        }
        Ok(())
    }
}

/// What the tenant becomes by these reports; `None` leaves it as it is. A tenant is frozen when
/// all nodes are done, and stays what it was when one gave up; it is back when all nodes have
/// ended and one is done.
fn outcome(transfer: Transfer, reports: &BTreeMap<String, Report>) -> Option<ShardStatus> {
    let of = |progress| reports.values().find(|report| report.progress == progress);
    let ended = reports.values().all(|report| report.progress.is_end());
    let report = match transfer {
        Transfer::Freezing => {
            of(Progress::Aborted).or_else(|| of(Progress::Done).filter(|_| ended))
        }
        Transfer::Unfreezing => of(Progress::Done).filter(|_| ended),
        Transfer::Unspecified => None,
    };
    report.map(|report| report.status.clone())
}

fn unknown_shards(unknown: &[String]) -> Refusal {
    let named: Vec<&str> = unknown.iter().take(NAMED_TENANTS).map(String::as_str).collect();
    let mut names = named.join(", ");
    if unknown.len() > named.len() {
        names.push_str(&format!(" and {} more", unknown.len().saturating_sub(named.len())));
    }
    Refusal::UnknownShards { names }
}
