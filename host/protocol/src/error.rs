//! Errors of a store, each with the place, the operation and the remedy.
use std::fmt;

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
    /// There is no such bucket.
    BucketMissing,
    /// No credentials are set, and there is no role to take them from.
    NoCredentials,
    /// The store does not know the access key, or its secret or token is not the right one.
    WrongCredentials,
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
    fn remedy(self) -> &'static str {
        match self {
            Cause::NotFound => "check the path or URL",
            Cause::AlreadyExists => "another export writes under this id, or did; use another id",
            Cause::PermissionDenied => {
                "give the user that runs offloom, or its access key, the right to do this, or choose \
                 another place"
            }
            Cause::DiskFull => "free space there, or choose another place",
            Cause::FileSizeLimit => "raise the limit of file sizes (ulimit -f)",
            Cause::ReadOnly => "choose a place that can be written to",
            Cause::NotADirectory => "choose a folder",
            Cause::Unsupported => {
                "choose a store with conditional writes (a file system with hard links)"
            }
            Cause::BucketMissing => "create the bucket, or correct its name",
            Cause::NoCredentials => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_ROLE_ARN and \
                 AWS_WEB_IDENTITY_TOKEN_FILE, or run where a role gives credentials (profiles in \
                 ~/.aws are not read)"
            }
            Cause::WrongCredentials => {
                "correct AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, which may \
                 have expired, and check this machine's clock"
            }
            Cause::WrongRegion => "set AWS_REGION to the bucket's region",
            Cause::Unreachable => {
                "check AWS_ENDPOINT_URL (AWS itself needs none), the network, and that the store runs"
            }
            Cause::StoreFailing => "try again later, or ask the operator of the store",
            Cause::Other => "see the detail",
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
         s3://bucket/prefix/, file:///absolute/path/, or a path"
    )]
    UnknownScheme {
        /// The scheme alone: the rest of a URL may hold a secret.
        scheme: String,
    },
    /// The `AWS_*` variables, or this machine's CA certificates, do not make a client.
    #[error("no S3 client can be made from the AWS_* variables: {reason}")]
    BadS3Options {
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
    #[error("cannot {operation} {url}: {detail}; {}", .cause.remedy())]
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
