//! What a reader tells of a directory besides its rows: cut-offs, warnings, skipped shards.
use std::{fmt, path::PathBuf, sync::Arc};

use chrono::{DateTime, Utc};

use crate::{
    copies::ShardCopies,
    error::{DiskError, LogFault, Place},
    schema::{ReadFrom, SchemaWarning},
};

/// Up to where the writes of a shard are in the export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutOff {
    /// When its files were listed.
    pub at: DateTime<Utc>,
    /// File name of the newest segment that was read.
    pub newest_segment: Option<String>,
    /// The logs that were read, oldest first.
    pub logs: Vec<LogLength>,
}

/// How much of a log was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLength {
    /// File name.
    pub name: String,
    /// Up to the end, or to the first bad record.
    pub bytes: u64,
}

/// A shard that a [`crate::Units`] has reached.
#[derive(Debug, Clone)]
pub struct ShardSummary {
    /// Shard (tenant) name.
    pub shard: String,
    /// Its index in the class's shards.
    pub index: u32,
    /// Up to where its writes are in the export; absent when its files could not be trusted.
    pub cut_off: Option<CutOff>,
    /// Why there is nothing to read, when there is nothing.
    pub skip_reason: Option<String>,
    /// Why nothing of it is read, or nothing from some key on, or not all of its copies.
    pub error: Option<Arc<DiskError>>,
    /// What was odd.
    pub warnings: Vec<Warning>,
    /// The directories that held it, where there are several directories. [`Self::cut_off`] then
    /// has the earliest time alone.
    pub copies: Option<ShardCopies>,
}

/// Names, of which there may be very many: how many, and the first ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examples {
    /// At most five.
    pub first: Vec<String>,
    /// How many there are.
    pub total: usize,
}

impl Examples {
    const KEPT: usize = 5;

    pub(crate) fn add(&mut self, name: &str) {
        if self.first.len() < Examples::KEPT {
            self.first.push(name.to_owned());
        }
        self.total = self.total.saturating_add(1);
    }
}

/// Like `1 shard (a) is` or `7 shards (a, b, c, d, e and 2 more) are`.
impl fmt::Display for Examples {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (noun, verb) = if self.total == 1 { ("shard", "is") } else { ("shards", "are") };
        write!(formatter, "{} {noun} ({}", self.total, self.first.join(", "))?;
        let more = self.total.saturating_sub(self.first.len());
        if more > 0 {
            write!(formatter, " and {more} more")?;
        }
        write!(formatter, ") {verb}")
    }
}

/// Something that the operator should know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// No schema and no object told the exact class name.
    ClassNameGuessed {
        /// Directory of the class.
        directory: String,
        /// The name that was taken.
        name: String,
    },
    /// Without a schema: a shard's name is not one that Weaviate makes up.
    MultiTenancyGuessed {
        /// Exact class name.
        class: String,
        /// That shard.
        shard: String,
    },
    /// A class on disk that the schema lacks; it is left out.
    ClassNotInSchema {
        /// Directory of the class.
        directory: String,
    },
    /// Shards on disk that the schema lacks, of a class that it has; they are left out.
    ShardsNotInSchema {
        /// Exact class name.
        class: String,
        /// Those shards.
        shards: Examples,
    },
    /// Shards that should lie on this node and do not, of a class without tenants.
    ShardsMissing {
        /// Exact class name.
        class: String,
        /// Whether at least the class has a directory.
        has_directory: bool,
        /// Those shards.
        shards: Examples,
    },
    /// Shards on disk that the schema places on other nodes; they are read.
    ShardsMisplaced {
        /// Exact class name.
        class: String,
        /// Those shards.
        shards: Examples,
    },
    /// Shards that lie on other nodes alone.
    ShardsElsewhere {
        /// Exact class name.
        class: String,
        /// Those shards.
        shards: Examples,
        /// Names of those nodes.
        nodes: Vec<String>,
    },
    /// The server's own schema cannot be read beside a schema file.
    ServerSchema {
        /// The data directory.
        path: PathBuf,
        /// Why.
        reason: String,
        /// Whether another node's tells what tenants there are and in which state.
        tenants_known: bool,
    },
    /// Two nodes' schemas differ; the newer one counts.
    SchemasDiffer {
        /// The data directory with the older one.
        path: PathBuf,
        /// That schema.
        source: ReadFrom,
        /// The other one.
        newer: ReadFrom,
    },
    /// Shards that have a copy in a directory of a node that the schema does not place them on,
    /// beside those where they belong; that copy is left out.
    CopiesMisplaced {
        /// Exact class name.
        class: String,
        /// Those shards.
        shards: Examples,
    },
    /// Shards that one of their nodes does not hold.
    CopiesMissing {
        /// Exact class name.
        class: String,
        /// Those shards.
        shards: Examples,
    },
    /// Something odd in the server's own schema.
    Schema(SchemaWarning),
    /// A directory that could be a class's, but holds no shard.
    NoShards {
        /// The directory.
        directory: String,
    },
    /// A directory whose name is not that of a class or shard.
    UnknownDirectory {
        /// Path relative to the data directory.
        directory: String,
    },
    /// A shard written by newer code than is known here; its objects are read all the same.
    ShardVersion {
        /// The shard; no file.
        place: Place,
        /// As its file `version` states it.
        version: u16,
    },
    /// A file with the ending of data and a name that no version of Weaviate gives.
    UnknownFile {
        /// The file.
        place: Place,
    },
    /// The end of a log was not a whole record and was left out (`wal.md` 1.3).
    TornLog {
        /// The log.
        place: Place,
        /// Where the first bad record starts.
        offset: u64,
        /// From there to the end of the file.
        dropped_bytes: u64,
        /// What is wrong with that record.
        fault: LogFault,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::ClassNameGuessed { directory, name } => write!(
                formatter,
                "directory {directory} is exported as class {name}: no object tells the exact \
                 name; a schema file would"
            ),
            Warning::MultiTenancyGuessed { class, shard } => write!(
                formatter,
                "class {class} is taken as multi-tenant, because of its shard {shard}; a schema \
                 file would tell"
            ),
            Warning::ClassNotInSchema { directory } => {
                write!(formatter, "directory {directory} is left out: the schema has no such class")
            }
            Warning::ShardsNotInSchema { class, shards } => write!(
                formatter,
                "class {class}: {shards} on disk and not in the schema, and left out"
            ),
            Warning::ShardsMissing { class, has_directory, shards } => write!(
                formatter,
                "class {class}: {shards} in the schema and not on disk{}",
                if *has_directory { "" } else { ", nor is a directory of the class" }
            ),
            Warning::ShardsMisplaced { class, shards } => write!(
                formatter,
                "class {class}: {shards} on disk, although the schema places them on other nodes: \
                 a copy that was being made may not be whole"
            ),
            Warning::ShardsElsewhere { class, shards, nodes } => write!(
                formatter,
                "class {class}: {shards} on other nodes alone ({}), whose data directories are not \
                 part of this",
                nodes.join(", ")
            ),
            Warning::ServerSchema { path, reason, tenants_known } => write!(
                formatter,
                "the server's own schema in {} cannot be read{}: {reason}",
                path.display(),
                if *tenants_known { "" } else { ", so that tenants' states are not known" }
            ),
            Warning::SchemasDiffer { path, source, newer } => write!(
                formatter,
                "the schema in {} ({source}) differs from the one that counts ({newer})",
                path.display()
            ),
            Warning::CopiesMisplaced { class, shards } => write!(
                formatter,
                "class {class}: {shards} also in the directory of a node that the schema does not \
                 place them on; that copy is left out"
            ),
            Warning::CopiesMissing { class, shards } => write!(
                formatter,
                "class {class}: {shards} missing in the directory of a node that the schema places \
                 them on"
            ),
            Warning::Schema(warning) => warning.fmt(formatter),
            Warning::NoShards { directory } => {
                write!(formatter, "directory {directory} holds no shard and is left out")
            }
            Warning::UnknownDirectory { directory } => write!(
                formatter,
                "directory {directory} is left out: its name is not one that Weaviate gives"
            ),
            Warning::ShardVersion { place, version } => write!(
                formatter,
                "{place}: shard version {version} is newer than what is known (2)"
            ),
            Warning::UnknownFile { place } => write!(
                formatter,
                "{place} is left out: its name is not one that Weaviate gives to data"
            ),
            Warning::TornLog { place, offset, dropped_bytes, fault } => write!(
                formatter,
                "{place}, offset {offset}: {dropped_bytes} bytes at the end are left out: {fault}"
            ),
        }
    }
}
