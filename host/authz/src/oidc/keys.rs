//! The issuer's public keys: found by discovery, kept, and fetched again when they are old or unknown.
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// How old keys may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyAges {
    /// They are fetched again after this time.
    pub fresh: Duration,
    /// So long they count while the issuer cannot be asked.
    pub usable: Duration,
}

impl Default for KeyAges {
    fn default() -> KeyAges {
        KeyAges { fresh: Duration::from_secs(15 * 60), usable: Duration::from_secs(24 * 3600) }
    }
}

/// Tokens with unknown key ids, which anybody can write, make so many requests at once, ...
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
    ages: KeyAges,
    held: RwLock<Option<Arc<Held>>>,
    /// Only one request is made at a time.
    fetching: Mutex<()>,
    /// Old keys are being replaced, while they still count.
    is_refreshing: AtomicBool,
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
            ages: KeyAges::default(),
            held: RwLock::new(None),
            fetching: Mutex::new(()),
            is_refreshing: AtomicBool::new(false),
            limiter: RateLimiter::direct(quota.allow_burst(BURST)),
        }
    }

    /// The keys that may have signed a token: those of its key id, or all if it has none. Empty: the
    /// issuer has no such key.
    pub(super) async fn find(
        self: &Arc<Self>,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Vec<DecodingKey>, KeysError> {
        let held = match self.held() {
            Some(held) if held.fetched.elapsed() < self.ages.fresh => held,
            Some(held) if held.fetched.elapsed() < self.ages.usable => {
                self.refresh(Arc::clone(&held));
                held
            }
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

    /// Nobody waits for it: an issuer that is slow or gone must not hold up good tokens.
    fn refresh(self: &Arc<Self>, old: Arc<Held>) {
        if self.is_refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let keys = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = keys.fetch(Some(old)).await
                && !matches!(error, KeysError::TooOften)
            {
                tracing::warn!(%error, "the issuer's keys cannot be fetched again: the old ones count");
            }
            keys.is_refreshing.store(false, Ordering::Release);
        });
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
        self.limiter.check().map_err(|_| KeysError::TooOften)?;
        let new = Arc::new(self.ask().await?);
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        *held = Some(Arc::clone(&new));
        Ok(new)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys that were fetched now, of an issuer that is gone.
    fn keys(ages: KeyAges) -> Arc<Keys> {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url::parse(&format!("http://{}", free.local_addr().unwrap())).unwrap();
        drop(free);
        let key = Key {
            id: Some("id".to_owned()),
            algorithm: None,
            key: DecodingKey::from_ed_components("AAAA").unwrap(),
        };
        let held = Held { keys: vec![key], algorithms: None, fetched: Instant::now() };
        let mut keys = Keys::new(OidcHttp::plain(), url.to_string(), url.clone(), Some(url));
        keys.ages = ages;
        *keys.held.write().unwrap() = Some(Arc::new(held));
        Arc::new(keys)
    }

    #[tokio::test]
    async fn old_keys_count_for_a_while_when_the_issuer_is_gone() {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        for (fresh, usable, is_found, is_asked) in [
            (DAY, DAY, true, false),
            (Duration::ZERO, DAY, true, true),
            (Duration::ZERO, Duration::ZERO, false, false),
        ] {
            let keys = keys(KeyAges { fresh, usable });
            let found = keys.find(Some("id"), Algorithm::EdDSA).await;
            assert_eq!(found.is_ok_and(|found| found.len() == 1), is_found, "{fresh:?} {usable:?}");
            assert_eq!(
                keys.is_refreshing.load(Ordering::Acquire),
                is_asked,
                "{fresh:?} {usable:?}"
            );
        }
    }
}
