//! The REST service: where it listens, its paths, and its limits on requests.
pub mod body;
pub mod error;
mod exports;
mod health;
mod scope;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

use crate::authz::Authorizer;
use crate::backend::BackendConfig;
use crate::scheduler::Scheduler;
use error::ApiError;

/// Where requests are taken.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// The address.
    pub listen: SocketAddr,
}

/// How long a client may take to send the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a request may take. Creating an export claims its id on the store, which may be slow.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// What every handler knows.
#[derive(Clone)]
pub struct ApiState {
    /// Runs exports.
    pub scheduler: Scheduler,
    /// Where they may go.
    pub backend: Arc<BackendConfig>,
    /// Whether quarantined objects may keep their stored bytes.
    pub quarantine_raw: bool,
    /// Who may ask.
    pub authorizer: Arc<dyn Authorizer>,
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
        .layer(middleware::from_fn(within_time))
        .with_state(state)
}

async fn within_time(request: Request, next: Next) -> Result<Response, ApiError> {
    tokio::time::timeout(REQUEST_TIMEOUT, next.run(request))
        .await
        .map_err(|_elapsed| ApiError::Timeout(REQUEST_TIMEOUT.as_secs()))
}

/// Serves until `stop` ends, then lets requests that were taken end.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let mut server = Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    server.http2().timer(TokioTimer::new());
    let connections = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _client)) => stream,
                Err(error) => {
                    // Out of descriptors: those in use come back.
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
    }
    drop(listener);
    connections.shutdown().await;
}
