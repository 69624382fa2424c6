//! Accepts connections on the server's address, within limits of time.
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use clap::{ArgAction, Args};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use tokio::net::TcpListener;

use super::error::ApiError;
use super::web_pages::AllowedHost;

/// Settings of the REST service.
#[derive(Debug, Clone, Args, Deserialize)]
#[serde(default)]
pub struct ApiConfig {
    /// Where to listen [default: 127.0.0.1:8080]
    #[arg(long, env = "OFFLOOM_LISTEN", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Hosts that clients may ask for where a proxy or a forwarded port leads here, besides loopback
    /// names with the server's port: host or host:port
    #[arg(long, env = "OFFLOOM_ALLOWED_HOSTS", value_name = "A,B", value_delimiter = ',')]
    pub allowed_hosts: Vec<AllowedHost>,
    /// Let quarantined objects keep their stored bytes, where no filter or tenant limit is active
    #[arg(long, env = "OFFLOOM_QUARANTINE_RAW", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub quarantine_raw: bool,
}

impl Default for ApiConfig {
    fn default() -> ApiConfig {
        ApiConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            allowed_hosts: Vec::new(),
            quarantine_raw: false,
        }
    }
}

/// How long a client may take to send the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a request may take. Creating an export claims its id on the store, which may be slow.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// Answers a request that takes longer than `limit`.
pub async fn within_time(
    State(limit): State<Duration>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    tokio::time::timeout(limit, next.run(request))
        .await
        .map_err(|_elapsed| ApiError::Timeout(limit.as_secs()))
}

/// Serves until `stop` ends, then completes the requests that were accepted.
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
                    // No descriptor is free: wait until other connections close.
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
