//! What can go wrong in the schema that a server stored, each error with its place.
use std::io;

/// Why a stored schema could not be read. Paths are relative to the data directory.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The system could not open or read a file.
    #[error("{file}: cannot read: {source}")]
    Read {
        /// Path relative to the data directory.
        file: String,
        /// The system's error.
        source: io::Error,
    },
    /// The file is larger than what is read into memory at once.
    #[error("{file} has {file_bytes} bytes, more than the limit of {limit_bytes}")]
    TooLarge {
        /// Path relative to the data directory.
        file: String,
        /// Its length.
        file_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// Neither of the first two pages of a bbolt file is a valid meta page.
    #[error(
        "{file}: neither of its two meta pages is valid: it is damaged, or not a bbolt file of \
         version 2"
    )]
    NoMetaPage {
        /// Path relative to the data directory.
        file: String,
    },
    /// A page of a bbolt file violates its format, and no commit explains it.
    #[error("{file}, page {page}: {error}: the file is damaged, or was copied while in use")]
    Page {
        /// Path relative to the data directory.
        file: String,
        /// Number of the page.
        page: u64,
        /// What is wrong with it.
        error: PageError,
    },
    /// The server committed to the file during the read. Reading again helps.
    #[error("{file} changed while it was read")]
    Changed {
        /// Path relative to the data directory.
        file: String,
    },
    /// An entry of the RAFT log does not have the format that Weaviate writes.
    #[error("{file}, log entry {index}: {reason}")]
    LogEntry {
        /// Path relative to the data directory.
        file: String,
        /// RAFT index of the entry.
        index: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// Entries between the snapshot and the log, or within the log, are missing. If the server
    /// made a snapshot during the read, reading again helps.
    #[error(
        "{file}: entry {expected} of the log is missing, the next one is {found}: the schema would \
         be incomplete; give a saved answer of GET /v1/schema instead"
    )]
    LogGap {
        /// Path relative to the data directory.
        file: String,
        /// RAFT index of the first missing entry.
        expected: u64,
        /// RAFT index of the entry in its place.
        found: u64,
    },
    /// A record of `schema.db` does not have the format that Weaviate writes.
    #[error("{file}, {record}: {reason}")]
    Record {
        /// Path relative to the data directory.
        file: String,
        /// Class and part of the record.
        record: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl SchemaError {
    /// Whether permission to read is denied. The remedy is to be allowed, and never to go without.
    pub fn is_denied(&self) -> bool {
        matches!(self, SchemaError::Read { source, .. } if offloom_weaviate_access::is_denied(source))
    }

    /// Whether a running server may have caused the error, so that reading again may succeed.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, SchemaError::Changed { .. } | SchemaError::LogGap { .. })
    }
}

/// What is wrong with a page of a bbolt file (`data-directory.md` 5.3).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// A pointer leads out of the file, or the page's overflow does.
    #[error("it extends beyond page {last}, the last page of the file")]
    OutOfFile {
        /// The highest page in use.
        last: u64,
    },
    /// The page states another number than its own.
    #[error("its header states page number {found}")]
    Id {
        /// As stored.
        found: u64,
    },
    /// The page is neither a branch nor a leaf.
    #[error("its flags are {flags:#x}, which is neither a branch nor a leaf")]
    Flags {
        /// As stored.
        flags: u16,
    },
    /// Two pointers lead to the page, or it lies in the overflow of another.
    #[error("it occurs twice in the tree")]
    Twice,
    /// Its overflow is larger than in any real file.
    #[error("it has more than {limit} bytes with its overflow")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// Branches and buckets are nested deeper than in any real tree.
    #[error("it is nested more than {limit} levels deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// An element points out of its page, or into another element's data.
    #[error("element {element} of {count} points out of the page or into another element")]
    Element {
        /// Index of the element, from 0.
        element: u16,
        /// Number of elements that the page states.
        count: u16,
    },
    /// The keys do not ascend.
    #[error("the key of element {element} is out of order")]
    Order {
        /// Index of the element, from 0.
        element: u16,
    },
}
