//! The open connections: at most so many at once. While all are taken, the one that has waited for its
//! client the longest makes room for a new one.
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// A client has at least this time for its next request, however many others wait.
const MIN_IDLE: Duration = Duration::from_secs(1);

/// How often it is looked whether a connection can make room.
const PAUSE: Duration = Duration::from_millis(50);

/// The connections of a server.
#[derive(Debug, Clone)]
pub struct Connections {
    places: Arc<Semaphore>,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    by_number: BTreeMap<u64, Connection>,
}

#[derive(Debug)]
struct Connection {
    /// Requests that are being answered, and do not wait for their bodies.
    requests: usize,
    /// When the last answer was sent, or the connection accepted; or since when a body is waited for.
    since: Instant,
    close: CancellationToken,
}

impl Connection {
    fn begins(&mut self) {
        self.requests = self.requests.saturating_add(1);
    }

    fn ends(&mut self) {
        self.requests = self.requests.saturating_sub(1);
        self.since = Instant::now();
    }
}

impl Connections {
    /// At most `limit` at once.
    pub fn new(limit: usize) -> Connections {
        Connections { places: Arc::new(Semaphore::new(limit)), open: Arc::default() }
    }

    /// The place of a connection that was accepted; waits until there is one.
    pub async fn place(&self) -> Place {
        loop {
            let places = Arc::clone(&self.places);
            match tokio::time::timeout(PAUSE, places.acquire_owned()).await {
                Ok(Ok(permit)) => return self.take(permit),
                // The semaphore is never closed.
                Ok(Err(_closed)) => std::future::pending().await,
                Err(_elapsed) => self.close_longest_idle(),
            }
        }
    }

    fn take(&self, permit: OwnedSemaphorePermit) -> Place {
        let close = CancellationToken::new();
        let connection = Connection { requests: 0, since: Instant::now(), close: close.clone() };
        let mut open = self.open();
        let number = open.next;
        open.next = number.wrapping_add(1);
        open.by_number.insert(number, connection);
        Place { connections: self.clone(), number, close, _permit: permit }
    }

    fn close_longest_idle(&self) {
        let open = self.open();
        let idle = open.by_number.values().filter(|connection| {
            connection.requests == 0
                && connection.since.elapsed() >= MIN_IDLE
                && !connection.close.is_cancelled()
        });
        if let Some(connection) = idle.min_by_key(|connection| connection.since) {
            connection.close.cancel();
        }
    }

    /// A poisoned lock still holds a valid list.
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection, which is free when this is dropped.
#[derive(Debug)]
pub struct Place {
    connections: Connections,
    number: u64,
    close: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// Says that a request is being answered until the guard is dropped. A connection with one does not
    /// make room for others.
    pub fn answering(&self) -> Answering {
        let (connections, number) = (self.connections.clone(), self.number);
        connections.change(number, Connection::begins);
        Answering { connections, number }
    }

    /// Completes when the connection is to make room.
    pub fn closing(&self) -> impl Future<Output = ()> + use<> {
        self.close.clone().cancelled_owned()
    }
}

impl Connections {
    fn change(&self, number: u64, change: impl FnOnce(&mut Connection)) {
        if let Some(connection) = self.open().by_number.get_mut(&number) {
            change(connection);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open().by_number.remove(&self.number);
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub struct Answering {
    connections: Connections,
    number: u64,
}

impl Answering {
    /// The body of the request. While it does not come, nothing is done for its client, and the connection
    /// may make room.
    pub fn body<B>(&self, body: B) -> Body
    where
        B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let (connections, number) = (self.connections.clone(), self.number);
        Body::new(AwaitedBody { body, connections, number, is_awaited: false })
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.connections.change(self.number, Connection::ends);
    }
}

/// A body that says while its next part is waited for.
struct AwaitedBody<B> {
    body: B,
    connections: Connections,
    number: u64,
    is_awaited: bool,
}

impl<B> AwaitedBody<B> {
    fn set_awaited(&mut self, is_awaited: bool) {
        if self.is_awaited != is_awaited {
            self.is_awaited = is_awaited;
            let change = if is_awaited { Connection::ends } else { Connection::begins };
            self.connections.change(self.number, change);
        }
    }
}

impl<B: hyper::body::Body<Data = Bytes> + Unpin> hyper::body::Body for AwaitedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        self.set_awaited(frame.is_pending());
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for AwaitedBody<B> {
    fn drop(&mut self) {
        self.set_awaited(false);
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[tokio::test]
    async fn one_whose_body_is_awaited_makes_room() {
        let connections = Connections::new(1);
        let slow = connections.place().await;
        let answering = slow.answering();
        let parts = futures::stream::once(async { Ok::<_, std::io::Error>("a") });
        let mut body = answering
            .body(Body::from_stream(parts.chain(futures::stream::pending())))
            .into_data_stream();
        assert_eq!(body.next().await.unwrap().unwrap(), "a");
        connections.change(slow.number, |connection| assert_eq!(connection.requests, 1));
        assert!(futures::poll!(body.next()).is_pending());
        connections.change(slow.number, |connection| assert_eq!(connection.requests, 0));
        let waiting = tokio::spawn({
            let connections = connections.clone();
            async move { connections.place().await }
        });
        slow.closing().await;
        drop(body);
        connections.change(slow.number, |connection| assert_eq!(connection.requests, 1));
        drop(answering);
        connections.change(slow.number, |connection| assert_eq!(connection.requests, 0));
        drop(slow);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn the_longest_idle_one_makes_room_and_one_that_is_answered_does_not() {
        let connections = Connections::new(3);
        let (busy, first, second) =
            (connections.place().await, connections.place().await, connections.place().await);
        let answering = busy.answering();
        drop(second.answering());
        let new = tokio::spawn({
            let connections = connections.clone();
            async move { connections.place().await }
        });
        first.closing().await;
        assert!(!second.close.is_cancelled() && !busy.close.is_cancelled());
        assert!(!new.is_finished());
        drop(first);
        let new = new.await.unwrap();

        // As soon as it has been answered it is idle like the others.
        drop((new, second));
        drop(answering);
        let _others = (connections.place().await, connections.place().await);
        let waiting = tokio::spawn(async move { connections.place().await });
        busy.closing().await;
        drop(busy);
        waiting.await.unwrap();
    }
}
