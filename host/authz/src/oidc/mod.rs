//! Tokens of an identity provider (OpenID Connect).
mod http;
mod keys;
mod ring_provider;

use std::sync::Arc;

use http::OidcHttp;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, TokenData, Validation, decode, decode_header};
use keys::{Keys, KeysError};
use ring_provider::ALGORITHMS;
use serde::Serialize;
use serde_json::{Map, Value};

pub use http::OidcClientError;

use crate::authenticator::Unauthenticated;
use crate::config::OidcConfig;
use crate::principal::{NOBODY, Principal, PrincipalKind};

/// Clocks may differ by so many seconds.
const LEEWAY: u64 = 10;
const MAX_TOKEN_BYTES: usize = 64 << 10;
const MAX_GROUPS: usize = 1_000;

/// What a client needs to get a token: the answer of `GET /v1/.well-known/openid-configuration`
/// (`docs/format/rbac.md` 4.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OidcDiscovery {
    /// The issuer's discovery document.
    pub href: String,
    /// The client id, empty if none is set.
    pub client_id: String,
    /// Scopes to ask for.
    pub scopes: Vec<String>,
}

impl OidcDiscovery {
    pub(crate) fn new(config: &OidcConfig) -> OidcDiscovery {
        OidcDiscovery {
            href: config.discovery.to_string(),
            client_id: config.client_id.clone().unwrap_or_default(),
            scopes: config.scopes.clone(),
        }
    }
}

/// Checks tokens.
pub(crate) struct Oidc {
    config: OidcConfig,
    keys: Arc<Keys>,
}

impl Oidc {
    /// # Errors
    /// [`OidcClientError`]. The issuer is not asked before the first token comes.
    pub(crate) fn new(config: OidcConfig) -> Result<Oidc, OidcClientError> {
        ring_provider::install();
        let http = OidcHttp::new(&config)?;
        let keys = Keys::new(
            http,
            config.issuer.clone(),
            config.discovery.clone(),
            config.jwks_url.clone(),
        );
        Ok(Oidc { config, keys: Arc::new(keys) })
    }

    /// The user and groups of a token.
    pub(crate) async fn authenticate(&self, token: &str) -> Result<Principal, Unauthenticated> {
        let claims = self.claims(token).await?;
        self.refuse_confined(&claims)?;
        let name = match claims.get(&self.config.username_claim) {
            Some(Value::String(name)) if !name.is_empty() && name != NOBODY => name,
            _ => {
                return Err(refused(&format!(
                    "the token has no usable name in its claim '{}'",
                    self.config.username_claim
                )));
            }
        };
        let mut principal = Principal::new(PrincipalKind::Oidc, name.as_str());
        principal.groups = self.groups(&claims);
        Ok(principal)
    }

    async fn claims(&self, token: &str) -> Result<Map<String, Value>, Unauthenticated> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(refused("the token is too long"));
        }
        let header = decode_header(token).map_err(|error| refused(reason(error.kind())))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(refused(reason(&ErrorKind::InvalidAlgorithm)));
        }
        if header.crit.is_some() {
            return Err(refused("the token has header fields that are not understood"));
        }
        let found = self.keys.find(header.kid.as_deref(), header.alg).await;
        let keys = found.map_err(unavailable)?;
        let mut validation = Validation::new(header.alg);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.config.issuer]);
        match &self.config.client_id {
            Some(id) if !self.config.skip_client_id_check => {
                validation.set_audience(&[id]);
                validation.set_required_spec_claims(&["exp", "iss", "aud"]);
            }
            _ => {
                validation.validate_aud = false;
                validation.set_required_spec_claims(&["exp", "iss"]);
            }
        }
        let mut last = ErrorKind::InvalidSignature;
        for key in &keys {
            match check(token, key, &validation) {
                Ok(data) => return Ok(data.claims),
                Err(error) => last = error,
            }
        }
        Err(refused(if keys.is_empty() {
            "the issuer has no such key for this algorithm"
        } else {
            reason(&last)
        }))
    }

    /// Callers of one namespace see names without it, which nothing here does (`docs/format/rbac.md`
    /// 3.1).
    fn refuse_confined(&self, claims: &Map<String, Value>) -> Result<(), Unauthenticated> {
        let Some(names) = &self.config.namespace_claims else { return Ok(()) };
        match claims.get(&names.namespace) {
            None => {}
            Some(Value::String(namespace)) if namespace.is_empty() => {}
            Some(_) => {
                return Err(refused(
                    "the user is confined to a namespace, which this service does not support",
                ));
            }
        }
        match claims.get(&names.global_principal) {
            Some(Value::Bool(true)) => Ok(()),
            _ => Err(refused("the token does not say that its user is global")),
        }
    }

    fn groups(&self, claims: &Map<String, Value>) -> Vec<String> {
        let claim = self.config.groups_claim.as_ref().and_then(|name| claims.get(name));
        match claim {
            Some(Value::String(group)) => vec![group.clone()],
            Some(Value::Array(groups)) => groups
                .iter()
                .filter_map(|group| group.as_str().map(str::to_owned))
                .take(MAX_GROUPS)
                .collect(),
            _ => Vec::new(),
        }
    }
}

fn check(
    token: &str,
    key: &DecodingKey,
    validation: &Validation,
) -> Result<TokenData<Map<String, Value>>, ErrorKind> {
    decode(token, key, validation).map_err(jsonwebtoken::errors::Error::into_kind)
}

/// The operator gets the reason, which has addresses of the own network.
fn unavailable(error: KeysError) -> Unauthenticated {
    if !matches!(error, KeysError::TooOften) {
        tracing::warn!(%error, "the identity provider cannot be asked");
    }
    Unauthenticated::Unavailable("its keys cannot be fetched".to_owned())
}

/// For the client. Nothing of the token is in it.
fn reason(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::InvalidIssuer => "the token is of another issuer",
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => {
            "the token lacks a claim among exp, iss and aud, or has it in another form"
        }
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat => {
            "the token is signed with an algorithm that is not allowed"
        }
        ErrorKind::InvalidSignature => "the token's signature is wrong",
        _ => "the token is malformed, or signed with an algorithm that is not allowed",
    }
}

fn refused(reason: &str) -> Unauthenticated {
    Unauthenticated::Refused(format!("unauthorized: {reason}"))
}

/// Whether a token has the form of a JWT: three parts, of which the first is a JSON object.
pub(crate) fn is_jwt(token: &str) -> bool {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let mut parts = token.split('.');
    let (Some(header), Some(_), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let decoded = URL_SAFE_NO_PAD.decode(header);
    decoded.is_ok_and(|bytes| serde_json::from_slice::<Map<String, Value>>(&bytes).is_ok())
}
