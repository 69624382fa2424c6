//! The credentials that Azurite knows, and some that it refuses.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;

/// Azurite's one account.
pub const ACCOUNT: &str = "devstoreaccount1";

/// Its key, which Azure's documentation prints ("Use the Azurite emulator").
pub const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The version of the API whose signatures these are.
const SIGNED_VERSION: &str = "2022-11-02";

/// Whose credentials a client shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AzureKeys {
    /// The account's key: may do everything.
    Account,
    /// Another key of the same form.
    WrongAccount,
    /// A connection string with the account's key.
    ConnectionString,
    /// A shared access signature of one container with these permissions (`racwdl`, or `rl` to read).
    Signature {
        /// The container.
        container: String,
        /// Letters in Azure's order.
        permissions: String,
        /// When it ends, such as `2099-01-01T00:00:00Z`.
        expiry: String,
    },
    /// Such a signature whose last characters are others.
    WrongSignature {
        /// The container.
        container: String,
    },
}

impl AzureKeys {
    /// A signature of `container` with `permissions` that holds.
    pub fn signature(container: &str, permissions: &str) -> Self {
        Self::Signature {
            container: container.to_owned(),
            permissions: permissions.to_owned(),
            expiry: "2099-01-01T00:00:00Z".to_owned(),
        }
    }

    /// The text that no message and no log may hold.
    pub fn secret(&self) -> String {
        match self {
            Self::Account | Self::ConnectionString => ACCOUNT_KEY.to_owned(),
            Self::WrongAccount => wrong_key(),
            Self::Signature { container, permissions, expiry } => {
                signed(container, permissions, expiry)
            }
            Self::WrongSignature { .. } => WRONG_SIGNATURE.to_owned(),
        }
    }

    /// The `AZURE_*` variables that a program needs to reach a server at `origin`, or a proxy before it.
    pub fn environment(&self, origin: &str) -> Vec<(String, String)> {
        let endpoint = format!("{origin}/{ACCOUNT}");
        let mut variables = vec![("AZURE_ALLOW_HTTP", "true".to_owned())];
        if *self == Self::ConnectionString {
            let connection = format!(
                "DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};\
                 BlobEndpoint={endpoint};"
            );
            variables = vec![("AZURE_STORAGE_CONNECTION_STRING", connection)];
        } else {
            variables.push(("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT.to_owned()));
            variables.push(("AZURE_STORAGE_ENDPOINT", endpoint));
        }
        let query = |permissions: &str, expiry: &str, signature: &str| {
            let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
            format!("sv={SIGNED_VERSION}&sr=c&sp={permissions}&se={expiry}&sig={signature}")
        };
        match self {
            Self::ConnectionString => {}
            Self::Account | Self::WrongAccount => {
                variables.push(("AZURE_STORAGE_ACCOUNT_KEY", self.secret()));
            }
            Self::Signature { permissions, expiry, .. } => variables
                .push(("AZURE_STORAGE_SAS_TOKEN", query(permissions, expiry, &self.secret()))),
            Self::WrongSignature { .. } => variables.push((
                "AZURE_STORAGE_SAS_TOKEN",
                query("racwdl", "2099-01-01T00:00:00Z", &self.secret()),
            )),
        }
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// Base64 of 32 bytes, as a signature is.
const WRONG_SIGNATURE: &str = "bm90LXRoZS1zaWduYXR1cmUtb2YtdGhpcy1hY2NvdW4=";

fn wrong_key() -> String {
    BASE64_STANDARD.encode([7; 64])
}

/// The signature of a container's service SAS ("Create a service SAS", version 2020-12-06 and later).
fn signed(container: &str, permissions: &str, expiry: &str) -> String {
    let resource = format!("/blob/{ACCOUNT}/{container}");
    let start = "";
    let (identifier, address, protocol) = ("", "", "");
    let (kind, snapshot, scope) = ("c", "", "");
    let headers = [""; 5];
    let text = [
        &[permissions, start, expiry, &resource, identifier, address, protocol][..],
        &[SIGNED_VERSION, kind, snapshot, scope],
        &headers,
    ]
    .concat()
    .join("\n");
    let key = BASE64_STANDARD.decode(ACCOUNT_KEY).expect("the account's key");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    BASE64_STANDARD.encode(hmac::sign(&key, text.as_bytes()))
}
