//! gRPC, on a port of its own: the health check that Weaviate's clients make before they connect.
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, bail};
use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use tokio::net::TcpListener;
use tonic::codegen::BoxStream;
use tonic::{Status, async_trait};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::body::BODY_TIMEOUT;
use crate::scheduler::Scheduler;
use crate::terminal::errln;

/// Where Weaviate's clients look for gRPC if they are not given a port.
pub fn default_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 50051))
}

/// What a check may ask for: the server as a whole, by no name, which is what Weaviate's clients do, or by
/// the name under which Weaviate lists itself.
const SERVICES: [&str; 2] = ["", "weaviate"];

/// The largest message that is read: one name.
const MAX_MESSAGE_BYTES: usize = 4 * 1024;

/// Listens where the setting says. Without a setting it listens on the default address, and the server does
/// without gRPC if something else has that.
///
/// # Errors
/// The address cannot be had, or other machines reach it and there are no users.
pub async fn listen(
    setting: Option<SocketAddr>,
    has_users: bool,
) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = setting else {
        let address = default_address();
        let listener = TcpListener::bind(address).await.inspect_err(|error| {
            errln!(
                "warning: there are no gRPC health checks, which Weaviate's clients make: cannot listen on \
                 {address}: {error}; give another address with --grpc-listen"
            );
        });
        return Ok(listener.ok());
    };
    if !has_users && !address.ip().is_loopback() {
        bail!(
            "{address} (--grpc-listen) can be reached by other machines, and there are no users: listen on \
             127.0.0.1"
        );
    }
    let listener = TcpListener::bind(address).await;
    listener.map(Some).with_context(|| format!("cannot listen on {address} (--grpc-listen)"))
}

/// All methods of the service.
pub fn router(scheduler: Scheduler) -> Router {
    let health = HealthServer::new(ServerHealth { scheduler });
    Router::new()
        .route_service(
            "/grpc.health.v1.Health/{method}",
            health.max_decoding_message_size(MAX_MESSAGE_BYTES),
        )
        .fallback(|| async { refused(Status::unimplemented("there is no such method")) })
        .layer(middleware::from_fn(within_time))
}

/// Answers a call whose message does not come.
async fn within_time(request: Request, next: Next) -> Response {
    let answered = tokio::time::timeout(BODY_TIMEOUT, next.run(request)).await;
    answered.unwrap_or_else(|_elapsed| refused(Status::deadline_exceeded("the message is late")))
}

fn refused(status: Status) -> Response {
    status.into_http()
}

/// The health of the server, which is that of `/v1/.well-known/ready`.
struct ServerHealth {
    scheduler: Scheduler,
}

#[async_trait]
impl Health for ServerHealth {
    async fn check(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !SERVICES.contains(&service.as_str()) {
            return Err(Status::not_found("there is no such service"));
        }
        let status = if self.scheduler.is_open() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        Ok(tonic::Response::new(HealthCheckResponse { status: status.into() }))
    }

    type WatchStream = BoxStream<HealthCheckResponse>;

    /// A watch would keep its connection, and the end of the server, waiting. Clients that are refused one
    /// take the server for healthy or check.
    async fn watch(
        &self,
        _: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<BoxStream<HealthCheckResponse>>, Status> {
        Err(Status::unimplemented("there is no watch: ask with Check"))
    }
}
