//! What can go wrong in a data directory, each error with the place that shows it.
use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use offloom_rows::CursorError;
use uuid::Uuid;

use crate::schema::{SchemaError, SchemaFileError};

/// A file of a shard's objects bucket, or the bucket itself when `file` is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Exact class name.
    pub class: Arc<str>,
    /// Shard (tenant) name.
    pub shard: Arc<str>,
    /// File name within `<class>/<shard>/lsm/objects`; empty for the bucket as a whole.
    pub file: Box<str>,
    /// The data directory, where there are several.
    pub node: Option<Arc<Path>>,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "class {}, shard {}", self.class, self.shard)?;
        if !self.file.is_empty() {
            write!(formatter, ", file {}", self.file)?;
        }
        if let Some(node) = &self.node {
            write!(formatter, " in {}", node.display())?;
        }
        Ok(())
    }
}

/// Why a data directory or its rows could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The data directory itself cannot be opened.
    #[error("cannot open the data directory {path}: {source}")]
    OpenDirectory {
        /// As it was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No class, and none of the files that every Weaviate server leaves.
    #[error(
        "{path} is not a Weaviate data directory: it holds no class, no `raft` and no `schema.db`; \
         name the directory that PERSISTENCE_DATA_PATH names"
    )]
    NotADataDirectory {
        /// As it was given.
        path: PathBuf,
    },
    /// No directory was given.
    #[error("no data directory was given")]
    NoDirectory,
    /// The same directory was given twice.
    #[error("{path} is the same directory as {other}: give each node's once")]
    DirectoryTwice {
        /// As it was given.
        path: PathBuf,
        /// As it was given before.
        other: PathBuf,
    },
    /// Written before classes had shards (`data-directory.md` 1).
    #[error(
        "{entry} is from a version of Weaviate in which classes had no shards yet, which cannot be \
         read; start a later version before 1.25 on a copy once, which converts it"
    )]
    Unsharded {
        /// Directory in the data directory.
        entry: String,
    },
    /// A shard of the flat layout whose name can be split in several ways.
    #[error(
        "neither schema nor objects tell which class and tenant {entry} is; give a saved answer of \
         GET /v1/schema (--schema)"
    )]
    FlatShard {
        /// Directory in the data directory.
        entry: String,
    },
    /// The schema that the server stored cannot be read.
    #[error(
        "the schema that the server stored in {path} cannot be read: {source}; give a saved answer \
         of GET /v1/schema instead (--schema)"
    )]
    ServerSchema {
        /// The data directory.
        path: PathBuf,
        /// Which file, and what is wrong there.
        source: SchemaError,
    },
    /// The schema file cannot be used.
    #[error(transparent)]
    SchemaFile(#[from] SchemaFileError),
    /// A class or shard directory is a link that leads nowhere or out of the data directory.
    #[error(
        "{entry} is a link that cannot be followed inside the data directory ({source}); nothing \
         outside of it is read: put the directory itself, or a bind mount, in its place"
    )]
    Link {
        /// Path relative to the data directory.
        entry: String,
        /// What the system said.
        source: io::Error,
    },
    /// A directory cannot be listed.
    #[error("cannot list {entry} in the data directory: {source}")]
    List {
        /// Path relative to the data directory.
        entry: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file of a shard cannot be opened or read.
    #[error("{place}{}: cannot read: {source}", At(*.offset))]
    Read {
        /// The file.
        place: Place,
        /// Where in the file, when it was open.
        offset: Option<u64>,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not the one that the snapshot of its shard chose.
    #[error("{place}: the file was replaced or cut while it was being exported")]
    Changed {
        /// The file.
        place: Place,
    },
    /// The files of a shard were never the same for long enough (`wal.md` 7).
    #[error(
        "{place}: its files changed between all of {looks} looks at them, so no consistent view \
         could be had: too busy; try again when the server writes less, or export a snapshot of \
         the file system"
    )]
    Busy {
        /// The bucket.
        place: Place,
        /// How often it was looked at.
        looks: u32,
    },
    /// A shard has more files than may be open at once.
    #[error(
        "{place}: {needed_files} files have to be open at once, and {allowed_files} may be: raise \
         the limit of open files (`ulimit -n`, `LimitNOFILE=`), or let fewer exports run at once"
    )]
    TooManyFiles {
        /// The bucket.
        place: Place,
        /// Segments and larger logs of the shard; at least so many, where it has several copies.
        needed_files: usize,
        /// What one export may hold.
        allowed_files: usize,
    },
    /// The one state of an interrupted compaction that Weaviate itself refuses (`wal.md` 5).
    #[error(
        "{place}: left by an interrupted compaction whose left half exists and right half does \
         not; Weaviate does not start on this either: delete this file to recover"
    )]
    Compaction {
        /// The `.db.tmp` file.
        place: Place,
    },
    /// A segment breaks the rules of its format.
    #[error("{place}, offset {offset}: {fault}")]
    Segment {
        /// The segment file.
        place: Place,
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        fault: SegmentFault,
    },
    /// A stored object breaks the rules of its format.
    #[error("{place}, offset {offset}, object {id}: {fault}")]
    Object {
        /// The segment or log file.
        place: Place,
        /// Where in the file.
        offset: u64,
        /// The key under which the object is stored.
        id: Uuid,
        /// What is wrong there.
        fault: ObjectFault,
    },
}

/// `, offset N` when there is one.
struct At(Option<u64>);

impl fmt::Display for At {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(offset) => write!(formatter, ", offset {offset}"),
            None => Ok(()),
        }
    }
}

impl From<DiskError> for CursorError {
    fn from(error: DiskError) -> CursorError {
        match error {
            DiskError::OpenDirectory { .. }
            | DiskError::Link { .. }
            | DiskError::List { .. }
            | DiskError::Read { .. }
            | DiskError::Changed { .. }
            | DiskError::Busy { .. }
            | DiskError::TooManyFiles { .. } => CursorError::Unavailable(Box::new(error)),
            DiskError::NotADataDirectory { .. }
            | DiskError::NoDirectory
            | DiskError::DirectoryTwice { .. }
            | DiskError::Unsharded { .. }
            | DiskError::FlatShard { .. }
            | DiskError::ServerSchema { .. }
            | DiskError::SchemaFile(_)
            | DiskError::Compaction { .. }
            | DiskError::Segment { .. }
            | DiskError::Object { .. } => CursorError::InvalidData(Box::new(error)),
        }
    }
}

/// What is wrong with a segment (`lsm-segment.md` 1 and 3).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SegmentFault {
    /// Shorter than header and footer.
    #[error("the file has {file_bytes} bytes, too few for a segment")]
    TooShort {
        /// Length of the file.
        file_bytes: u64,
    },
    /// Header version above 1.
    #[error("segment version {version} is not known (0 and 1 are)")]
    Version {
        /// As the header states it.
        version: u16,
    },
    /// Not a segment of the objects bucket.
    #[error("strategy {strategy} in the header, where objects have 0 (replace)")]
    Strategy {
        /// As the header states it.
        strategy: u16,
    },
    /// The header's pointer to the index area leads out of the file.
    #[error("the index starts at {index_start}, outside of the file's {file_bytes} bytes")]
    IndexStart {
        /// As the header states it.
        index_start: u64,
        /// Length of the file.
        file_bytes: u64,
    },
    /// The table of secondary trees is not ascending or leads out of the index area.
    #[error("the offset of secondary tree {tree} is {offset}, out of order or out of the file")]
    SecondaryOffset {
        /// Which tree.
        tree: u16,
        /// As the table states it.
        offset: u64,
    },
    /// The CRC-32 of a version 1 segment differs.
    #[error("the checksum is {computed:08x}, the file states {stored:08x}")]
    Checksum {
        /// In the footer.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// A key tree ends within a node.
    #[error("a key tree ends within a node: the file is cut or damaged")]
    TreeCut,
    /// A primary key that is no UUID.
    #[error("a key of {key_bytes} bytes, where objects have 16")]
    KeyLength {
        /// Stated length.
        key_bytes: u32,
    },
    /// A tree node points outside of the data section.
    #[error("a key tree points to bytes {start}..{end}, outside of the data it should cover")]
    TreePointer {
        /// Stated start.
        start: u64,
        /// Stated end.
        end: u64,
    },
    /// A child pointer leads out of the tree.
    #[error("a child pointer of {child} leads out of the key tree")]
    TreeChild {
        /// As stored.
        child: i64,
    },
    /// The tree's nodes are out of order.
    #[error("the key tree is not in the order of its keys")]
    TreeOrder,
    /// The nodes of the tree do not make up the data section.
    #[error("the key tree covers {covered_bytes} of {data_bytes} bytes of data")]
    TreeCoverage {
        /// Sum of the nodes.
        covered_bytes: u64,
        /// Length of the data section.
        data_bytes: u64,
    },
    /// A data node would run past the end of its section or range.
    #[error("a node would run {excess_bytes} bytes past the end of the data")]
    NodeCrossesEnd {
        /// How far.
        excess_bytes: u64,
    },
    /// Data nodes are not strictly ascending, or outside of what the tree says.
    #[error("key {key} is out of order")]
    KeyOrder {
        /// The second of the two keys.
        key: Uuid,
    },
}

/// Why a log ends before its file does (`wal.md` 1.3). What stands before is kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogFault {
    /// The file ends within a record.
    #[error("the last record is cut")]
    Cut,
    /// Commit type other than 0 (replace).
    #[error("a record of type {commit_type}, where objects have 0")]
    CommitType {
        /// As stored.
        commit_type: u8,
    },
    /// Record version above 1.
    #[error("a record of version {version} (0 and 1 are known)")]
    Version {
        /// As stored.
        version: u8,
    },
    /// The cumulative CRC-32 differs.
    #[error("the checksum is {computed:08x}, the record states {stored:08x}")]
    Checksum {
        /// In the record.
        stored: u32,
        /// Of all records so far.
        computed: u32,
    },
    /// The fields of a record do not fit one another.
    #[error("a record that cannot be one of this log: {reason}")]
    Implausible {
        /// Which field.
        reason: &'static str,
    },
}

/// What is wrong with a stored object (`object-binary.md` 7).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectFault {
    /// A live node without a value.
    #[error("the value is empty")]
    Empty,
    /// Marshaller version other than 1.
    #[error("object version {version} is not known (1 is)")]
    Version {
        /// As stored.
        version: u8,
    },
    /// A field runs past the end of its section.
    #[error("{field} runs past the end")]
    Truncated {
        /// Name of the field.
        field: &'static str,
    },
    /// The key of the node and the id in the value disagree.
    #[error("the value holds object {id}")]
    Id {
        /// In the value.
        id: Uuid,
    },
    /// The offsets of named or multi vectors are not a MessagePack map of text to integers.
    #[error("the offsets of {section} are not a map of names to offsets")]
    Offsets {
        /// Which section.
        section: &'static str,
    },
    /// Written by 1.28.0 - 1.28.4 with multi vectors (`object-binary.md` 1).
    #[error(
        "the multi vectors are in the form of Weaviate 1.28.0 to 1.28.4, which no later version \
         reads either"
    )]
    MultiVectorsOf1280,
    /// More vector names than a batch can hold.
    #[error("more than 65,536 vector names")]
    TooManyNames,
    /// The stored properties are no JSON text.
    #[error("the properties are not valid JSON: {reason}")]
    Properties {
        /// What the parser says.
        reason: String,
    },
    /// The stored properties are JSON without members, so that no filter can apply to them.
    #[error("the properties are no JSON object, so that they cannot be filtered")]
    PropertiesNoObject,
    /// The row would be larger than what may cross to a guest.
    #[error("the row has {row_bytes} bytes, more than the {limit_bytes} that a row may have")]
    TooLarge {
        /// Bytes of its columns, or more.
        row_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
}
