//! Whether the server lives and takes requests, and which version it is.
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::ApiState;

/// The API of Weaviate that Weaviate's clients find here: they want 1.37.0 at least for exports.
const WEAVIATE_API_VERSION: &str = "1.37.0";

/// The process answers.
pub async fn live() -> StatusCode {
    StatusCode::OK
}

/// Requests are taken.
pub async fn ready(State(state): State<ApiState>) -> StatusCode {
    if state.scheduler.is_open() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// What Weaviate's clients ask first.
pub async fn meta() -> Json<Value> {
    Json(json!({
        "hostname": "",
        "version": WEAVIATE_API_VERSION,
        "modules": {},
        "offloom": { "version": env!("CARGO_PKG_VERSION") },
    }))
}
