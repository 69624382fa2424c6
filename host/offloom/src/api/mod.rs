//! The REST service: its paths; and the gRPC service beside it.
//!
//! Read in this order: `server` with `connections` and `tls` (how requests come in), `web_pages` (what browsers may
//! not send), `state` (what every handler uses), `caller` (who asks), `scope_model` and `model` with `schemas` (bodies of
//! requests and answers, read by `body`), `list_model`, `dry_run_model`, `exports` with `watch`, `guests` with `guest_model` and `health` (the handlers), `error` (every refusal),
//! `error_answer` (how it is written), `client_text` (what clients may read of a text), `page` (for people), `openapi`
//! (describes all of it), `grpc`.
mod body;
mod caller;
pub mod client_text;
mod connections;
mod dry_run_model;
mod error;
mod error_answer;
mod exports;
pub mod grpc;
mod guest_model;
mod guests;
mod health;
mod list_model;
mod model;
mod openapi;
mod page;
mod schemas;
mod scope_model;
pub mod server;
mod state;
#[cfg(test)]
mod tests;
pub mod tls;
mod watch;
pub mod web_pages;

use axum::Router;
use axum::http::header;
use axum::middleware;
use axum::routing::get;
pub use connections::Connections;
use error::ApiError;
use error_answer::write_errors;
pub use state::{ApiState, DefaultExporter, GuestAdmins};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
pub use watch::Watches;

/// All paths of the service.
///
/// # Errors
/// The description of the service cannot be written as JSON.
pub fn router(state: ApiState) -> Result<Router, serde_json::Error> {
    let (router, document) = described().split_for_parts();
    let document = axum::body::Bytes::from(openapi::text(&document)?);
    let json = [(header::CONTENT_TYPE, "application/json")];
    let router = router
        .route("/", get(page::page))
        .route("/v1/openapi.json", get(move || async { (json, document) }))
        .fallback(|| async { ApiError::NoSuchPath })
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .layer(middleware::from_fn_with_state(state.own_hosts.clone(), web_pages::refuse))
        .layer(middleware::from_fn_with_state(state.request_timeout, server::within_time))
        .layer(middleware::from_fn_with_state(state.client_text.clone(), write_errors))
        .with_state(state);
    Ok(router)
}

/// The paths, with what `openapi.json` says of them.
fn described() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(openapi::Document::openapi())
        .routes(routes!(exports::list, exports::create))
        .routes(routes!(exports::status, exports::cancel))
        .routes(routes!(guests::list))
        .routes(routes!(guests::show, guests::push, guests::delete))
        .routes(routes!(guests::activate))
        .routes(routes!(guests::roll_back))
        .routes(routes!(guests::dry_run))
        .routes(routes!(health::meta))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::open_id))
}
