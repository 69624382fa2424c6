//! Weaviate's settings of backups and exports, which say where exports go when no setting of ours does.
use std::path::PathBuf;

use offloom_protocol::cloud::Cloud;

/// The bucket of exports, whichever of the clouds has it (`docs/format/export-api.md` 6).
const BUCKET_OF_EXPORTS: &str = "EXPORT_DEFAULT_BUCKET";

/// The prefix in that bucket, or the folder on a file system.
const PATH_OF_EXPORTS: &str = "EXPORT_DEFAULT_PATH";

/// The folder of backups on a file system.
const FILESYSTEM_PATH: &str = "BACKUP_FILESYSTEM_PATH";

/// The modules that a Weaviate server runs.
const MODULES: &str = "ENABLE_MODULES";

/// Where exports go by Weaviate's settings, and which variables say so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupSettings {
    /// Where there is a module for backups to a file system.
    pub filesystem: Option<BackupFolder>,
    /// At most one for each cloud.
    pub buckets: Vec<BackupBucket>,
}

/// A folder, and the variable that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupFolder {
    /// An absolute path.
    pub path: PathBuf,
    /// Such as `BACKUP_FILESYSTEM_PATH`.
    pub source: &'static str,
}

/// A bucket and a prefix, and the variables that name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupBucket {
    /// Whose bucket it is.
    pub cloud: Cloud,
    /// Its name.
    pub bucket: String,
    /// The prefix; it may be empty.
    pub path: String,
    /// Such as `BACKUP_S3_BUCKET`.
    pub bucket_source: &'static str,
    /// Such as `BACKUP_S3_PATH`; none where the prefix is empty.
    pub path_source: Option<&'static str>,
}

/// The variables of a cloud's module for backups: its name, the bucket, the prefix.
fn module(cloud: Cloud) -> (&'static str, &'static str, &'static str) {
    match cloud {
        Cloud::S3 => ("backup-s3", "BACKUP_S3_BUCKET", "BACKUP_S3_PATH"),
        Cloud::Gcs => ("backup-gcs", "BACKUP_GCS_BUCKET", "BACKUP_GCS_PATH"),
        Cloud::Azure => ("backup-azure", "BACKUP_AZURE_CONTAINER", "BACKUP_AZURE_PATH"),
    }
}

impl BackupSettings {
    /// Reads the variables, through `variable`. A backend is there where its module is named in
    /// `ENABLE_MODULES`, or its bucket or folder is set. The bucket of exports stands above that of
    /// backups, and each has a prefix of its own.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> BackupSettings {
        let text = |name: &str| variable(name).map(|text| text.trim().to_owned());
        let set = |name: &str| text(name).filter(|text| !text.is_empty());
        let modules = set(MODULES).unwrap_or_default();
        let is_on = |name: &str| modules.split(',').any(|module| module.trim() == name);
        let bucket = |cloud| {
            let (name, own_bucket, own_path) = module(cloud);
            let of_backups = set(own_bucket);
            if of_backups.is_none() && !is_on(name) {
                return None;
            }
            let path_of = |name| set(name).map(|path| (path, name));
            let (bucket, bucket_source, path) = match set(BUCKET_OF_EXPORTS) {
                Some(bucket) => (bucket, BUCKET_OF_EXPORTS, path_of(PATH_OF_EXPORTS)),
                None => {
                    let path = path_of(PATH_OF_EXPORTS).or_else(|| path_of(own_path));
                    (of_backups?, own_bucket, path)
                }
            };
            let (path, path_source) =
                path.map_or((String::new(), None), |(path, source)| (path, Some(source)));
            let path = path.trim_start_matches('/').to_owned();
            Some(BackupBucket { cloud, bucket, path, bucket_source, path_source })
        };
        let filesystem = (is_on("backup-filesystem") || set(FILESYSTEM_PATH).is_some())
            .then(|| {
                let named = |source| Some((PathBuf::from(set(source)?), source));
                let found = [PATH_OF_EXPORTS, FILESYSTEM_PATH].into_iter().filter_map(named);
                let mut found = found;
                found.find(|(path, _)| path.is_absolute())
            })
            .flatten()
            .map(|(path, source)| BackupFolder { path, source });
        BackupSettings { filesystem, buckets: Cloud::ALL.into_iter().filter_map(bucket).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> BackupSettings {
        BackupSettings::read(|name| {
            let found = variables.iter().find(|(set, _)| *set == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    /// Bucket and path as a URL, and what they come from.
    fn places(variables: &[(&str, &str)]) -> Vec<String> {
        let described = |bucket: &BackupBucket| {
            format!(
                "{} {}/{} by {} {}",
                bucket.cloud.backend(),
                bucket.bucket,
                bucket.path,
                bucket.bucket_source,
                bucket.path_source.unwrap_or("-")
            )
        };
        read(variables).buckets.iter().map(described).collect()
    }

    #[test]
    fn the_bucket_of_exports_stands_above_that_of_backups() {
        let backup = [("BACKUP_S3_BUCKET", "backups"), ("BACKUP_S3_PATH", "/b")];
        assert_eq!(places(&backup), ["s3 backups/b by BACKUP_S3_BUCKET BACKUP_S3_PATH"]);
        let bucket = ("EXPORT_DEFAULT_BUCKET", " exports\n");
        let path = ("EXPORT_DEFAULT_PATH", "e");
        assert_eq!(
            places(&[backup[0], backup[1], bucket, path]),
            ["s3 exports/e by EXPORT_DEFAULT_BUCKET EXPORT_DEFAULT_PATH"]
        );
        // The path of backups is one in their bucket.
        assert_eq!(
            places(&[backup[0], backup[1], bucket]),
            ["s3 exports/ by EXPORT_DEFAULT_BUCKET -"]
        );
        assert_eq!(
            places(&[backup[0], backup[1], path]),
            ["s3 backups/e by BACKUP_S3_BUCKET EXPORT_DEFAULT_PATH"]
        );
    }

    #[test]
    fn a_module_that_is_on_or_configured_is_a_backend() {
        let bucket = ("EXPORT_DEFAULT_BUCKET", "exports");
        assert_eq!(places(&[bucket]), <[String; 0]>::default());
        let on = ("ENABLE_MODULES", "text2vec-x, backup-gcs,backup-azure");
        assert_eq!(
            places(&[bucket, on]),
            [
                "gcs exports/ by EXPORT_DEFAULT_BUCKET -",
                "azure exports/ by EXPORT_DEFAULT_BUCKET -"
            ]
        );
        assert_eq!(places(&[on]), <[String; 0]>::default());
        let azure = [("BACKUP_AZURE_CONTAINER", "c"), ("BACKUP_AZURE_PATH", "p/q")];
        assert_eq!(places(&azure), ["azure c/p/q by BACKUP_AZURE_CONTAINER BACKUP_AZURE_PATH"]);
        let empty = [("BACKUP_GCS_BUCKET", ""), ("BACKUP_S3_PATH", "p")];
        assert_eq!(read(&empty), BackupSettings::default());
    }

    #[test]
    fn the_folder_of_exports_is_absolute() {
        let backup = ("BACKUP_FILESYSTEM_PATH", "/backups");
        let folder = |variables: &[(&str, &str)]| {
            read(variables).filesystem.map(|folder| (folder.path, folder.source))
        };
        assert_eq!(folder(&[backup]), Some(("/backups".into(), "BACKUP_FILESYSTEM_PATH")));
        let exports = ("EXPORT_DEFAULT_PATH", "/exports");
        assert_eq!(folder(&[backup, exports]), Some(("/exports".into(), "EXPORT_DEFAULT_PATH")));
        let prefix = ("EXPORT_DEFAULT_PATH", "prefix");
        assert_eq!(folder(&[backup, prefix]), Some(("/backups".into(), "BACKUP_FILESYSTEM_PATH")));
        assert_eq!(folder(&[exports]), None);
        let on = ("ENABLE_MODULES", "backup-filesystem");
        assert_eq!(folder(&[on, exports]), Some(("/exports".into(), "EXPORT_DEFAULT_PATH")));
    }
}
