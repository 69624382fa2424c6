//! The tokens and the service account that the proxy knows, and some that it refuses.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use serde_json::{Value, json};

use crate::seaweedfs::Keys;

/// The key of a service account that exists in these tests only.
const PRIVATE_KEY: &str = include_str!("service_account.pem");

const KEY_ID: &str = "offloom-tests-key-1";

/// The token of the machine's identity service, and of those who have one from elsewhere.
pub const TOKEN: &str = "ya29.token-of-the-tests-that-may-write";

const READER_TOKEN: &str = "ya29.token-of-the-tests-that-may-read";

const WRONG_TOKEN: &str = "ya29.token-that-nobody-knows";

/// Whose credentials a client shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GcsKeys {
    /// A token that may do everything.
    Token,
    /// A token that may read and list the bucket `exports`, and nothing else.
    ReadOnly,
    /// A token that nobody knows.
    Wrong,
    /// A service account's key file, at this path.
    ServiceAccount(String),
    /// The machine's identity service, which is the proxy itself.
    Machine,
}

impl GcsKeys {
    /// The text of a service account's key file.
    pub fn service_account() -> String {
        json!({
            "type": "service_account",
            "project_id": "offloom-tests",
            "private_key_id": KEY_ID,
            "private_key": PRIVATE_KEY,
            "client_email": "exporter@offloom-tests.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": "https://oauth2.googleapis.com/token",
        })
        .to_string()
    }

    /// The text that no message and no log may hold.
    pub fn secret(&self) -> &'static str {
        match self {
            Self::Token | Self::Machine => TOKEN,
            Self::ReadOnly => READER_TOKEN,
            Self::Wrong => WRONG_TOKEN,
            // Its first line of base64 begins as that of every such key does.
            Self::ServiceAccount(_) => PRIVATE_KEY.lines().nth(2).unwrap_or_default(),
        }
    }

    /// The `GOOGLE_*` variables that a program needs to reach a proxy at `endpoint`.
    pub fn environment(&self, endpoint: &str) -> Vec<(String, String)> {
        let mut variables = vec![("GOOGLE_BASE_URL", endpoint), ("GOOGLE_ALLOW_HTTP", "true")];
        match self {
            Self::ServiceAccount(path) => variables.push(("GOOGLE_APPLICATION_CREDENTIALS", path)),
            Self::Machine => variables
                .push(("GCE_METADATA_HOST", endpoint.strip_prefix("http://").unwrap_or(endpoint))),
            _ => variables.push(("GOOGLE_BEARER_TOKEN", self.secret())),
        }
        variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

/// What the server behind the proxy is shown for a token; none for one that Google would not know.
pub fn keys_of(token: &str) -> Option<Keys> {
    match token {
        TOKEN => Some(Keys::ReadWrite),
        READER_TOKEN => Some(Keys::ReadOnly),
        other => is_signed(other).then_some(Keys::ReadWrite),
    }
}

/// Whether a token is one that the service account has signed itself ("Service account authorization
/// without OAuth"), for the storage scope.
fn is_signed(token: &str) -> bool {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else { return false };
    let decoded = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).ok();
    let json = |part: &str| serde_json::from_slice::<Value>(&decoded(part)?).ok();
    let (Some(head), Some(said), Some(signature)) =
        (json(header), json(claims), decoded(signature))
    else {
        return false;
    };
    let scope = said.get("scope").and_then(Value::as_str).unwrap_or_default();
    head.get("alg").is_some_and(|name| name == "RS256")
        && head.get("kid").is_some_and(|id| id == KEY_ID)
        && scope.contains("https://www.googleapis.com/auth/")
        && public_key().verify(format!("{header}.{claims}").as_bytes(), &signature).is_ok()
}

fn public_key() -> UnparsedPublicKey<Vec<u8>> {
    let base64: String = PRIVATE_KEY.lines().filter(|line| !line.starts_with('-')).collect();
    let der = BASE64_STANDARD.decode(base64).expect("the key of the tests");
    let pair = RsaKeyPair::from_pkcs8(&der).expect("the key of the tests");
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref().to_vec())
}
