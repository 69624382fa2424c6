//! A stand-in for Google Cloud Storage: a proxy that takes the XML API with Google's tokens, conditions
//! and headers, and asks SeaweedFS the same in S3's words.
//!
//! No emulator speaks the part of the API that `object_store` writes with. This tests what the client
//! sends and how it takes the answers; it does not test Google.

mod keys;
mod translate;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

use crate::ports::free_ports;
use crate::runtime::{runtime, wait};
use crate::seaweedfs::SeaweedFs;
pub use keys::GcsKeys;
use translate::Translator;

/// The proxy; buckets and objects are those of the SeaweedFS that it asks.
#[derive(Debug)]
pub struct Gcs {
    address: SocketAddr,
    listener: JoinHandle<()>,
}

impl Gcs {
    /// A proxy before the server at `upstream` (`http://127.0.0.1:PORT`).
    pub fn start(upstream: &str) -> Self {
        let [port] = free_ports();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let translator = Arc::new(Translator::new(upstream));
        let listener = wait(async move {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(1024)
        })
        .expect("the port of the proxy for Google's API");
        let listener = runtime().spawn(serve(listener, translator));
        Self { address, listener }
    }

    /// The proxy before [`SeaweedFs::shared`].
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Gcs> = OnceLock::new();
        SHARED.get_or_init(|| Gcs::start(SeaweedFs::shared().endpoint()))
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The `GOOGLE_*` variables that a program needs to reach this proxy with `keys`.
    pub fn environment(&self, keys: &GcsKeys) -> Vec<(String, String)> {
        keys.environment(&self.endpoint())
    }
}

impl Drop for Gcs {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn serve(listener: TcpListener, translator: Arc<Translator>) {
    while let Ok((stream, _)) = listener.accept().await {
        let translator = Arc::clone(&translator);
        tokio::spawn(async move {
            let service = service_fn(|request| translator.answer(request));
            // Its error is a client that went away.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
