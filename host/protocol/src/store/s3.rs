//! Buckets of S3 as destinations: the rules for names, and the setup of the client.
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::path::Path as StorePath;
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use crate::error::StoreError;
use crate::store::answer::chain;

/// S3 takes keys of 1,024 bytes; an id has 128, a key in its folder 512, and two are slashes.
const MAX_PREFIX_BYTES: usize = 1_024 - 512 - 128 - 2;

/// A bucket and a prefix in it, both checked, and how to reach them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct S3Place {
    bucket: String,
    /// Empty for the bucket itself.
    pub(crate) prefix: StorePath,
    pub(crate) options: S3Options,
}

impl S3Place {
    /// `prefix` may end with a slash. The error is what is wrong with one of them.
    pub(crate) fn new(bucket: &str, prefix: &str, options: S3Options) -> Result<S3Place, String> {
        check_bucket(bucket)?;
        Ok(S3Place { bucket: bucket.to_owned(), prefix: parse_prefix(prefix)?, options })
    }

    /// `s3://bucket/prefix/`.
    pub(crate) fn url(&self) -> String {
        let slash = if self.prefix.as_ref().is_empty() { "" } else { "/" };
        format!("s3://{}/{}{slash}", self.bucket, self.prefix)
    }

    /// The bucket; nothing is sent yet.
    ///
    /// # Errors
    /// [`StoreError::BadS3Options`].
    pub(crate) fn open(&self, patience: Patience) -> Result<Arc<dyn ObjectStore>, StoreError> {
        let bad = |reason: String| StoreError::BadS3Options { reason };
        // `object_store` has no client without a provider, not even for plain HTTP. An error says
        // that one is installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = self
            .options
            .apply(AmazonS3Builder::new().with_client_options(patience.client_options()))
            .with_bucket_name(&self.bucket)
            .with_retry(patience.retry())
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            // Not every store has it, and only one object is ever removed.
            .with_disable_bulk_delete(true);
        if let Some(endpoint) = self.options.endpoint(&self.bucket).map_err(bad)? {
            builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
        }
        let store = builder.build().map_err(|error| {
            // The last source has the reason, for example that there are no CA certificates.
            let sources = chain(&error).map(ToString::to_string).collect::<Vec<_>>();
            bad(self.options.without_secrets(&sources.join(": ")))
        })?;
        Ok(Arc::new(store))
    }
}

/// How long a store is waited for. `object_store`'s own 180 s of tries, for a part and again for
/// what follows its failure, would leave an export undecided for too long.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patience {
    /// Of an export: a store that restarts, or asks to slow down, is back within a minute.
    Export,
    /// Of a check, whose caller waits for the answer.
    Check,
}

impl Patience {
    fn retry(self) -> RetryConfig {
        let (retry_timeout, max_backoff) = match self {
            Patience::Export => (Duration::from_secs(60), Duration::from_secs(10)),
            Patience::Check => (Duration::from_secs(2), Duration::from_secs(1)),
        };
        let init_backoff = Duration::from_millis(100);
        let backoff = BackoffConfig { init_backoff, max_backoff, base: 2.0 };
        // More tries than fit, however short the random pauses are: the time decides.
        RetryConfig { backoff, max_retries: 10_000, retry_timeout }
    }

    /// A request that takes longer hangs, and has used up the time for tries: a part of 8 MiB in 90
    /// seconds is 93 kB a second. `AWS_TIMEOUT` allows slower stores.
    fn request_timeout(self) -> Duration {
        match self {
            Patience::Export => Duration::from_secs(90),
            Patience::Check => Duration::from_secs(10),
        }
    }

    fn client_options(self) -> ClientOptions {
        ClientOptions::new()
            .with_timeout(self.request_timeout())
            .with_connect_timeout(Duration::from_secs(5))
    }
}

/// How S3 is reached: credentials, region, endpoint, encryption, as the standard variables
/// (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `AWS_SERVER_SIDE_ENCRYPTION` ...) say. Those that
/// `object_store`'s `AmazonS3Builder::from_env` knows are heeded, but none that is empty.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Options {
    /// By name, so that of two for one thing (`AWS_ENDPOINT`, `AWS_ENDPOINT_URL`) always the same
    /// one wins.
    variables: Arc<BTreeMap<String, String>>,
}

impl S3Options {
    /// The variables of this process.
    pub fn from_env() -> S3Options {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    fn apply(&self, builder: AmazonS3Builder) -> AmazonS3Builder {
        self.known().fold(builder, |builder, (key, value)| builder.with_config(key, value))
    }

    fn known(&self) -> impl Iterator<Item = (AmazonS3ConfigKey, &String)> {
        let key = |name: &String| name.to_ascii_lowercase().parse().ok();
        self.variables.iter().filter_map(move |(name, value)| Some((key(name)?, value)))
    }

    fn get(&self, wanted: AmazonS3ConfigKey) -> Option<&str> {
        self.known().filter(|(key, _)| *key == wanted).last().map(|(_, value)| value.as_str())
    }

    fn is_on(&self, key: AmazonS3ConfigKey) -> bool {
        let value = self.get(key).unwrap_or_default().to_ascii_lowercase();
        ["1", "true", "on", "yes", "y"].contains(&value.as_str())
    }

    /// The endpoint as the client wants it; `None` for AWS. The error is what is wrong with it.
    fn endpoint(&self, bucket: &str) -> Result<Option<String>, String> {
        let text = self.get(AmazonS3ConfigKey::S3Endpoint);
        let Some(text) = text.or_else(|| self.get(AmazonS3ConfigKey::Endpoint)) else {
            return Ok(None);
        };
        let bad = |problem: &str| format!("the endpoint (AWS_ENDPOINT_URL) {problem}");
        let mut url = Url::parse(text).map_err(|error| bad(&format!("is no URL: {error}")))?;
        let allow_http = AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp);
        match url.scheme() {
            "https" => {}
            "http" if self.is_on(allow_http) => {}
            "http" => {
                return Err(bad(
                    "is http://, which has no encryption: set AWS_ALLOW_HTTP=true to \
                                use it all the same",
                ));
            }
            _ => return Err(bad("must begin with https:// or http://")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("must not hold a user or a password"));
        }
        // Without this, requests to `bucket.host` go to `host/bucket`, which some stores lack.
        if self.is_on(AmazonS3ConfigKey::VirtualHostedStyleRequest) {
            let host = url.host_str().unwrap_or_default().to_owned();
            if !host.starts_with(&format!("{bucket}.")) {
                url.set_host(Some(&format!("{bucket}.{host}"))).map_err(|_| {
                    bad("must have a name, not a number, for virtual-hosted requests")
                })?;
            }
        }
        Ok(Some(url.as_str().trim_end_matches('/').to_owned()))
    }

    fn without_secrets(&self, text: &str) -> String {
        self.variables
            .iter()
            .filter(|(name, _)| is_secret(name))
            .fold(text.to_owned(), |text, (name, value)| {
                text.replace(value.as_str(), &format!("<{name}>"))
            })
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let holds_secret = ["SECRET", "TOKEN", "CUSTOMER_KEY", "PROXY_URL"];
    !name.ends_with("_FILE") && holds_secret.iter().any(|part| name.contains(part))
}

/// Keeps the variables whose names begin with `AWS_`.
impl FromIterator<(String, String)> for S3Options {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(variables: T) -> S3Options {
        let kept = |(name, value): &(String, String)| name.starts_with("AWS_") && !value.is_empty();
        S3Options { variables: Arc::new(variables.into_iter().filter(kept).collect()) }
    }
}

/// Names only: values are credentials, or may be taken for such.
impl fmt::Debug for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

/// The rules of S3 ("General purpose bucket naming rules"), which other stores share.
fn check_bucket(name: &str) -> Result<(), String> {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'.' || c == b'-';
    let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_address = || name.parse::<std::net::Ipv4Addr>().is_ok();
    if (3..=63).contains(&name.len())
        && name.bytes().all(allowed)
        && name.starts_with(is_end)
        && name.ends_with(is_end)
        && !name.contains("..")
        && !is_address()
    {
        Ok(())
    } else {
        Err("a bucket's name has 3 to 63 characters out of a-z, 0-9, '.' and '-', begins and ends \
             with a letter or digit, and is no IP address"
            .to_owned())
    }
}

fn parse_prefix(prefix: &str) -> Result<StorePath, String> {
    if prefix.is_empty() {
        return Ok(StorePath::default());
    }
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let allowed = |c: char| !c.is_control() && !['?', '#', '\\'].contains(&c);
    let is_segment =
        |segment: &str| !segment.is_empty() && segment != "." && !segment.contains("..");
    if prefix.len() <= MAX_PREFIX_BYTES
        && prefix.chars().all(allowed)
        && prefix.split('/').all(is_segment)
        && let Ok(path) = StorePath::parse(prefix)
    {
        return Ok(path);
    }
    Err(format!(
        "a prefix is a path like exports/2026, of at most {MAX_PREFIX_BYTES} bytes: no empty part, \
         no '.' or '..', no '?', '#', '\\' and no control characters"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(variables: &[(&str, &str)]) -> S3Options {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_store_has_the_documented_time() {
        let docs = include_str!("../../../../docs/rest-api.md");
        let request = Patience::Export.request_timeout().as_secs();
        assert!(
            docs.contains(&format!("A store has {request} s to answer a request")),
            "{request}"
        );
        let tries = Patience::Export.retry().retry_timeout.as_secs();
        assert!(docs.contains(&format!("is tried again for {tries} s")), "{tries}");
        // The variable that the same sentence names.
        let builder = AmazonS3Builder::new().with_client_options(Patience::Export.client_options());
        let timeout = AmazonS3ConfigKey::Client(ClientConfigKey::Timeout);
        assert_eq!(builder.get_config_value(&timeout).unwrap(), "1m 30s");
        let slower = options(&[("AWS_TIMEOUT", "5 minutes")]);
        assert_eq!(slower.apply(builder).get_config_value(&timeout).unwrap(), "5 minutes");
    }

    #[test]
    fn buckets_follow_the_rules_of_s3() {
        for good in ["abc", "my-export-bucket", "0.a-b.9", &"x".repeat(63)] {
            check_bucket(good).unwrap();
        }
        let long = "x".repeat(64);
        for bad in
            ["", "ab", "Abc", "a_b", "a b", "-ab", "ab-", ".ab", "ab.", "a..b", "10.0.0.1", &long]
        {
            check_bucket(bad).unwrap_err();
        }
    }

    #[test]
    fn prefixes_have_no_parts_that_lead_elsewhere() {
        for (good, path) in [("", ""), ("a", "a"), ("a/b/", "a/b"), ("ü x/50%", "ü x/50%")] {
            assert_eq!(parse_prefix(good).unwrap().as_ref(), path, "{good:?}");
        }
        let long = "x".repeat(MAX_PREFIX_BYTES + 1);
        for bad in
            ["/", "//", "/a", "a//b", "a//", "..", "a/../b", "a..b", ".", "a/./b", "a?b", "a#b"]
        {
            parse_prefix(bad).unwrap_err();
        }
        for bad in ["a\\b", "a\nb", "a\u{7f}", "a\u{85}b", "\0", &long] {
            parse_prefix(bad).unwrap_err();
        }
    }

    #[test]
    fn of_the_variables_only_names_are_shown() {
        let options = options(&[
            ("AWS_SECRET_ACCESS_KEY", "hidden-1"),
            ("AWS_SESSION_TOKEN", ""),
            ("HOME", "/root"),
        ]);
        assert_eq!(format!("{options:?}"), "{\"AWS_SECRET_ACCESS_KEY\"}");
        let place = S3Place::new("abc", "", options).unwrap();
        assert!(!format!("{place:?}").contains("hidden-1"));
    }

    #[test]
    fn unusable_variables_are_named_without_their_secrets() {
        let http = ("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
        for (variables, named) in [
            (&[http][..], "AWS_ALLOW_HTTP=true"),
            (&[("AWS_ENDPOINT", "s3.example")], "is no URL"),
            (&[("AWS_ENDPOINT", "ftp://s3.example")], "https://"),
            (&[("AWS_ENDPOINT", "https://me:hidden-1@s3.example")], "a user or a password"),
            (&[("AWS_SECRET_ACCESS_KEY", "hidden-1")], "AccessKeyId"),
            (&[("AWS_ACCESS_KEY_ID", "me")], "SecretAccessKey"),
            (&[("AWS_SERVER_SIDE_ENCRYPTION", "rot13")], "rot13"),
            (
                &[
                    ("AWS_SERVER_SIDE_ENCRYPTION", "sse-c"),
                    ("AWS_SSE_CUSTOMER_KEY_BASE64", "hidden-1"),
                ],
                "customer-key",
            ),
            (
                &[http, ("AWS_ALLOW_HTTP", "1"), ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true")],
                "virtual-hosted",
            ),
        ] {
            let place = S3Place::new("abc", "", options(variables)).unwrap();
            let error = place.open(Patience::Check).unwrap_err();
            assert!(matches!(error, StoreError::BadS3Options { .. }), "{error}");
            let message = error.to_string();
            assert!(message.contains(named), "{message}");
            assert!(!message.contains("hidden-1"), "{message}");
        }
    }

    #[test]
    fn endpoints_are_chosen_as_other_clients_do_and_carry_the_bucket_where_it_is_the_host() {
        let endpoint = |variables: &[(&str, &str)]| options(variables).endpoint("abc").unwrap();
        assert_eq!(endpoint(&[]), None);
        let both = [
            ("AWS_ENDPOINT_URL", "https://all.example"),
            ("AWS_ENDPOINT_URL_S3", "https://s3.example:9/"),
        ];
        assert_eq!(endpoint(&both).unwrap(), "https://s3.example:9");
        let hosted = ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true");
        assert_eq!(endpoint(&[both[0], hosted]).unwrap(), "https://abc.all.example");
        let already = ("AWS_ENDPOINT_URL", "https://abc.all.example");
        assert_eq!(endpoint(&[already, hosted]).unwrap(), "https://abc.all.example");
    }
}
