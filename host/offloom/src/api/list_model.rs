//! The query and the body of a list of exports.
use offloom_export::ClassView;
use offloom_protocol::names::ExportId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::client_text::ClientText;
use super::error::ApiError;
use super::model::rfc3339;
use super::schemas;
use crate::lookup::{ExportState, ExportView};
use crate::scheduler::{Listed, Page};

/// The states of [`ExportState::name`].
const STATUSES: [&str; 5] = ["STARTED", "TRANSFERRING", "SUCCESS", "FAILED", "CANCELED"];

/// Exports of a list that names no limit, and at most.
const LIST_LIMIT: usize = 25;
const MAX_LIST_LIMIT: usize = 1_000;

/// Query of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Only exports in this state.
    #[param(schema_with = schemas::export_status)]
    status: Option<String>,
    /// At most so many, 1 to 1,000; 25 unless it is given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Only exports that are older than this one: `next` of the page before.
    after: Option<String>,
}

impl ListQuery {
    /// Which exports are asked for.
    ///
    /// # Errors
    /// [`ApiError::Invalid`].
    pub fn into_listed(self) -> Result<Listed, ApiError> {
        let ListQuery { status, limit, after } = self;
        if let Some(status) = status.as_deref().filter(|status| !STATUSES.contains(status)) {
            let message = format!("status '{status}' is not one of: {}", STATUSES.join(", "));
            return Err(ApiError::Invalid(message));
        }
        let limit = limit.unwrap_or(LIST_LIMIT);
        if !(1..=MAX_LIST_LIMIT).contains(&limit) {
            return Err(ApiError::Invalid(format!("limit {limit} is not 1 to {MAX_LIST_LIMIT}")));
        }
        let after = after.map(|after| ExportId::parse(&after)).transpose()?;
        Ok(Listed { status, limit, after })
    }
}

/// Some exports of a backend, the newest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExportList)]
pub struct ListBody {
    /// The exports.
    exports: Vec<SummaryBody>,
    /// The value of `after` for the page that follows; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = String)]
    next: Option<ExportId>,
}

impl ListBody {
    /// The answer that shows a page.
    pub fn new(page: Page, text: &ClientText) -> ListBody {
        let last = page.exports.last().map(|view| view.id.clone());
        let next = last.filter(|_| page.has_more);
        let exports = page.exports.into_iter().map(|view| SummaryBody::new(view, text)).collect();
        ListBody { exports, next }
    }
}

/// An export in a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExportSummary)]
struct SummaryBody {
    /// The id.
    #[schema(value_type = String)]
    id: ExportId,
    /// Kind of store.
    backend: String,
    /// Address of its folder.
    path: String,
    /// Its state.
    #[schema(schema_with = schemas::export_status)]
    status: &'static str,
    /// When its id was taken.
    #[schema(format = DateTime)]
    started_at: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    completed_at: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<String>,
    /// Whether something is missing that it was allowed to lack.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
    /// Its classes, in byte order.
    classes: Vec<String>,
    /// How far it is, over all its classes; absent once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    progress: Option<SumBody>,
}

/// How far a running export is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExportSum)]
struct SumBody {
    /// Rows written so far.
    objects_exported: u64,
    /// All objects: an estimate.
    objects_total: u64,
    /// Size of its files so far.
    file_size_bytes: u64,
}

impl SummaryBody {
    fn new(view: ExportView, text: &ClientText) -> SummaryBody {
        let classes = view.classes.as_deref().unwrap_or_default();
        let progress = (!view.has_ended()).then(|| SumBody::of(classes));
        let end = match &view.state {
            ExportState::Ended { end, .. } => Some(end),
            ExportState::Started | ExportState::Transferring => None,
        };
        SummaryBody {
            status: view.state.name(),
            started_at: rfc3339(view.started_at),
            completed_at: end.map(|end| rfc3339(end.completed_at)),
            error: end.and_then(|end| end.error.as_deref()).map(|error| text.of(error)),
            partial: end.is_some_and(|end| end.partial),
            classes: classes.iter().map(|class| class.name.clone()).collect(),
            progress,
            id: view.id,
            backend: view.backend,
            path: view.path,
        }
    }
}

impl SumBody {
    fn of(classes: &[ClassView]) -> SumBody {
        let mut sum = SumBody { objects_exported: 0, objects_total: 0, file_size_bytes: 0 };
        for progress in classes.iter().filter_map(|class| class.progress.as_ref()) {
            let add = |to: &mut u64, more: u64| *to = to.saturating_add(more);
            add(&mut sum.objects_exported, progress.objects_exported);
            add(&mut sum.objects_total, progress.objects_total.unwrap_or_default());
            add(&mut sum.file_size_bytes, progress.file_size_bytes.unwrap_or_default());
        }
        sum
    }
}
