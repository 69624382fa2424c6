//! What the proxy can do to a request, and to which ones.

use hyper::{Method, Uri};

/// What happens to a request instead of being passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The connections to client and server are cut after this many bytes of the request's body;
    /// a shorter body passes.
    CutAfter {
        /// Bytes of the body that the server still gets.
        body_bytes: u64,
    },
    /// The server gets the whole request and answers; the client's connection is cut instead.
    DropReply,
    /// The server never hears of it; the client gets this status with an error body in the form of the
    /// cloud that it speaks to.
    Answer {
        /// HTTP status; with 200 it is the error inside a success that S3 knows.
        status: u16,
        /// The cloud's error code.
        code: &'static str,
    },
    /// The server answers, and the client's connection is cut in its body; an empty one passes.
    CutAnswer {
        /// How much of the body the client still gets.
        per_mille: u16,
    },
    /// One bit of the request's body changes on its way to the server; an empty one passes.
    FlipRequest {
        /// Where in the body.
        per_mille: u16,
    },
    /// One bit of the answer's body changes on its way to the client; an empty one passes.
    FlipAnswer {
        /// Where in the body.
        per_mille: u16,
    },
}

impl Fault {
    /// S3 asks for fewer requests.
    pub const SLOW_DOWN: Self = Self::Answer { status: 503, code: "SlowDown" };
    /// The same inside a success, as completing a multipart upload may answer.
    pub const SLOW_DOWN_INSIDE_OK: Self = Self::Answer { status: 200, code: "SlowDown" };
    /// The credentials were good until now.
    pub const EXPIRED_TOKEN: Self = Self::Answer { status: 400, code: "ExpiredToken" };
}

/// Which requests a fault happens to.
#[derive(Debug, Clone)]
pub struct Requests {
    method: Option<Method>,
    containing: String,
    /// Matching requests that still pass before the fault.
    skip: usize,
    /// Matching requests that the fault still happens to.
    times: usize,
}

impl Requests {
    /// Every request.
    pub fn all() -> Self {
        Self { method: None, containing: String::new(), skip: 0, times: usize::MAX }
    }

    /// Every request of a method.
    pub fn method(method: &str) -> Self {
        let method = method.parse().unwrap_or_else(|_| panic!("{method} is not a method"));
        Self { method: Some(method), ..Self::all() }
    }

    /// Of these, the ones whose path and query contain `text`, as it was sent (escaped).
    pub fn containing(mut self, text: &str) -> Self {
        text.clone_into(&mut self.containing);
        self
    }

    /// Of these, only the next `times`.
    pub fn first(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Of these, only the `n`th from now, counted from 1.
    pub fn nth(mut self, n: usize) -> Self {
        self.skip = n.checked_sub(1).expect("the first request is number 1");
        self.times = 1;
        self
    }

    /// Whether the fault happens to this request; each that matches is counted.
    pub(super) fn take(&mut self, method: &Method, uri: &Uri) -> bool {
        let matches = self.method.as_ref().is_none_or(|wanted| wanted == method)
            && uri.path_and_query().is_some_and(|path| path.as_str().contains(&self.containing));
        if !matches || self.times == 0 {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.times -= 1;
        true
    }
}
