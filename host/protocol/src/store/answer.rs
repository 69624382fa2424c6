//! Maps the errors of `object_store` and of the file system to [`StoreError`].
//!
//! The type with the HTTP status and body is private in `object_store` 0.14.2, so both are read from
//! its text. Only S3's code and message are taken from a body: the rest may repeat the request, whose
//! headers hold session tokens and customer keys.
use std::error::Error;
use std::io;
use std::iter::successors;

use object_store::client::HttpError;
use url::Url;

use crate::error::{Cause, Operation, StoreError};

/// How the text of a failed request begins: `Error performing PUT https://host/key in 1.2s ...`.
const REQUEST: &str = "Error performing ";

/// Where an instance asks for the credentials of its role, when it is given none.
const INSTANCE_CREDENTIALS: [&str; 2] =
    ["/latest/api/token", "/latest/meta-data/iam/security-credentials"];

/// What rustls says of a certificate whose CA it does not trust.
const UNKNOWN_CA: [&str; 2] = ["UnknownIssuer", "self-signed certificate"];

/// Parts of a request's headers. A message that has one repeats the request.
const OF_HEADERS: [&str; 6] = [
    "credential=",
    "signature=",
    "authorization",
    "aws4-hmac",
    "x-amz-security-token",
    "x-amz-server-side-encryption-customer",
];

/// A signature has 64 characters, and a session token more; no word of a sentence has as many.
const MAX_WORD_CHARS: usize = 40;

/// S3's messages are a sentence; what is longer is not one of S3.
const MAX_MESSAGE_CHARS: usize = 300;

/// The error of an operation that `object_store` carried out.
pub(crate) fn failed(operation: Operation, url: String, error: &object_store::Error) -> StoreError {
    let (cause, detail) = match (Answer::of(error), cause_of(error)) {
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
    pub(crate) fn of(error: &object_store::Error) -> Option<Answer> {
        let mut host = None;
        let mut of_instance = false;
        let mut answer = None;
        for link in chain(error) {
            let text = link.to_string();
            if let Some(request) = text.strip_prefix(REQUEST) {
                host = host_of(request);
                of_instance = INSTANCE_CREDENTIALS.iter().any(|path| request.contains(path));
                // `object_store` does so where it trades a token for credentials.
                if request.contains(" REDACTED ") {
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
                    format!(
                        "the certificate of {host} is not by a CA that is trusted here ({reason}): name \
                         a file with the CA's certificate in AWS_CA_BUNDLE or SSL_CERT_FILE"
                    )
                } else {
                    format!("no answer from {host}: {reason}")
                };
                answer = Some(Answer { cause: Cause::Unreachable, detail });
                break;
            } else if let Some(found) = Answer::of_reply(&text) {
                answer = Some(found);
                break;
            }
        }
        if of_instance {
            let detail = "no credentials are set, and this machine has no role that gives any";
            return Some(Answer { cause: Cause::NoCredentials, detail: detail.to_owned() });
        }
        answer
    }

    fn of_reply(text: &str) -> Option<Answer> {
        if text.starts_with("Received redirect without LOCATION") {
            let detail = "the store redirects to another region".to_owned();
            return Some(Answer { cause: Cause::WrongRegion, detail });
        }
        let reply = text.strip_prefix("Server returned ")?;
        let (status, body) = match reply.strip_prefix("non-2xx status code: ") {
            Some(reply) => reply.split_once(": ").unwrap_or((reply, "")),
            // An error inside a success, which S3 knows.
            None => ("", reply),
        };
        let code = element(body, "Code").unwrap_or_default();
        let message = element(body, "Message").unwrap_or_default();
        let number = status.get(..3).unwrap_or_default();
        let cause = cause(number, &code);
        let detail = match (cause, code.as_str()) {
            (Cause::WrongRegion, _) if number.starts_with('3') => {
                "the store redirects to another host, which is not followed".to_owned()
            }
            (Cause::NotFound, "" | "NoSuchKey") => "it does not exist".to_owned(),
            (Cause::AlreadyExists, _) => "it exists already".to_owned(),
            (_, "") => format!("HTTP status {status}"),
            _ if message.is_empty() || repeats_request(&message) => {
                format!("{code} (HTTP status {status})")
            }
            _ => format!("{code}: {}", message.trim_end_matches('.')),
        };
        Some(Answer { cause, detail })
    }
}

/// S3's codes are in its API reference, "Error responses".
fn cause(status: &str, code: &str) -> Cause {
    match (status, code) {
        (_, "NoSuchBucket") => Cause::BucketMissing,
        (
            _,
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "InvalidToken"
            | "ExpiredToken"
            | "TokenRefreshRequired"
            | "RequestExpired"
            | "RequestTimeTooSkewed",
        ) => Cause::WrongCredentials,
        (_, "PermanentRedirect" | "AuthorizationHeaderMalformed") => Cause::WrongRegion,
        ("301" | "302" | "303" | "307" | "308", _) => Cause::WrongRegion,
        (_, "NotImplemented") | ("501", _) => Cause::Unsupported,
        ("401" | "403", _) => Cause::PermissionDenied,
        ("404", _) => Cause::NotFound,
        ("409" | "412", _) => Cause::AlreadyExists,
        (_, "SlowDown" | "InternalError" | "ServiceUnavailable") | ("429", _) => {
            Cause::StoreFailing
        }
        (status, _) if status.starts_with('5') => Cause::StoreFailing,
        _ => Cause::Other,
    }
}

/// The text of the first `<name>` in an XML body, short and without control characters.
fn element(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.chars().take(MAX_MESSAGE_CHARS).flat_map(char::escape_debug).collect())
}

/// Whether a message may hold a key id, a signature or a token.
fn repeats_request(message: &str) -> bool {
    let lower = message.to_ascii_lowercase();
    let is_key_id = |word: &str| word.starts_with("AKIA") || word.starts_with("ASIA");
    let mut words = message.split(|c: char| !c.is_ascii_alphanumeric() && !"+/=_-".contains(c));
    OF_HEADERS.iter().any(|part| lower.contains(part))
        || words.any(|word| word.len() > MAX_WORD_CHARS || is_key_id(word))
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

/// An error and its sources.
pub(crate) fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |link| (*link).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Option<Answer> {
        Answer::of(&object_store::Error::Generic { store: "S3", source: text.to_owned().into() })
    }

    #[test]
    fn codes_and_statuses_tell_the_cause_and_nothing_else_of_a_body_is_repeated() {
        let refused = |status: &str, code: &str| {
            let body = format!(
                "<Error><Code>{code}</Code><Message>Said so.</Message><CanonicalRequest>PUT\n\
                 x-amz-security-token:SECRET</CanonicalRequest></Error>"
            );
            let text = format!("Server returned non-2xx status code: {status}: {body}");
            let answer = answer(&text).unwrap();
            assert!(!answer.detail.contains("SECRET"), "{answer:?}");
            assert!(
                answer.detail == format!("{code}: Said so")
                    || answer.detail.starts_with("it ")
                    || code.is_empty() && answer.detail == format!("HTTP status {status}"),
                "{answer:?}"
            );
            answer.cause
        };
        for (status, code, cause) in [
            ("403 Forbidden", "SignatureDoesNotMatch", Cause::WrongCredentials),
            ("400 Bad Request", "ExpiredToken", Cause::WrongCredentials),
            ("403 Forbidden", "AccessDenied", Cause::PermissionDenied),
            ("403 Forbidden", "", Cause::PermissionDenied),
            ("404 Not Found", "NoSuchBucket", Cause::BucketMissing),
            ("404 Not Found", "NoSuchKey", Cause::NotFound),
            ("404 Not Found", "NoSuchUpload", Cause::NotFound),
            ("412 Precondition Failed", "PreconditionFailed", Cause::AlreadyExists),
            ("409 Conflict", "ConditionalRequestConflict", Cause::AlreadyExists),
            ("400 Bad Request", "AuthorizationHeaderMalformed", Cause::WrongRegion),
            ("501 Not Implemented", "NotImplemented", Cause::Unsupported),
            ("503 Service Unavailable", "SlowDown", Cause::StoreFailing),
            ("502 Bad Gateway", "", Cause::StoreFailing),
            ("400 Bad Request", "EntityTooSmall", Cause::Other),
        ] {
            assert_eq!(refused(status, code), cause, "{status} {code}");
        }
        let inside_ok = answer("Server returned error response: <Code>SlowDown</Code>").unwrap();
        assert_eq!(inside_ok.cause, Cause::StoreFailing);
        assert_eq!(answer("disk on fire"), None);
    }

    #[test]
    fn a_message_that_repeats_headers_is_left_out() {
        let detail = |message: &str| {
            let text = format!(
                "Server returned non-2xx status code: 403 Forbidden: \
                 <Error><Code>AccessDenied</Code><Message>{message}</Message></Error>"
            );
            answer(&text).unwrap().detail
        };
        let word = "0123456789abcdef".repeat(4);
        for message in [
            "Bad header Authorization: AWS4-HMAC-SHA256 Credential=minio/2026",
            "key AKIAIOSFODNN7EXAMPLE is unknown",
            &format!("your signature is {word}"),
            "X-Amz-Security-Token: abc",
        ] {
            assert_eq!(detail(message), "AccessDenied (HTTP status 403 Forbidden)", "{message}");
        }
        assert_eq!(detail("Access Denied."), "AccessDenied: Access Denied");
    }

    #[test]
    fn a_redirect_is_named() {
        let text = "Server returned non-2xx status code: 307 Temporary Redirect: ";
        let answer = answer(text).unwrap();
        assert_eq!(answer.cause, Cause::WrongRegion);
        assert!(answer.detail.contains("another host"), "{}", answer.detail);
    }

    #[test]
    fn an_instance_without_a_role_means_that_there_are_no_credentials() {
        let asked = "Error performing PUT http://169.254.169.254/latest/api/token in 1.0s - HTTP \
                     error: error sending request";
        assert_eq!(answer(asked).unwrap().cause, Cause::NoCredentials);
    }

    #[test]
    fn of_an_address_only_host_and_port_are_reported() {
        assert_eq!(host_of("PUT https://me:pw@s3:9/b/k?x=y in 1s").unwrap(), "s3:9");
        assert_eq!(host_of("GET https://s3.example/b in 1s").unwrap(), "s3.example");
        assert_eq!(host_of("POST REDACTED in 1s"), None);
    }
}
