//! Tenants on their way to or from cold storage, and what the nodes report about them
//! (`data-directory.md` 5.1 and 7).
use std::collections::BTreeMap;

use crate::{
    raft::command::{Progress, Transfer},
    sharding::ShardStatus,
};

/// By tenant and direction, the latest report of each node.
pub(super) type Transfers = BTreeMap<(String, Transfer), BTreeMap<String, NodeReport>>;

/// The progress of one node with one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeReport {
    pub progress: Progress,
    /// The tenant's status after the transfer, or after an aborted freezing.
    pub status: ShardStatus,
}

/// The status that a tenant has after these reports; `None` leaves it unchanged. A tenant is frozen
/// when all nodes are done, and keeps its old status if one of them aborted. It is back when all
/// nodes have ended and at least one is done.
pub(super) fn status_after(
    transfer: Transfer,
    reports: &BTreeMap<String, NodeReport>,
) -> Option<ShardStatus> {
    let with = |progress| reports.values().find(|report| report.progress == progress);
    let ended = reports.values().all(|report| report.progress.is_end());
    let report = match transfer {
        Transfer::Freezing => {
            with(Progress::Aborted).or_else(|| with(Progress::Done).filter(|_| ended))
        }
        Transfer::Unfreezing => with(Progress::Done).filter(|_| ended),
        Transfer::Unspecified => None,
    };
    report.map(|report| report.status.clone())
}
