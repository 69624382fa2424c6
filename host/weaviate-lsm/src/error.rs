//! What can go wrong in the files of a shard, each error with the place that shows it.
use std::{fmt, io, path::Path, sync::Arc};

use offloom_rows::ObjectLimit;
use uuid::Uuid;

/// A file of a shard, usually of its objects bucket, or the shard itself when `file` is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Exact class name.
    pub class: Arc<str>,
    /// Shard (tenant) name.
    pub shard: Arc<str>,
    /// File name within the bucket or beside it; empty for the shard as a whole.
    pub file: Box<str>,
    /// The data directory, where several are read together.
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

/// Why the files of a shard could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LsmError {
    /// The bucket's directory cannot be listed.
    #[error("cannot list {entry} in the data directory: {source}")]
    List {
        /// Path relative to the data directory.
        entry: String,
        /// The system's error.
        source: io::Error,
    },
    /// A file cannot be opened or read.
    #[error("{place}{}: cannot read: {source}", At(*.offset))]
    Read {
        /// The file.
        place: Place,
        /// Offset of the read, if the file was open.
        offset: Option<u64>,
        /// The system's error.
        source: io::Error,
    },
    /// A name of the objects bucket is that of a file with data, and belongs to something else.
    #[error(
        "{place}: the name is that of a file with data, and {found} has it: objects may be missing; \
         put the file back, or take this away if no file had this name"
    )]
    NotAFile {
        /// The name.
        place: Place,
        /// What has this name.
        found: &'static str,
    },
    /// The name of a file is not UTF-8 and ends like that of a file with data.
    #[error(
        "{place}: the name of this file is not UTF-8, and ends like that of a file with data: \
         objects may be missing; give it the name that the server gave it, or take it away"
    )]
    NotUtf8 {
        /// The file; what is not UTF-8 in its name is replaced.
        place: Place,
    },
    /// Files of a shard are gone: it is not an empty one.
    #[error(
        "{place}: {lost}: files of this shard are missing or damaged; put them back from a backup \
         or another copy of the data directory"
    )]
    Lost {
        /// The shard.
        place: Place,
        /// What shows it.
        lost: Lost,
    },
    /// A file is no longer the one that was listed, or is shorter than it was.
    #[error("{place}: the file was replaced or cut while it was being exported")]
    Changed {
        /// The file.
        place: Place,
    },
    /// The bucket's files changed during every attempt to open a consistent set (`wal.md` 7).
    #[error(
        "{place}: its files changed during all {attempts} attempts to open a consistent set of \
         them: too busy; try again when the server writes less, or export a snapshot of the file \
         system"
    )]
    Busy {
        /// The bucket.
        place: Place,
        /// Number of attempts.
        attempts: u32,
    },
    /// The shard has more files than may be open at once.
    #[error(
        "{place}: {needed_files} files have to be open at once, and {allowed_files} may be: raise \
         the limit of open files (`ulimit -n`, `LimitNOFILE=`), or let fewer exports run at once"
    )]
    TooManyFiles {
        /// The bucket.
        place: Place,
        /// Segments and larger logs of the shard; a lower bound where it has several copies.
        needed_files: usize,
        /// The export's budget.
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
    /// A segment violates its format.
    #[error("{place}, offset {offset}: {fault}")]
    Segment {
        /// The segment file.
        place: Place,
        /// Offset in the file.
        offset: u64,
        /// What is wrong there.
        fault: SegmentFault,
    },
}

impl LsmError {
    /// Whether permission to read is denied. The remedy is to be allowed, and never to go without.
    pub fn is_denied(&self) -> bool {
        match self {
            LsmError::List { source, .. } | LsmError::Read { source, .. } => {
                offloom_weaviate_access::is_denied(source)
            }
            _ => false,
        }
    }

    /// Whether the stored data itself is at fault, so that reading it again cannot help.
    pub fn is_invalid_data(&self) -> bool {
        match self {
            LsmError::NotAFile { .. }
            | LsmError::NotUtf8 { .. }
            | LsmError::Lost { .. }
            | LsmError::Compaction { .. }
            | LsmError::Segment { .. } => true,
            LsmError::List { .. }
            | LsmError::Read { .. }
            | LsmError::Changed { .. }
            | LsmError::Busy { .. }
            | LsmError::TooManyFiles { .. } => false,
        }
    }
}

/// What shows that files of a shard are gone (`data-directory.md` 3.1). Paths are relative to the data
/// directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The schema places the shard here, and servers make its directory together with the class.
    #[error("it is in the schema and has no directory")]
    Directory,
    /// A folder that every shard has is not there.
    #[error("there is no folder {path}")]
    Folder {
        /// Where it should be.
        path: String,
    },
    /// The file that counts document ids is not there, and no file holds an object.
    #[error(
        "no file holds an object, and there is no counter {path}, which an empty shard has too"
    )]
    Counter {
        /// Where it should be.
        path: String,
    },
    /// The counter is cut, and no file holds an object.
    #[error(
        "no file holds an object, and the counter {path} has {bytes} bytes instead of 8 or none"
    )]
    CounterCut {
        /// The counter.
        path: String,
        /// Its length.
        bytes: u64,
    },
    /// Objects were written, and no file holds one, or its deletion.
    #[error("no file holds an object, although {path} counts {count}")]
    Objects {
        /// The counter.
        path: String,
        /// Document ids that were given: one for each version of an object.
        count: u64,
    },
}

/// `, offset N` if there is one.
struct At(Option<u64>);

impl fmt::Display for At {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(offset) => write!(formatter, ", offset {offset}"),
            None => Ok(()),
        }
    }
}

/// The class that an object names, and those that its shard is read for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherClass {
    /// As stored; may be empty.
    pub named: String,
    /// Exact names.
    pub classes: Vec<String>,
}

/// `class Note`, or `no class` if the name is empty.
struct NamedClass<'a>(&'a str);

impl fmt::Display for NamedClass<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => formatter.write_str("no class"),
            name => write!(formatter, "class {}", name.escape_debug()),
        }
    }
}

/// What is wrong with a segment (`lsm-segment.md` 1 and 3).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SegmentFault {
    /// The file is shorter than header and footer.
    #[error("the file has {file_bytes} bytes, too few for a segment")]
    TooShort {
        /// Length of the file.
        file_bytes: u64,
    },
    /// The header's version is above 1.
    #[error("segment version {version} is not known (0 and 1 are)")]
    Version {
        /// As stored.
        version: u16,
    },
    /// Not a segment of the objects bucket.
    #[error("strategy {strategy} in the header, where objects have 0 (replace)")]
    Strategy {
        /// As stored.
        strategy: u16,
    },
    /// The header's pointer to the index area is outside of the file.
    #[error("the index starts at {index_start}, outside of the file's {file_bytes} bytes")]
    IndexStart {
        /// As stored.
        index_start: u64,
        /// Length of the file.
        file_bytes: u64,
    },
    /// The table of secondary trees is not ascending, or points outside of the index area.
    #[error("the offset of secondary tree {tree} is {offset}, out of order or out of the file")]
    SecondaryOffset {
        /// Number of the tree.
        tree: u16,
        /// As stored.
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
    /// A primary key is not a UUID.
    #[error("a key of {key_bytes} bytes, where objects have 16")]
    KeyLength {
        /// As stored.
        key_bytes: u32,
    },
    /// A tree node points outside of the data section.
    #[error("a key tree points to bytes {start}..{end}, outside of the data it should cover")]
    TreePointer {
        /// As stored.
        start: u64,
        /// As stored.
        end: u64,
    },
    /// A child pointer is outside of the tree.
    #[error("a child pointer of {child} leads out of the key tree")]
    TreeChild {
        /// As stored.
        child: i64,
    },
    /// The tree's nodes are not in the order of their keys.
    #[error("the key tree is not in the order of its keys")]
    TreeOrder,
    /// The tree does not name a node of the data section where the order of keys has it.
    #[error("the key tree does not lead to key {key}")]
    TreeLacks {
        /// Of the node.
        key: Uuid,
    },
    /// The nodes of the tree do not make up the data section.
    #[error("the key tree covers {covered_bytes} of {data_bytes} bytes of data")]
    TreeCoverage {
        /// Sum of the nodes.
        covered_bytes: u64,
        /// Length of the data section.
        data_bytes: u64,
    },
    /// A data node runs past the end of its section or range.
    #[error("a node would run {excess_bytes} bytes past the end of the data")]
    NodeCrossesEnd {
        /// Bytes past the end.
        excess_bytes: u64,
    },
    /// A deletion with the value of an object, in a segment without a checksum.
    #[error("the node of a deletion holds {value_bytes} bytes, where 0 or 9 can be")]
    TombstoneValue {
        /// As stored.
        value_bytes: u64,
    },
    /// Data nodes are not strictly ascending, or outside of the range that the tree states.
    #[error("key {key} is out of order")]
    KeyOrder {
        /// The second of the two keys.
        key: Uuid,
    },
}

/// Why a log ends before its file does (`wal.md` 1.3). The records before that point are kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogFault {
    /// The file ends within a record.
    #[error("the last record is cut")]
    Cut,
    /// The commit type is not 0 (replace).
    #[error("a record of type {commit_type}, where objects have 0")]
    CommitType {
        /// As stored.
        commit_type: u8,
    },
    /// The record's version is above 1.
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
    /// The fields of a record contradict one another.
    #[error("a record that cannot be one of this log: {reason}")]
    Implausible {
        /// Which field.
        reason: &'static str,
    },
}

/// What is wrong with a stored object (`object-binary.md` 7).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectFault {
    /// A live node has no value.
    #[error("the value is empty")]
    Empty,
    /// The marshaller version is not 1.
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
    /// The key of the node and the id in the value differ.
    #[error("the value holds object {id}")]
    Id {
        /// In the value.
        id: Uuid,
    },
    /// The offsets of named or multi vectors are not a MessagePack map of text to integers.
    #[error("the offsets of {section} are not a map of names to offsets")]
    Offsets {
        /// Name of the section.
        section: &'static str,
    },
    /// The object was written by 1.28.0 - 1.28.4 with multi vectors (`object-binary.md` 1).
    #[error(
        "the multi vectors are in the form of Weaviate 1.28.0 to 1.28.4, which no later version \
         reads either"
    )]
    MultiVectorsOf1280,
    /// The object has more vector names than a batch can hold.
    #[error("more than 65,536 vector names")]
    TooManyNames,
    /// Classes whose names differ in case alone share a directory (`data-directory.md` 2), and the
    /// object names none of those that its shard is read for.
    #[error(
        "the object names {}, and its shard is read for {}: classes whose names differ in case alone \
         share a directory, and only a schema that has all of them, or lists their shards, keeps \
         them apart",
        NamedClass(&.0.named), .0.classes.join(" and ")
    )]
    OtherClass(Box<OtherClass>),
    /// The stored properties are not JSON text.
    #[error("the properties are not valid JSON: {reason}")]
    Properties {
        /// The parser's message.
        reason: String,
    },
    /// The stored properties are JSON without members, so that no filter can apply to them.
    #[error("the properties are not a JSON object, so they cannot be filtered")]
    PropertiesNoObject,
    /// The object is larger than the export allows.
    #[error(
        "the object has {row_bytes} bytes, more than the {} that one may have: {}",
        .limit.row_bytes(),
        remedy(*.row_bytes)
    )]
    TooLarge {
        /// Bytes of the columns of its row; of its stored value where that was not read.
        row_bytes: u64,
        /// The limit.
        limit: ObjectLimit,
    },
}

/// What helps against an object of `row_bytes`.
fn remedy(row_bytes: u64) -> String {
    if row_bytes <= ObjectLimit::LARGEST.row_bytes() {
        return "raise --max-object-bytes (max_object_bytes of the service)".to_owned();
    }
    format!(
        "no export takes more than {} (--max-object-bytes); --on-bad-object skip or quarantine leaves it \
         out",
        ObjectLimit::LARGEST
    )
}
