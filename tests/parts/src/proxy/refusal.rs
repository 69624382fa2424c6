//! Errors in the words of the cloud that a request was meant for.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::AUTHORIZATION;
use hyper::{HeaderMap, Response};

use super::metered::ProxyBody;

/// Azure's header for the code of an error; its answer to a HEAD has no other place for it.
const AZURE_CODE: &str = "x-ms-error-code";

/// Whose API a request speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    S3,
    Google,
    Azure,
}

impl Language {
    /// Azure's requests name its version, Google's have a token, those of S3 a signature.
    pub fn of(headers: &HeaderMap) -> Self {
        let is_token =
            |value: &hyper::header::HeaderValue| value.as_bytes().starts_with(b"Bearer ");
        if headers.contains_key("x-ms-version") {
            Self::Azure
        } else if headers.get(AUTHORIZATION).is_some_and(is_token) {
            Self::Google
        } else {
            Self::S3
        }
    }

    /// Status and code with which the store asks for fewer requests.
    pub fn slow_down(self) -> (u16, &'static str) {
        match self {
            Self::S3 => (503, "SlowDown"),
            Self::Google => (429, "SlowDown"),
            Self::Azure => (503, "ServerBusy"),
        }
    }

    /// Those of an error of the store's own.
    pub fn unavailable(self) -> (u16, &'static str) {
        match self {
            Self::S3 | Self::Google => (503, "ServiceUnavailable"),
            Self::Azure => (500, "OperationTimedOut"),
        }
    }

    /// Those of credentials that were good until now.
    pub fn expired(self) -> (u16, &'static str) {
        match self {
            Self::S3 => (400, "ExpiredToken"),
            Self::Google => (401, "AuthenticationRequired"),
            Self::Azure => (401, "InvalidAuthenticationInfo"),
        }
    }

    /// The whole answer.
    pub fn refusal(self, status: u16, code: &str) -> Response<ProxyBody> {
        let message = "made by the test's proxy";
        let body = match self {
            Self::S3 => format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
                 <Message>{message}</Message><RequestId>1</RequestId></Error>"
            ),
            Self::Google => format!(
                "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code>\
                 <Message>{message}</Message></Error>"
            ),
            // It begins with a byte order mark, as Azure's do.
            Self::Azure => format!(
                "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code>\
                 <Message>{message}\nRequestId:1\nTime:2026-01-01T00:00:00Z</Message></Error>"
            ),
        };
        let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed();
        let mut response = Response::new(body);
        *response.status_mut() = status.try_into().expect("an HTTP status");
        let headers = response.headers_mut();
        headers.insert("content-type", "application/xml".parse().expect("a header"));
        if self == Self::Azure {
            headers.insert(AZURE_CODE, code.parse().expect("a header"));
        }
        response
    }
}
