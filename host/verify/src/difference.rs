//! The differences that a proof can find, each with its place.
use offloom_protocol::digest::Digest;
use offloom_protocol::manifest::Outcome;

use crate::footer::FooterError;

/// Something in an export that is not as its manifest says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// The export did not succeed: its files must not be read.
    #[error("the export ended as {outcome:?}: {}", .error.as_deref().unwrap_or("no reason given"))]
    Outcome {
        /// How it ended.
        outcome: Outcome,
        /// Why.
        error: Option<String>,
    },
    /// The manifest contradicts itself.
    #[error("export_metadata.json, {place}: {problem}")]
    Manifest {
        /// Where in it, such as `files[2].blocks[3]`.
        place: String,
        /// What is wrong there.
        problem: String,
    },
    /// An object that the manifest lists is not there.
    #[error("{key} is missing")]
    MissingObject {
        /// Its key.
        key: String,
    },
    /// An object has another size.
    #[error("{key} has {found_bytes} bytes, not {expected_bytes}")]
    Size {
        /// Its key.
        key: String,
        /// Its size.
        found_bytes: u64,
        /// Its size in the manifest.
        expected_bytes: u64,
    },
    /// An object that the manifest does not list.
    #[error("{} ({size_bytes} bytes) is not listed in export_metadata.json", .key.escape_debug())]
    UnlistedObject {
        /// Its key, as the store gives it.
        key: String,
        /// Its size.
        size_bytes: u64,
    },
    /// A file that is no Parquet file, or whose footer does not describe the listed blocks.
    #[error("{key}: {problem}")]
    Footer {
        /// The file's key.
        key: String,
        /// What is different.
        problem: FooterError,
    },
    /// The bytes of an object are not those that were written.
    #[error(
        "{key} was altered: its {} is {}, not {}",
        expected.algorithm.title(),
        found.value,
        expected.value.escape_debug()
    )]
    Digest {
        /// Its key.
        key: String,
        /// Digest of its bytes.
        found: Digest,
        /// Digest in the manifest.
        expected: Digest,
    },
    /// A column could not be read.
    #[error("{key}, row group {row_group}, column {column}: {reason}")]
    Unreadable {
        /// The file's key.
        key: String,
        /// From 0.
        row_group: usize,
        /// Its name.
        column: String,
        /// What its reader said.
        reason: String,
    },
    /// The reader of a class's ids gave up without a reason.
    #[error("{class}: its ids cannot be read: the Parquet reader gave up")]
    ReaderPanicked {
        /// The class.
        class: String,
    },
    /// The first or last row of a shard's run has another id.
    #[error("{class}, shard {shard}: its {end} id is {found}, not {expected} ({key}, row {row})")]
    EndOfRun {
        /// The class.
        class: String,
        /// The shard.
        shard: String,
        /// `first` or `last`.
        end: &'static str,
        /// The file's key.
        key: String,
        /// The row in the file, from 0.
        row: u64,
        /// The row's id.
        found: String,
        /// The id in the manifest.
        expected: String,
    },
    /// A shard's rows do not ascend by id; the first place where they do not.
    #[error("{class}, shard {shard}: id {id} comes after {previous} ({key}, row {row})")]
    Order {
        /// The class.
        class: String,
        /// The shard.
        shard: String,
        /// The file's key.
        key: String,
        /// The row in the file, from 0.
        row: u64,
        /// The row's id.
        id: String,
        /// The id of the row before.
        previous: String,
    },
    /// An id occurs twice in a class, or in one of its tenants.
    #[error("{class}: id {id} occurs twice, in shard {} and in shard {}", .shards.0, .shards.1)]
    DoubleId {
        /// The class.
        class: String,
        /// The id.
        id: String,
        /// Where.
        shards: (String, String),
    },
    /// More ids of the class occur twice than are shown one by one.
    #[error("{class}: {more} more ids occur twice")]
    MoreDoubleIds {
        /// The class.
        class: String,
        /// How many more.
        more: u64,
    },
    /// A row names another tenant than the shard whose run it is in.
    #[error("{class}, tenant {tenant}: a row names the tenant {found} ({key}, row {row})")]
    Tenant {
        /// The class.
        class: String,
        /// The tenant whose run it is.
        tenant: String,
        /// What the row names.
        found: String,
        /// The file's key.
        key: String,
        /// The row in the file, from 0.
        row: u64,
    },
}
