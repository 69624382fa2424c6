//! Places for exports: parsed from text, and opened as the folder of one export.
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use object_store::path::Path as StorePath;
use url::Url;

use super::bucket::BucketPlace;
use super::{ExportFolder, Patience, StoreOptions, filesystem};
use crate::cloud::Cloud;
use crate::error::{Cause, StoreError};
use crate::names::ExportId;
use crate::store::OpenStore;

/// A place for exports, parsed but not opened: `s3://bucket/prefix/`, `gs://bucket/prefix/`,
/// `az://container/prefix/`, `file:///absolute/path/`, or a path, which may be relative to the working
/// directory. As text it is a URL that parses back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    place: Place,
}

/// One variant a kind of store.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// An absolute path.
    Filesystem(PathBuf),
    Bucket(BucketPlace),
}

impl Destination {
    /// Reads a destination. For a bucket the process's variables are taken, see
    /// [`Destination::with_options`]; what stands after the bucket is taken as it is, without
    /// unescaping.
    ///
    /// # Errors
    /// [`StoreError::UnknownScheme`] for a scheme without a store, [`StoreError::BadDestination`]
    /// for a `file:` URL that has a host, a query or a fragment, for an empty path, and for a
    /// bucket or prefix that breaks the rules.
    pub fn parse(text: impl AsRef<OsStr>) -> Result<Destination, StoreError> {
        let text = text.as_ref();
        match text.to_str() {
            Some(text) => Destination::parse_text(text),
            // No URL, and no bucket.
            None => Destination::filesystem(Path::new(text)),
        }
    }

    fn parse_text(text: &str) -> Result<Destination, StoreError> {
        match split_scheme(text) {
            None => Destination::filesystem(Path::new(text)),
            Some(("file", rest)) => {
                let bad = |reason: &str| bad_destination(text, reason);
                if !rest.starts_with("///") {
                    return Err(bad("a file URL has three slashes: file:///absolute/path/"));
                }
                let url = Url::parse(text).map_err(|error| bad(&error.to_string()))?;
                if url.query().is_some() || url.fragment().is_some() {
                    return Err(bad("in a file URL write '?' as %3F and '#' as %23"));
                }
                let path = url.to_file_path();
                let path = path.map_err(|()| bad("it is not the URL of an absolute path"))?;
                Destination::filesystem(&path)
            }
            Some((scheme, rest)) => {
                let Some(cloud) = Cloud::of_scheme(scheme) else {
                    return Err(StoreError::UnknownScheme { scheme: scheme.to_owned() });
                };
                let rest = rest.strip_prefix("//").unwrap_or(rest);
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                if bucket.contains('@') {
                    let reason = format!(
                        "credentials do not belong into a URL, which others see, nor do accounts: set \
                         the {} variables instead",
                        cloud.variables()
                    );
                    return Err(bad_destination(text, &reason));
                }
                Destination::bucket(cloud, bucket, prefix)
            }
        }
    }

    /// A folder of the file system.
    ///
    /// # Errors
    /// [`StoreError::BadDestination`] for an empty path.
    pub fn filesystem(path: &Path) -> Result<Destination, StoreError> {
        let absolute = std::path::absolute(path)
            .map_err(|error| bad_destination(&path.display().to_string(), &error.to_string()))?;
        Ok(Destination { place: Place::Filesystem(absolute) })
    }

    /// A prefix of a bucket or container, such as `exports/2026` or nothing; a slash at its end does not
    /// matter. The process's variables say how the bucket is reached.
    ///
    /// # Errors
    /// [`StoreError::BadDestination`] for a bucket or prefix that breaks the rules.
    pub fn bucket(cloud: Cloud, bucket: &str, prefix: &str) -> Result<Destination, StoreError> {
        BucketPlace::new(cloud, bucket, prefix, StoreOptions::from_env())
            .map(|place| Destination { place: Place::Bucket(place) })
            .map_err(|reason| {
                bad_destination(&format!("{}://{bucket}/{prefix}", cloud.scheme()), &reason)
            })
    }

    /// The same place, reached in another way than the process's variables say. Without a meaning
    /// for a file system.
    pub fn with_options(mut self, options: StoreOptions) -> Destination {
        if let Place::Bucket(place) = &mut self.place {
            place.options = options;
        }
        self
    }

    /// The name of the backend, as the manifest and the API call it.
    pub fn backend(&self) -> &'static str {
        match &self.place {
            Place::Filesystem(_) => "filesystem",
            Place::Bucket(place) => place.cloud.backend(),
        }
    }

    /// The folder, if it is one of this machine's file systems.
    pub fn local_path(&self) -> Option<&Path> {
        match &self.place {
            Place::Filesystem(path) => Some(path),
            Place::Bucket(_) => None,
        }
    }

    /// The folders that hold this one, and it itself, innermost first. On a file system those that are
    /// there, and in which this user may look.
    ///
    /// # Errors
    /// Those of [`Destination::as_export_folder`].
    pub(crate) fn open_ancestors(
        &self,
        patience: Patience,
    ) -> Result<Vec<ExportFolder>, StoreError> {
        match &self.place {
            Place::Filesystem(path) => {
                let opened =
                    path.ancestors().map(|path| Destination::filesystem(path)?.open(patience));
                opened.filter(|opened| !opened.as_ref().is_err_and(StoreError::is_closed)).collect()
            }
            Place::Bucket(place) => {
                let folder = self.open(patience)?;
                let at = |place: BucketPlace| ExportFolder {
                    url: place.url(),
                    prefix: place.prefix,
                    ..folder.clone()
                };
                Ok(place.ancestors().into_iter().map(at).collect())
            }
        }
    }

    /// The address, with a slash at its end.
    pub fn url(&self) -> String {
        match &self.place {
            Place::Filesystem(path) => filesystem::folder_url(path),
            Place::Bucket(place) => place.url(),
        }
    }

    /// The folder of the export `id`, for writing. On a file system what is missing on the way to
    /// it is created; the folder itself appears with its first object.
    ///
    /// # Errors
    /// [`StoreError::Failed`] with [`crate::error::Operation::Open`], [`StoreError::BadOptions`].
    pub fn export_folder(&self, id: &ExportId) -> Result<ExportFolder, StoreError> {
        self.create_folders()?;
        let parent = self.open(Patience::Export)?;
        let url = format!("{}{id}/", parent.url);
        Ok(ExportFolder { prefix: parent.prefix.join(id.as_str()), url, ..parent })
    }

    /// The folder of the export `id`, for reading: nothing is created. `None` where the file system
    /// has no such folder; a bucket is not asked.
    ///
    /// # Errors
    /// [`StoreError::Failed`] with [`crate::error::Operation::Open`], [`StoreError::BadOptions`].
    pub fn existing_export_folder(
        &self,
        id: &ExportId,
    ) -> Result<Option<ExportFolder>, StoreError> {
        match &self.place {
            Place::Bucket(_) => self.export_folder(id).map(Some),
            Place::Filesystem(path) => {
                match Destination::filesystem(&path.join(id.as_str()))?.as_export_folder() {
                    Ok(folder) => Ok(Some(folder)),
                    Err(error) if error.cause() == Some(Cause::NotFound) => Ok(None),
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// Takes this destination for the folder of one export, for reading.
    ///
    /// # Errors
    /// [`StoreError::Failed`] with [`crate::error::Operation::Open`] when there is no such folder on
    /// the file system, [`StoreError::BadOptions`].
    pub fn as_export_folder(&self) -> Result<ExportFolder, StoreError> {
        self.open(Patience::Export)
    }

    pub(crate) fn create_folders(&self) -> Result<(), StoreError> {
        match &self.place {
            Place::Filesystem(path) => filesystem::create_folders(path),
            Place::Bucket(_) => Ok(()),
        }
    }

    pub(crate) fn open(&self, patience: Patience) -> Result<ExportFolder, StoreError> {
        let (OpenStore { objects, uploads }, prefix) = match &self.place {
            Place::Filesystem(path) => (filesystem::open(path)?, StorePath::default()),
            Place::Bucket(place) => (place.open(patience)?, place.prefix.clone()),
        };
        let folder = ExportFolder::new(objects, prefix, self.url());
        let folder = ExportFolder { uploads, ..folder };
        Ok(match &self.place {
            // `LocalFileSystem` panics where an object exists and its path is not UTF-8.
            Place::Filesystem(path) => {
                let local_root = Some(path.as_path().into());
                ExportFolder { looks_first: path.to_str().is_none(), local_root, ..folder }
            }
            Place::Bucket(place) => {
                ExportFolder { secrets: place.options.secrets().into(), ..folder }
            }
        })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url())
    }
}

fn bad_destination(text: &str, reason: &str) -> StoreError {
    let text = without_secrets(text).chars().flat_map(char::escape_debug).collect();
    StoreError::BadDestination { text, reason: reason.to_owned() }
}

/// A URL without what may be a secret: the user before the host, and the query.
fn without_secrets(text: &str) -> String {
    let Some((scheme, rest)) = split_scheme(text) else { return text.to_owned() };
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, _)| (rest, "?..."));
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    // The last one: a secret may hold a slash or another '@'.
    let (user, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, rest)| ("...@", rest));
    format!("{scheme}://{user}{rest}{query}")
}

/// Splits `scheme:rest` where the scheme is one (RFC 3986, 3.1) and has two letters at least.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let is_scheme = scheme.len() >= 2
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c))
        && (rest.starts_with("//") || scheme == "file");
    is_scheme.then_some((scheme, rest))
}
