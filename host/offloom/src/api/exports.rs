//! `/v1/export/{backend}`: creates an export, shows its status, cancels it.
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use offloom_authz::Principal;
use offloom_export::Request;
use offloom_protocol::names::ExportId;
use offloom_protocol::store::Destination;

use super::body::JsonBody;
use super::error::ApiError;
use super::model::{CreateBody, ExportBody, Place, StatusQuery};
use super::state::ApiState;
use crate::backend::BackendError;

/// A status with more shards leaves them out, unless the query asks for them.
const MAX_SHARDS_SHOWN: usize = 1_000;

/// The authenticated principal of a request. As an extractor it comes before the body is read.
pub struct Caller(Principal);

impl FromRequestParts<ApiState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Caller, ApiError> {
        let credentials = parts.headers.get(header::AUTHORIZATION);
        let credentials = credentials.and_then(|value| value.to_str().ok());
        Ok(Caller(state.authorizer.authenticate(credentials)?))
    }
}

/// POST `/v1/export/{backend}`.
pub async fn create(
    State(state): State<ApiState>,
    Caller(principal): Caller,
    backend: Result<Path<String>, PathRejection>,
    JsonBody(body): JsonBody<CreateBody>,
) -> Result<Json<ExportBody>, ApiError> {
    let Path(backend) = backend?;
    body.check_names()?;
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
    let request = Request {
        id,
        destination,
        scope: body.scope.into_scope(state.quarantine_raw)?,
        options: body.guest_options.unwrap_or_default().into_iter().collect(),
    };
    let view = state.scheduler.start(&principal, request).await?;
    Ok(Json(ExportBody::new(view, false, &state.client_text)))
}

/// GET `/v1/export/{backend}/{id}`.
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
    let view = state.scheduler.view(&principal, &backend, &id, elsewhere, query.shards).await?;
    let shown = view.classes.iter().map(|class| class.shards.len()).sum::<usize>();
    let with_shards = query.shards || shown <= MAX_SHARDS_SHOWN;
    Ok(Json(ExportBody::new(view, with_shards, &state.client_text)))
}

/// DELETE `/v1/export/{backend}/{id}`.
pub async fn cancel(
    State(state): State<ApiState>,
    Caller(principal): Caller,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<Place>, QueryRejection>,
) -> Result<StatusCode, ApiError> {
    let (Path((backend, id)), Query(place)) = (path?, query?);
    let id = checked_id(&id)?;
    let elsewhere = elsewhere(&state, &backend, &place)?;
    state.scheduler.cancel(&principal, &backend, &id, elsewhere).await?;
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
