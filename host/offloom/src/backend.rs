//! Where exports may be created: the backends of this server, and the allowed buckets and paths.
use std::convert::Infallible;
use std::path::PathBuf;

use clap::Args;
use offloom_protocol::cloud::Cloud;
use offloom_protocol::error::StoreError;
use offloom_protocol::store::{Destination, StoreOptions};
use serde::{Deserialize, Serialize};

use crate::backup_settings::{BackupBucket, BackupSettings};
use crate::setting_sources::Setting;

/// What Weaviate puts before a backend's name where it means the module of that name.
const MODULE_PREFIX: &str = "backup-";

/// Settings of the backends.
#[derive(Debug, Clone, Default, Args, Deserialize, Serialize)]
#[serde(default)]
pub struct BackendConfig {
    /// The folder of the backend `filesystem`; without it there is no such backend
    #[arg(long, env = "OFFLOOM_FILESYSTEM_ROOT", value_name = "DIR")]
    pub filesystem_root: Option<PathBuf>,
    /// The bucket of the backend `s3`; without it there is no such backend. Credentials, region and
    /// endpoint come from the AWS_* variables
    #[arg(long, env = "OFFLOOM_BUCKET", value_name = "NAME")]
    pub bucket: Option<String>,
    /// More buckets of S3 that a request may name
    #[arg(long, env = "OFFLOOM_ALLOWED_BUCKETS", value_name = "A,B", value_delimiter = ',', value_parser = trimmed)]
    pub allowed_buckets: Vec<String>,
    /// The bucket of the backend `gcs`; without it there is no such backend. Credentials come from the
    /// GOOGLE_* variables
    #[arg(long, env = "OFFLOOM_GCS_BUCKET", value_name = "NAME")]
    pub gcs_bucket: Option<String>,
    /// More buckets of Google Cloud Storage that a request may name
    #[arg(long, env = "OFFLOOM_ALLOWED_GCS_BUCKETS", value_name = "A,B", value_delimiter = ',', value_parser = trimmed)]
    pub allowed_gcs_buckets: Vec<String>,
    /// The container of the backend `azure`; without it there is no such backend. The storage account
    /// and its credentials come from the AZURE_* variables
    #[arg(long, env = "OFFLOOM_AZURE_CONTAINER", value_name = "NAME")]
    pub azure_container: Option<String>,
    /// More containers of that account that a request may name
    #[arg(long, env = "OFFLOOM_ALLOWED_AZURE_CONTAINERS", value_name = "A,B", value_delimiter = ',', value_parser = trimmed)]
    pub allowed_azure_containers: Vec<String>,
    /// A prefix that every path in a bucket starts with
    #[arg(long, env = "OFFLOOM_PATH", value_name = "PREFIX")]
    pub path: String,
    /// Where exports go when none of these settings names a place.
    #[arg(skip)]
    #[serde(skip)]
    pub backups: Option<BackupSettings>,
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
    /// The bucket or container is not allowed.
    #[error("{} '{bucket}' is not allowed: the operator allows {allowed}", .cloud.bucket_word())]
    Bucket {
        /// Whose bucket it would be.
        cloud: Cloud,
        /// The bucket in the request.
        bucket: String,
        /// What is allowed.
        allowed: String,
    },
    /// There is no default bucket, and the request names none.
    #[error(
        "this server has no default {}: name one of {allowed} as config.bucket",
        .cloud.bucket_word()
    )]
    BucketNeeded {
        /// Whose bucket it would be.
        cloud: Cloud,
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

/// The backend that a name means: Weaviate's modules have names of their own, such as `backup-s3`.
pub fn backend_name(name: &str) -> &str {
    let known = |name: &&str| *name == "filesystem" || cloud_of(name).is_some();
    name.strip_prefix(MODULE_PREFIX).filter(known).unwrap_or(name)
}

fn cloud_of(backend: &str) -> Option<Cloud> {
    Cloud::ALL.into_iter().find(|cloud| cloud.backend() == backend)
}

impl BackendConfig {
    /// Takes Weaviate's settings of backups and exports, which `variable` reads, where no setting of
    /// ours names a place.
    pub fn take_backup_settings(&mut self, variable: impl Fn(&str) -> Option<String>) {
        if self.known().is_empty() {
            let backups = BackupSettings::read(variable);
            self.filesystem_root = backups.filesystem.as_ref().map(|folder| folder.path.clone());
            self.backups = Some(backups);
        }
    }

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
        let name = backend_name(backend);
        if let (Some(root), "filesystem") = (&self.filesystem_root, name) {
            if bucket.is_some() {
                return Err(BackendError::NoBuckets);
            }
            let path = path.map_or(Ok(String::new()), checked_path)?;
            return Ok(Destination::filesystem(&root.join(path))?);
        }
        let Some(cloud) = cloud_of(name).filter(|cloud| self.has(*cloud)) else {
            return Err(self.not_available(backend));
        };
        let allowed = || self.buckets(cloud).collect::<Vec<_>>().join(", ");
        let Some(bucket) = bucket.or_else(|| self.default_bucket(cloud)) else {
            return Err(BackendError::BucketNeeded { cloud, allowed: allowed() });
        };
        if !self.buckets(cloud).any(|allowed| allowed == bucket) {
            let (bucket, allowed) = (bucket.to_owned(), allowed());
            return Err(BackendError::Bucket { cloud, bucket, allowed });
        }
        let path = prefixed(self.prefix(cloud), path)?;
        Ok(Destination::bucket(cloud, bucket, &path)?)
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
        let has_default = |cloud: &Cloud| self.default_bucket(*cloud).is_some();
        let clouds = Cloud::ALL.into_iter().filter(has_default).map(Cloud::backend);
        let names = filesystem.into_iter().chain(clouds);
        names.map(|name| self.destination(name, None, None)).collect()
    }

    fn default_bucket(&self, cloud: Cloud) -> Option<&str> {
        let own = match cloud {
            Cloud::S3 => &self.bucket,
            Cloud::Gcs => &self.gcs_bucket,
            Cloud::Azure => &self.azure_container,
        };
        let of_backups = || self.of_backups(cloud).map(|place| place.bucket.as_str());
        own.as_deref().or_else(of_backups)
    }

    fn of_backups(&self, cloud: Cloud) -> Option<&BackupBucket> {
        self.backups.as_ref()?.buckets.iter().find(|bucket| bucket.cloud == cloud)
    }

    /// The buckets that a request may name, the default one first.
    fn buckets(&self, cloud: Cloud) -> impl Iterator<Item = &str> {
        let allowed = match cloud {
            Cloud::S3 => &self.allowed_buckets,
            Cloud::Gcs => &self.allowed_gcs_buckets,
            Cloud::Azure => &self.allowed_azure_containers,
        };
        self.default_bucket(cloud).into_iter().chain(allowed.iter().map(String::as_str))
    }

    fn has(&self, cloud: Cloud) -> bool {
        self.buckets(cloud).next().is_some()
    }

    /// The backends that this server has.
    pub fn known(&self) -> Vec<&'static str> {
        let filesystem = self.filesystem_root.as_ref().map(|_| "filesystem");
        let clouds = Cloud::ALL.into_iter().filter(|cloud| self.has(*cloud)).map(Cloud::backend);
        filesystem.into_iter().chain(clouds).collect()
    }

    /// What every path in a cloud's buckets starts with.
    fn prefix(&self, cloud: Cloud) -> &str {
        match self.of_backups(cloud) {
            Some(place) if self.path.is_empty() => &place.path,
            _ => &self.path,
        }
    }

    /// The places of the backends and the variables of their clouds, with what each comes from;
    /// secrets are hidden.
    pub fn shown(&self) -> Vec<Setting> {
        let of_folder = self.backups.as_ref().and_then(|backups| backups.filesystem.as_ref());
        let folder = self.filesystem_root.iter().map(|root| Setting {
            key: "backend filesystem".to_owned(),
            value: root.display().to_string(),
            source: of_folder.map_or("settings", |folder| folder.source).to_owned(),
        });
        let places = Cloud::ALL.into_iter().filter_map(|cloud| {
            let bucket = self.default_bucket(cloud)?;
            let source = match self.of_backups(cloud) {
                None => "settings".to_owned(),
                Some(place) if self.path.is_empty() => {
                    let sources = [Some(place.bucket_source), place.path_source];
                    sources.into_iter().flatten().collect::<Vec<_>>().join(", ")
                }
                Some(place) => format!("{}, settings", place.bucket_source),
            };
            let value = format!("{}://{bucket}/{}", cloud.scheme(), self.prefix(cloud));
            Some(Setting { key: format!("backend {}", cloud.backend()), value, source })
        });
        let options = StoreOptions::from_env();
        let clouds = Cloud::ALL.into_iter().filter(|cloud| self.has(*cloud));
        let variables = clouds.flat_map(|cloud| options.shown(cloud)).map(|(key, value)| Setting {
            key,
            value,
            source: "variable".to_owned(),
        });
        folder.chain(places).chain(variables).collect()
    }
}

/// The path in a bucket. One that a request names must start with the prefix.
fn prefixed(prefix: &str, path: Option<&str>) -> Result<String, BackendError> {
    let prefix = checked_path(prefix)?;
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
            gcs_bucket: Some("lake-of-google".to_owned()),
            allowed_gcs_buckets: vec!["other-of-google".to_owned()],
            azure_container: Some("lake-of-azure".to_owned()),
            allowed_azure_containers: vec!["other-of-azure".to_owned()],
            path: "weaviate/prod".to_owned(),
            ..BackendConfig::default()
        }
    }

    fn by_backups(variables: &[(&str, &str)], mut config: BackendConfig) -> BackendConfig {
        config.take_backup_settings(|name| {
            let found = variables.iter().find(|(set, _)| *set == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        config
    }

    #[test]
    fn each_backend_has_its_own_buckets_and_the_names_of_weaviates_modules() {
        let config = config();
        for (backend, bucket, other, scheme) in [
            ("s3", "lake", "other", "s3"),
            ("gcs", "lake-of-google", "other-of-google", "gs"),
            ("azure", "lake-of-azure", "other-of-azure", "az"),
        ] {
            for name in [backend, &format!("backup-{backend}")] {
                let own = config.destination(name, None, None).unwrap();
                assert_eq!(own.url(), format!("{scheme}://{bucket}/weaviate/prod/"));
                assert_eq!(own.backend(), backend);
                let path = Some("weaviate/prod/team");
                let named = config.destination(name, Some(other), path).unwrap();
                assert_eq!(named.url(), format!("{scheme}://{other}/weaviate/prod/team/"));
            }
            for theirs in ["theirs", "lake", "lake-of-google", "lake-of-azure"] {
                let refused = config.destination(backend, Some(theirs), None);
                let is_refused = matches!(refused, Err(BackendError::Bucket { .. }));
                assert_eq!(is_refused, theirs != bucket, "{backend}: {theirs}: {refused:?}");
            }
        }
        assert_eq!(backend_name("backup-filesystem"), "filesystem");
        for name in ["backup-", "backup-x", "s3", "backup-backup-s3", "x"] {
            assert_eq!(backend_name(name), name);
        }
        assert_eq!(config.known(), ["filesystem", "s3", "gcs", "azure"]);
        assert_eq!(config.defaults().unwrap().len(), 4);
    }

    #[test]
    fn a_request_stays_below_the_prefix() {
        let config = config();
        for path in [
            "weaviate",
            "weaviate/production",
            "elsewhere",
            "weaviate/prod/../x",
            "/weaviate/prod",
            "weaviate//prod",
        ] {
            for backend in ["s3", "gcs", "azure"] {
                let refused = config.destination(backend, None, Some(path));
                assert!(matches!(refused, Err(BackendError::Path { .. })), "{path}: {refused:?}");
            }
        }
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
        let only_s3 = BackendConfig { bucket: Some("lake".to_owned()), ..BackendConfig::default() };
        for backend in ["filesystem", "gcs", "azure", "", "gs", "backup-gcs"] {
            let refused = only_s3.destination(backend, None, None);
            assert!(matches!(refused, Err(BackendError::NotAvailable { .. })), "{refused:?}");
        }
        assert_eq!(only_s3.known(), ["s3"]);
    }

    #[test]
    fn without_a_default_bucket_a_request_names_one() {
        let config = BackendConfig { bucket: None, azure_container: None, ..config() };
        assert!(config.destination("s3", Some("other"), None).is_ok());
        assert!(config.destination("azure", Some("other-of-azure"), None).is_ok());
        for (backend, bucket) in [("s3", None), ("s3", Some("")), ("azure", None)] {
            let refused = config.destination(backend, bucket, None);
            assert!(matches!(refused, Err(BackendError::BucketNeeded { .. })), "{refused:?}");
        }
        assert_eq!(config.defaults().unwrap().len(), 2);
    }

    #[test]
    fn settings_of_backups_count_where_no_place_is_set() {
        let variables = [
            ("BACKUP_S3_BUCKET", "backups"),
            ("BACKUP_S3_PATH", "weaviate"),
            ("BACKUP_AZURE_CONTAINER", "backups-of-azure"),
            ("BACKUP_FILESYSTEM_PATH", "/backups"),
        ];
        let config = by_backups(&variables, BackendConfig::default());
        assert_eq!(config.known(), ["filesystem", "s3", "azure"]);
        let urls: Vec<_> = config.defaults().unwrap().iter().map(Destination::url).collect();
        assert_eq!(urls, ["file:///backups/", "s3://backups/weaviate/", "az://backups-of-azure/"]);
        let shown: Vec<_> = config.shown().into_iter().take(3).collect();
        let shown: Vec<_> =
            shown.iter().map(|it| [&*it.key, &*it.value, &*it.source].join(" ")).collect();
        assert_eq!(
            shown,
            [
                "backend filesystem /backups BACKUP_FILESYSTEM_PATH",
                "backend s3 s3://backups/weaviate BACKUP_S3_BUCKET, BACKUP_S3_PATH",
                "backend azure az://backups-of-azure/ BACKUP_AZURE_CONTAINER",
            ]
        );
        // The operator's prefix bounds requests here too.
        assert!(config.destination("s3", None, Some("weaviate/a")).is_ok());
        config.destination("s3", None, Some("elsewhere")).unwrap_err();

        let own_path = BackendConfig { path: "mine".to_owned(), ..BackendConfig::default() };
        let config = by_backups(&variables, own_path);
        assert_eq!(config.destination("s3", None, None).unwrap().url(), "s3://backups/mine/");

        // With a place of ours, none of Weaviate's counts: not its bucket, nor the path in it.
        let own = BackendConfig { bucket: Some("lake".to_owned()), ..BackendConfig::default() };
        let config = by_backups(&variables, own);
        assert_eq!(config.known(), ["s3"]);
        assert_eq!(config.destination("s3", None, None).unwrap().url(), "s3://lake/");
        assert_eq!(config.shown()[0].source, "settings");
    }
}
