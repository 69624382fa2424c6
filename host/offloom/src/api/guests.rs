//! `/v1/guests`: shows, takes, activates and removes guests.
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use offloom_authz::Principal;
use offloom_export::{NamedExporter, StepReach, TransformStep, Trial};
use offloom_sandbox::{Guest, GuestOptions};

use super::body::{JsonBody, read_component};
use super::caller::Caller;
use super::error::ApiError;
use super::guest_model::{
    ActivateBody, GuestBody, GuestList, OwnerQuery, PushQuery, TriedBody, TryBody,
};
use super::openapi::{GuestChangeErrors, GuestErrors, GuestListErrors, PushErrors};
use super::state::ApiState;
use crate::built_in;
use crate::guests::name::{GuestName, GuestReference, Owner, parse_digest};
use crate::guests::{Pushed, Resolved};

/// The header with the signature of a component.
const SIGNATURE: &str = "minisign-signature";

/// Lists guests
///
/// Those of the program, those that were pushed for everybody, and those of the tenants that the caller may
/// read.
#[utoipa::path(
    get,
    path = "/v1/guests",
    operation_id = "listGuests",
    tag = "guests",
    responses((status = 200, description = "The guests, by name", body = GuestList), GuestListErrors),
    security((), ("bearer" = [])),
)]
pub async fn list(
    State(state): State<ApiState>,
    Caller(principal): Caller,
) -> Result<Json<GuestList>, ApiError> {
    let mut guests = Vec::new();
    for name in built_in::names() {
        guests.push(GuestBody::built_in(name));
    }
    for (owner, name, entry) in state.guests.entries().await? {
        if may_see(&state, &principal, &owner).await? {
            guests.push(GuestBody::stored(&owner, &name, &entry));
        }
    }
    Ok(Json(GuestList { guests }))
}

/// Shows a guest
///
/// With what it says of itself, what it imports, and what it makes of the columns of a class.
#[utoipa::path(
    get,
    path = "/v1/guests/{name}",
    operation_id = "getGuest",
    tag = "guests",
    params(
        ("name" = String, Path, description = "Its name", pattern = "^[a-z][a-z0-9-]{0,62}$", example = "redact"),
        OwnerQuery,
    ),
    responses((status = 200, description = "What is known of it", body = GuestBody), GuestErrors),
    security((), ("bearer" = [])),
)]
pub async fn show(
    State(state): State<ApiState>,
    Caller(principal): Caller,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<OwnerQuery>, QueryRejection>,
) -> Result<Json<GuestBody>, ApiError> {
    let (Path(name), Query(query)) = (path?, query?);
    let name: GuestName = name.parse()?;
    let owner = seen_owner(&state, &principal, query.tenant.as_deref(), &name).await?;
    let body = match built_in::component(name.as_str()) {
        Some(_) => GuestBody::built_in(name.as_str()),
        None => {
            let entry = state.guests.entry(owner.clone(), name.clone()).await?;
            GuestBody::stored(&owner, &name, &entry)
        }
    };
    let reference = GuestReference { owner, name, digest: None };
    let resolved = state.guests.resolve(reference).await?;
    let details = state.guests.details(&resolved).await?;
    Ok(Json(body.with_details(details)))
}

/// Takes a guest
///
/// Checks and compiles the component, and keeps it as a version of the name. The first version is active
/// at once, later ones when they are activated.
#[utoipa::path(
    put,
    path = "/v1/guests/{name}",
    operation_id = "pushGuest",
    tag = "guests",
    params(
        ("name" = String, Path, description = "Its name", pattern = "^[a-z][a-z0-9-]{0,62}$", example = "mine"),
        ("Minisign-Signature" = Option<String>, Header, description = "The text of the file `.minisig` in Base64, where the server asks for signatures"),
        PushQuery,
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The component, at most 64 MiB"),
    responses(
        (status = 200, description = "The server has this version already", body = GuestBody),
        (status = 201, description = "It is a new version", body = GuestBody),
        PushErrors,
    ),
    security((), ("bearer" = [])),
)]
pub async fn push(
    State(state): State<ApiState>,
    Caller(principal): Caller,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<PushQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<GuestBody>), ApiError> {
    let (Path(name), Query(query)) = (path?, query?);
    let name: GuestName = name.parse()?;
    let owner = changed_owner(&state, &principal, query.tenant.as_deref(), &name).await?;
    let component = read_component(body).await?;
    let signature = signature(&headers)?;
    let by = principal.to_string();
    let pushing =
        state.guests.push(owner.clone(), name.clone(), component, signature, by, query.activate);
    let Pushed { entry, digest, is_new } = pushing.await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let body = GuestBody::stored(&owner, &name, &entry).of_version(digest);
    Ok((status, Json(body)))
}

/// Activates a version of a guest
///
/// Requests from now on get it; exports that were created before stay on theirs.
#[utoipa::path(
    post,
    path = "/v1/guests/{name}/activate",
    operation_id = "activateGuest",
    tag = "guests",
    params(
        ("name" = String, Path, description = "Its name", pattern = "^[a-z][a-z0-9-]{0,62}$", example = "mine"),
        OwnerQuery,
    ),
    request_body = ActivateBody,
    responses((status = 200, description = "It is active", body = GuestBody), GuestChangeErrors),
    security((), ("bearer" = [])),
)]
pub async fn activate(
    State(state): State<ApiState>,
    Caller(principal): Caller,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<OwnerQuery>, QueryRejection>,
    JsonBody(body): JsonBody<ActivateBody>,
) -> Result<Json<GuestBody>, ApiError> {
    let (Path(name), Query(query)) = (path?, query?);
    let name: GuestName = name.parse()?;
    let owner = changed_owner(&state, &principal, query.tenant.as_deref(), &name).await?;
    let digest = parse_digest(&body.digest)?;
    let entry = state.guests.activate(owner.clone(), name.clone(), digest).await?;
    Ok(Json(GuestBody::stored(&owner, &name, &entry)))
}

/// Goes back to the version that was active before
#[utoipa::path(
    post,
    path = "/v1/guests/{name}/rollback",
    operation_id = "rollBackGuest",
    tag = "guests",
    params(
        ("name" = String, Path, description = "Its name", pattern = "^[a-z][a-z0-9-]{0,62}$", example = "mine"),
        OwnerQuery,
    ),
    responses((status = 200, description = "The other version is active", body = GuestBody), GuestChangeErrors),
    security((), ("bearer" = [])),
)]
pub async fn roll_back(
    State(state): State<ApiState>,
    Caller(principal): Caller,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<OwnerQuery>, QueryRejection>,
) -> Result<Json<GuestBody>, ApiError> {
    let (Path(name), Query(query)) = (path?, query?);
    let name: GuestName = name.parse()?;
    let owner = changed_owner(&state, &principal, query.tenant.as_deref(), &name).await?;
    let entry = state.guests.roll_back(owner.clone(), name.clone()).await?;
    Ok(Json(GuestBody::stored(&owner, &name, &entry)))
}

/// Tries a guest on the first rows of a class
///
/// Nothing is written. The rows pass the transforms that the operator requires before.
#[utoipa::path(
    post,
    path = "/v1/guests/{name}/dry-run",
    operation_id = "tryGuest",
    tag = "guests",
    params(
        ("name" = String, Path, description = "Its name", pattern = "^[a-z][a-z0-9-]{0,62}$", example = "redact"),
        OwnerQuery,
    ),
    request_body = TryBody,
    responses((status = 200, description = "What it did", body = TriedBody), GuestChangeErrors),
    security((), ("bearer" = [])),
)]
pub async fn dry_run(
    State(state): State<ApiState>,
    Caller(principal): Caller,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<OwnerQuery>, QueryRejection>,
    JsonBody(body): JsonBody<TryBody>,
) -> Result<Json<TriedBody>, ApiError> {
    let (Path(name), Query(query)) = (path?, query?);
    let name: GuestName = name.parse()?;
    let owner = seen_owner(&state, &principal, query.tenant.as_deref(), &name).await?;
    let (class, scope) = body.scope(&owner)?;
    let digest = body.digest.as_deref().map(parse_digest).transpose()?;
    let rows = body.rows.unwrap_or(10);
    let options: GuestOptions = body.options.unwrap_or_default().into_iter().collect();
    let resolved = state.guests.resolve(GuestReference { owner, name, digest }).await?;
    let (mut transforms, mut exporter) = (Vec::new(), None);
    let Resolved { name, digest, guest, lease } = resolved;
    match guest {
        Guest::Exporter(guest) => exporter = Some((NamedExporter { name, guest, lease }, options)),
        Guest::Transform(guest) => {
            let reach = StepReach::default();
            transforms.push(TransformStep { name, guest, options, reach, required: false, lease });
        }
    }
    let trial = Trial { class, scope, rows, transforms, exporter };
    let tried = state.scheduler.try_guests(&principal, trial).await?;
    Ok(Json(TriedBody::new(digest, tried)))
}

/// Removes a guest with all of its versions
#[utoipa::path(
    delete,
    path = "/v1/guests/{name}",
    operation_id = "deleteGuest",
    tag = "guests",
    params(
        ("name" = String, Path, description = "Its name", pattern = "^[a-z][a-z0-9-]{0,62}$", example = "mine"),
        OwnerQuery,
    ),
    responses((status = 204, description = "It is gone"), GuestChangeErrors),
    security((), ("bearer" = [])),
)]
pub async fn delete(
    State(state): State<ApiState>,
    Caller(principal): Caller,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<OwnerQuery>, QueryRejection>,
) -> Result<StatusCode, ApiError> {
    let (Path(name), Query(query)) = (path?, query?);
    let name: GuestName = name.parse()?;
    let owner = changed_owner(&state, &principal, query.tenant.as_deref(), &name).await?;
    state.guests.delete(owner, name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The owner that a query names, if the caller may see its guests. For others there is no such guest.
pub(super) async fn seen_owner(
    state: &ApiState,
    principal: &Principal,
    tenant: Option<&str>,
    name: &GuestName,
) -> Result<Owner, ApiError> {
    let owner = Owner::of_query(tenant)?;
    if may_see(state, principal, &owner).await? {
        return Ok(owner);
    }
    Err(ApiError::NoGuest(format!("there is no guest {name}")))
}

/// The same, if the caller may change them.
async fn changed_owner(
    state: &ApiState,
    principal: &Principal,
    tenant: Option<&str>,
    name: &GuestName,
) -> Result<Owner, ApiError> {
    let owner = seen_owner(state, principal, tenant, name).await?;
    if owner == Owner::Operator && !state.guest_admins.has(principal) {
        let message =
            "not allowed to change guests: the operator names those who may in guests.admins";
        return Err(ApiError::Forbidden(message.to_owned()));
    }
    Ok(owner)
}

async fn may_see(state: &ApiState, principal: &Principal, owner: &Owner) -> Result<bool, ApiError> {
    match owner {
        Owner::Operator => Ok(true),
        Owner::Tenant { class, tenant } => {
            Ok(state.scheduler.may_read_tenant(principal, class, tenant).await?)
        }
    }
}

fn signature(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(SIGNATURE) else { return Ok(None) };
    let text = STANDARD.decode(value.as_bytes()).ok().and_then(|text| String::from_utf8(text).ok());
    let wrong = || ApiError::Invalid(format!("the header {SIGNATURE} is no text in Base64"));
    text.map(Some).ok_or_else(wrong)
}
