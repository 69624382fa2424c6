//! What can go wrong in the schema that a server keeps on disk, each error with its place.
use std::io;

/// Why the schema of a data directory could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SchemaReadError {
    /// The system could not open or read a file.
    #[error("{file}: cannot read: {source}")]
    Read {
        /// Path relative to the data directory.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// Larger than what is read into memory at once.
    #[error("{file} has {file_bytes} bytes, more than the {limit_bytes} that are read")]
    TooLarge {
        /// Path relative to the data directory.
        file: String,
        /// Its length.
        file_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// Neither of the first two pages of a bbolt file is a meta page.
    #[error("{file}: none of its two meta pages is valid: no bbolt file of version 2, or damaged")]
    NoMetaPage {
        /// Path relative to the data directory.
        file: String,
    },
    /// A page of a bbolt file breaks the rules of its format, and no commit explains it.
    #[error("{file}, page {page}: {fault}: the file is damaged, or a copy of one in use")]
    Page {
        /// Path relative to the data directory.
        file: String,
        /// Which page.
        page: u64,
        /// What is wrong there.
        fault: PageFault,
    },
    /// The server committed to the file in the middle of reading it: reading again helps.
    #[error("{file} changed while it was read")]
    Changed {
        /// Path relative to the data directory.
        file: String,
    },
    /// An entry of the RAFT log is not what RAFT writes.
    #[error("{file}, log entry {index}: {reason}")]
    LogEntry {
        /// Path relative to the data directory.
        file: String,
        /// RAFT index of the entry.
        index: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// Entries between the snapshot and the log, or within the log, are missing. A snapshot that
    /// the server made in between explains it: reading again helps.
    #[error(
        "{file}: the log goes on with entry {found} where {expected} should follow the snapshot or \
         entry before it, so that the schema is not whole; give a saved GET /v1/schema instead"
    )]
    LogGap {
        /// Path relative to the data directory.
        file: String,
        /// RAFT index of the first entry that is missing.
        expected: u64,
        /// RAFT index of the entry in its place.
        found: u64,
    },
    /// A record of `schema.db` is not what Weaviate writes.
    #[error("{file}, {record}: {reason}")]
    Record {
        /// Path relative to the data directory.
        file: String,
        /// Which record: class and part.
        record: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl SchemaReadError {
    /// Whether a running server explains the error, so that reading again may succeed.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, SchemaReadError::Changed { .. } | SchemaReadError::LogGap { .. })
    }
}

/// What is wrong with a page (`data-directory.md` 5.3).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageFault {
    /// A pointer leads out of the file, or a page runs on past its end.
    #[error("it ends past page {last}, the last of the file")]
    OutOfFile {
        /// Highest page there is.
        last: u64,
    },
    /// The page's own number differs from its place.
    #[error("it says that it is page {found}")]
    Id {
        /// As stored.
        found: u64,
    },
    /// Neither a branch nor a leaf.
    #[error("flags {flags:#x} where a branch or a leaf should be")]
    Flags {
        /// As stored.
        flags: u16,
    },
    /// Two pointers lead to the page, or it lies in the overflow of another.
    #[error("it is part of the tree twice")]
    Twice,
    /// Branches and buckets within one another, deeper than any real tree.
    #[error("it lies more than {limit} levels deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// An element leads out of its page, or into the data of the one before it.
    #[error("element {element} of {count} points out of its place")]
    Element {
        /// Which element, from 0.
        element: u16,
        /// How many the page says there are.
        count: u16,
    },
    /// The keys do not ascend.
    #[error("element {element} is out of order")]
    Order {
        /// Which element, from 0.
        element: u16,
    },
}
