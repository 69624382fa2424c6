//! Buckets and containers as destinations: the rules for names, and clients that are used again.
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use object_store::path::Path as StorePath;
use tokio::runtime::{self, Handle};

use crate::cloud::Cloud;
use crate::error::StoreError;
use crate::store::options::StoreOptions;
use crate::store::patience::Patience;
use crate::store::{OpenStore, azure, gcs, s3};

/// The stores take keys of 1,024 bytes; an id has 128, a key in its folder 512, and two are slashes.
const MAX_PREFIX_BYTES: usize = 1_024 - 512 - 128 - 2;

/// A bucket and a prefix in it, both checked, and how to reach them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BucketPlace {
    pub(crate) cloud: Cloud,
    bucket: String,
    /// Empty for the bucket itself.
    pub(crate) prefix: StorePath,
    pub(crate) options: StoreOptions,
}

impl BucketPlace {
    /// `prefix` may end with a slash. The error is what is wrong with one of them.
    pub(crate) fn new(
        cloud: Cloud,
        bucket: &str,
        prefix: &str,
        options: StoreOptions,
    ) -> Result<BucketPlace, String> {
        check_bucket(cloud, bucket)?;
        let prefix = parse_prefix(cloud, prefix)?;
        Ok(BucketPlace { cloud, bucket: bucket.to_owned(), prefix, options })
    }

    /// `s3://bucket/prefix/`.
    pub(crate) fn url(&self) -> String {
        let slash = if self.prefix.as_ref().is_empty() { "" } else { "/" };
        format!("{}://{}/{}{slash}", self.cloud.scheme(), self.bucket, self.prefix)
    }

    /// The same bucket with each part of the prefix left out in turn, from the last on; first the place
    /// itself.
    pub(super) fn ancestors(&self) -> Vec<BucketPlace> {
        let parts: Vec<_> = self.prefix.parts().collect();
        let at = |count: usize| BucketPlace {
            prefix: parts.iter().take(count).cloned().collect(),
            ..self.clone()
        };
        (0..=parts.len()).rev().map(at).collect()
    }

    /// The bucket; nothing is sent yet. A client that was opened lately is used again.
    ///
    /// # Errors
    /// [`StoreError::BadOptions`].
    pub(crate) fn open(&self, patience: Patience) -> Result<OpenStore, StoreError> {
        // The connections of a client end with the runtime that opened them.
        let Ok(runtime) = Handle::try_current() else { return self.open_anew(patience) };
        let runtime = runtime.id();
        let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        opened.retain(|client| client.at.elapsed() < CLIENT_AGE);
        let is_same = |client: &&Opened| {
            client.runtime == runtime
                && client.patience == patience
                && client.cloud == self.cloud
                && client.bucket == self.bucket
                && client.options == self.options
        };
        if let Some(client) = opened.iter().find(is_same) {
            return Ok(client.store.clone());
        }
        let store = self.open_anew(patience)?;
        if opened.len() >= MAX_CLIENTS {
            opened.remove(0);
        }
        opened.push(Opened {
            cloud: self.cloud,
            bucket: self.bucket.clone(),
            options: self.options.clone(),
            patience,
            runtime,
            at: Instant::now(),
            store: store.clone(),
        });
        Ok(store)
    }

    fn open_anew(&self, patience: Patience) -> Result<OpenStore, StoreError> {
        let build = match self.cloud {
            Cloud::S3 => s3::build,
            Cloud::Gcs => gcs::build,
            Cloud::Azure => azure::build,
        };
        build(&self.bucket, &self.options, patience).map_err(|reason| StoreError::BadOptions {
            cloud: self.cloud,
            reason: self.options.without_secrets(&reason),
        })
    }
}

/// How long a client is used: a CA bundle or a system's certificate that changed meanwhile is then read.
const CLIENT_AGE: Duration = Duration::from_secs(300);

/// Clients that are kept at once.
const MAX_CLIENTS: usize = 32;

/// Clients that were opened lately, oldest first. Opening one parses all CA certificates of the
/// system, and its first request makes a connection.
static OPENED: Mutex<Vec<Opened>> = Mutex::new(Vec::new());

/// A client, and what it was opened for.
struct Opened {
    cloud: Cloud,
    bucket: String,
    options: StoreOptions,
    patience: Patience,
    runtime: runtime::Id,
    at: Instant,
    store: OpenStore,
}

/// The rules of S3 ("General purpose bucket naming rules"), which other stores share; Google's are the
/// same but for `_` and names with dots of up to 222 characters ("Bucket naming guidelines"). A
/// container of Azure has no dots and no two hyphens in a row ("Naming and referencing containers").
fn check_bucket(cloud: Cloud, name: &str) -> Result<(), String> {
    let (marks, longest, rule): (&[u8], usize, &str) = match cloud {
        Cloud::S3 => (
            b".-",
            63,
            "a bucket's name has 3 to 63 characters out of a-z, 0-9, '.' and '-', begins and ends \
             with a letter or digit, and is no IP address",
        ),
        Cloud::Gcs => (
            b".-_",
            if name.contains('.') { 222 } else { 63 },
            "a bucket's name has 3 to 63 characters out of a-z, 0-9, '.', '-' and '_' (222 with \
             dots), begins and ends with a letter or digit, and is no IP address",
        ),
        Cloud::Azure => (
            b"-",
            63,
            "a container's name has 3 to 63 characters out of a-z, 0-9 and single '-', and begins and \
             ends with a letter or digit",
        ),
    };
    let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let allowed = |c: u8| is_end(c.into()) || marks.contains(&c);
    let is_address = || name.parse::<std::net::Ipv4Addr>().is_ok();
    let doubled = if cloud == Cloud::Azure { "--" } else { ".." };
    if (3..=longest).contains(&name.len())
        && name.bytes().all(allowed)
        && name.starts_with(is_end)
        && name.ends_with(is_end)
        && !name.contains(doubled)
        && !is_address()
    {
        Ok(())
    } else {
        Err(rule.to_owned())
    }
}

fn parse_prefix(cloud: Cloud, prefix: &str) -> Result<StorePath, String> {
    if prefix.is_empty() {
        return Ok(StorePath::default());
    }
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let allowed = |c: char| !c.is_control() && !['?', '#', '\\'].contains(&c);
    let is_segment = |segment: &str| {
        // Azure takes a dot at the end off, so that two names would be one.
        let ends_well = cloud != Cloud::Azure || !segment.ends_with('.');
        !segment.is_empty() && segment != "." && !segment.contains("..") && ends_well
    };
    if prefix.len() <= MAX_PREFIX_BYTES
        && prefix.chars().all(allowed)
        && prefix.split('/').all(is_segment)
        && let Ok(path) = StorePath::parse(prefix)
    {
        return Ok(path);
    }
    let no_last_dot = if cloud == Cloud::Azure { ", no '.' at the end of a part" } else { "" };
    Err(format!(
        "a prefix is a path like exports/2026, of at most {MAX_PREFIX_BYTES} bytes: no empty part, \
         no '.' or '..'{no_last_dot}, no '?', '#', '\\' and no control characters"
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_client_is_used_again_for_the_same_bucket_options_and_runtime() {
        let options = |key: &str| -> StoreOptions {
            [("AWS_REGION".to_owned(), "eu-west-1".to_owned())]
                .into_iter()
                .chain([("AWS_ACCESS_KEY_ID".to_owned(), key.to_owned())])
                .chain([("AWS_SECRET_ACCESS_KEY".to_owned(), "secret".to_owned())])
                .chain([("GOOGLE_BEARER_TOKEN".to_owned(), "token".to_owned())])
                .collect()
        };
        let place = |cloud, bucket, prefix, key| {
            BucketPlace::new(cloud, bucket, prefix, options(key)).unwrap()
        };
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (first, second) = (runtime(), runtime());
        let open = |runtime: &tokio::runtime::Runtime, place: BucketPlace, patience| {
            let _inside = runtime.enter();
            place.open(patience).unwrap().objects
        };
        let s3 = Cloud::S3;
        let ours = open(&first, place(s3, "abc", "", "key"), Patience::Export);
        let again = open(&first, place(s3, "abc", "elsewhere", "key"), Patience::Export);
        assert!(Arc::ptr_eq(&ours, &again));
        for (runtime, place, patience) in [
            (&second, place(s3, "abc", "", "key"), Patience::Export),
            (&first, place(s3, "abcd", "", "key"), Patience::Export),
            (&first, place(s3, "abc", "", "other"), Patience::Export),
            (&first, place(s3, "abc", "", "key"), Patience::Check),
            (&first, place(Cloud::Gcs, "abc", "", "key"), Patience::Export),
        ] {
            assert!(!Arc::ptr_eq(&ours, &open(runtime, place, patience)));
        }
    }

    #[test]
    fn buckets_follow_the_rules_of_their_store() {
        for good in ["abc", "my-export-bucket", "0a-b9", &"x".repeat(63)] {
            Cloud::ALL.iter().for_each(|cloud| check_bucket(*cloud, good).unwrap());
        }
        let long = "x".repeat(64);
        for bad in ["", "ab", "Abc", "a b", "-ab", "ab-", ".ab", "ab.", "a..b", "10.0.0.1", &long] {
            for cloud in Cloud::ALL {
                check_bucket(cloud, bad).unwrap_err();
            }
        }
        let with_dots = format!("{long}.example");
        for (name, takers) in [
            ("a.b.c", &[Cloud::S3, Cloud::Gcs][..]),
            ("a_b", &[Cloud::Gcs]),
            ("a--b", &[Cloud::S3, Cloud::Gcs]),
            (&with_dots, &[Cloud::Gcs]),
        ] {
            for cloud in Cloud::ALL {
                let is_taken = check_bucket(cloud, name).is_ok();
                assert_eq!(is_taken, takers.contains(&cloud), "{cloud:?}: {name}");
            }
        }
    }

    #[test]
    fn prefixes_have_no_parts_that_lead_elsewhere() {
        let long = "x".repeat(MAX_PREFIX_BYTES + 1);
        for cloud in Cloud::ALL {
            for (good, path) in [("", ""), ("a", "a"), ("a/b/", "a/b"), ("ü x/50%", "ü x/50%")] {
                assert_eq!(parse_prefix(cloud, good).unwrap().as_ref(), path, "{good:?}");
            }
            for bad in
                ["/", "//", "/a", "a//b", "a//", "..", "a/../b", "a..b", ".", "a/./b", "a?b", "a#b"]
            {
                parse_prefix(cloud, bad).unwrap_err();
            }
            for bad in ["a\\b", "a\nb", "a\u{7f}", "a\u{85}b", "\0", &long] {
                parse_prefix(cloud, bad).unwrap_err();
            }
            let is_taken = parse_prefix(cloud, "a./b").is_ok();
            assert_eq!(is_taken, cloud != Cloud::Azure);
        }
    }
}
