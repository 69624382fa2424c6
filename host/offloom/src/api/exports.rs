//! `/v1/export/{backend}`: create an export, ask how far it is, cancel it.
use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use chrono::{DateTime, SecondsFormat, Utc};
use offloom_protocol::manifest::{Missing, ProgressStatus};
use offloom_protocol::names::ExportId;
use offloom_protocol::store::Destination;
use serde::{Deserialize, Serialize};

use super::ApiState;
use super::body::JsonBody;
use super::error::ApiError;
use super::scope::ScopeBody;
use crate::authz::Principal;
use crate::lookup::{ExportState, ExportView};
use crate::scheduler::Request;
use crate::status::ClassView;

/// Shards are left out of a status beyond this number, unless they are asked for.
const MAX_SHARDS_SHOWN: usize = 1_000;

/// Body of POST. Unknown fields are ignored.
#[derive(Debug, Deserialize)]
pub struct CreateBody {
    id: Option<String>,
    #[serde(flatten)]
    scope: ScopeBody,
    file_format: Option<String>,
    #[serde(default)]
    config: Option<Place>,
    #[serde(default, rename = "guestOptions")]
    guest_options: Option<BTreeMap<String, String>>,
}

/// Where an export goes, when not to the server's own place.
#[derive(Debug, Default, Deserialize)]
pub struct Place {
    bucket: Option<String>,
    path: Option<String>,
}

/// Query of GET.
#[derive(Debug, Deserialize)]
pub struct StatusQuery {
    #[serde(default)]
    shards: bool,
    bucket: Option<String>,
    path: Option<String>,
}

/// Body of every answer about an export.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportBody {
    id: ExportId,
    backend: String,
    path: String,
    status: &'static str,
    started_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    took_in_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    classes: Vec<String>,
    progress: BTreeMap<String, ClassBody>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<Missing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard_status: Option<BTreeMap<String, BTreeMap<String, ShardBody>>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ClassBody {
    status: ProgressStatus,
    objects_exported: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    objects_total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_size_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShardBody {
    status: ProgressStatus,
    objects_exported: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    skip_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// POST `/v1/export/{backend}`.
pub async fn create(
    State(state): State<ApiState>,
    backend: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<CreateBody>,
) -> Result<Json<ExportBody>, ApiError> {
    let Path(backend) = backend?;
    let principal = principal(&state, &headers)?;
    let id = body.id.as_deref().unwrap_or_default();
    if id.is_empty() {
        return Err(ApiError::Invalid("export ID is required".to_owned()));
    }
    let id = checked_id(id)?;
    if let Some(format) = body.file_format.filter(|format| format != "parquet") {
        let message = format!("file_format '{format}' is not one of: parquet");
        return Err(ApiError::Invalid(message));
    }
    let place = body.config.unwrap_or_default();
    let destination = destination(&state, &backend, &place)?;
    destination.check_access().await?;
    let request = Request {
        backend: backend.clone(),
        id,
        destination,
        scope: body.scope.into_scope(state.quarantine_raw)?,
        options: body.guest_options.unwrap_or_default().into_iter().collect(),
    };
    let view = state.scheduler.start(&principal, request).await?;
    Ok(Json(ExportBody::new(backend, view, false)))
}

/// GET `/v1/export/{backend}/{id}`.
pub async fn status(
    State(state): State<ApiState>,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<StatusQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Json<ExportBody>, ApiError> {
    let (Path((backend, id)), Query(query)) = (path?, query?);
    let principal = principal(&state, &headers)?;
    let id = checked_id(&id)?;
    let place = Place { bucket: query.bucket, path: query.path };
    let elsewhere = destination(&state, &backend, &place)?;
    let view =
        state.scheduler.view(&principal, &backend, &id, Some(elsewhere), query.shards).await?;
    let shown = view.classes.iter().map(|class| class.shards.len()).sum::<usize>();
    let with_shards = query.shards || shown <= MAX_SHARDS_SHOWN;
    Ok(Json(ExportBody::new(backend, view, with_shards)))
}

/// DELETE `/v1/export/{backend}/{id}`.
pub async fn cancel(
    State(state): State<ApiState>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let Path((backend, id)) = path?;
    let principal = principal(&state, &headers)?;
    let id = checked_id(&id)?;
    destination(&state, &backend, &Place::default())?;
    state.scheduler.cancel(&principal, &backend, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn principal(state: &ApiState, headers: &HeaderMap) -> Result<Principal, ApiError> {
    let credentials = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    Ok(state.authorizer.authenticate(credentials)?)
}

fn checked_id(id: &str) -> Result<ExportId, ApiError> {
    Ok(ExportId::parse(id)?)
}

fn destination(state: &ApiState, backend: &str, place: &Place) -> Result<Destination, ApiError> {
    let destination =
        state.backend.destination(backend, place.bucket.as_deref(), place.path.as_deref());
    Ok(destination?)
}

impl ExportBody {
    fn new(backend: String, view: ExportView, with_shards: bool) -> ExportBody {
        // Of the times as they are shown, whose parts of a millisecond are cut off.
        let started_ms = view.started_at.timestamp_millis();
        let took = view.completed_at.map(|at| at.timestamp_millis().saturating_sub(started_ms));
        let any = view.classes.iter().any(|class| !class.shards.is_empty());
        let shard_status = (with_shards && any).then(|| {
            let of_class = |class: &ClassView| {
                let shards = class.shards.iter().map(|shard| {
                    let body = ShardBody {
                        status: shard.status,
                        objects_exported: shard.objects_exported,
                        skip_reason: shard.skip_reason.clone(),
                        error: shard.error.clone(),
                    };
                    (shard.name.clone(), body)
                });
                (class.name.clone(), shards.collect())
            };
            view.classes.iter().filter(|class| !class.shards.is_empty()).map(of_class).collect()
        });
        let progress = view.classes.iter().filter_map(|class| {
            let progress = class.progress.clone()?;
            let body = ClassBody {
                status: progress.status,
                objects_exported: progress.objects_exported,
                objects_total: progress.objects_total,
                file_size_bytes: progress.file_size_bytes,
                error: progress.error,
            };
            Some((class.name.clone(), body))
        });
        ExportBody {
            id: view.id,
            backend,
            status: view.state.name(),
            started_at: rfc3339(view.started_at),
            completed_at: view.completed_at.map(rfc3339),
            took_in_ms: took,
            error: match view.state {
                ExportState::Ended(_) => view.error,
                _ => None,
            },
            classes: view.classes.iter().map(|class| class.name.clone()).collect(),
            progress: progress.collect(),
            partial: !view.missing.is_empty(),
            missing: view.missing,
            shard_status,
            path: view.path,
        }
    }
}

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
