//! Every way to refuse a request, and its status code.
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use offloom_authz::Unauthenticated;
use offloom_export::{
    ClaimError, PlanError, RequestError, ScopeError, TransformsError, TrialError,
};
use offloom_protocol::claim::ClaimError as IdClaimError;
use offloom_protocol::error::StoreError;
use offloom_protocol::names::NameError;
use offloom_sandbox::SandboxError;

use crate::backend::BackendError;
use crate::guests::GuestsError;
use crate::guests::name::BadName;
use crate::guests::ordered::OrderError;
use crate::lookup::LookupError;
use crate::scheduler::{StartError, TryError};

/// Every way to refuse a request. The texts are those of the log: `error_answer` makes the text for the
/// client.
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
    /// Too many at once, or in a time: failed logins, watches, exports of one user.
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
    /// There is no such guest, or the caller may not know of it.
    #[error("guest not found: {0}")]
    NoGuest(String),
    /// A guest cannot be changed so, or not now.
    #[error("guest cannot be changed: {0}")]
    GuestConflict(String),
    /// There is no such path.
    #[error("no such path")]
    NoSuchPath,
    /// No identity provider is configured.
    #[error("this server has no OpenID Connect")]
    NoOpenId,
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
    /// A canceled export waits for its store.
    #[error("{0}")]
    Canceling(String),
    /// A fault of the server.
    #[error("internal error: {0}")]
    Internal(String),
}

/// When a client may try again where exports have to end first, or the server has to start.
pub const RETRY_AFTER_SECONDS: u64 = 30;

impl ApiError {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            ApiError::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            ApiError::Forbidden(_) | ApiError::OtherOrigin(_) => StatusCode::FORBIDDEN,
            ApiError::OtherHost { .. } => StatusCode::MISDIRECTED_REQUEST,
            ApiError::ContentType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ApiError::QueueFull(_) | ApiError::SlowedDown { .. } => StatusCode::TOO_MANY_REQUESTS,
            ApiError::IdInUse(_) | ApiError::Finished(_) | ApiError::GuestConflict(_) => {
                StatusCode::CONFLICT
            }
            ApiError::NotFound(_)
            | ApiError::NoGuest(_)
            | ApiError::NoSuchPath
            | ApiError::NoOpenId => StatusCode::NOT_FOUND,
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
            ApiError::ShuttingDown | ApiError::Canceling(_) | ApiError::IdentityProvider(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            ApiError::WriteFailed(_) | ApiError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// When a client may try again, in seconds.
    pub(super) fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            ApiError::SlowedDown { seconds, .. } => Some(*seconds),
            ApiError::QueueFull(_)
            | ApiError::Canceling(_)
            | ApiError::IdentityProvider(_)
            | ApiError::ShuttingDown => Some(RETRY_AFTER_SECONDS),
            _ => None,
        }
    }
}

impl IntoResponse for ApiError {
    /// A response without a body, which `error_answer` adds.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StartError> for ApiError {
    fn from(error: StartError) -> ApiError {
        match error {
            StartError::ShuttingDown => ApiError::ShuttingDown,
            StartError::QueueFull(_) => ApiError::QueueFull(error.to_string()),
            StartError::OverQuota(over) => ApiError::SlowedDown {
                message: error.to_string(),
                seconds: over.retry_after_seconds().unwrap_or(RETRY_AFTER_SECONDS),
            },
            StartError::IdInUse(_) => ApiError::IdInUse(error.to_string()),
            StartError::Forbidden(error) => ApiError::Forbidden(error.to_string()),
            StartError::Request(error) => error.into(),
            StartError::Claim(error) => error.into(),
            StartError::Disk(_)
            | StartError::Index(_)
            | StartError::Journal(_)
            | StartError::Stopped(_) => ApiError::Internal(error.to_string()),
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

impl From<GuestsError> for ApiError {
    fn from(error: GuestsError) -> ApiError {
        match error {
            GuestsError::NotFound(name) => ApiError::NoGuest(name),
            GuestsError::BuiltIn(_)
            | GuestsError::InUse(_)
            | GuestsError::TooMany
            | GuestsError::NothingBefore(_) => ApiError::GuestConflict(error.to_string()),
            GuestsError::Store(_)
            | GuestsError::Stopped(_)
            | GuestsError::Refused(SandboxError::Setup(_) | SandboxError::Cache { .. }) => {
                ApiError::Internal(error.to_string())
            }
            GuestsError::NoVersion { .. }
            | GuestsError::OtherKind { .. }
            | GuestsError::Refused(_)
            | GuestsError::Signature(_) => ApiError::Invalid(error.to_string()),
        }
    }
}

/// In a request for an export, a guest that is not there is a wrong value, not a wrong path.
impl From<OrderError> for ApiError {
    fn from(error: OrderError) -> ApiError {
        match error {
            OrderError::Guest(error @ GuestsError::NotFound(_)) => {
                ApiError::Invalid(error.to_string())
            }
            OrderError::Guest(error) => error.into(),
            OrderError::Name(_) | OrderError::OtherRows { .. } => {
                ApiError::Invalid(error.to_string())
            }
        }
    }
}

impl From<TryError> for ApiError {
    fn from(error: TryError) -> ApiError {
        match error {
            TryError::Forbidden(error) => ApiError::Forbidden(error.to_string()),
            TryError::Trial(error @ TrialError::UnknownClass(_)) => {
                ApiError::UnknownClass(error.to_string())
            }
            TryError::Disk(_) | TryError::Stopped(_) | TryError::Trial(TrialError::Stopped(_)) => {
                ApiError::Internal(error.to_string())
            }
            TryError::Trial(error) => ApiError::Invalid(error.to_string()),
        }
    }
}

impl From<BadName> for ApiError {
    fn from(error: BadName) -> ApiError {
        ApiError::Invalid(error.to_string())
    }
}

impl From<PlanError> for ApiError {
    fn from(error: PlanError) -> ApiError {
        match error {
            PlanError::UnknownClass { .. } => ApiError::UnknownClass(error.to_string()),
            PlanError::Stopped(_)
            | PlanError::Unreadable(_)
            | PlanError::Transforms(TransformsError::Stopped(_)) => {
                ApiError::Internal(error.to_string())
            }
            PlanError::Scope(_)
            | PlanError::Nothing { .. }
            | PlanError::Quota { .. }
            | PlanError::FileFormat { .. }
            | PlanError::Guest(_)
            | PlanError::Transforms(_) => ApiError::Invalid(error.to_string()),
        }
    }
}

impl From<ClaimError> for ApiError {
    fn from(error: ClaimError) -> ApiError {
        match error {
            ClaimError::Name(_) => ApiError::Invalid(error.to_string()),
            ClaimError::Store(error) | ClaimError::Id(IdClaimError::Store(error)) => error.into(),
            ClaimError::Id(IdClaimError::IdInUse { .. }) => ApiError::IdInUse(error.to_string()),
            // Only who takes an export over meets another.
            ClaimError::Id(IdClaimError::Encode(_) | IdClaimError::TakenOver { .. })
            | ClaimError::Journal(_) => ApiError::Internal(error.to_string()),
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
            LookupError::Canceling(_) => ApiError::Canceling(error.to_string()),
            LookupError::Finished(..) | LookupError::OfAnotherServer(_) => {
                ApiError::Finished(error.to_string())
            }
            LookupError::Manifest(_)
            | LookupError::HeldUp(_)
            | LookupError::Index(_)
            | LookupError::Stopped(_) => ApiError::Internal(error.to_string()),
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
