//! What was guessed, skipped or contradictory when a data directory was opened.
use std::{fmt, path::PathBuf};

use crate::schema::{ReadFrom, SchemaWarning};

/// Shards that a warning is about: their number, and the names of the first ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examples {
    /// The names of the first ones, at most five.
    pub first: Vec<String>,
    /// Their number.
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

/// `1 shard (a) is`, or `7 shards (a, b, c, d, e and 2 more) are`.
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

/// Something about the directory that the operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// Neither a schema nor an object has the exact class name.
    ClassNameGuessed {
        /// Directory of the class.
        directory: String,
        /// The name that is used.
        name: String,
    },
    /// There is no schema, and a shard's name is not one that Weaviate generates.
    MultiTenancyGuessed {
        /// Exact class name.
        class: String,
        /// That shard.
        shard: String,
    },
    /// A class on disk is not in the schema; it is left out.
    ClassNotInSchema {
        /// Directory of the class.
        directory: String,
    },
    /// Shards on disk are not in the schema, although their class is; they are left out.
    ShardsNotInSchema {
        /// Exact class name.
        class: String,
        /// Those shards.
        shards: Examples,
    },
    /// Shards were deleted and made again while a node was down; its files of them are left out.
    OlderLives {
        /// Exact class name.
        class: String,
        /// Those shards.
        shards: Examples,
    },
    /// Shards of a class without tenants should lie on this node and do not.
    ShardsMissing {
        /// Exact class name.
        class: String,
        /// Whether the class has a directory.
        has_directory: bool,
        /// Those shards.
        shards: Examples,
    },
    /// The schema places shards on disk on other nodes; they are read.
    ShardsMisplaced {
        /// Exact class name.
        class: String,
        /// Those shards.
        shards: Examples,
    },
    /// Shards lie only on other nodes.
    ShardsElsewhere {
        /// Exact class name.
        class: String,
        /// Those shards.
        shards: Examples,
        /// Names of those nodes.
        nodes: Vec<String>,
    },
    /// The server's stored schema cannot be read; a schema file is used, or that of another node.
    ServerSchema {
        /// The data directory.
        path: PathBuf,
        /// Why.
        reason: String,
        /// Whether another node's schema has the tenants and their states.
        tenants_known: bool,
    },
    /// The schemas of two nodes differ; the newer one is used.
    SchemasDiffer {
        /// The data directory with the older one.
        path: PathBuf,
        /// The older schema.
        source: ReadFrom,
        /// The newer schema.
        newer: ReadFrom,
    },
    /// Shards have a copy on a node that the schema does not place them on, besides those on their
    /// own nodes; that copy is left out.
    CopiesMisplaced {
        /// Exact class name.
        class: String,
        /// Those shards.
        shards: Examples,
    },
    /// One of their nodes does not have these shards.
    CopiesMissing {
        /// Exact class name.
        class: String,
        /// Those shards.
        shards: Examples,
    },
    /// A warning about the server's stored schema.
    Schema(SchemaWarning),
    /// A directory could be a class's, but has no shard.
    NoShards {
        /// The directory.
        directory: String,
    },
    /// The name of a directory is not that of a class or shard.
    UnknownDirectory {
        /// Path relative to the data directory.
        directory: String,
    },
}

impl fmt::Display for Warning {
    // Over 60 lines: one text for each variant.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::ClassNameGuessed { directory, name } => write!(
                formatter,
                "directory {directory} is exported as class {name}: no object has the exact name; \
                 give a schema file (--schema)"
            ),
            Warning::MultiTenancyGuessed { class, shard } => write!(
                formatter,
                "class {class} is exported as multi-tenant because of its shard {shard}; give a \
                 schema file (--schema) to be sure"
            ),
            Warning::ClassNotInSchema { directory } => {
                write!(formatter, "directory {directory} is left out: the schema has no such class")
            }
            Warning::ShardsNotInSchema { class, shards } => write!(
                formatter,
                "class {class}: {shards} on disk and not in the schema, and left out"
            ),
            Warning::OlderLives { class, shards } => write!(
                formatter,
                "class {class}: {shards} on a node that was down when they were deleted and made \
                 again under the same names; that node's files of them are left out"
            ),
            Warning::ShardsMissing { class, has_directory, shards } => write!(
                formatter,
                "class {class}: {shards} in the schema and not on disk{}",
                if *has_directory { "" } else { "; the class has no directory either" }
            ),
            Warning::ShardsMisplaced { class, shards } => write!(
                formatter,
                "class {class}: {shards} on disk, although the schema places them on other nodes: \
                 a copy that was being made may not be whole"
            ),
            Warning::ShardsElsewhere { class, shards, nodes } => write!(
                formatter,
                "class {class}: {shards} only on other nodes ({}), whose data directories were not \
                 given",
                nodes.join(", ")
            ),
            Warning::ServerSchema { path, reason, tenants_known } => write!(
                formatter,
                "the server's own schema in {} cannot be read{}: {reason}",
                path.display(),
                if *tenants_known { "" } else { ", so the states of tenants are not known" }
            ),
            Warning::SchemasDiffer { path, source, newer } => write!(
                formatter,
                "the schema in {} ({source}) differs from the newer one, which is used ({newer})",
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
                write!(formatter, "directory {directory} has no shard and is left out")
            }
            Warning::UnknownDirectory { directory } => write!(
                formatter,
                "directory {directory} is left out: its name is not one that Weaviate gives"
            ),
        }
    }
}
