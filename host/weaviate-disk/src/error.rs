//! What can go wrong in a data directory, each error with the place that shows it.
use std::{fmt, io, path::PathBuf};

use offloom_rows::CursorError;
use offloom_weaviate_lsm::{LsmError, ObjectFault, Place};
use uuid::Uuid;

use crate::schema::{Foreign, SchemaError, SchemaFileError};

/// Why a data directory or its rows could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The data directory itself cannot be opened.
    #[error("cannot open the data directory {path}: {source}")]
    OpenDirectory {
        /// As it was given.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The directory has no class, and none of the files that every Weaviate server creates.
    #[error(
        "{path} is not a Weaviate data directory: it holds no class, no `raft` and no `schema.db`; \
         give the directory that PERSISTENCE_DATA_PATH names"
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
    /// Two directories are not those of two nodes of one cluster (`data-directory.md` 5.5).
    #[error("{path} and {other} are not of two nodes of one cluster: {fault}")]
    NotOneCluster {
        /// As it was given.
        path: PathBuf,
        /// As it was given.
        other: PathBuf,
        /// Why.
        fault: ClusterFault,
    },
    /// The data was written before classes had shards (`data-directory.md` 1).
    #[error(
        "{entry} is from a version of Weaviate in which classes had no shards yet, which cannot be \
         read; start a later version before 1.25 on a copy once, which converts it"
    )]
    Unsharded {
        /// Directory in the data directory.
        entry: String,
    },
    /// The name of a shard of the flat layout can be split in several ways.
    #[error(
        "the class and tenant of {entry} follow neither from the schema nor from its objects; give a \
         saved answer of GET /v1/schema (--schema)"
    )]
    FlatShard {
        /// Directory in the data directory.
        entry: String,
    },
    /// The schema that the server stored cannot be read.
    #[error(
        "the schema that the server stored in {path} cannot be read: {source}{}",
        if source.is_denied() {
            ""
        } else {
            "; give a saved answer of GET /v1/schema instead (--schema)"
        }
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
    /// The schema file lacks a class whose objects are in the data directory.
    #[error(
        "schema file {} does not fit the data directory: it lacks class {class}, whose directory is \
         {directory}; save a fresh answer of GET /v1/schema", file.display()
    )]
    SchemaFileLacks {
        /// The schema file, as given.
        file: PathBuf,
        /// Name of the class in the server's schema, in its objects, or guessed.
        class: String,
        /// Directory of the class.
        directory: String,
    },
    /// The schema file has a class of which nothing is in the data directory.
    #[error(
        "schema file {} does not fit the data directory: it has class {class}, of which the \
         directory holds nothing; save a fresh answer of GET /v1/schema", file.display()
    )]
    SchemaFileHas {
        /// The schema file, as given.
        file: PathBuf,
        /// Exact class name.
        class: String,
    },
    /// The schema file and the server's own schema contradict each other about tenants.
    #[error(
        "schema file {} does not fit the data directory: class {class} is {}multi-tenant there, and \
         not so in the server's own schema; save a fresh answer of GET /v1/schema",
        file.display(), if *.multi_tenant { "" } else { "not " }
    )]
    SchemaFileTenancy {
        /// The schema file, as given.
        file: PathBuf,
        /// Exact class name.
        class: String,
        /// As in the file.
        multi_tenant: bool,
    },
    /// Something else than a directory has the name of a class that the schema has.
    #[error(
        "{entry} in the data directory is no directory, and the schema has a class of this name"
    )]
    NotADirectory {
        /// Path relative to the data directory.
        entry: String,
    },
    /// A directory, or what may be one, cannot be listed.
    #[error("cannot list {entry} in the data directory: {source}")]
    List {
        /// Path relative to the data directory.
        entry: String,
        /// The system's error.
        source: io::Error,
    },
    /// The files of a shard cannot be read.
    #[error(transparent)]
    Lsm(#[from] LsmError),
    /// A stored object violates its format.
    #[error("{place}, offset {offset}, object {id}: {fault}")]
    Object {
        /// The segment or log file.
        place: Place,
        /// Offset in the file.
        offset: u64,
        /// The key under which the object is stored.
        id: Uuid,
        /// What is wrong there.
        fault: ObjectFault,
    },
}

/// Why two directories are not those of two nodes of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterFault {
    /// Their RAFT logs exclude each other.
    Logs(Foreign),
    /// The second directory has shards, and the newest schema, that of the first one, has none of them.
    NoShardInSchema,
    /// Both hold the shards of the same node.
    SameNode {
        /// Its name in the schema.
        node: String,
    },
}

impl fmt::Display for ClusterFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ONE_BY_ONE: &str = "export each cluster by itself";
        match self {
            ClusterFault::Logs(foreign) => write!(formatter, "{foreign}; {ONE_BY_ONE}"),
            ClusterFault::NoShardInSchema => write!(
                formatter,
                "the schema of the first has no shard of the second; {ONE_BY_ONE}"
            ),
            ClusterFault::SameNode { node } => write!(
                formatter,
                "both hold the shards of node {node}; of two copies of a node, give the newer one only, \
                 and of two clusters, {ONE_BY_ONE}"
            ),
        }
    }
}

impl DiskError {
    /// Whether permission to read is denied. The remedy is to be allowed, and never to go without.
    pub fn is_denied(&self) -> bool {
        match self {
            DiskError::OpenDirectory { source, .. } | DiskError::List { source, .. } => {
                offloom_weaviate_access::is_denied(source)
            }
            DiskError::ServerSchema { source, .. } => source.is_denied(),
            DiskError::Lsm(error) => error.is_denied(),
            _ => false,
        }
    }
}

impl From<DiskError> for CursorError {
    fn from(error: DiskError) -> CursorError {
        let is_invalid_data = match &error {
            DiskError::OpenDirectory { .. } | DiskError::List { .. } => false,
            DiskError::Lsm(error) => error.is_invalid_data(),
            DiskError::NotADataDirectory { .. }
            | DiskError::NoDirectory
            | DiskError::DirectoryTwice { .. }
            | DiskError::NotOneCluster { .. }
            | DiskError::Unsharded { .. }
            | DiskError::FlatShard { .. }
            | DiskError::ServerSchema { .. }
            | DiskError::SchemaFile(_)
            | DiskError::SchemaFileLacks { .. }
            | DiskError::SchemaFileHas { .. }
            | DiskError::SchemaFileTenancy { .. }
            | DiskError::NotADirectory { .. }
            | DiskError::Object { .. } => true,
        };
        if is_invalid_data {
            CursorError::InvalidData(Box::new(error))
        } else {
            CursorError::Unavailable(Box::new(error))
        }
    }
}
