//! Requests to the issuer, bounded in time and size, which no redirect leads to another host.
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;

use crate::config::OidcConfig;

const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(10);
const MAX_BYTES: usize = 1 << 20;
const MAX_REDIRECTS: usize = 5;

/// Why an answer of the issuer is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error("no answer from {url}: {reason}")]
    Request { url: Url, reason: String },
    #[error("{url} answers {status}")]
    Status { url: Url, status: StatusCode },
    #[error("the answer of {url} is longer than {MAX_BYTES} bytes")]
    TooLong { url: Url },
    #[error("the answer of {url} is not the JSON that it should be: {source}")]
    Json { url: Url, source: serde_json::Error },
}

/// Why the settings make no client.
#[derive(Debug, thiserror::Error)]
pub enum OidcClientError {
    /// The certificate is no PEM text, or of no form that TLS takes.
    #[error(
        "AUTHENTICATION_OIDC_CERTIFICATE is no certificate in PEM form: set it to the text of one"
    )]
    Certificate(#[source] reqwest::Error),
    /// TLS cannot be set up.
    #[error("cannot set up TLS for the identity provider")]
    Tls(#[source] reqwest::Error),
}

/// Asks the issuer.
pub(super) struct OidcHttp(Client);

impl OidcHttp {
    pub(super) fn new(config: &OidcConfig) -> Result<OidcHttp, OidcClientError> {
        // Somebody else's provider counts as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .redirect(same_host_only())
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .user_agent(concat!("offloom/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = &config.certificate {
            let trusted = Certificate::from_pem_bundle(pem.as_bytes());
            builder = builder.tls_certs_only(trusted.map_err(OidcClientError::Certificate)?);
        }
        // The text of a certificate is looked at here.
        let failed = match &config.certificate {
            Some(_) => OidcClientError::Certificate,
            None => OidcClientError::Tls,
        };
        Ok(OidcHttp(builder.build().map_err(failed)?))
    }

    /// Without TLS settings.
    #[cfg(test)]
    pub(super) fn plain() -> OidcHttp {
        let _ = rustls::crypto::ring::default_provider().install_default();
        OidcHttp(Client::new())
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, url: &Url) -> Result<T, HttpError> {
        let failed = |error: reqwest::Error| HttpError::Request {
            url: url.clone(),
            reason: with_causes(&error.without_url()),
        };
        let mut answer = self.0.get(url.clone()).send().await.map_err(failed)?;
        if answer.status() != StatusCode::OK {
            return Err(HttpError::Status { url: url.clone(), status: answer.status() });
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if bytes.len().saturating_add(chunk.len()) > MAX_BYTES {
                return Err(HttpError::TooLong { url: url.clone() });
            }
            bytes.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&bytes)
            .map_err(|source| HttpError::Json { url: url.clone(), source })
    }
}

/// reqwest's own text leaves out why.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn same_host_only() -> Policy {
    Policy::custom(|attempt| {
        let origin = |url: &Url| url.origin();
        let is_same =
            attempt.previous().last().is_some_and(|last| origin(last) == origin(attempt.url()));
        if is_same && attempt.previous().len() <= MAX_REDIRECTS {
            attempt.follow()
        } else {
            attempt.stop()
        }
    })
}
