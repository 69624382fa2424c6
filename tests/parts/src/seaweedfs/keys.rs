//! The credentials that the server knows, and one pair that it refuses.

use object_store::aws::AmazonS3Builder;

/// The region that signatures name; the server takes any.
pub const REGION: &str = "us-east-1";

/// Whose credentials a client shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// May do everything.
    ReadWrite,
    /// May read and list the bucket `exports`, and nothing else.
    ReadOnly,
    /// A known access key with another secret.
    Wrong,
}

impl Keys {
    /// Access key and secret.
    pub fn pair(self) -> (&'static str, &'static str) {
        match self {
            Self::ReadWrite => ("testkey", "testsecret"),
            Self::ReadOnly => ("rokey", "rosecret"),
            Self::Wrong => ("testkey", "notthesecret"),
        }
    }

    /// The `AWS_*` variables that a program needs to reach `endpoint`, a server or a proxy before it.
    pub fn environment(self, endpoint: &str) -> Vec<(String, String)> {
        let (key, secret) = self.pair();
        [
            ("AWS_ENDPOINT", endpoint),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_ACCESS_KEY_ID", key),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("AWS_REGION", REGION),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// A client of `bucket` at `endpoint`, to be built as it is or with a retry of the test's own.
    pub fn client(self, endpoint: &str, bucket: &str) -> AmazonS3Builder {
        install_tls();
        let (key, secret) = self.pair();
        AmazonS3Builder::new()
            .with_endpoint(endpoint)
            .with_allow_http(true)
            .with_access_key_id(key)
            .with_secret_access_key(secret)
            .with_region(REGION)
            .with_bucket_name(bucket)
    }
}

/// object_store's client does not start without a TLS provider, not even for plain HTTP.
pub fn install_tls() {
    // An error says that one is installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
