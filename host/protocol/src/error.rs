//! Errors of a store, each with the place, the operation and the remedy.
use std::fmt;

use crate::cloud::Cloud;

/// What was being done to an object or a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Opening or creating the folder of a destination.
    Open,
    /// Writing an object whole.
    Write,
    /// Writing a part of a large object.
    WritePart,
    /// Making a large object visible under its name.
    Complete,
    /// Removing what an upload had written.
    Abort,
    /// Reading an object.
    Read,
    /// Listing the objects of a folder.
    List,
    /// Removing an object.
    Delete,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operation::Open => "open",
            Operation::Write => "write",
            Operation::WritePart => "write a part of",
            Operation::Complete => "complete the upload of",
            Operation::Abort => "abort the upload of",
            Operation::Read => "read",
            Operation::List => "list",
            Operation::Delete => "remove",
        })
    }
}

/// Why a store failed, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// There is no such object or folder.
    NotFound,
    /// The object is there already, with other content.
    AlreadyExists,
    /// The operation is not allowed to this user.
    PermissionDenied,
    /// The volume is full, or the quota used up.
    DiskFull,
    /// A file would exceed the process's limit of file sizes.
    FileSizeLimit,
    /// The volume is mounted read-only.
    ReadOnly,
    /// A part of the path is a file.
    NotADirectory,
    /// The store lacks the operation: conditional writes, on a file system without hard links.
    Unsupported,
    /// There is no such bucket or container.
    BucketMissing,
    /// No credentials are set, and there is no role to take them from.
    NoCredentials,
    /// The store does not know the key, or its secret, token or signature is not the right one.
    WrongCredentials,
    /// The object is encrypted with a customer's key, and that key was not given.
    WrongEncryptionKey,
    /// The bucket is in another region.
    WrongRegion,
    /// No answer came, after a minute of trying.
    Unreachable,
    /// The store is overloaded or has an error of its own.
    StoreFailing,
    /// Anything else; the detail says what.
    Other,
}

impl Cause {
    /// What helps; `cloud` is none for a file system.
    fn remedy(self, operation: Operation, cloud: Option<Cloud>) -> String {
        let remedy = match self {
            Cause::NotFound => "check the path or URL",
            Cause::AlreadyExists => "another export writes under this id, or did; use another id",
            Cause::PermissionDenied => return permission_remedy(operation, cloud),
            Cause::DiskFull => "free space there, or choose another place",
            Cause::FileSizeLimit => "raise the limit of file sizes (ulimit -f)",
            Cause::ReadOnly => "choose a place that can be written to",
            Cause::NotADirectory => "choose a folder",
            Cause::Unsupported => {
                "choose a store with conditional writes (a file system with hard links)"
            }
            Cause::BucketMissing => match cloud {
                Some(Cloud::Azure) => "create the container, or correct its name",
                _ => "create the bucket, or correct its name",
            },
            Cause::NoCredentials => credentials_to_set(cloud),
            Cause::WrongCredentials => credentials_to_correct(cloud),
            Cause::WrongEncryptionKey => match cloud {
                Some(Cloud::Gcs) => {
                    "use the bucket's default key: customers' keys are not supported"
                }
                Some(Cloud::Azure) => "set AZURE_STORAGE_ENCRYPTION_KEY to the key of its writer",
                _ => {
                    "set AWS_SERVER_SIDE_ENCRYPTION=sse-c and AWS_SSE_CUSTOMER_KEY_BASE64 to the key of \
                     its writer"
                }
            },
            Cause::WrongRegion => match cloud {
                Some(Cloud::Gcs) => "check GOOGLE_BASE_URL",
                Some(Cloud::Azure) => "check AZURE_STORAGE_ENDPOINT",
                _ => "set AWS_REGION to the bucket's region",
            },
            Cause::Unreachable => match cloud {
                Some(Cloud::Gcs) => {
                    "check GOOGLE_BASE_URL (Google itself needs none), the network, and that the \
                     store runs"
                }
                Some(Cloud::Azure) => {
                    "check AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ENDPOINT (Azure itself needs \
                     none), the network, and that the store runs"
                }
                _ => {
                    "check AWS_ENDPOINT_URL (AWS itself needs none), the network, and that the store \
                     runs"
                }
            },
            Cause::StoreFailing => "try again later, or ask the operator of the store",
            Cause::Other => "see the detail",
        };
        remedy.to_owned()
    }
}

fn permission_remedy(operation: Operation, cloud: Option<Cloud>) -> String {
    let Some(cloud) = cloud else {
        return "give the user that runs offloom the right to do this, or choose another place"
            .to_owned();
    };
    let right = right(operation, cloud);
    match cloud {
        Cloud::S3 => format!(
            "give the user that runs offloom, or its access key, the right to do this ({right}), or \
             choose another place"
        ),
        Cloud::Gcs => format!(
            "give the service account the permission {right} on the bucket (the role Storage Object \
             User has all that are needed), or choose another place"
        ),
        Cloud::Azure => format!(
            "give the identity the role Storage Blob Data Contributor on the container, or the shared \
             access signature the permission {right} (an export needs racwdl), or choose another \
             place"
        ),
    }
}

/// What the store's own documentation calls the right to an operation.
fn right(operation: Operation, cloud: Cloud) -> &'static str {
    let of_clouds = match operation {
        Operation::Write => ("s3:PutObject", "storage.objects.create", "c and w (create, write)"),
        Operation::WritePart | Operation::Complete => (
            "s3:PutObject",
            "storage.objects.create and storage.multipartUploads.create",
            "c and w (create, write)",
        ),
        Operation::Abort => {
            ("s3:AbortMultipartUpload", "storage.multipartUploads.abort", "d (delete)")
        }
        Operation::Open | Operation::Read => ("s3:GetObject", "storage.objects.get", "r (read)"),
        Operation::List => ("s3:ListBucket", "storage.objects.list", "l (list)"),
        Operation::Delete => ("s3:DeleteObject", "storage.objects.delete", "d (delete)"),
    };
    match cloud {
        Cloud::S3 => of_clouds.0,
        Cloud::Gcs => of_clouds.1,
        Cloud::Azure => of_clouds.2,
    }
}

fn credentials_to_set(cloud: Option<Cloud>) -> &'static str {
    match cloud {
        Some(Cloud::Gcs) => {
            "set GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT to a key file, or run where \
             a service account gives credentials (GCE_METADATA_HOST says where to ask)"
        }
        Some(Cloud::Azure) => {
            "set AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_CONNECTION_STRING, \
             or AZURE_CLIENT_ID and AZURE_TENANT_ID with AZURE_CLIENT_SECRET or \
             AZURE_FEDERATED_TOKEN_FILE, or run where a managed identity gives credentials"
        }
        _ => {
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_ROLE_ARN and \
             AWS_WEB_IDENTITY_TOKEN_FILE, or run where a role gives credentials (profiles in \
             ~/.aws are not read)"
        }
    }
}

fn credentials_to_correct(cloud: Option<Cloud>) -> &'static str {
    match cloud {
        Some(Cloud::Gcs) => {
            "correct GOOGLE_APPLICATION_CREDENTIALS, GOOGLE_SERVICE_ACCOUNT or GOOGLE_BEARER_TOKEN, \
             which may have expired, and check this machine's clock"
        }
        Some(Cloud::Azure) => {
            "correct AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, which may have expired, or \
             what else gives credentials, and check this machine's clock"
        }
        _ => {
            "correct AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, which may \
             have expired, and check this machine's clock"
        }
    }
}

/// A store that could not be used. The message names the object by its whole address, what was
/// done to it and what helps; it never holds credentials.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The text does not name a destination.
    #[error("'{text}' is no place for exports: {reason}")]
    BadDestination {
        /// What was given.
        text: String,
        /// What is wrong with it, and what works.
        reason: String,
    },
    /// No store of that kind can be opened.
    #[error(
        "'{scheme}:' is no place for exports that this version can use; what works: \
         s3://bucket/prefix/, gs://bucket/prefix/, az://container/prefix/, \
         file:///absolute/path/, or a path"
    )]
    UnknownScheme {
        /// The scheme alone: the rest of a URL may hold a secret.
        scheme: String,
    },
    /// The cloud's variables, or this machine's CA certificates, do not make a client.
    #[error("no client of {} can be made from the {} variables: {reason}", .cloud.title(), .cloud.variables())]
    BadOptions {
        /// The kind of store.
        cloud: Cloud,
        /// What is wrong; it names variables and holds no secrets.
        reason: String,
    },
    /// The store overwrites an existing object despite the condition not to.
    #[error(
        "{url} has no conditional writes (If-None-Match): two coordinators could both win an \
         export's id; choose a store that has them, such as S3 itself, or switch them on"
    )]
    NoConditionalWrites {
        /// The address of the destination.
        url: String,
    },
    /// The file system of the destination lacks what an export needs.
    #[error(
        "{url} is on a mount without {lacks} ({detail}), and an export needs them to make a file \
         visible whole and to keep it: choose a folder on another mount, or a bucket"
    )]
    UnsuitableMount {
        /// The address of the folder that was tried.
        url: String,
        /// What is missing.
        lacks: &'static str,
        /// What the operating system said.
        detail: String,
    },
    /// The destination lies in the folder of another export.
    #[error(
        "{url} lies in the folder of an export ({export}), which would no longer be whole; choose a \
         place outside of it"
    )]
    InsideExport {
        /// The address of the destination.
        url: String,
        /// The address of the export's folder.
        export: String,
    },
    /// The store answered with an error.
    #[error("cannot {operation} {url}: {detail}; {}", .cause.remedy(*.operation, Cloud::of_url(.url)))]
    Failed {
        /// What was done.
        operation: Operation,
        /// The address of the object or folder.
        url: String,
        /// Why, as far as it is known.
        cause: Cause,
        /// What the store or the operating system said.
        detail: String,
    },
    /// An object is larger than anything that Offloom would have written there.
    #[error("{url} has {size_bytes} bytes, more than the {max_bytes} that it may have")]
    TooLarge {
        /// The address of the object.
        url: String,
        /// Its size.
        size_bytes: u64,
        /// The bound.
        max_bytes: u64,
    },
    /// The upload was used after it had failed.
    #[error("the upload of {url} was aborted after an earlier error")]
    Aborted {
        /// The address of the object.
        url: String,
    },
}

impl StoreError {
    /// The error without `secrets`, which a store may repeat in its answer.
    pub(crate) fn without(self, secrets: &[String]) -> StoreError {
        match self {
            StoreError::Failed { operation, url, cause, detail } => {
                let hide = |detail: String, secret: &String| detail.replace(secret.as_str(), "...");
                let detail = secrets.iter().fold(detail, hide);
                StoreError::Failed { operation, url, cause, detail }
            }
            other => other,
        }
    }

    /// Whether it is not there, or this user may not look into it.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.cause(), Some(Cause::NotFound | Cause::PermissionDenied))
    }

    /// Why the store refused; `None` where it was never asked.
    pub fn cause(&self) -> Option<Cause> {
        match self {
            StoreError::Failed { cause, .. } => Some(*cause),
            _ => None,
        }
    }
}
