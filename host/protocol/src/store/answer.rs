//! Maps the errors of `object_store` and of the file system to [`StoreError`].
//!
//! The type with the HTTP status and body is private in `object_store` 0.14.2, so both are read from
//! its text. Only the store's code and message are taken from a body: the rest may repeat the request,
//! whose headers hold session tokens and customer keys.
use std::error::Error;
use std::io;
use std::iter::successors;

use object_store::client::HttpError;
use url::Url;

use crate::cloud::Cloud;
use crate::error::{Cause, Operation, StoreError};
use crate::store::identity::{asks_for_identity, asks_for_token};
use crate::store::refusal::Refusal;

/// How the text of a failed request begins: `Error performing PUT https://host/key in 1.2s ...`.
const REQUEST: &str = "Error performing ";

/// How Azure's client begins the text of a removal that the store refused.
const REFUSED_REMOVAL: &str = "Bulk delete request failed";

/// What rustls says of a certificate whose CA it does not trust.
const UNKNOWN_CA: [&str; 2] = ["UnknownIssuer", "self-signed certificate"];

/// The error of an operation that `object_store` carried out.
pub(crate) fn failed(operation: Operation, url: String, error: &object_store::Error) -> StoreError {
    let (cause, detail) = match (Answer::of(error, Cloud::of_url(&url)), cause_of(error)) {
        (Some(answer), _) => (answer.cause, answer.detail),
        (None, cause @ Cause::NotFound) => (cause, "it does not exist".to_owned()),
        (None, cause @ Cause::AlreadyExists) => (cause, "it exists already".to_owned()),
        (None, cause) => (cause, system_message(error)),
    };
    StoreError::Failed { operation, url, cause, detail }
}

/// The error of an operation on the local file system.
pub(crate) fn failed_io(operation: Operation, url: String, error: &io::Error) -> StoreError {
    let cause = cause_of_io(error).unwrap_or(Cause::Other);
    StoreError::Failed { operation, url, cause, detail: error.to_string() }
}

fn cause_of_io(error: &io::Error) -> Option<Cause> {
    match error.kind() {
        io::ErrorKind::NotFound => Some(Cause::NotFound),
        io::ErrorKind::AlreadyExists => Some(Cause::AlreadyExists),
        io::ErrorKind::PermissionDenied => Some(Cause::PermissionDenied),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(Cause::DiskFull),
        io::ErrorKind::FileTooLarge => Some(Cause::FileSizeLimit),
        io::ErrorKind::ReadOnlyFilesystem => Some(Cause::ReadOnly),
        io::ErrorKind::NotADirectory => Some(Cause::NotADirectory),
        io::ErrorKind::Unsupported => Some(Cause::Unsupported),
        _ => None,
    }
}

fn cause_of(error: &object_store::Error) -> Cause {
    match error {
        object_store::Error::NotFound { .. } => return Cause::NotFound,
        object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. } => {
            return Cause::AlreadyExists;
        }
        object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. } => return Cause::PermissionDenied,
        object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. } => {
            return Cause::Unsupported;
        }
        _ => {}
    }
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = source {
        if let Some(cause) = current.downcast_ref::<io::Error>().and_then(cause_of_io) {
            return cause;
        }
        source = current.source();
    }
    Cause::Other
}

/// The operating system's message if there is one, else the store's.
fn system_message(error: &object_store::Error) -> String {
    let io = chain(error).find_map(|link| link.downcast_ref::<io::Error>());
    io.map_or_else(|| error.to_string(), ToString::to_string)
}

/// Why a request over HTTP failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub cause: Cause,
    pub detail: String,
}

impl Answer {
    /// `None` where the error does not come from a request.
    pub(crate) fn of(error: &object_store::Error, cloud: Option<Cloud>) -> Option<Answer> {
        let mut host = None;
        let mut of_instance = false;
        let mut of_token_service = false;
        let mut answer = None;
        for link in chain(error) {
            let text = link.to_string();
            if let Some(request) = text.strip_prefix(REQUEST) {
                host = host_of(request);
                of_instance = asks_for_identity(request);
                of_token_service = asks_for_token(request);
                // `object_store` does so where it trades a token for credentials; on Azure it hides each
                // address that has a signature.
                if cloud != Some(Cloud::Azure) && request.contains(" REDACTED ") {
                    answer = Some(Answer {
                        cause: Cause::WrongCredentials,
                        detail: "the token service gave no credentials".to_owned(),
                    });
                    break;
                }
            } else if let Some(http) = link.downcast_ref::<HttpError>() {
                let host = host.as_deref().unwrap_or("the store");
                let reason = innermost(http);
                let detail = if UNKNOWN_CA.iter().any(|text| reason.contains(text)) {
                    let variables = match cloud {
                        Some(Cloud::S3) => "AWS_CA_BUNDLE or SSL_CERT_FILE",
                        _ => "SSL_CERT_FILE",
                    };
                    format!(
                        "the certificate of {host} is not by a CA that is trusted here ({reason}): name \
                         a file with the CA's certificate in {variables}"
                    )
                } else {
                    format!("no answer from {host}: {reason}")
                };
                answer = Some(Answer { cause: Cause::Unreachable, detail });
                break;
            } else if let Some(found) = Answer::of_reply(&text, cloud) {
                answer = Some(found);
                break;
            }
        }
        if of_instance {
            let detail = "no credentials are set, and this machine has no role that gives any";
            return Some(Answer { cause: Cause::NoCredentials, detail: detail.to_owned() });
        }
        if of_token_service {
            return answer.map(|answer| match answer.cause {
                Cause::Unreachable | Cause::StoreFailing => answer,
                _ => Answer {
                    cause: Cause::WrongCredentials,
                    detail: format!("the token service gave no credentials: {}", answer.detail),
                },
            });
        }
        answer
    }

    fn of_reply(text: &str, cloud: Option<Cloud>) -> Option<Answer> {
        if text.starts_with("Received redirect without LOCATION") {
            let detail = "the store redirects to another region".to_owned();
            return Some(Answer { cause: Cause::WrongRegion, detail });
        }
        if text.starts_with(REFUSED_REMOVAL) {
            let (_, code) = text.rsplit_once("(code: ")?;
            let status = code.trim_end_matches(')');
            let refusal = Refusal::of(status, "");
            return Some(Answer { cause: refusal.cause(cloud), detail: refusal.detail(cloud) });
        }
        let reply = text.strip_prefix("Server returned ")?;
        let (status, body) = match reply.strip_prefix("non-2xx status code: ") {
            Some(reply) => reply.split_once(": ").unwrap_or((reply, "")),
            // An error inside a success, which S3 knows.
            None => ("", reply),
        };
        let refusal = Refusal::of(status, body);
        Some(Answer { cause: refusal.cause(cloud), detail: refusal.detail(cloud) })
    }
}

/// Host and port of `PUT https://host:port/key in ...`, without what else its URL holds.
fn host_of(request: &str) -> Option<String> {
    let url = Url::parse(request.split(' ').nth(1)?).ok()?;
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// The last of an error's sources: usually the operating system's message.
fn innermost(error: &HttpError) -> String {
    chain(error).last().map_or_else(String::new, ToString::to_string)
}

/// The texts of an error and of its sources.
pub(super) fn reasons(error: &object_store::Error) -> String {
    chain(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// An error and its sources.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |link| (*link).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str, cloud: Cloud) -> Option<Answer> {
        let error = object_store::Error::Generic { store: "S3", source: text.to_owned().into() };
        Answer::of(&error, Some(cloud))
    }

    #[test]
    fn an_error_inside_a_success_is_one() {
        let text = "Server returned error response: <Code>SlowDown</Code>";
        assert_eq!(answer(text, Cloud::S3).unwrap().cause, Cause::StoreFailing);
        assert_eq!(answer("disk on fire", Cloud::S3), None);
    }

    #[test]
    fn a_redirect_is_named() {
        let text = "Server returned non-2xx status code: 307 Temporary Redirect: ";
        let answer = answer(text, Cloud::S3).unwrap();
        assert_eq!(answer.cause, Cause::WrongRegion);
        assert!(answer.detail.contains("another host"), "{}", answer.detail);
    }

    #[test]
    fn a_removal_that_azure_refuses_has_its_cause() {
        let text = "Bulk delete request failed for key a/b (code: 1): Forbidden (code: 403)";
        assert_eq!(answer(text, Cloud::Azure).unwrap().cause, Cause::PermissionDenied);
    }

    #[test]
    fn a_machine_without_a_role_means_that_there_are_no_credentials() {
        for (url, cloud) in [
            ("PUT http://169.254.169.254/latest/api/token", Cloud::S3),
            ("GET http://metadata.google.internal/computeMetadata/v1/instance/x", Cloud::Gcs),
            (
                "GET http://169.254.169.254/metadata/identity/oauth2/token?api-version=1",
                Cloud::Azure,
            ),
            (
                "GET http://localhost:4/msi?a=1&resource=https%3A%2F%2Fstorage.azure.com",
                Cloud::Azure,
            ),
        ] {
            let text =
                format!("Error performing {url} in 1.0s - HTTP error: error sending request");
            assert_eq!(answer(&text, cloud).unwrap().cause, Cause::NoCredentials, "{url}");
        }
    }

    #[test]
    fn of_an_address_only_host_and_port_are_reported() {
        assert_eq!(host_of("PUT https://me:pw@s3:9/b/k?x=y in 1s").unwrap(), "s3:9");
        assert_eq!(host_of("GET https://s3.example/b in 1s").unwrap(), "s3.example");
        assert_eq!(host_of("POST REDACTED in 1s"), None);
    }
}
