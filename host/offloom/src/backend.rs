//! Where exports may be created: the backends of this server, and the allowed buckets and paths.
use std::convert::Infallible;
use std::path::PathBuf;

use clap::Args;
use offloom_protocol::error::StoreError;
use offloom_protocol::store::Destination;
use serde::Deserialize;

/// Settings of the backends.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(default)]
pub struct BackendConfig {
    /// The folder of the backend `filesystem`; without it there is no such backend
    #[arg(long, env = "OFFLOOM_FILESYSTEM_ROOT", value_name = "DIR")]
    pub filesystem_root: Option<PathBuf>,
    /// The bucket of the backend `s3`; without it there is no such backend. Credentials, region and
    /// endpoint come from the AWS_* variables
    #[arg(long, env = "OFFLOOM_BUCKET", value_name = "NAME")]
    pub bucket: Option<String>,
    /// More buckets that a request may name
    #[arg(long, env = "OFFLOOM_ALLOWED_BUCKETS", value_name = "A,B", value_delimiter = ',', value_parser = trimmed)]
    pub allowed_buckets: Vec<String>,
    /// A prefix that every path in a bucket starts with
    #[arg(long, env = "OFFLOOM_PATH", value_name = "PREFIX")]
    pub path: String,
}

/// Why a request may not name a place.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// There is no such backend here.
    #[error("{backend} (this server has: {known})")]
    NotAvailable {
        /// The name in the request.
        backend: String,
        /// What there is.
        known: String,
    },
    /// The bucket is not allowed.
    #[error("bucket '{bucket}' is not allowed: the operator allows {allowed}")]
    Bucket {
        /// The bucket in the request.
        bucket: String,
        /// What is allowed.
        allowed: String,
    },
    /// There is no default bucket, and the request names none.
    #[error("this server has no default bucket: name one of {allowed} as config.bucket")]
    BucketNeeded {
        /// What is allowed.
        allowed: String,
    },
    /// The backend has no buckets.
    #[error("the backend filesystem has no buckets: leave 'bucket' out")]
    NoBuckets,
    /// The path is not allowed.
    #[error("path '{path}' is not allowed: {reason}")]
    Path {
        /// The path in the request.
        path: String,
        /// Why.
        reason: String,
    },
    /// The place is invalid.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl BackendConfig {
    /// The destination that `backend`, and `bucket` and `path` if the request has them, name.
    ///
    /// # Errors
    /// [`BackendError`].
    pub fn destination(
        &self,
        backend: &str,
        bucket: Option<&str>,
        path: Option<&str>,
    ) -> Result<Destination, BackendError> {
        // Clients send an empty bucket if they were given none.
        let bucket = bucket.filter(|bucket| !bucket.is_empty());
        match (backend, &self.filesystem_root) {
            ("filesystem", Some(root)) => {
                if bucket.is_some() {
                    return Err(BackendError::NoBuckets);
                }
                let path = path.map_or(Ok(String::new()), checked_path)?;
                Ok(Destination::filesystem(&root.join(path))?)
            }
            ("s3", _) if self.has_s3() => {
                let allowed = || self.buckets().collect::<Vec<_>>().join(", ");
                let Some(bucket) = bucket.or(self.bucket.as_deref()) else {
                    return Err(BackendError::BucketNeeded { allowed: allowed() });
                };
                if !self.buckets().any(|allowed| allowed == bucket) {
                    let (bucket, allowed) = (bucket.to_owned(), allowed());
                    return Err(BackendError::Bucket { bucket, allowed });
                }
                let path = self.prefixed(path)?;
                Ok(Destination::bucket(Cloud::S3, bucket, &path)?)
            }
            _ => Err(self.not_available(backend)),
        }
    }

    fn not_available(&self, backend: &str) -> BackendError {
        BackendError::NotAvailable { backend: backend.to_owned(), known: self.known().join(", ") }
    }

    /// The places of exports whose requests name none.
    ///
    /// # Errors
    /// [`BackendError`] for invalid settings.
    pub fn defaults(&self) -> Result<Vec<Destination>, BackendError> {
        let filesystem = self.filesystem_root.as_ref().map(|_| "filesystem");
        let s3 = self.bucket.as_ref().map(|_| "s3");
        let names = filesystem.into_iter().chain(s3);
        names.map(|name| self.destination(name, None, None)).collect()
    }

    fn has_s3(&self) -> bool {
        self.buckets().next().is_some()
    }

    /// The buckets that a request may name, the default one first.
    fn buckets(&self) -> impl Iterator<Item = &str> {
        self.bucket.iter().chain(&self.allowed_buckets).map(String::as_str)
    }

    /// The backends that this server has.
    pub fn known(&self) -> Vec<&'static str> {
        let filesystem = self.filesystem_root.as_ref().map(|_| "filesystem");
        filesystem.into_iter().chain(self.has_s3().then_some("s3")).collect()
    }

    /// The path in a bucket. One that a request names must start with the prefix.
    fn prefixed(&self, path: Option<&str>) -> Result<String, BackendError> {
        let prefix = checked_path(&self.path)?;
        let Some(path) = path else { return Ok(prefix) };
        let checked = checked_path(path)?;
        let below = checked.strip_prefix(&prefix);
        if below.is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with('/')) {
            return Ok(checked);
        }
        Err(BackendError::Path {
            path: path.to_owned(),
            reason: format!("the operator allows paths below '{prefix}'"),
        })
    }
}

/// A name out of `A, B`.
fn trimmed(text: &str) -> Result<String, Infallible> {
    Ok(text.trim().to_owned())
}

/// A relative path of plain names, without slashes around it.
fn checked_path(path: &str) -> Result<String, BackendError> {
    let bad =
        |reason: &str| BackendError::Path { path: path.to_owned(), reason: reason.to_owned() };
    if path.starts_with('/') {
        return Err(bad("it must be relative"));
    }
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    if trimmed.is_empty() {
        return Ok(String::new());
    }
    if trimmed.len() > 512 {
        return Err(bad("it has more than 512 characters"));
    }
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|c| c.is_ascii_alphanumeric() || b"_-.=".contains(&c))
    };
    if trimmed.split('/').all(plain) {
        Ok(trimmed.to_owned())
    } else {
        Err(bad("it must be names of a-z, A-Z, 0-9, '_', '-', '.' and '=', divided by '/'"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> BackendConfig {
        BackendConfig {
            filesystem_root: Some("/exports".into()),
            bucket: Some("lake".to_owned()),
            allowed_buckets: vec!["other".to_owned()],
            path: "weaviate/prod".to_owned(),
        }
    }

    #[test]
    fn a_request_stays_below_the_prefix() {
        let config = config();
        assert!(config.destination("s3", None, None).is_ok());
        assert!(config.destination("s3", Some("other"), Some("weaviate/prod/team")).is_ok());
        for path in [
            "weaviate",
            "weaviate/production",
            "elsewhere",
            "weaviate/prod/../x",
            "/weaviate/prod",
            "weaviate//prod",
        ] {
            let refused = config.destination("s3", None, Some(path));
            assert!(matches!(refused, Err(BackendError::Path { .. })), "{path}: {refused:?}");
        }
        let refused = config.destination("s3", Some("theirs"), None);
        assert!(matches!(refused, Err(BackendError::Bucket { .. })), "{refused:?}");
    }

    #[test]
    fn a_folder_stays_below_the_root() {
        let config = config();
        assert!(config.destination("filesystem", None, Some("team/a")).is_ok());
        for path in ["..", "a/../..", "/etc", "a//b", "a/./b", "a\0b", "%2e%2e", ".hidden"] {
            let refused = config.destination("filesystem", None, Some(path));
            assert!(matches!(refused, Err(BackendError::Path { .. })), "{path}: {refused:?}");
        }
        assert!(matches!(
            config.destination("filesystem", Some("lake"), None),
            Err(BackendError::NoBuckets)
        ));
    }

    #[test]
    fn only_what_is_configured_is_there() {
        let only_s3 = BackendConfig { filesystem_root: None, ..config() };
        for backend in ["filesystem", "gcs", ""] {
            let refused = only_s3.destination(backend, None, None);
            assert!(matches!(refused, Err(BackendError::NotAvailable { .. })), "{refused:?}");
        }
        assert_eq!(only_s3.known(), ["s3"]);
    }

    #[test]
    fn without_a_default_bucket_a_request_names_one() {
        let config = BackendConfig { bucket: None, ..config() };
        assert!(config.destination("s3", Some("other"), None).is_ok());
        for bucket in [None, Some("")] {
            let refused = config.destination("s3", bucket, None);
            assert!(matches!(refused, Err(BackendError::BucketNeeded { .. })), "{refused:?}");
        }
        assert_eq!(config.defaults().unwrap().len(), 1);
    }
}
