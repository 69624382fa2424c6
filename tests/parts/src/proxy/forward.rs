//! One connection of a client: its requests go to the server, or to their fault.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::control::Control;
use super::fault::Fault;
use super::metered::{ProxyBody, Spoil, byte_at, metered};
use super::refusal::Language;

/// Serves a client's connection until one of both ends it.
pub async fn serve(stream: TcpStream, server: SocketAddr, control: Arc<Control>) {
    let service = service_fn(|request| answer(request, server, Arc::clone(&control)));
    // Its error is the fault itself, or a client that went away.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// What the client hears; on an error its connection is cut.
async fn answer(
    request: Request<Incoming>,
    server: SocketAddr,
    control: Arc<Control>,
) -> io::Result<Response<ProxyBody>> {
    let (delay, fault) = control.arrived(request.method(), request.uri(), request.headers());
    tokio::time::sleep(delay).await;
    let (head, body) = request.into_parts();
    let spoil = match fault {
        Some(Fault::CutAfter { body_bytes }) => Some((Spoil::Cut, body_bytes)),
        Some(Fault::FlipRequest { per_mille }) => {
            byte_at(&body, per_mille).map(|at| (Spoil::Flip, at))
        }
        _ => None,
    };
    let body = metered(body, Arc::clone(&control), spoil);
    if let Some(Fault::Answer { status, code }) = fault {
        // Taken in whole, as S3 does: an early answer would read as a broken pipe.
        body.collect().await?;
        control.count_spoiled();
        return Ok(Language::of(&head.headers).refusal(status, code));
    }
    let answer = pass_on(Request::from_parts(head, body), server).await?;
    if fault == Some(Fault::DropReply) {
        answer.into_body().collect().await.map_err(io::Error::other)?;
        control.count_spoiled();
        return Err(io::Error::other("reply dropped, as the test asked"));
    }
    let spoil = match fault {
        Some(Fault::CutAnswer { per_mille }) => {
            byte_at(answer.body(), per_mille).map(|at| (Spoil::Cut, at))
        }
        Some(Fault::FlipAnswer { per_mille }) => {
            byte_at(answer.body(), per_mille).map(|at| (Spoil::Flip, at))
        }
        _ => None,
    };
    Ok(answer.map(|body| metered(body, control, spoil)))
}

async fn pass_on(
    request: Request<ProxyBody>,
    server: SocketAddr,
) -> io::Result<Response<Incoming>> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    // It ends with the answer's body, or when the client's connection is cut.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(io::Error::other)
}
