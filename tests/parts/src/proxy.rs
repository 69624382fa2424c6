//! An HTTP proxy on 127.0.0.1 that passes requests on to one server, or spoils them on request.

mod control;
mod fault;
mod forward;
mod metered;
mod refusal;
mod script;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::ports::free_ports;
use crate::runtime::{runtime, wait};
use control::Control;
pub use fault::{Fault, Requests};
pub use script::Script;

/// Small, so that a throttled client is held back by the proxy's pace and not by megabytes that
/// the kernel takes in.
const RECEIVE_BUFFER_BYTES: u32 = 64 << 10;

/// A proxy before `upstream`; all its settings may change while requests run.
///
/// Requests and answers pass unchanged, the Host header too, so that signatures hold: a client
/// signs for the proxy's address and the server checks what it was sent. Every request goes to the
/// server on a connection of its own.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    control: Arc<Control>,
    /// What is asked for; `listening` follows.
    accept: watch::Sender<bool>,
    listening: watch::Receiver<bool>,
    listener: JoinHandle<()>,
}

impl Proxy {
    /// A proxy before `upstream` (`http://127.0.0.1:PORT`) that passes everything.
    pub fn start(upstream: &str) -> Self {
        let server: SocketAddr = upstream
            .strip_prefix("http://")
            .and_then(|address| address.trim_end_matches('/').parse().ok())
            .unwrap_or_else(|| panic!("{upstream} is not http://IP:PORT"));
        let [port] = free_ports();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let control = Arc::new(Control::default());
        let (accept, accepting) = watch::channel(true);
        let (tell, listening) = watch::channel(false);
        let listener =
            runtime().spawn(listen(address, server, Arc::clone(&control), accepting, tell));
        let proxy = Self { address, control, accept, listening, listener };
        proxy.wait_until_listening(true);
        proxy
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Forgets every fault, script, throttle and delay, and accepts connections again.
    pub fn pass(&self) {
        self.control.clear();
        self.set_accept(true);
    }

    /// Cuts every connection and refuses new ones, as when nobody listens.
    pub fn refuse_connections(&self) {
        self.set_accept(false);
    }

    /// Lets at most this many body bytes a second through, of all requests and answers together.
    pub fn throttle(&self, bytes_per_second: u64) {
        self.control.throttle(bytes_per_second);
    }

    /// Waits this long before each request is passed on.
    pub fn delay(&self, delay: Duration) {
        self.control.delay(delay);
    }

    /// Spoils the requests that match; where several faults match one, the first set happens.
    pub fn fault(&self, requests: Requests, fault: Fault) {
        self.control.fault(requests, fault);
    }

    /// Spoils requests at random from now on, beside the faults that are set.
    pub fn script(&self, script: Script) {
        self.control.script(script);
    }

    /// What the script has drawn so far, oldest first: a request and its fault in one text. Nothing after
    /// [`Proxy::pass`].
    pub fn scripted(&self) -> Vec<String> {
        self.control.scripted()
    }

    /// How many requests of this method arrived, spoiled ones too.
    pub fn count(&self, method: &str) -> usize {
        self.control.seen().iter().filter(|line| line.split(' ').next() == Some(method)).count()
    }

    /// Every request that arrived, oldest first, as `PUT /bucket/key?query`.
    pub fn seen(&self) -> Vec<String> {
        self.control.seen()
    }

    /// Those of them that came without this header.
    pub fn lacking(&self, header: &str) -> Vec<String> {
        self.control.lacking(header)
    }

    /// How many requests were spoiled, so that a test knows that its fault took place.
    pub fn spoiled(&self) -> usize {
        self.control.spoiled()
    }

    fn set_accept(&self, accept: bool) {
        self.accept.send_replace(accept);
        self.wait_until_listening(accept);
    }

    fn wait_until_listening(&self, expected: bool) {
        let mut listening = self.listening.clone();
        wait(async move { listening.wait_for(|now| *now == expected).await.map(drop) })
            .expect("the proxy listens");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// Accepts and serves connections while `accepting` says so; all of them end when it says no more.
async fn listen(
    address: SocketAddr,
    server: SocketAddr,
    control: Arc<Control>,
    mut accepting: watch::Receiver<bool>,
    listening: watch::Sender<bool>,
) {
    loop {
        // Bound without listening: connections are refused and nobody else gets the port.
        let socket = bound(address);
        listening.send_replace(false);
        if accepting.wait_for(|accept| *accept).await.is_err() {
            return;
        }
        let listener = socket.listen(1024).expect("the proxy's port");
        listening.send_replace(true);
        tokio::select! {
            _ = accepting.wait_for(|accept| !*accept) => {}
            () = serve(listener, server, &control) => {}
        }
    }
}

/// Serves connections until it is dropped, which cuts them.
async fn serve(listener: TcpListener, server: SocketAddr, control: &Arc<Control>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(forward::serve(stream, server, Arc::clone(control)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("a reusable address");
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES).expect("a small buffer");
    socket.bind(address).expect("the proxy's port");
    socket
}
