//! An identity provider of the tests' own, on a port of its own.
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Redirect;
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Only for these tests: ring makes no RSA keys.
const RSA_KEY: &[u8] = include_bytes!("tls/rsa_key_of_the_tests.der");

/// A running issuer. It ends with the test's runtime.
#[derive(Clone)]
pub struct Issuer {
    pub url: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    keys: Mutex<Vec<Value>>,
    /// Takes the place of the own address in the discovery document.
    claimed: Mutex<Option<String>>,
    algorithms: Mutex<Option<Value>>,
    requests_for_keys: AtomicUsize,
    is_broken: AtomicBool,
    sends_away: Mutex<Option<String>>,
}

impl Issuer {
    pub async fn start(keys: &[&SigningKey]) -> Issuer {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let issuer = Issuer { url, shared: Arc::default() };
        issuer.publish(keys);
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(published))
            .with_state(issuer.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        issuer
    }

    pub fn publish(&self, keys: &[&SigningKey]) {
        *self.shared.keys.lock().unwrap() = keys.iter().map(|key| key.public()).collect();
    }

    pub fn publish_also(&self, key: Value) {
        self.shared.keys.lock().unwrap().insert(0, key);
    }

    pub fn claim_to_be(&self, other: &str) {
        *self.shared.claimed.lock().unwrap() = Some(other.to_owned());
    }

    pub fn sign_only_with(&self, algorithms: Value) {
        *self.shared.algorithms.lock().unwrap() = Some(algorithms);
    }

    /// Answers 500 from now on.
    pub fn break_down(&self) {
        self.shared.is_broken.store(true, Ordering::SeqCst);
    }

    /// Redirects requests for keys.
    pub fn send_away(&self, to: &str) {
        *self.shared.sends_away.lock().unwrap() = Some(to.to_owned());
    }

    pub fn requests_for_keys(&self) -> usize {
        self.shared.requests_for_keys.load(Ordering::SeqCst)
    }

    /// Claims of a good token.
    pub fn claims(&self) -> Value {
        json!({
            "iss": self.url, "aud": "offloom", "exp": now() + 300, "nbf": now() - 5,
            "sub": "1", "email": "alice", "groups": ["readers", "/admins x"],
        })
    }
}

async fn discovery(State(issuer): State<Issuer>) -> Result<Json<Value>, StatusCode> {
    if issuer.shared.is_broken.load(Ordering::SeqCst) {
        return Err(StatusCode::INTERNAL_SERVER_ERROR);
    }
    let claimed = issuer.shared.claimed.lock().unwrap().clone();
    let mut document = json!({
        "issuer": claimed.unwrap_or_else(|| issuer.url.clone()),
        "jwks_uri": format!("{}/keys", issuer.url),
    });
    if let Some(algorithms) = issuer.shared.algorithms.lock().unwrap().clone() {
        document["id_token_signing_alg_values_supported"] = algorithms;
    }
    Ok(Json(document))
}

async fn published(State(issuer): State<Issuer>) -> Result<Json<Value>, Redirect> {
    issuer.shared.requests_for_keys.fetch_add(1, Ordering::SeqCst);
    match &*issuer.shared.sends_away.lock().unwrap() {
        Some(to) => Err(Redirect::temporary(to)),
        None => Ok(Json(json!({ "keys": *issuer.shared.keys.lock().unwrap() }))),
    }
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A private key with its id.
pub struct SigningKey {
    pub id: &'static str,
    pair: Pair,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl SigningKey {
    /// For ES256.
    pub fn ecdsa(id: &'static str) -> SigningKey {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).unwrap();
        SigningKey { id, pair: Pair::Ecdsa(pair) }
    }

    /// For EdDSA.
    pub fn ed25519(id: &'static str) -> SigningKey {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        SigningKey { id, pair: Pair::Ed25519(Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap()) }
    }

    /// For RS256 and PS256.
    pub fn rsa(id: &'static str) -> SigningKey {
        SigningKey { id, pair: Pair::Rsa(RsaKeyPair::from_der(RSA_KEY).unwrap()) }
    }

    /// As a JWK.
    pub fn public(&self) -> Value {
        let mut key = match &self.pair {
            Pair::Ecdsa(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (encoded(&point[1..33]), encoded(&point[33..]));
                json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y })
            }
            Pair::Ed25519(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": encoded(pair.public_key().as_ref()) })
            }
            Pair::Rsa(pair) => {
                let key = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({ "kty": "RSA", "n": encoded(&key.n), "e": encoded(&key.e), "use": "sig" })
            }
        };
        key["kid"] = json!(self.id);
        key
    }

    /// The public key as bytes: what somebody who confuses algorithms would take for a shared secret.
    pub fn public_bytes(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Ecdsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Rsa(pair) => ring::rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public()).n,
        }
    }

    pub fn sign(&self, claims: &Value) -> String {
        let algorithm = match &self.pair {
            Pair::Ecdsa(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
            Pair::Rsa(_) => "RS256",
        };
        self.sign_as(&json!({ "alg": algorithm, "typ": "JWT", "kid": self.id }), claims)
    }

    /// Signs with a header that may say anything.
    pub fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Ecdsa(pair) => pair.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let padding: &dyn ring::signature::RsaEncoding =
                    if header["alg"] == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                pair.sign(padding, &random, message.as_bytes(), &mut signature).unwrap();
                signature
            }
        };
        format!("{message}.{}", encoded(&signature))
    }
}

/// Header and claims, which are signed.
pub fn message(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encoded(header.to_string().as_bytes()), encoded(claims.to_string().as_bytes()))
}

pub fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
