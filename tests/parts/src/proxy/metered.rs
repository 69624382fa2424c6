//! A body on its way through the proxy: at the configured pace, and cut or changed at one byte.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Body, Frame, Incoming};

use super::control::Control;

/// A body of the proxy; an error in it cuts the connection that it goes to.
pub type ProxyBody = BoxBody<Bytes, io::Error>;

const BEFORE_CUT: Duration = Duration::from_millis(10);

/// What happens to one byte of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoil {
    /// The connection is cut before it.
    Cut,
    /// One of its bits is flipped.
    Flip,
}

struct Passing {
    body: Incoming,
    control: Arc<Control>,
    /// Received and not yet passed on.
    waiting: Bytes,
    /// What is to happen, and the bytes until then.
    spoil: Option<(Spoil, u64)>,
}

/// The byte of a body at so many thousandths of it, the first if its length is not known; none of an
/// empty one.
pub fn byte_at(body: &Incoming, per_mille: u16) -> Option<u64> {
    match body.size_hint().exact() {
        Some(0) => None,
        Some(length) => Some(length * u64::from(per_mille) / 1_000),
        None => Some(0),
    }
}

/// `body`, at the pace of `control`; with `spoil` that happens after so many bytes, unless it ends
/// before.
pub fn metered(body: Incoming, control: Arc<Control>, spoil: Option<(Spoil, u64)>) -> ProxyBody {
    // Said to be empty, or hyper would announce a body of unknown length.
    if body.is_end_stream() {
        return Empty::new().map_err(|never| match never {}).boxed();
    }
    let passing = Passing { body, control, waiting: Bytes::new(), spoil };
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
        if let Some((spoil, 0)) = self.spoil {
            self.control.count_spoiled();
            self.spoil = None;
            match spoil {
                Spoil::Cut => {
                    // What comes before the cut is sent meanwhile.
                    tokio::time::sleep(BEFORE_CUT).await;
                    return Err(io::Error::other("cut, as the test asked"));
                }
                Spoil::Flip => self.flip_first(),
            }
        }
        let (allowed, when) = self.control.allow(self.waiting.len());
        if let Some(when) = when {
            tokio::time::sleep_until(when).await;
        }
        let allowed = match &mut self.spoil {
            None => allowed,
            Some((_, left)) => {
                let allowed = allowed.min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= allowed as u64;
                allowed
            }
        };
        Ok(Some(self.waiting.split_to(allowed)))
    }

    fn flip_first(&mut self) {
        let mut bytes = self.waiting.to_vec();
        bytes[0] ^= 1;
        self.waiting = bytes.into();
    }
}
