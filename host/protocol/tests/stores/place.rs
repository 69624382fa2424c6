//! A place for exports of each kind, new for each test, and what lies in it as others see it.
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use offloom_protocol::cloud::Cloud;
use offloom_protocol::store::{Destination, ExportFolder};
use offloom_test_parts::{AzureKeys, Azurite, Gcs, GcsKeys, Keys, Proxy, SeaweedFs};
use tempfile::TempDir;

use crate::id;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Filesystem,
    S3,
    Gcs,
    Azure,
}

impl Kind {
    pub fn cloud(self) -> Option<Cloud> {
        match self {
            Kind::Filesystem => None,
            Kind::S3 => Some(Cloud::S3),
            Kind::Gcs => Some(Cloud::Gcs),
            Kind::Azure => Some(Cloud::Azure),
        }
    }

    /// The variables that reach the server, or a proxy before it, with keys that may do everything.
    pub fn variables(self, proxy: Option<&Proxy>) -> Vec<(String, String)> {
        let at = |own: &str| proxy.map_or_else(|| own.to_owned(), Proxy::endpoint);
        match self {
            Kind::Filesystem => Vec::new(),
            Kind::S3 => Keys::ReadWrite.environment(&at(SeaweedFs::shared().endpoint())),
            Kind::Gcs => GcsKeys::Token.environment(&at(&Gcs::shared().endpoint())),
            Kind::Azure => AzureKeys::Account.environment(&at(Azurite::shared().origin())),
        }
    }

    /// A proxy that makes faults before the server.
    pub fn proxy(self) -> Proxy {
        match self {
            Kind::Filesystem => panic!("there is no network before a file system"),
            Kind::S3 => Proxy::start(SeaweedFs::shared().endpoint()),
            Kind::Gcs => Proxy::start(&Gcs::shared().endpoint()),
            Kind::Azure => Proxy::start(Azurite::shared().origin()),
        }
    }
}

/// A bucket, a container or a folder.
pub struct Place {
    pub kind: Kind,
    pub bucket: String,
    folder: TempDir,
}

impl Place {
    /// A new one, with nothing in it.
    pub fn new(kind: Kind) -> Place {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let bucket = format!("place-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        match kind {
            Kind::Filesystem => {}
            Kind::S3 | Kind::Gcs => SeaweedFs::shared().create_bucket(&bucket),
            Kind::Azure => Azurite::shared().create_container(&bucket),
        }
        Place { kind, bucket, folder: tempfile::tempdir().unwrap() }
    }

    /// `exports/` in it, reached with these variables.
    pub fn destination_with(&self, variables: Vec<(String, String)>) -> Destination {
        match self.kind.cloud() {
            None => Destination::filesystem(&self.folder.path().join("exports")).unwrap(),
            Some(cloud) => Destination::bucket(cloud, &self.bucket, "exports")
                .unwrap()
                .with_options(variables.into_iter().collect()),
        }
    }

    pub fn destination(&self) -> Destination {
        self.destination_with(self.kind.variables(None))
    }

    pub fn through(&self, proxy: &Proxy) -> Destination {
        self.destination_with(self.kind.variables(Some(proxy)))
    }

    /// `exports/e1/`, for writing.
    pub fn folder(&self) -> ExportFolder {
        self.destination().export_folder(&id("e1")).unwrap()
    }

    /// Keys and sizes of all that lies below `exports/`.
    pub fn objects(&self) -> BTreeMap<String, u64> {
        match self.kind {
            Kind::Filesystem => {
                let mut found = BTreeMap::new();
                add_files(self.folder.path(), self.folder.path(), &mut found);
                found
            }
            Kind::S3 | Kind::Gcs => SeaweedFs::shared().objects(&self.bucket, ""),
            Kind::Azure => Azurite::shared().objects(&self.bucket, ""),
        }
    }

    pub fn read(&self, key: &str) -> Bytes {
        match self.kind {
            Kind::Filesystem => std::fs::read(self.folder.path().join(key)).unwrap().into(),
            Kind::S3 | Kind::Gcs => SeaweedFs::shared().read(&self.bucket, key),
            Kind::Azure => Azurite::shared().read(&self.bucket, key),
        }
    }

    /// What unfinished uploads have left. On a file system it is among the objects.
    pub fn open_uploads(&self) -> Vec<String> {
        match self.kind {
            Kind::Filesystem => Vec::new(),
            Kind::S3 | Kind::Gcs => SeaweedFs::shared().open_uploads(&self.bucket),
            Kind::Azure => Azurite::shared().uncommitted(&self.bucket),
        }
    }
}

fn add_files(root: &Path, folder: &Path, found: &mut BTreeMap<String, u64>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add_files(root, &path, found);
        } else {
            let key = path.strip_prefix(root).unwrap().display().to_string();
            found.insert(key, path.metadata().unwrap().len());
        }
    }
}
