//! The issuer's public keys: found by discovery, kept, and fetched again when they are old or unknown.
use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use jsonwebtoken::jwk::{Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::http::{HttpError, OidcHttp};
use super::ring_provider::ALGORITHMS;

/// Keys are fetched again after this time.
const FRESH: Duration = Duration::from_secs(15 * 60);
/// So long they count while the issuer cannot be asked.
const USABLE: Duration = Duration::from_secs(24 * 3600);
/// Tokens with unknown key ids, which anybody can write, make so many requests to the issuer at once, ...
const BURST: NonZeroU32 = NonZeroU32::new(5).unwrap();
/// ... and after that one in this time.
const PERIOD: Duration = Duration::from_secs(30);
/// Of one set.
const MAX_KEYS: usize = 100;

/// Why no keys are there.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeysError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(
        "{url} names the issuer '{found}' and not '{expected}': set AUTHENTICATION_OIDC_ISSUER to it"
    )]
    OtherIssuer { url: Url, found: String, expected: String },
    #[error(
        "{url} names the keys' address '{address}', which is no URL or less safe than the issuer's"
    )]
    KeysAddress { url: Url, address: String },
    #[error("the last requests to the issuer failed, and the next one is not made yet")]
    TooOften,
}

/// Where the keys are, and those that were found there.
pub(super) struct Keys {
    http: OidcHttp,
    issuer: String,
    discovery: Url,
    /// In place of the address that discovery finds.
    jwks: Option<Url>,
    held: RwLock<Option<Arc<Held>>>,
    /// Only one request is made at a time.
    fetching: Mutex<()>,
    limiter: DefaultDirectRateLimiter,
}

struct Held {
    keys: Vec<Key>,
    /// What the issuer says that it signs with. `None`: it does not say.
    algorithms: Option<Vec<String>>,
    fetched: Instant,
}

struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    key: DecodingKey,
}

impl Keys {
    pub(super) fn new(http: OidcHttp, issuer: String, discovery: Url, jwks: Option<Url>) -> Keys {
        let quota = Quota::with_period(PERIOD).unwrap_or(Quota::per_second(NonZeroU32::MIN));
        Keys {
            http,
            issuer,
            discovery,
            jwks,
            held: RwLock::new(None),
            fetching: Mutex::new(()),
            limiter: RateLimiter::direct(quota.allow_burst(BURST)),
        }
    }

    /// The keys that may have signed a token: those of its key id, or all if it has none. Empty: the
    /// issuer has no such key.
    pub(super) async fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Vec<DecodingKey>, KeysError> {
        let held = match self.held() {
            Some(held) if held.fetched.elapsed() < FRESH => held,
            old => self.fetch(old).await?,
        };
        let found = held.matching(id, algorithm);
        if !found.is_empty() {
            return Ok(found);
        }
        // Keys are changed by adding one: an id that is not known yet is looked for once more.
        match self.fetch(Some(held)).await {
            Ok(held) => Ok(held.matching(id, algorithm)),
            Err(KeysError::TooOften) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn held(&self) -> Option<Arc<Held>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fetches the keys, unless somebody else has replaced `old` meanwhile.
    async fn fetch(&self, old: Option<Arc<Held>>) -> Result<Arc<Held>, KeysError> {
        let _alone = self.fetching.lock().await;
        let held = self.held();
        if let Some(newer) = &held
            && old.as_ref().is_none_or(|old| !Arc::ptr_eq(newer, old))
        {
            return Ok(Arc::clone(newer));
        }
        let result = match self.limiter.check() {
            Ok(()) => self.ask().await,
            Err(_) => Err(KeysError::TooOften),
        };
        match (result, held) {
            (Ok(new), _) => {
                let new = Arc::new(new);
                let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
                *held = Some(Arc::clone(&new));
                Ok(new)
            }
            (Err(error), Some(held))
                if held.fetched.elapsed() >= FRESH && held.fetched.elapsed() < USABLE =>
            {
                tracing::warn!(%error, "the issuer's keys cannot be fetched again: the old ones count");
                Ok(held)
            }
            (Err(error), _) => Err(error),
        }
    }

    async fn ask(&self) -> Result<Held, KeysError> {
        let (address, algorithms) = match &self.jwks {
            Some(address) => (address.clone(), None),
            None => self.discover().await?,
        };
        let set: JwkSet = self.http.get(&address).await?;
        // One by one: a key of a kind that is not known must not hide the others.
        let keys = set.keys.into_iter().take(MAX_KEYS).filter_map(Key::of).collect();
        Ok(Held { keys, algorithms, fetched: Instant::now() })
    }

    async fn discover(&self) -> Result<(Url, Option<Vec<String>>), KeysError> {
        let found: Discovery = self.http.get(&self.discovery).await?;
        let url = self.discovery.clone();
        if found.issuer != self.issuer {
            return Err(KeysError::OtherIssuer {
                url,
                found: found.issuer,
                expected: self.issuer.clone(),
            });
        }
        match Url::parse(&found.jwks_uri) {
            Ok(address)
                if address.scheme() == "https"
                    || (address.scheme() == "http" && url.scheme() == "http") =>
            {
                Ok((address, found.id_token_signing_alg_values_supported))
            }
            _ => Err(KeysError::KeysAddress { url, address: found.jwks_uri }),
        }
    }
}

impl Held {
    fn matching(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<DecodingKey> {
        let name = format!("{algorithm:?}");
        if self.algorithms.as_ref().is_some_and(|names| !names.contains(&name)) {
            return Vec::new();
        }
        let is_match = |key: &&Key| {
            key.key.family() == algorithm.family()
                && key.algorithm.is_none_or(|own| own == algorithm)
                && id.is_none_or(|id| key.id.as_deref() == Some(id))
        };
        self.keys.iter().filter(is_match).map(|key| key.key.clone()).collect()
    }
}

impl Key {
    fn of(value: serde_json::Value) -> Option<Key> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let algorithm = match jwk.common.key_algorithm {
            Some(named) => Some(known(named)?),
            None => None,
        };
        if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return None;
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        (key.family() != AlgorithmFamily::Hmac).then_some(Key {
            id: jwk.common.key_id,
            algorithm,
            key,
        })
    }
}

/// `None`: nothing that a token may be signed with.
fn known(named: KeyAlgorithm) -> Option<Algorithm> {
    let name = named.to_string();
    ALGORITHMS.into_iter().find(|algorithm| format!("{algorithm:?}") == name)
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
    id_token_signing_alg_values_supported: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<serde_json::Value>,
}
