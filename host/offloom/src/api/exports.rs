//! `/v1/export/{backend}`: creates an export, lists them, shows the status of one, cancels it.
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use offloom_protocol::names::ExportId;
use offloom_protocol::store::Destination;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{JsonBody, JsonObject};
use super::caller::Caller;
use super::dry_run_model::DryRunBody;
use super::error::ApiError;
use super::list_model::{ListBody, ListQuery};
use super::model::{CreateBody, ExportBody, Place, StatusQuery};
use super::openapi::{CancelErrors, CreateErrors, ListErrors, StatusErrors};
use super::state::ApiState;
use super::watch::{self, Watched};
use crate::backend::{BackendError, backend_name};
use crate::guests::ordered;
use crate::scheduler::Ordered;

/// A status with more shards leaves them out, unless the query asks for them.
const MAX_SHARDS_SHOWN: usize = 1_000;

/// Lists exports
///
/// Those that this server was asked for and the caller may see, the newest first. The whole of one is in
/// its status.
#[utoipa::path(
    get,
    path = "/v1/export/{backend}",
    operation_id = "listExports",
    tag = "exports",
    params(("backend" = String, Path, description = "Kind of store", example = "s3"), ListQuery),
    responses((status = 200, description = "Some of them", body = ListBody), ListErrors),
    security((), ("bearer" = [])),
)]
pub async fn list(
    State(state): State<ApiState>,
    Caller(principal): Caller,
    backend: Result<Path<String>, PathRejection>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<ListBody>, ApiError> {
    let (Path(backend), Query(query)) = (backend?, query?);
    elsewhere(&state, &backend, &Place::default())?;
    let listed = query.into_listed()?;
    let page = state.scheduler.list(&principal, backend_name(&backend), listed).await?;
    Ok(Json(ListBody::new(page, &state.client_text)))
}

/// Creates an export
///
/// The answer comes when the id is taken. The export then runs by itself: its status says how far it is.
/// With `dryRun` the answer says what would be exported.
#[utoipa::path(
    post,
    path = "/v1/export/{backend}",
    operation_id = "createExport",
    tag = "exports",
    params(("backend" = String, Path, description = "Kind of store", example = "s3")),
    request_body = CreateBody,
    responses(
        (
            status = 200,
            description = "The id is taken, and the export waits for its turn",
            body = inline(Created),
            headers(("Location" = String, description = "The path of the status; of no dry run")),
        ),
        CreateErrors,
    ),
    security((), ("bearer" = [])),
)]
pub async fn create(
    State(state): State<ApiState>,
    Caller(principal): Caller,
    backend: Result<Path<String>, PathRejection>,
    JsonBody(body): JsonBody<CreateBody>,
) -> Result<Response, ApiError> {
    let Path(backend) = backend?;
    body.check_names()?;
    // Whether the caller may ask comes before every answer that shows something of this server.
    let scope = body.scope.into_scope(state.quarantine_raw)?;
    let dry_run = body.dry_run.unwrap_or_default();
    let admitted = if dry_run {
        state.scheduler.admit_dry_run(&principal, scope).await?
    } else {
        state.scheduler.admit(&principal, scope).await?
    };
    let id = match body.id.as_deref().unwrap_or_default() {
        // Its folder is never made.
        "" if dry_run => ExportId::from_time(Utc::now()),
        "" => return Err(ApiError::Invalid("export ID is required".to_owned())),
        id => checked_id(id)?,
    };
    if let Some(format) = body.file_format.as_ref().filter(|format| *format != "parquet") {
        let message = format!("file_format '{format}' is not one of: parquet");
        return Err(ApiError::Invalid(message));
    }
    let place = body.config.map(|config| config.0).unwrap_or_default();
    let destination = destination(&state, &backend, &place)?;
    let options = body.guest_options.unwrap_or_default().into_iter().collect();
    let exporter = state.exporter(body.exporter.as_deref(), admitted.scope()).await?;
    let transforms = body.transforms.unwrap_or_default().into_iter();
    let transforms = transforms.map(|JsonObject(transform)| transform.into_order()).collect();
    let transforms = ordered::transforms(&state.guests, transforms, admitted.scope()).await?;
    let file_format = body.file_format;
    let ordered = Ordered { id, destination, exporter, options, file_format, transforms };
    if dry_run {
        let estimate = state.scheduler.estimate(admitted, ordered).await?;
        return Ok(Json(Created::DryRun(estimate.into())).into_response());
    }
    let view = state.scheduler.start(admitted, ordered).await?;
    let location = format!("/v1/export/{}/{}", view.backend, view.id);
    let body = ExportBody::new(view, false, &state.client_text);
    let body = Json(Created::Export(Box::new(body)));
    Ok(([(header::LOCATION, location)], body).into_response())
}

/// The answer to POST.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Created {
    /// The id is taken.
    Export(Box<ExportBody>),
    /// It was a dry run.
    DryRun(DryRunBody),
}

/// Shows an export
///
/// `bucket` and `path` find an export that this server never heard of. With `watch` the answer is server-sent
/// events: `snapshot` with this body, then `change` with a JSON merge patch (RFC 7396) of it for each
/// change; a comment comes every 15 s. They end when the export does.
#[utoipa::path(
    get,
    path = "/v1/export/{backend}/{id}",
    operation_id = "getExport",
    tag = "exports",
    params(
        ("backend" = String, Path, description = "Kind of store", example = "s3"),
        ("id" = String, Path, description = "The id", pattern = "^[a-z0-9_-]+$", max_length = 128, example = "nightly-1"),
        StatusQuery,
    ),
    responses(
        (
            status = 200,
            description = "What is known of it",
            content((ExportBody = "application/json"), (watch::EventBody = "text/event-stream")),
        ),
        StatusErrors,
    ),
    security((), ("bearer" = [])),
)]
pub async fn status(
    State(state): State<ApiState>,
    Caller(principal): Caller,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<StatusQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let (Path((backend, id)), Query(query)) = (path?, query?);
    let watch = query.watch.is_on().then(|| state.watches.place()).transpose()?;
    let id = checked_id(&id)?;
    let place = Place { bucket: query.bucket, path: query.path };
    let elsewhere = elsewhere(&state, &backend, &place)?;
    let backend = backend_name(&backend);
    let lookup = state.scheduler.view(&principal, backend, &id, elsewhere.clone(), query.shards);
    let view = lookup.await?;
    let shown = view.classes.iter().flatten().map(|class| class.shards.len()).sum::<usize>();
    let with_shards = query.shards || shown <= MAX_SHARDS_SHOWN;
    if let Some(place) = watch {
        let ApiState { scheduler, client_text, .. } = state;
        let (backend, shards) = (backend.to_owned(), with_shards);
        let watched = Watched { scheduler, client_text, principal, backend, id, elsewhere, shards };
        return Ok(watch::events(watched, view, place));
    }
    Ok(Json(ExportBody::new(view, with_shards, &state.client_text)).into_response())
}

/// Cancels an export
///
/// What was begun is removed from the store; files that are complete stay.
#[utoipa::path(
    delete,
    path = "/v1/export/{backend}/{id}",
    operation_id = "cancelExport",
    tag = "exports",
    params(
        ("backend" = String, Path, description = "Kind of store", example = "s3"),
        ("id" = String, Path, description = "The id", pattern = "^[a-z0-9_-]+$", max_length = 128, example = "nightly-1"),
        Place,
    ),
    responses((status = 204, description = "It ended as CANCELED"), CancelErrors),
    security((), ("bearer" = [])),
)]
pub async fn cancel(
    State(state): State<ApiState>,
    Caller(principal): Caller,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<Place>, QueryRejection>,
) -> Result<StatusCode, ApiError> {
    let (Path((backend, id)), Query(place)) = (path?, query?);
    let id = checked_id(&id)?;
    let elsewhere = elsewhere(&state, &backend, &place)?;
    state.scheduler.cancel(&principal, backend_name(&backend), &id, elsewhere).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn checked_id(id: &str) -> Result<ExportId, ApiError> {
    Ok(ExportId::parse(id)?)
}

fn destination(
    state: &ApiState,
    backend: &str,
    place: &Place,
) -> Result<Destination, BackendError> {
    state.backend.destination(backend, place.bucket.as_deref(), place.path.as_deref())
}

/// Where an export is looked for that this server did not take; `None` where nothing says a bucket: this
/// server knows where its own exports are.
fn elsewhere(
    state: &ApiState,
    backend: &str,
    place: &Place,
) -> Result<Option<Destination>, ApiError> {
    match destination(state, backend, place) {
        Err(BackendError::BucketNeeded { .. }) => Ok(None),
        found => Ok(Some(found?)),
    }
}
