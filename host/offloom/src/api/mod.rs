//! The REST service: its paths.
//!
//! Read in this order: `server` with `connections` (how requests come in), `web_pages` (what browsers may
//! not send), `state` (what every handler uses), `caller`
//! (who asks), `model` (bodies of
//! requests and answers, read by `body`), `exports` and `health` (the handlers), `error` (every
//! refusal), `client_text` (what clients may read of a text).
mod body;
mod caller;
pub mod client_text;
mod connections;
mod error;
mod exports;
mod health;
mod model;
pub mod server;
mod state;
#[cfg(test)]
mod tests;
pub mod web_pages;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use error::{ApiError, write_errors};
pub use state::ApiState;

/// All paths of the service.
pub fn router(state: ApiState) -> Router {
    Router::new()
        .route("/v1/export/{backend}", post(exports::create))
        .route("/v1/export/{backend}/{id}", get(exports::status).delete(exports::cancel))
        .route("/v1/meta", get(health::meta))
        .route("/v1/.well-known/live", get(health::live))
        .route("/v1/.well-known/ready", get(health::ready))
        .fallback(|| async { ApiError::NoSuchPath })
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .layer(middleware::from_fn_with_state(state.own_hosts.clone(), web_pages::refuse))
        .layer(middleware::from_fn_with_state(state.request_timeout, server::within_time))
        .layer(middleware::from_fn_with_state(state.client_text.clone(), write_errors))
        .with_state(state)
}
