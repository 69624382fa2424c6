//! Real parts that tests run against: an S3 server (SeaweedFS), a server of Azure's blob API
//! (Azurite), a stand-in for Google's, a proxy that makes faults, and Weaviate.
//!
//! Every call blocks and works with or without a Tokio runtime around it; what is asynchronous runs
//! on threads of this crate's own. A part that cannot do what it was asked panics and says why.
//!
//! # How SeaweedFS 4.48 behaves
//! * It is ready 3.1 s after its start, and the first PUT succeeds as soon as the S3 port answers:
//!   `weed server` itself sleeps 3 s before it opens that port.
//! * It reports statistics to its makers unless `-master.telemetry=false`, which is set here.
//! * Every bucket takes up to seven volumes of `-volume.max`, so seven buckets fill 50. Here one
//!   volume is made at a time (`WEED_MASTER_VOLUME_GROWTH_COPY_1=1`) of 1,000.
//! * Sockets appear in `/tmp` whatever `TMPDIR` says; they are removed with the data directory.
//! * Wrong keys are 403 in two ways: an unknown access key is `InvalidAccessKeyId`, a wrong secret
//!   `SignatureDoesNotMatch`. The read-only identity's writes are `AccessDenied`.
//! * A bucket that is not there is 404 `NoSuchBucket` for the administrator, but 403 `AccessDenied`
//!   for the read-only identity, and 403 for wrong keys.
//! * Signatures cover the Host header as it was sent, so a proxy that passes it on unchanged is
//!   accepted.
//! * It does not compare a body with the digest that its signature covers, but with the header
//!   `x-amz-checksum-sha256`.
//!
//! # How Azurite 3.35 behaves
//! * It is ready 1.5 s after its start. Its telemetry is off.
//! * A wrong key and a wrong signature are 403 `AuthorizationFailure`, where Azure says
//!   `AuthenticationFailed`; a signature that lacks a permission is 403
//!   `AuthorizationPermissionMismatch`. The answer to a HEAD has the code in `x-ms-error-code` alone.
//! * A name that has nothing but blocks of an unfinished upload is taken for a small object
//!   (409), and free for a completion.
//!
//! # What object_store 0.14.2 makes of it
//! * A refused PUT or GET is `Error::PermissionDenied`, a refused listing `Error::Generic`.
//! * A PUT or GET in a missing bucket is `Error::NotFound`, as for a missing key, and a listing of it
//!   `Error::Generic`. S3's code (`NoSuchBucket`, `NoSuchKey`) is in the error's text only.
//! * A conditional create whose reply was lost is tried again by the client itself, finds its own
//!   object and reports `AlreadyExists`: read back before it is believed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "only tests use this crate, and there a failed expectation is a failed test"
)]

mod azurite;
mod gcs;
mod installed;
mod ports;
mod proxy;
mod runtime;
mod seaweedfs;
mod store_requests;
mod weaviate;

pub use azurite::{AzureKeys, Azurite};
pub use gcs::{Gcs, GcsKeys};
pub use proxy::{Fault, Proxy, Requests, Script};
pub use seaweedfs::{Keys, SeaweedFs};
pub use weaviate::{WEAVIATE_VERSION, Weaviate, WeaviateSettings};
