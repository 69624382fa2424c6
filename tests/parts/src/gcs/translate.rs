//! One request in Google's words becomes one in S3's, and its answer one in Google's.

use std::collections::HashMap;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Mutex;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CONTENT_LENGTH, ETAG, HOST, HeaderValue, IF_MATCH, IF_NONE_MATCH,
};
use hyper::{HeaderMap, Request, Response, StatusCode};
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector,
};

use super::keys::{TOKEN, keys_of};
use crate::seaweedfs::{Keys, REGION, install_tls};

/// Where a machine of Google asks for its service account's token.
const MACHINE_TOKEN: &str = "/computeMetadata/v1/instance/service-accounts/default/token";

/// The condition on an object's generation; 0 is one that does not exist.
const IF_GENERATION: &str = "x-goog-if-generation-match";

type Answer = Response<Full<Bytes>>;

/// Asks one server.
#[derive(Debug)]
pub struct Translator {
    upstream: String,
    client: HttpClient,
    /// The ETag of each generation that an answer had.
    etags: Mutex<HashMap<String, HeaderValue>>,
}

impl Translator {
    pub fn new(upstream: &str) -> Self {
        install_tls();
        let options = ClientOptions::new().with_allow_http(true);
        let client = ReqwestConnector::default().connect(&options).expect("a client");
        Self { upstream: upstream.to_owned(), client, etags: Mutex::default() }
    }

    /// What the client hears; on an error its connection is cut.
    pub async fn answer(&self, request: Request<Incoming>) -> io::Result<Answer> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        if head.uri.path() == MACHINE_TOKEN {
            return Ok(machine_token(&head.headers));
        }
        let token = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = token.and_then(|value| value.strip_prefix("Bearer "));
        let Some(keys) = token.and_then(keys_of) else {
            return Ok(refusal(401, "AuthenticationRequired", "Authentication required."));
        };
        let mut url = format!("{}{}", self.upstream, s3_path(head.uri.path()));
        if let Some(query) = head.uri.query() {
            write!(url, "?{query}").map_err(io::Error::other)?;
        }
        let mut asked: HttpRequest = Request::builder()
            .method(&head.method)
            .uri(url)
            .body(HttpRequestBody::from(body))
            .map_err(io::Error::other)?;
        *asked.headers_mut() = match s3_headers(&head.headers) {
            Ok(headers) => headers,
            Err(unknown) => return Ok(refusal(501, "NotImplemented", &unknown)),
        };
        let generation_asked = head.headers.get(IF_GENERATION).filter(|asked| *asked != "0");
        if let Some(asked_for) = generation_asked.and_then(|asked| asked.to_str().ok()) {
            let known = self.etags.lock().expect("no test panics here").get(asked_for).cloned();
            let Some(etag) = known else {
                return Ok(refusal(412, "PreconditionFailed", "no such generation"));
            };
            asked.headers_mut().insert(IF_MATCH, etag);
        }
        sign(keys, &mut asked)?;
        let found = self.client.execute(asked).await.map_err(io::Error::other)?;
        let (mut head, body) = found.into_parts();
        let body = body.bytes().await.map_err(io::Error::other)?;
        if let Some(etag) = head.headers.get(ETAG).cloned() {
            let generation = generation(&etag);
            let mut etags = self.etags.lock().expect("no test panics here");
            etags.insert(generation.to_string(), etag);
            head.headers.insert("x-goog-generation", generation.into());
        }
        Ok(Response::from_parts(head, Full::new(body)))
    }
}

fn sign(keys: Keys, request: &mut HttpRequest) -> io::Result<()> {
    let (key, secret) = keys.pair();
    let credential =
        AwsCredential { key_id: key.to_owned(), secret_key: secret.to_owned(), token: None };
    AwsAuthorizer::new(&credential, "s3", REGION)
        .try_authorize(request, None)
        .map_err(io::Error::other)
}

/// Google's client escapes every character of a name that is neither letter nor digit, slashes too; S3's
/// signatures cover names in which fewer are escaped.
fn s3_path(path: &str) -> String {
    let mut escaped = String::new();
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let digits: Vec<u8> = bytes.by_ref().take(2).collect();
                let digits = std::str::from_utf8(&digits).expect("an escape in a path");
                u8::from_str_radix(digits, 16).expect("an escape in a path")
            }
            byte => byte,
        };
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            escaped.push(byte.into());
        } else {
            write!(escaped, "%{byte:02X}").expect("a text grows");
        }
    }
    escaped
}

/// The headers in S3's words, without the credentials. The error names one that this stand-in does not
/// know.
fn s3_headers(headers: &HeaderMap) -> Result<HeaderMap, String> {
    let mut translated = HeaderMap::new();
    for (name, value) in headers {
        match name.as_str() {
            name if [HOST.as_str(), AUTHORIZATION.as_str(), CONTENT_LENGTH.as_str()]
                .contains(&name) => {}
            // That of another generation depends on what was answered before.
            IF_GENERATION if value != "0" => {}
            IF_GENERATION => {
                translated.insert(IF_NONE_MATCH, "*".parse().expect("a header"));
            }
            name if name.starts_with("x-goog-") => {
                return Err(format!("{name} is not translated"));
            }
            _ => {
                translated.insert(name.clone(), value.clone());
            }
        }
    }
    Ok(translated)
}

fn generation(etag: &hyper::header::HeaderValue) -> u64 {
    let mut hasher = DefaultHasher::new();
    etag.hash(&mut hasher);
    hasher.finish() >> 1
}

fn machine_token(headers: &HeaderMap) -> Answer {
    if headers.get("metadata-flavor").is_none_or(|flavor| flavor != "Google") {
        return refusal(403, "Forbidden", "Metadata-Flavor is missing");
    }
    let body =
        format!(r#"{{"access_token": "{TOKEN}", "expires_in": 3600, "token_type": "Bearer"}}"#);
    Response::new(Full::new(body.into()))
}

fn refusal(status: u16, code: &str, message: &str) -> Answer {
    let body = format!(
        "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code>\
         <Message>{message}</Message></Error>"
    );
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = StatusCode::from_u16(status).expect("an HTTP status");
    answer
}
