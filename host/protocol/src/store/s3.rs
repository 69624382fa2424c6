//! Buckets of S3 as destinations: the rules for names, and the setup of the client.
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::path::Path as StorePath;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use tokio::runtime::{self, Handle};

use crate::error::StoreError;
use crate::store::answer::chain;
use crate::store::http_client::HttpClients;
use crate::store::s3_options::S3Options;

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

    /// The same bucket with each part of the prefix left out in turn, from the last on; first the place
    /// itself.
    pub(super) fn ancestors(&self) -> Vec<S3Place> {
        let parts: Vec<_> = self.prefix.parts().collect();
        let at = |count: usize| {
            let prefix = parts.iter().take(count).cloned().collect();
            S3Place { bucket: self.bucket.clone(), prefix, options: self.options.clone() }
        };
        (0..=parts.len()).rev().map(at).collect()
    }

    /// The bucket; nothing is sent yet. A client that was opened lately is used again.
    ///
    /// # Errors
    /// [`StoreError::BadS3Options`].
    pub(crate) fn open(&self, patience: Patience) -> Result<Arc<dyn ObjectStore>, StoreError> {
        // The connections of a client end with the runtime that opened them.
        let Ok(runtime) = Handle::try_current() else { return self.open_anew(patience) };
        let runtime = runtime.id();
        let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        opened.retain(|client| client.at.elapsed() < CLIENT_AGE);
        let is_same = |client: &&Opened| {
            client.runtime == runtime
                && client.patience == patience
                && client.bucket == self.bucket
                && client.options == self.options
        };
        if let Some(client) = opened.iter().find(is_same) {
            return Ok(Arc::clone(&client.store));
        }
        let store = self.open_anew(patience)?;
        if opened.len() >= MAX_CLIENTS {
            opened.remove(0);
        }
        opened.push(Opened {
            bucket: self.bucket.clone(),
            options: self.options.clone(),
            patience,
            runtime,
            at: Instant::now(),
            store: Arc::clone(&store),
        });
        Ok(store)
    }

    fn open_anew(&self, patience: Patience) -> Result<Arc<dyn ObjectStore>, StoreError> {
        let bad = |reason: String| StoreError::BadS3Options { reason };
        self.options.check().map_err(bad)?;
        let http_clients = HttpClients { ca_bundle: self.options.ca_bundle().map_err(bad)? };
        // `object_store` has no client without a provider, not even for plain HTTP. An error says
        // that one is installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = self
            .options
            .apply(AmazonS3Builder::new().with_client_options(patience.client_options()))
            .with_bucket_name(&self.bucket)
            .with_http_connector(http_clients)
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

/// How long a client is used: a CA bundle or a system's certificate that changed meanwhile is then read.
const CLIENT_AGE: Duration = Duration::from_secs(300);

/// Clients that are kept at once.
const MAX_CLIENTS: usize = 32;

/// Clients that were opened lately, oldest first. Opening one parses all CA certificates of the system, and
/// its first request makes a connection.
static OPENED: Mutex<Vec<Opened>> = Mutex::new(Vec::new());

/// A client, and what it was opened for.
struct Opened {
    bucket: String,
    options: S3Options,
    patience: Patience,
    runtime: runtime::Id,
    at: Instant,
    store: Arc<dyn ObjectStore>,
}

/// How long a store is waited for. `object_store`'s own 180 s of tries, for a part and again for
/// what follows its failure, would leave an export undecided for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        let timeout = AmazonS3ConfigKey::Client(object_store::ClientConfigKey::Timeout);
        assert_eq!(builder.get_config_value(&timeout).unwrap(), "1m 30s");
        let slower: S3Options =
            [("AWS_TIMEOUT".to_owned(), "5 minutes".to_owned())].into_iter().collect();
        assert_eq!(slower.apply(builder).get_config_value(&timeout).unwrap(), "5 minutes");
    }

    #[test]
    fn a_client_is_used_again_for_the_same_bucket_options_and_runtime() {
        let options = |key: &str| -> S3Options {
            [("AWS_REGION".to_owned(), "eu-west-1".to_owned())]
                .into_iter()
                .chain([("AWS_ACCESS_KEY_ID".to_owned(), key.to_owned())])
                .chain([("AWS_SECRET_ACCESS_KEY".to_owned(), "secret".to_owned())])
                .collect()
        };
        let place = |bucket, prefix, key| S3Place::new(bucket, prefix, options(key)).unwrap();
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (first, second) = (runtime(), runtime());
        let open = |runtime: &tokio::runtime::Runtime, place: S3Place, patience| {
            let _inside = runtime.enter();
            place.open(patience).unwrap()
        };
        let ours = open(&first, place("abc", "", "key"), Patience::Export);
        let again = open(&first, place("abc", "elsewhere", "key"), Patience::Export);
        assert!(Arc::ptr_eq(&ours, &again));
        for (runtime, place, patience) in [
            (&second, place("abc", "", "key"), Patience::Export),
            (&first, place("abcd", "", "key"), Patience::Export),
            (&first, place("abc", "", "other"), Patience::Export),
            (&first, place("abc", "", "key"), Patience::Check),
        ] {
            assert!(!Arc::ptr_eq(&ours, &open(runtime, place, patience)));
        }
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
}
