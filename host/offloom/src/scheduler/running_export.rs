//! An export that this process runs, and what is said of it.
use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use offloom_export::{ClassView, Ended, ExportError, Status, Stop, TransferError};
use offloom_protocol::manifest::CoveredTenants;
use offloom_protocol::names::ExportId;
use tokio::sync::watch;
use tracing::Span;

use crate::export_index::ExportEnd;
use crate::lookup::{ExportState, ExportView};

/// Failed shards of one export that are logged one by one.
const MAX_SHARDS_LOGGED: usize = 100;

/// Backend and id of an export.
pub(super) type Key = (String, ExportId);

/// An export that this process runs.
#[derive(Clone)]
pub(super) struct RunningExport {
    pub(super) path: String,
    pub(super) started_at: DateTime<Utc>,
    pub(super) principal: Option<String>,
    pub(super) tenants: BTreeMap<String, CoveredTenants>,
    /// Exact names of its classes.
    pub(super) classes: Vec<String>,
    pub(super) status: Arc<Status>,
    pub(super) stop: Stop,
    pub(super) ended: watch::Receiver<Option<ExportEnd>>,
    /// Why it is not carried on yet, after the first try.
    pub(super) held_up: watch::Receiver<Option<String>>,
}

impl RunningExport {
    pub(super) fn view(&self, (backend, id): &Key) -> ExportView {
        let state = match self.ended.borrow().clone() {
            Some(end) => ExportState::ended(end),
            None if self.status.is_transferring() => ExportState::Transferring,
            None => ExportState::Started,
        };
        // Before one that is carried on has its classes announced, their names decide who may see it.
        let mut classes = self.status.classes();
        if classes.is_empty() {
            classes = self.classes.iter().map(|class| ClassView::unknown(class)).collect();
        }
        ExportView {
            principal: self.principal.clone(),
            classes: Some(classes),
            tenants: self.tenants.clone(),
            ..ExportView::new(backend, id, self.path.clone(), self.started_at, state)
        }
    }
}

/// What is logged and traced of an export has its id and the one who asked for it. The level is that of
/// errors, so that no filter takes them off.
pub(super) fn export_span(id: &ExportId, principal: Option<&str>) -> Span {
    tracing::error_span!("export", %id, principal)
}

/// The end of an export in full, for the operator. Clients read a text without paths.
pub(super) fn log_end(id: &ExportId, ended: &Ended) {
    if let Some(manifest) = &ended.manifest {
        let shards = manifest.source.shards.iter();
        let failed = shards.filter_map(|shard| Some((shard, shard.error.as_ref()?)));
        for (shard, error) in failed.take(MAX_SHARDS_LOGGED) {
            let (class, shard) = (&shard.class, &shard.shard);
            tracing::warn!(%id, class, shard, error, "a shard could not be read");
        }
    }
    match &ended.error {
        Some(error @ ExportError::Transfer(TransferError::Canceled)) => {
            tracing::info!(%id, %error);
        }
        Some(error) => tracing::error!(%id, %error, "an export did not succeed"),
        None => {}
    }
}
