//! The one place that turns errors into HTTP: status codes and bodies.
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use offloom_protocol::claim::ClaimError;
use offloom_protocol::error::StoreError;
use offloom_protocol::names::NameError;
use serde_json::json;

use crate::authz::Unauthenticated;
use crate::backend::BackendError;
use crate::export::ExportError;
use crate::lookup::LookupError;
use crate::plan::PlanError;
use crate::scheduler::StartError;

/// Everything that a request can be refused with.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The path names a backend that this server does not have.
    #[error("backend not available: {0}")]
    BackendNotAvailable(String),
    /// No credentials, or wrong ones.
    #[error("authorization failed: {0}")]
    Unauthenticated(String),
    /// The principal may not do this. The text does not tell whether the class exists.
    #[error("authorization failed: {0}")]
    Forbidden(String),
    /// A class that was named does not exist.
    #[error("class does not exist: {0}")]
    UnknownClass(String),
    /// The id was used before.
    #[error("export already in progress: {0}")]
    IdInUse(String),
    /// The export has ended and cannot be canceled.
    #[error("export has already finished: {0}")]
    Finished(String),
    /// Nothing is known under this id.
    #[error("export not found: {0}")]
    NotFound(String),
    /// The store refused.
    #[error("{0}")]
    WriteFailed(String),
    /// The request is understood and wrong.
    #[error("{0}")]
    Invalid(String),
    /// The body is no JSON, or a field has the wrong type.
    #[error("the request body is not what is expected: {0}")]
    Malformed(String),
    /// A parameter behind the `?` has the wrong type.
    #[error("the query is not what is expected: {0}")]
    Query(String),
    /// The body is too large.
    #[error("the request body is larger than {0} bytes")]
    TooLarge(usize),
    /// Nothing is there.
    #[error("no such path")]
    NoSuchPath,
    /// The path is there, for other methods.
    #[error("this path does not take that method")]
    MethodNotAllowed,
    /// It took too long.
    #[error("the request took longer than {0} s")]
    Timeout(u64),
    /// The server is going down.
    #[error("the server is shutting down: send the request to its successor")]
    ShuttingDown,
    /// A fault of the server.
    #[error("internal error: {0}")]
    Internal(String),
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            ApiError::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            ApiError::Forbidden(_) => StatusCode::FORBIDDEN,
            ApiError::IdInUse(_) | ApiError::Finished(_) => StatusCode::CONFLICT,
            ApiError::NotFound(_) | ApiError::NoSuchPath => StatusCode::NOT_FOUND,
            ApiError::BackendNotAvailable(_) | ApiError::UnknownClass(_) | ApiError::Invalid(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            ApiError::Malformed(_) | ApiError::Query(_) => StatusCode::BAD_REQUEST,
            ApiError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            ApiError::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            ApiError::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            ApiError::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::WriteFailed(_) | ApiError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            tracing::error!(error = %self, "request failed");
        }
        let body = json!({ "error": [{ "message": self.to_string() }] });
        let mut response = (status, Json(body)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = axum::http::HeaderValue::from_static("Bearer");
            response.headers_mut().insert(axum::http::header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl From<StartError> for ApiError {
    fn from(error: StartError) -> ApiError {
        match error {
            StartError::ShuttingDown => ApiError::ShuttingDown,
            StartError::Forbidden(_) => ApiError::Forbidden(error.to_string()),
            StartError::IdInUse(_) => ApiError::IdInUse(error.to_string()),
            StartError::Plan(PlanError::UnknownClass { .. }) => {
                ApiError::UnknownClass(error.to_string())
            }
            StartError::Plan(PlanError::Stopped(_)) | StartError::Disk(_) => {
                ApiError::Internal(error.to_string())
            }
            StartError::Plan(_) | StartError::Guest(_) => ApiError::Invalid(error.to_string()),
            StartError::Export(ExportError::Guest(_) | ExportError::Name(_)) => {
                ApiError::Invalid(error.to_string())
            }
            StartError::Export(ExportError::Claim(ClaimError::Store(error))) => error.into(),
            StartError::Export(_) => ApiError::WriteFailed(error.to_string()),
            StartError::Index(_) | StartError::Stopped(_) => ApiError::Internal(error.to_string()),
        }
    }
}

impl From<LookupError> for ApiError {
    fn from(error: LookupError) -> ApiError {
        match error {
            LookupError::NotFound(_) => ApiError::NotFound(error.to_string()),
            LookupError::Finished(..) => ApiError::Finished(error.to_string()),
            LookupError::Forbidden => ApiError::Forbidden(error.to_string()),
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
        ApiError::Unauthenticated(error.to_string())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> ApiError {
        ApiError::WriteFailed(format!("write to backend failed: {error}"))
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
