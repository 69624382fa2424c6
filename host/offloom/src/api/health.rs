//! Whether the server runs and accepts requests, and which version it is.
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::state::ApiState;

/// The version of Weaviate's API. Its clients refuse to export from servers older than 1.37.0.
const WEAVIATE_API_VERSION: &str = "1.37.0";

/// The process answers.
pub async fn live() -> StatusCode {
    StatusCode::OK
}

/// The server accepts requests.
pub async fn ready(State(state): State<ApiState>) -> StatusCode {
    if state.scheduler.is_open() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// The first request of Weaviate's clients.
pub async fn meta() -> Json<Value> {
    Json(json!({
        "hostname": "",
        "version": WEAVIATE_API_VERSION,
        "modules": {},
        "offloom": { "version": env!("CARGO_PKG_VERSION") },
    }))
}
