//! Accepts connections on the server's address, within limits of number and time.
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use clap::{ArgAction, Args};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use offloom_weaviate_disk::reserved_files;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::caller::ClientAddress;
use super::connections::{Answering, Connections, Place};
use super::error::ApiError;
use super::web_pages::AllowedHost;

/// Settings of the REST service.
#[derive(Debug, Clone, Args, Deserialize, Serialize)]
#[serde(default)]
pub struct ApiConfig {
    /// Where to listen [default: 127.0.0.1:8080]
    #[arg(long, env = "OFFLOOM_LISTEN", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Where to answer the gRPC health checks of Weaviate's clients [default: 127.0.0.1:50051]
    #[arg(long, env = "OFFLOOM_GRPC_LISTEN", value_name = "ADDRESS")]
    pub grpc_listen: Option<SocketAddr>,
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
            grpc_listen: None,
            allowed_hosts: Vec::new(),
            quarantine_raw: false,
        }
    }
}

/// How long a client may take to send the head of a request, from the accept or the last answer on.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take for the handshake of TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may read nothing of an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client of gRPC may send nothing, before its first byte or between its answers to pings.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a client of gRPC that sends nothing is pinged.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// Calls at once on one connection of gRPC.
const MAX_CALLS: u32 = 16;

/// The largest head of a call of gRPC.
const MAX_CALL_HEAD_BYTES: u32 = 16 * 1024;

/// How long the end of the server waits for requests that are being answered.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);

/// How long a request may take. Creating an export claims its id on the store, which may be slow.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// How long it may take to push a guest: it is sent, and it is compiled (`SandboxLimits::compile_wall`).
const PUSH_TIMEOUT: Duration = Duration::from_secs(900);

/// Answers a request that takes longer than `limit`.
pub async fn within_time(
    State(limit): State<Duration>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let limit = if request.method() == Method::PUT { limit.max(PUSH_TIMEOUT) } else { limit };
    tokio::time::timeout(limit, next.run(request))
        .await
        .map_err(|_elapsed| ApiError::Timeout(limit.as_secs()))
}

/// What is spoken on a port.
#[derive(Debug, Clone, Copy)]
pub enum Protocol {
    /// HTTP/1.1 and 1.0.
    Rest,
    /// HTTP/2 without TLS, from its first byte on.
    Grpc,
}

impl Protocol {
    fn builder(self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        match self {
            Protocol::Rest => {
                builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
                builder.http1_only()
            }
            Protocol::Grpc => {
                builder
                    .http2()
                    .timer(TokioTimer::new())
                    .keep_alive_interval(Some(PING_INTERVAL))
                    .max_concurrent_streams(MAX_CALLS)
                    .max_header_list_size(MAX_CALL_HEAD_BYTES);
                builder.http2_only()
            }
        }
    }

    /// Its name in the handshake of TLS.
    pub fn alpn(self) -> &'static [u8] {
        match self {
            Protocol::Rest => b"http/1.1",
            Protocol::Grpc => b"h2",
        }
    }

    /// How long a client may send nothing. Over HTTP/1 each head and body has a limit of its own; over
    /// HTTP/2 a client answers pings.
    fn silence(self) -> Option<Duration> {
        match self {
            Protocol::Rest => None,
            Protocol::Grpc => Some(SILENCE_TIMEOUT),
        }
    }
}

/// At most half of the files that exports leave to the rest of the program, which needs the other half.
pub fn connection_limit() -> usize {
    (reserved_files() / 2).max(1)
}

/// Serves until `stop` ends, then completes the requests that were accepted, as far as they end soon.
pub async fn serve(
    listener: TcpListener,
    protocol: Protocol,
    tls: Option<TlsAcceptor>,
    connections: Connections,
    router: Router,
    stop: impl Future<Output = ()>,
) {
    let server = protocol.builder();
    let accepted = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let (stream, client, place) = tokio::select! {
            accepted = accept(&listener, &connections) => accepted,
            () = &mut stop => break,
        };
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(WRITE_TIMEOUT));
        stream.set_read_timeout(protocol.silence());
        let (closing, router) = (place.closing(), router.clone());
        let service =
            service_fn(move |request| answer(router.clone(), request, client, place.answering()));
        let (server, watcher, tls) = (server.clone(), accepted.watcher(), tls.clone());
        tokio::spawn(async move {
            let Some(stream) = encrypted(stream, tls).await else { return };
            let connection = server.serve_connection(TokioIo::new(stream), service);
            let connection = watcher.watch(connection.into_owned());
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended");
                },
                () = closing => tracing::debug!("an idle connection makes room"),
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(SHUTDOWN_PATIENCE, accepted.shutdown()).await.is_err() {
        tracing::warn!("connections are closed whose requests were not answered yet");
    }
}

/// A connection, with or without TLS.
trait Stream: AsyncRead + AsyncWrite + Send {}

impl<S: AsyncRead + AsyncWrite + Send> Stream for S {}

/// The connection after the handshake; `None` if that failed.
async fn encrypted(
    stream: TimeoutStream<TcpStream>,
    tls: Option<TlsAcceptor>,
) -> Option<Pin<Box<dyn Stream>>> {
    let stream = Box::pin(stream);
    let Some(tls) = tls else { return Some(stream) };
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => Some(Box::pin(stream)),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a client does not speak TLS");
            None
        }
        Err(_elapsed) => None,
    }
}

/// The next connection for which there is a place. Others wait in the queue of the system.
async fn accept(
    listener: &TcpListener,
    connections: &Connections,
) -> (TcpStream, ClientAddress, Place) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                return (stream, ClientAddress(client.ip()), connections.place().await);
            }
            Err(error) => {
                // No descriptor is free: wait until other connections close.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// The answer of `router`. `answering` is kept until its body is sent.
async fn answer(
    router: Router,
    mut request: Request<Incoming>,
    client: ClientAddress,
    answering: Answering,
) -> Result<Response, Infallible> {
    request.extensions_mut().insert(client);
    let request = request.map(|body| answering.body(body));
    let response = router.oneshot(request).await?;
    Ok(response.map(|body| {
        let kept = body.map_frame(move |frame| {
            let _kept = &answering;
            frame
        });
        Body::new(kept)
    }))
}
