//! The REST service: its paths, and what every handler uses.
//!
//! Read in this order: `server` (connections), `model` (bodies of requests and answers, read by
//! `body`), `exports` and `health` (the handlers), `error` (every refusal), `client_text` (what
//! clients may read of a text).
mod body;
pub mod client_text;
mod error;
mod exports;
mod health;
mod model;
pub mod server;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use offloom_authz::Authorizer;

use crate::backend::BackendConfig;
use crate::scheduler::Scheduler;
use client_text::ClientText;
use error::{ApiError, write_errors};

/// What every handler uses.
#[derive(Clone)]
pub struct ApiState {
    /// Runs exports.
    pub scheduler: Scheduler,
    /// Where exports may be created.
    pub backend: Arc<BackendConfig>,
    /// Whether quarantined objects may keep their stored bytes.
    pub quarantine_raw: bool,
    /// Who may ask.
    pub authorizer: Arc<dyn Authorizer>,
    /// What clients may read of a text.
    pub client_text: ClientText,
}

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
        .layer(middleware::from_fn(server::within_time))
        .layer(middleware::from_fn_with_state(state.client_text.clone(), write_errors))
        .with_state(state)
}
