//! What a store's answer says: its HTTP status, its code, and why that is.
use serde_json::Value;

use crate::cloud::Cloud;
use crate::error::Cause;

/// Parts of a request. A message that has one repeats the request.
const OF_REQUESTS: [&str; 9] = [
    "credential=",
    "signature=",
    "sig=",
    "authorization",
    "bearer ",
    "sharedkey",
    "aws4-hmac",
    "x-amz-security-token",
    "x-amz-server-side-encryption-customer",
];

/// A signature has 43 characters or more, and a session token more; no word of a sentence has as many.
const MAX_WORD_CHARS: usize = 40;

/// The stores' messages are a sentence; what is longer is not one of theirs.
const MAX_MESSAGE_CHARS: usize = 300;

/// An answer that is no success.
#[derive(Debug)]
pub(super) struct Refusal<'a> {
    /// Such as `403 Forbidden`, or the number alone; empty for an error inside a success.
    status: &'a str,
    code: String,
    message: String,
}

impl Refusal<'_> {
    /// Reads code and message out of an error's body: XML as S3, Google and Azure have it, or JSON as
    /// the token services and Google's JSON API have it.
    pub(super) fn of<'a>(status: &'a str, body: &str) -> Refusal<'a> {
        let code = element(body, "Code");
        // Google says in its details which permission is missing.
        let message = element(body, "Details").or_else(|| element(body, "Message"));
        let (code, message) = match code {
            Some(code) => (code, message.unwrap_or_default()),
            None => of_json(body).unwrap_or_default(),
        };
        Refusal { status, code, message }
    }

    /// Why the store refused. The codes are in "Error responses" of S3's API reference, in "HTTP
    /// status and error codes for XML" of Google Cloud Storage, and in "Blob service error codes" of
    /// Azure.
    pub(super) fn cause(&self, cloud: Option<Cloud>) -> Cause {
        let of_code = match cloud {
            Some(Cloud::Azure) => cause_on_azure(&self.code, &self.message),
            Some(Cloud::Gcs) => cause_on_gcs(self.number(), &self.code),
            _ => cause_on_s3(&self.code, &self.message),
        };
        of_code.unwrap_or_else(|| cause_of_status(self.number()))
    }

    /// What is shown of it.
    pub(super) fn detail(&self, cloud: Option<Cloud>) -> String {
        let (status, code, message) = (self.status, self.code.as_str(), &self.message);
        match (self.cause(cloud), code) {
            (Cause::WrongRegion, _) if status.starts_with('3') => {
                "the store redirects to another host, which is not followed".to_owned()
            }
            (Cause::NotFound, "" | "NoSuchKey" | "BlobNotFound") => "it does not exist".to_owned(),
            (Cause::AlreadyExists, _) => "it exists already".to_owned(),
            (_, "") => format!("HTTP status {status}"),
            _ if message.is_empty() || repeats_request(message) => {
                format!("{code} (HTTP status {status})")
            }
            _ => format!("{code}: {}", message.trim_end_matches('.')),
        }
    }

    fn number(&self) -> &str {
        self.status.get(..3).unwrap_or_default()
    }
}

fn cause_on_s3(code: &str, message: &str) -> Option<Cause> {
    Some(match code {
        // Without the key, and with another one; each has codes of other things.
        "InvalidRequest" | "InvalidArgument" | "AccessDenied"
            if ["Server Side Encryption", "customer key", "encryption key"]
                .iter()
                .any(|part| message.contains(part)) =>
        {
            Cause::WrongEncryptionKey
        }
        "NoSuchBucket" => Cause::BucketMissing,
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "InvalidToken"
        | "ExpiredToken"
        | "TokenRefreshRequired"
        | "RequestExpired"
        | "RequestTimeTooSkewed" => Cause::WrongCredentials,
        "PermanentRedirect" | "AuthorizationHeaderMalformed" => Cause::WrongRegion,
        "NotImplemented" => Cause::Unsupported,
        "SlowDown" | "InternalError" | "ServiceUnavailable" => Cause::StoreFailing,
        _ => return None,
    })
}

/// Google answers 401 to a token that it does not know, or that has expired.
fn cause_on_gcs(status: &str, code: &str) -> Option<Cause> {
    Some(match (status, code) {
        (_, "NoSuchBucket") => Cause::BucketMissing,
        ("401", _) | (_, "ExpiredToken" | "InvalidSecurity" | "RequestTimeTooSkewed") => {
            Cause::WrongCredentials
        }
        (_, "NotImplemented") => Cause::Unsupported,
        (_, "SlowDown" | "InternalError" | "ServiceUnavailable" | "RateLimitExceeded") => {
            Cause::StoreFailing
        }
        _ => return None,
    })
}

fn cause_on_azure(code: &str, message: &str) -> Option<Cause> {
    Some(match code {
        // So Azurite says it of a wrong key; on Azure the same code is about rights.
        "AuthorizationFailure" if message.starts_with("Server failed to authenticate") => {
            Cause::WrongCredentials
        }
        "ContainerNotFound" => Cause::BucketMissing,
        "AuthenticationFailed" | "InvalidAuthenticationInfo" | "NoAuthenticationInformation" => {
            Cause::WrongCredentials
        }
        // A signature without `w` creates only; this is its answer where something is there.
        "UnauthorizedBlobOverwrite" => Cause::AlreadyExists,
        // Its blocks were removed, or a completion before this one has used them.
        "InvalidBlockList" => Cause::NotFound,
        "BlobUsesCustomerSpecifiedEncryption" => Cause::WrongEncryptionKey,
        "BlobImmutableDueToPolicy" => Cause::PermissionDenied,
        "ContainerBeingDeleted" | "ContainerDisabled" | "AccountBeingCreated" | "ServerBusy" => {
            Cause::StoreFailing
        }
        "NotImplemented" => Cause::Unsupported,
        _ => return None,
    })
}

fn cause_of_status(status: &str) -> Cause {
    match status {
        "301" | "302" | "303" | "307" | "308" => Cause::WrongRegion,
        "401" | "403" => Cause::PermissionDenied,
        "404" => Cause::NotFound,
        "409" | "412" => Cause::AlreadyExists,
        "429" => Cause::StoreFailing,
        "501" => Cause::Unsupported,
        status if status.starts_with('5') => Cause::StoreFailing,
        _ => Cause::Other,
    }
}

/// The text of the first `<name>` in an XML body.
fn element(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(first_line(text))
}

/// Code and message of `{"error": "invalid_grant", "error_description": ...}`, or of
/// `{"error": {"status": "PERMISSION_DENIED", "message": ...}}`.
fn of_json(body: &str) -> Option<(String, String)> {
    let body: Value = serde_json::from_str(body).ok()?;
    let error = body.get("error")?;
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(first_line);
    match error.as_str() {
        Some(code) => {
            Some((first_line(code), text(body.get("error_description")).unwrap_or_default()))
        }
        None => Some((
            text(error.get("status")).unwrap_or_default(),
            text(error.get("message")).unwrap_or_default(),
        )),
    }
}

/// The first line, short and without control characters. Azure adds a request's number and time in
/// others.
fn first_line(text: &str) -> String {
    let line = text.trim_start().lines().next().unwrap_or_default();
    line.chars().take(MAX_MESSAGE_CHARS).flat_map(char::escape_debug).collect()
}

/// Whether a message may hold a key id, a signature or a token.
fn repeats_request(message: &str) -> bool {
    let lower = message.to_ascii_lowercase();
    let is_key_id = |word: &str| word.starts_with("AKIA") || word.starts_with("ASIA");
    let mut words = message.split(|c: char| !c.is_ascii_alphanumeric() && !"+/=_-".contains(c));
    OF_REQUESTS.iter().any(|part| lower.contains(part))
        || words.any(|word| word.len() > MAX_WORD_CHARS || is_key_id(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(cloud: Cloud, status: &str, code: &str) -> Cause {
        let body = format!(
            "<Error><Code>{code}</Code><Message>Said so.\nRequestId:1</Message><CanonicalRequest>PUT\n\
             x-amz-security-token:SECRET</CanonicalRequest></Error>"
        );
        let refusal = Refusal::of(status, &body);
        let detail = refusal.detail(Some(cloud));
        assert!(!detail.contains("SECRET") && !detail.contains("RequestId"), "{detail}");
        assert!(
            detail == format!("{code}: Said so")
                || detail.starts_with("it ")
                || code.is_empty() && detail == format!("HTTP status {status}"),
            "{detail}"
        );
        refusal.cause(Some(cloud))
    }

    #[test]
    fn codes_and_statuses_tell_the_cause_and_nothing_else_of_a_body_is_repeated() {
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
            assert_eq!(refused(Cloud::S3, status, code), cause, "{status} {code}");
        }
        for (status, code, cause) in [
            ("401 Unauthorized", "AuthenticationRequired", Cause::WrongCredentials),
            ("401 Unauthorized", "", Cause::WrongCredentials),
            ("403 Forbidden", "AccessDenied", Cause::PermissionDenied),
            ("404 Not Found", "NoSuchBucket", Cause::BucketMissing),
            ("404 Not Found", "NoSuchKey", Cause::NotFound),
            ("412 Precondition Failed", "PreconditionFailed", Cause::AlreadyExists),
            ("429 Too Many Requests", "SlowDown", Cause::StoreFailing),
        ] {
            assert_eq!(refused(Cloud::Gcs, status, code), cause, "{status} {code}");
        }
        for (status, code, cause) in [
            ("403 Forbidden", "AuthenticationFailed", Cause::WrongCredentials),
            ("401 Unauthorized", "InvalidAuthenticationInfo", Cause::WrongCredentials),
            ("403 Forbidden", "AuthorizationPermissionMismatch", Cause::PermissionDenied),
            ("403 Forbidden", "UnauthorizedBlobOverwrite", Cause::AlreadyExists),
            ("404 Not Found", "ContainerNotFound", Cause::BucketMissing),
            ("404 Not Found", "BlobNotFound", Cause::NotFound),
            ("409 Conflict", "BlobAlreadyExists", Cause::AlreadyExists),
            ("409 Conflict", "ContainerBeingDeleted", Cause::StoreFailing),
            ("409 Conflict", "BlobImmutableDueToPolicy", Cause::PermissionDenied),
            ("400 Bad Request", "InvalidBlockList", Cause::NotFound),
            ("503 Service Unavailable", "ServerBusy", Cause::StoreFailing),
        ] {
            assert_eq!(refused(Cloud::Azure, status, code), cause, "{status} {code}");
        }
    }

    #[test]
    fn json_has_a_code_and_a_message_too() {
        let detail = |body: &str| Refusal::of("400 Bad Request", body).detail(Some(Cloud::Gcs));
        let grant = r#"{"error": "invalid_grant", "error_description": "Bad Request."}"#;
        assert_eq!(detail(grant), "invalid_grant: Bad Request");
        let denied = r#"{"error": {"status": "PERMISSION_DENIED", "message": "No.", "code": 403}}"#;
        assert_eq!(detail(denied), "PERMISSION_DENIED: No");
        for other in ["{}", "[1", "null", r#"{"error": 7}"#, "plain"] {
            assert_eq!(detail(other), "HTTP status 400 Bad Request", "{other}");
        }
    }

    #[test]
    fn google_names_the_missing_permission_in_its_details() {
        let body = "<Error><Code>AccessDenied</Code><Message>Access denied.</Message><Details>me@x \
                    does not have storage.objects.create access.</Details></Error>";
        let detail = Refusal::of("403 Forbidden", body).detail(Some(Cloud::Gcs));
        assert_eq!(detail, "AccessDenied: me@x does not have storage.objects.create access");
    }

    #[test]
    fn a_message_that_repeats_the_request_is_left_out() {
        let detail = |message: &str| {
            let body =
                format!("<Error><Code>AccessDenied</Code><Message>{message}</Message></Error>");
            Refusal::of("403 Forbidden", &body).detail(Some(Cloud::S3))
        };
        let word = "0123456789abcdef".repeat(4);
        for message in [
            "Bad header Authorization: AWS4-HMAC-SHA256 Credential=minio/2026",
            "key AKIAIOSFODNN7EXAMPLE is unknown",
            &format!("your signature is {word}"),
            "X-Amz-Security-Token: abc",
            "the query sv=2026&amp;sig=abc is not right",
            "Bearer abc",
        ] {
            assert_eq!(detail(message), "AccessDenied (HTTP status 403 Forbidden)", "{message}");
        }
        assert_eq!(detail("Access Denied."), "AccessDenied: Access Denied");
    }
}
