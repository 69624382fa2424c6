//! Serves the metrics, on a port of their own.
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

/// The form of `prometheus_client`.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Listens where the setting says; nowhere without one.
///
/// # Errors
/// The address cannot be had.
pub async fn listen(setting: Option<SocketAddr>) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = setting else { return Ok(None) };
    let listener = TcpListener::bind(address).await;
    listener.map(Some).with_context(|| format!("cannot listen on {address} (--metrics-listen)"))
}

/// `/metrics`.
pub fn router(registry: Registry) -> Router {
    let registry = Arc::new(registry);
    let answer = async move || {
        let registry = Arc::clone(&registry);
        // It reads files of the system.
        let written = tokio::task::spawn_blocking(move || {
            let mut body = String::new();
            text::encode(&mut body, &registry).map(|()| body)
        });
        match written.await {
            Ok(Ok(body)) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response(),
            _ => StatusCode::INTERNAL_SERVER_ERROR.into_response() as Response,
        }
    };
    Router::new().route("/metrics", get(answer))
}
