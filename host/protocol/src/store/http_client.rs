//! The HTTP clients of the stores: no redirect leads to another host, and an operator's CAs count.
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, Method, NoProxy, Proxy, StatusCode};

use crate::store::identity::asks_for_identity;
use crate::store::traffic::{Answered, traffic};

/// A redirect is followed so often at most.
const MAX_REDIRECTS: usize = 5;

/// The header in which Azure says why it refused; the answer to a HEAD has no other place for it.
const ERROR_CODE_HEADER: &str = "x-ms-error-code";

/// Makes the clients for requests to the store, and for those to the services of credentials.
#[derive(Debug)]
pub(super) struct HttpClients {
    /// Trusted instead of the system's CAs.
    pub ca_bundle: Option<Vec<Certificate>>,
}

impl HttpConnector for HttpClients {
    /// As `object_store`'s own client, which follows every redirect: with the session token, since only
    /// standard headers are taken off. Its options for HTTP/2 are left out, which this build lacks.
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // There is no client without a provider, not even for plain HTTP. An error says that one is
        // installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let settings = Settings(options);
        let mut builder = ClientBuilder::new()
            .redirect(same_host_only())
            .https_only(!settings.is_on(ClientConfigKey::AllowHttp)?)
            .danger_accept_invalid_certs(settings.is_on(ClientConfigKey::AllowInvalidCertificates)?)
            .user_agent(concat!("offloom/", env!("CARGO_PKG_VERSION")));
        if let Some(certificates) = &self.ca_bundle {
            builder = builder.tls_certs_only(certificates.iter().cloned());
        }
        if let Some(timeout) = settings.duration(ClientConfigKey::Timeout)? {
            builder = builder.timeout(timeout);
        }
        if let Some(timeout) = settings.duration(ClientConfigKey::ConnectTimeout)? {
            builder = builder.connect_timeout(timeout);
        }
        if let Some(timeout) = settings.duration(ClientConfigKey::ReadTimeout)? {
            builder = builder.read_timeout(timeout);
        }
        if let Some(timeout) = settings.duration(ClientConfigKey::PoolIdleTimeout)? {
            builder = builder.pool_idle_timeout(timeout);
        }
        if let Some(most) = settings.parsed(ClientConfigKey::PoolMaxIdlePerHost)? {
            builder = builder.pool_max_idle_per_host(most);
        }
        if let Some(proxy) = settings.text(ClientConfigKey::ProxyUrl) {
            let mut proxy = Proxy::all(proxy).map_err(failed)?;
            if let Some(hosts) = settings.text(ClientConfigKey::ProxyExcludes) {
                proxy = proxy.no_proxy(NoProxy::from_string(&hosts));
            }
            builder = builder.proxy(proxy);
        }
        if let Some(certificate) = settings.text(ClientConfigKey::ProxyCaCertificate) {
            let certificate = Certificate::from_pem(certificate.as_bytes()).map_err(failed)?;
            builder = builder.tls_certs_merge([certificate]);
        }
        let client = builder.build().map_err(failed)?;
        Ok(HttpClient::new(Service { client, has_identity: AtomicBool::new(false) }))
    }
}

/// Sends requests, with two differences to `reqwest`.
#[derive(Debug)]
struct Service {
    client: Client,
    /// Whether this machine's identity service has answered before.
    has_identity: AtomicBool,
}

#[async_trait]
impl HttpService for Service {
    /// An identity service that cannot be reached is not tried again for a minute, since most machines
    /// have none; one that has answered before is. The code of an answer to a HEAD becomes its body,
    /// from which errors are read.
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let of_identity = asks_for_identity(&request.uri().to_string());
        let is_head = request.method() == Method::HEAD;
        traffic().request().await;
        match self.client.call(request).await {
            Ok(answer) => {
                traffic().answered(answered(answer.status()));
                if of_identity && answer.status().is_success() {
                    self.has_identity.store(true, Ordering::Relaxed);
                }
                Ok(if is_head { with_code(answer) } else { answer })
            }
            Err(error) if of_identity && !self.has_identity.load(Ordering::Relaxed) => {
                Err(HttpError::new(HttpErrorKind::Unknown, error))
            }
            Err(error) => {
                traffic().answered(Answered::Failed);
                Err(error)
            }
        }
    }
}

/// A store that is too busy answers 429, or 503 with all other faults of its own.
fn answered(status: StatusCode) -> Answered {
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        Answered::Failed
    } else if status.is_client_error() {
        Answered::Refused
    } else {
        Answered::Succeeded
    }
}

fn with_code(answer: HttpResponse) -> HttpResponse {
    let code = answer.headers().get(ERROR_CODE_HEADER).and_then(|code| code.to_str().ok());
    let is_word = |code: &&str| code.bytes().all(|c| c.is_ascii_alphanumeric());
    match code.filter(is_word).map(|code| format!("<Error><Code>{code}</Code></Error>")) {
        Some(body) if !answer.status().is_success() => {
            let (head, _) = answer.into_parts();
            HttpResponse::from_parts(head, body.into())
        }
        _ => answer,
    }
}

fn same_host_only() -> Policy {
    Policy::custom(|attempt| {
        let host =
            |url: &reqwest::Url| (url.host_str().map(str::to_owned), url.port_or_known_default());
        let is_same =
            attempt.previous().last().is_some_and(|last| host(last) == host(attempt.url()));
        if is_same && attempt.previous().len() <= MAX_REDIRECTS {
            attempt.follow()
        } else {
            attempt.stop()
        }
    })
}

/// The settings that `object_store` has read from the variables.
struct Settings<'a>(&'a ClientOptions);

impl Settings<'_> {
    fn text(&self, key: ClientConfigKey) -> Option<String> {
        self.0.get_config_value(&key)
    }

    fn parsed<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
        &self,
        key: ClientConfigKey,
    ) -> object_store::Result<Option<T>> {
        self.text(key).map(|text| text.parse().map_err(failed)).transpose()
    }

    fn is_on(&self, key: ClientConfigKey) -> object_store::Result<bool> {
        let text = self.text(key).unwrap_or_default().to_ascii_lowercase();
        match text.as_str() {
            "1" | "true" | "on" | "yes" | "y" => Ok(true),
            "" | "0" | "false" | "off" | "no" | "n" => Ok(false),
            _ => Err(failed(format!("'{text}' is neither true nor false"))),
        }
    }

    fn duration(&self, key: ClientConfigKey) -> object_store::Result<Option<Duration>> {
        let parse = |text: String| humantime::parse_duration(&text).map_err(failed);
        self.text(key).map(parse).transpose()
    }
}

fn failed(
    source: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>,
) -> object_store::Error {
    object_store::Error::Generic { store: "HTTP", source: source.into() }
}
