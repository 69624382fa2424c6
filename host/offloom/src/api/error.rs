//! The one place that turns errors into HTTP: status codes, bodies for clients, and the log.
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use offloom_authz::Unauthenticated;
use offloom_export::{ClaimError, PlanError, RequestError, ScopeError};
use offloom_protocol::claim::ClaimError as IdClaimError;
use offloom_protocol::error::StoreError;
use offloom_protocol::names::NameError;
use serde_json::json;

use super::client_text::ClientText;
use crate::backend::BackendError;
use crate::lookup::LookupError;
use crate::scheduler::StartError;

/// Every way to refuse a request. The texts are those of the log: [`write_errors`] makes the text
/// for the client.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ApiError {
    /// The path names a backend that this server does not have.
    #[error("backend not available: {0}")]
    BackendNotAvailable(String),
    /// No credentials, or wrong ones.
    #[error("authorization failed: {0}")]
    Unauthenticated(String),
    /// The principal may not do this. The text does not show whether the class exists.
    #[error("authorization failed: {0}")]
    Forbidden(String),
    /// As many exports wait as may.
    #[error("too many exports: {0}")]
    QueueFull(String),
    /// Too many failed logins.
    #[error("{message}")]
    SlowedDown {
        /// Why.
        message: String,
        /// When the next one is taken.
        seconds: u64,
    },
    /// The identity provider does not answer.
    #[error("{0}")]
    IdentityProvider(String),
    /// A class that was named does not exist.
    #[error("class does not exist: {0}")]
    UnknownClass(String),
    /// The id was used before.
    #[error("export already in progress: {0}")]
    IdInUse(String),
    /// The export has ended and cannot be canceled.
    #[error("export has already finished: {0}")]
    Finished(String),
    /// There is no export with this id.
    #[error("export not found: {0}")]
    NotFound(String),
    /// The store refused.
    #[error("{0}")]
    WriteFailed(String),
    /// The request is well-formed and invalid.
    #[error("{0}")]
    Invalid(String),
    /// The body is not JSON, or a field has the wrong type.
    #[error("the request body is not what is expected: {0}")]
    Malformed(String),
    /// A parameter of the query has the wrong type.
    #[error("the query is not what is expected: {0}")]
    Query(String),
    /// The body is too large.
    #[error("the request body is larger than {0} bytes")]
    TooLarge(usize),
    /// The body did not come in time.
    #[error("the request body took longer than {0} s")]
    SlowBody(u64),
    /// There is no such path.
    #[error("no such path")]
    NoSuchPath,
    /// The path does not take this method.
    #[error("this path does not take that method")]
    MethodNotAllowed,
    /// The request has no `Host`, or several.
    #[error("the request does not name one host: send one Host header")]
    NoHost,
    /// The request is for another host.
    #[error(
        "this server is not the host '{host}': ask for localhost:{port}; where a proxy or a forwarded \
         port leads here, the operator adds the host that clients see to allowed_hosts"
    )]
    OtherHost {
        /// The host in the request.
        host: String,
        /// The port of this server.
        port: u16,
    },
    /// A page of another origin has caused the request.
    #[error("requests of other origins are not taken: {0}")]
    OtherOrigin(String),
    /// A body of a type that a web page may send to every server.
    #[error("a body of type {0} is not taken: send application/json")]
    ContentType(String),
    /// It took too long.
    #[error("the request took longer than {0} s")]
    Timeout(u64),
    /// The server is shutting down.
    #[error("the server is shutting down: try again when it has restarted")]
    ShuttingDown,
    /// A fault of the server.
    #[error("internal error: {0}")]
    Internal(String),
}

/// When a client may try again where exports have to end first.
const RETRY_AFTER_SECONDS: u64 = 30;

/// Characters of a word that an answer keeps.
const MAX_WORD_CHARS: usize = 256;

/// Characters of a text that an answer and the log keep.
const MAX_TEXT_CHARS: usize = 16 * 1024;

impl ApiError {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            ApiError::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            ApiError::Forbidden(_) | ApiError::OtherOrigin(_) => StatusCode::FORBIDDEN,
            ApiError::OtherHost { .. } => StatusCode::MISDIRECTED_REQUEST,
            ApiError::ContentType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ApiError::QueueFull(_) | ApiError::SlowedDown { .. } => StatusCode::TOO_MANY_REQUESTS,
            ApiError::IdInUse(_) | ApiError::Finished(_) => StatusCode::CONFLICT,
            ApiError::NotFound(_) | ApiError::NoSuchPath => StatusCode::NOT_FOUND,
            ApiError::BackendNotAvailable(_) | ApiError::UnknownClass(_) | ApiError::Invalid(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            ApiError::Malformed(_) | ApiError::Query(_) | ApiError::NoHost => {
                StatusCode::BAD_REQUEST
            }
            ApiError::SlowBody(_) => StatusCode::REQUEST_TIMEOUT,
            ApiError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            ApiError::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            ApiError::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            ApiError::ShuttingDown | ApiError::IdentityProvider(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            ApiError::WriteFailed(_) | ApiError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl ApiError {
    /// When a client may try again, in seconds.
    fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            ApiError::SlowedDown { seconds, .. } => Some(*seconds),
            ApiError::QueueFull(_) | ApiError::IdentityProvider(_) | ApiError::ShuttingDown => {
                Some(RETRY_AFTER_SECONDS)
            }
            _ => None,
        }
    }
}

impl IntoResponse for ApiError {
    /// A response without a body, which [`write_errors`] adds.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the body of every error: for the client without paths of the host, and in full to the
/// log if the client cannot see or cause it.
pub async fn write_errors(
    State(client_text): State<ClientText>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    let Some(error) = response.extensions_mut().remove::<ApiError>() else { return response };
    let status = error.status();
    let full = error.to_string();
    let shown = client_text.of(&full);
    let logged = cut(&full, MAX_TEXT_CHARS);
    if status.is_server_error() {
        tracing::error!(error = %logged, "request failed");
    } else if shown != full {
        tracing::warn!(error = %logged, "request refused");
    }
    let message = shortened(&shown);
    let retry_after = error.retry_after_seconds();
    let mut response = (status, Json(json!({ "error": [{ "message": message }] }))).into_response();
    if status == StatusCode::UNAUTHORIZED {
        let scheme = axum::http::HeaderValue::from_static("Bearer");
        response.headers_mut().insert(axum::http::header::WWW_AUTHENTICATE, scheme);
    }
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(axum::http::header::RETRY_AFTER, seconds.into());
    }
    response
}

impl From<StartError> for ApiError {
    fn from(error: StartError) -> ApiError {
        match error {
            StartError::ShuttingDown => ApiError::ShuttingDown,
            StartError::QueueFull(_) => ApiError::QueueFull(error.to_string()),
            StartError::IdInUse(_) => ApiError::IdInUse(error.to_string()),
            StartError::Forbidden(error) => ApiError::Forbidden(error.to_string()),
            StartError::Request(error) => error.into(),
            StartError::Claim(error) => error.into(),
            StartError::Disk(_) | StartError::Index(_) | StartError::Stopped(_) => {
                ApiError::Internal(error.to_string())
            }
        }
    }
}

impl From<RequestError> for ApiError {
    fn from(error: RequestError) -> ApiError {
        match error {
            RequestError::InDataDirectory { .. } => ApiError::Invalid(error.to_string()),
            RequestError::Store(error) => error.into(),
            RequestError::Plan(error) => error.into(),
        }
    }
}

impl From<PlanError> for ApiError {
    fn from(error: PlanError) -> ApiError {
        match error {
            PlanError::UnknownClass { .. } => ApiError::UnknownClass(error.to_string()),
            PlanError::Stopped(_) | PlanError::Unreadable(_) => {
                ApiError::Internal(error.to_string())
            }
            PlanError::Scope(_) | PlanError::Nothing { .. } | PlanError::Guest(_) => {
                ApiError::Invalid(error.to_string())
            }
        }
    }
}

impl From<ClaimError> for ApiError {
    fn from(error: ClaimError) -> ApiError {
        match error {
            ClaimError::Guest(_) | ClaimError::Name(_) => ApiError::Invalid(error.to_string()),
            ClaimError::Store(error) | ClaimError::Id(IdClaimError::Store(error)) => error.into(),
            ClaimError::Id(IdClaimError::IdInUse { .. }) => ApiError::IdInUse(error.to_string()),
            ClaimError::Id(IdClaimError::Encode(_)) | ClaimError::Stopped(_) => {
                ApiError::Internal(error.to_string())
            }
        }
    }
}

impl From<ScopeError> for ApiError {
    fn from(error: ScopeError) -> ApiError {
        ApiError::Invalid(error.to_string())
    }
}

impl From<LookupError> for ApiError {
    fn from(error: LookupError) -> ApiError {
        match error {
            LookupError::NotFound(_) => ApiError::NotFound(error.to_string()),
            LookupError::Finished(..) | LookupError::OfAnotherServer(_) => {
                ApiError::Finished(error.to_string())
            }
            LookupError::Manifest(_) | LookupError::Index(_) => {
                ApiError::Internal(error.to_string())
            }
        }
    }
}

impl From<BackendError> for ApiError {
    fn from(error: BackendError) -> ApiError {
        match error {
            BackendError::NotAvailable { .. } => ApiError::BackendNotAvailable(error.to_string()),
            error => ApiError::Invalid(error.to_string()),
        }
    }
}

impl From<Unauthenticated> for ApiError {
    fn from(error: Unauthenticated) -> ApiError {
        match error {
            Unauthenticated::Refused(_) => ApiError::Unauthenticated(error.to_string()),
            Unauthenticated::SlowedDown { seconds } => {
                ApiError::SlowedDown { message: error.to_string(), seconds }
            }
            Unauthenticated::Unavailable(_) => ApiError::IdentityProvider(error.to_string()),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> ApiError {
        match error {
            StoreError::InsideExport { .. } => ApiError::Invalid(error.to_string()),
            error => ApiError::WriteFailed(format!("write to backend failed: {error}")),
        }
    }
}

impl From<PathRejection> for ApiError {
    fn from(_error: PathRejection) -> ApiError {
        ApiError::NoSuchPath
    }
}

impl From<QueryRejection> for ApiError {
    fn from(error: QueryRejection) -> ApiError {
        ApiError::Query(error.body_text())
    }
}

impl From<NameError> for ApiError {
    fn from(error: NameError) -> ApiError {
        ApiError::Invalid(error.to_string())
    }
}

/// The text with long words cut: a message quotes what the request names, which may be a megabyte.
fn shortened(text: &str) -> String {
    let words = text.split(' ').map(|word| cut(word, MAX_WORD_CHARS));
    cut(&words.collect::<Vec<_>>().join(" "), MAX_TEXT_CHARS)
}

/// The beginning of the text, and how long it is if that is not all.
fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => {
            let kept = text.get(..end).unwrap_or_default();
            format!("{kept}... ({} characters)", text.chars().count())
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_words_are_cut_and_sentences_are_not() {
        let sentence = "no such class: give one of these ".repeat(20);
        assert_eq!(shortened(&sentence), sentence);
        let long = shortened(&format!("class 'ü{}' is unknown", "x".repeat(1_000_000)));
        assert!(long.len() < 400, "{long}");
        assert!(long.ends_with("... (1000003 characters) is unknown"), "{long}");
        let many = shortened(&"a ".repeat(500_000));
        assert!(many.len() < MAX_TEXT_CHARS + 40 && many.ends_with("... (1000000 characters)"));
    }
}
