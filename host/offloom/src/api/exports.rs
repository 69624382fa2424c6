//! `/v1/export/{backend}`: creates an export, shows its status, cancels it.
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, StatusCode, header};
use offloom_protocol::names::ExportId;
use offloom_protocol::store::Destination;

use super::body::{JsonBody, JsonObject};
use super::caller::Caller;
use super::error::ApiError;
use super::model::{CreateBody, ExportBody, Place, StatusQuery};
use super::openapi::{CancelErrors, CreateErrors, StatusErrors};
use super::state::ApiState;
use crate::backend::{BackendError, backend_name};
use crate::guests::ordered;
use crate::scheduler::Ordered;

/// A status with more shards leaves them out, unless the query asks for them.
const MAX_SHARDS_SHOWN: usize = 1_000;

/// Creates an export
///
/// The answer comes when the id is taken. The export then runs by itself: its status says how far it is.
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
            body = ExportBody,
            headers(("Location" = String, description = "The path of the status")),
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
) -> Result<([(HeaderName, String); 1], Json<ExportBody>), ApiError> {
    let Path(backend) = backend?;
    body.check_names()?;
    // Whether the caller may ask comes before every answer that shows something of this server.
    let scope = body.scope.into_scope(state.quarantine_raw)?;
    let admitted = state.scheduler.admit(&principal, scope).await?;
    let id = body.id.as_deref().unwrap_or_default();
    if id.is_empty() {
        return Err(ApiError::Invalid("export ID is required".to_owned()));
    }
    let id = checked_id(id)?;
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
    let view = state.scheduler.start(admitted, ordered).await?;
    let location = format!("/v1/export/{}/{}", view.backend, view.id);
    let body = ExportBody::new(view, false, &state.client_text);
    Ok(([(header::LOCATION, location)], Json(body)))
}

/// Shows an export
///
/// `bucket` and `path` find an export that this server never heard of.
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
    responses((status = 200, description = "What is known of it", body = ExportBody), StatusErrors),
    security((), ("bearer" = [])),
)]
pub async fn status(
    State(state): State<ApiState>,
    Caller(principal): Caller,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<StatusQuery>, QueryRejection>,
) -> Result<Json<ExportBody>, ApiError> {
    let (Path((backend, id)), Query(query)) = (path?, query?);
    let id = checked_id(&id)?;
    let place = Place { bucket: query.bucket, path: query.path };
    let elsewhere = elsewhere(&state, &backend, &place)?;
    let backend = backend_name(&backend);
    let view = state.scheduler.view(&principal, backend, &id, elsewhere, query.shards).await?;
    let shown = view.classes.iter().flatten().map(|class| class.shards.len()).sum::<usize>();
    let with_shards = query.shards || shown <= MAX_SHARDS_SHOWN;
    Ok(Json(ExportBody::new(view, with_shards, &state.client_text)))
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
