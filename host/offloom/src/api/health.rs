//! What clients ask a server before they use it: whether it runs, which version it is, where its users
//! log in, and what it can do.
use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use offloom_authz::OidcDiscovery;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, RETRY_AFTER_SECONDS};
use super::openapi::{OpenErrors, OpenIdErrors};
use super::state::ApiState;

/// The version of Weaviate's API. Its clients refuse to export from servers older than 1.37.0.
const WEAVIATE_API_VERSION: &str = "1.37.0";

/// Says that the process runs
#[utoipa::path(
    get,
    path = "/v1/.well-known/live",
    operation_id = "isLive",
    tag = "server",
    responses((status = 200, description = "It runs"), OpenErrors),
)]
pub async fn live() -> StatusCode {
    StatusCode::OK
}

/// Says whether exports are accepted
#[utoipa::path(
    get,
    path = "/v1/.well-known/ready",
    operation_id = "isReady",
    tag = "server",
    responses(
        (status = 200, description = "Exports are accepted"),
        (
            status = 503,
            description = "The server stops",
            headers(("Retry-After" = u64, description = "Seconds until the next try")),
        ),
        OpenErrors,
    ),
)]
pub async fn ready(State(state): State<ApiState>) -> Response {
    if state.scheduler.is_open() {
        return StatusCode::OK.into_response();
    }
    let again = [(header::RETRY_AFTER, RETRY_AFTER_SECONDS.to_string())];
    (StatusCode::SERVICE_UNAVAILABLE, again).into_response()
}

/// What clients ask for first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Meta {
    /// Empty, as the server does not know how clients reach it.
    hostname: &'static str,
    /// The version of Weaviate's API that is spoken.
    #[schema(examples("1.37.0"))]
    version: &'static str,
    /// None.
    #[schema(value_type = Object)]
    modules: BTreeMap<&'static str, &'static str>,
    /// The server itself.
    offloom: Program,
}

/// The server itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct Program {
    /// Its version.
    version: &'static str,
    /// The kinds of stores that it exports to.
    backends: Vec<&'static str>,
}

/// Says which API is spoken
///
/// This is the first request of Weaviate's clients.
#[utoipa::path(
    get,
    path = "/v1/meta",
    operation_id = "getMeta",
    tag = "server",
    responses((status = 200, description = "The version of the API, and of the server", body = Meta), OpenErrors),
)]
pub async fn meta(State(state): State<ApiState>) -> Json<Meta> {
    Json(Meta {
        hostname: "",
        version: WEAVIATE_API_VERSION,
        modules: BTreeMap::new(),
        offloom: Program { version: env!("CARGO_PKG_VERSION"), backends: state.backend.known() },
    })
}

/// Where clients get tokens (`docs/format/rbac.md` 4.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(examples(json!({
    "href": "https://issuer.example/.well-known/openid-configuration", "clientId": "offloom", "scopes": ["openid"],
})))]
pub struct OpenIdConfiguration {
    /// The discovery document of the issuer.
    pub href: String,
    /// The id that clients give to the issuer.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_id: String,
    /// The scopes that clients ask for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
}

impl From<OidcDiscovery> for OpenIdConfiguration {
    fn from(OidcDiscovery { href, client_id, scopes }: OidcDiscovery) -> OpenIdConfiguration {
        OpenIdConfiguration { href, client_id, scopes }
    }
}

/// Says where tokens come from
#[utoipa::path(
    get,
    path = "/v1/.well-known/openid-configuration",
    operation_id = "getOpenIdConfiguration",
    tag = "server",
    responses(
        (status = 200, description = "Where tokens come from", body = OpenIdConfiguration),
        OpenIdErrors,
    ),
)]
pub async fn open_id(State(state): State<ApiState>) -> Result<Json<OpenIdConfiguration>, ApiError> {
    state.open_id.map(Json).ok_or(ApiError::NoOpenId)
}
