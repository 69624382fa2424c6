//! The clouds whose stores hold exports, and what each of them calls its things.

/// A kind of store that is reached over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cloud {
    /// S3, and stores that speak its API.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

impl Cloud {
    /// All of them.
    pub const ALL: [Cloud; 3] = [Cloud::S3, Cloud::Gcs, Cloud::Azure];

    /// The name of the backend, as the manifest and the API call it: `s3`, `gcs`, `azure`.
    pub fn backend(self) -> &'static str {
        match self {
            Cloud::S3 => "s3",
            Cloud::Gcs => "gcs",
            Cloud::Azure => "azure",
        }
    }

    /// The scheme of its URLs: `s3`, `gs`, `az`.
    pub fn scheme(self) -> &'static str {
        match self {
            Cloud::S3 => "s3",
            Cloud::Gcs => "gs",
            Cloud::Azure => "az",
        }
    }

    /// What holds its objects: a `bucket`, or on Azure a `container`.
    pub fn bucket_word(self) -> &'static str {
        match self {
            Cloud::S3 | Cloud::Gcs => "bucket",
            Cloud::Azure => "container",
        }
    }

    /// Its name in messages.
    pub fn title(self) -> &'static str {
        match self {
            Cloud::S3 => "S3",
            Cloud::Gcs => "Google Cloud Storage",
            Cloud::Azure => "Azure Blob Storage",
        }
    }

    /// The variables that say how it is reached.
    pub fn variables(self) -> &'static str {
        match self {
            Cloud::S3 => "AWS_*",
            Cloud::Gcs => "GOOGLE_*",
            Cloud::Azure => "AZURE_*",
        }
    }

    /// The cloud of a URL's scheme.
    pub fn of_scheme(scheme: &str) -> Option<Cloud> {
        Cloud::ALL.into_iter().find(|cloud| cloud.scheme() == scheme)
    }

    /// The cloud whose store `url` names.
    pub(crate) fn of_url(url: &str) -> Option<Cloud> {
        url.split_once("://").and_then(|(scheme, _)| Cloud::of_scheme(scheme))
    }
}
