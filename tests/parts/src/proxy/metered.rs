//! A body on its way through the proxy: at the configured pace, and cut at the configured byte.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Body, Frame, Incoming};

use super::control::Control;

/// A body of the proxy; an error in it cuts the connection that it goes to.
pub type ProxyBody = BoxBody<Bytes, io::Error>;

struct Passing {
    body: Incoming,
    control: Arc<Control>,
    /// Received and not yet passed on.
    waiting: Bytes,
    /// Bytes until the cut.
    left: Option<u64>,
}

/// `body`, at the pace of `control`; with `cut_after` it fails once that many bytes have passed,
/// unless it ends before.
pub fn metered(body: Incoming, control: Arc<Control>, cut_after: Option<u64>) -> ProxyBody {
    // Said to be empty, or hyper would announce a body of unknown length.
    if body.is_end_stream() {
        return Empty::new().map_err(|never| match never {}).boxed();
    }
    let passing = Passing { body, control, waiting: Bytes::new(), left: cut_after };
    let frames = stream::try_unfold(passing, |mut passing| async move {
        Ok(passing.next().await?.map(|bytes| (Frame::data(bytes), passing)))
    });
    BodyExt::boxed(StreamBody::new(frames))
}

impl Passing {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while self.waiting.is_empty() {
            match self.body.frame().await {
                None => return Ok(None),
                // Trailers are not used by S3.
                Some(frame) => {
                    let frame = frame.map_err(io::Error::other)?;
                    self.waiting = frame.into_data().unwrap_or_default();
                }
            }
        }
        if self.left == Some(0) {
            self.control.count_spoiled();
            return Err(io::Error::other("cut, as the test asked"));
        }
        let (allowed, when) = self.control.allow(self.waiting.len());
        if let Some(when) = when {
            tokio::time::sleep_until(when).await;
        }
        let allowed = match &mut self.left {
            None => allowed,
            Some(left) => {
                let allowed = allowed.min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= allowed as u64;
                allowed
            }
        };
        Ok(Some(self.waiting.split_to(allowed)))
    }
}
