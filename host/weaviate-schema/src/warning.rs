//! What was skipped in a stored schema, for the operator.
use std::{collections::BTreeSet, fmt};

/// A part of the stored schema that was skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaWarning {
    /// A snapshot cannot be used. An older one, or the log alone, was used instead.
    SnapshotSkipped {
        /// Name of its directory in `raft/snapshots`.
        snapshot: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// A command in the log, or a part of it, was not applied. The server could not apply it
    /// either.
    NotApplied {
        /// RAFT index of the log entry.
        index: u64,
        /// Upstream's name of the command.
        command: &'static str,
        /// The class that the command names.
        class: String,
        /// Why it was not applied.
        reason: String,
    },
    /// Commands of types that this version does not know were not applied. One warning has them
    /// all.
    UnknownCommands {
        /// The types, as stored.
        numbers: BTreeSet<i32>,
        /// The number of entries.
        entries: u64,
        /// RAFT index of the first one.
        first: u64,
    },
}

impl fmt::Display for SchemaWarning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchemaWarning::SnapshotSkipped { snapshot, reason } => {
                write!(formatter, "RAFT snapshot {snapshot} is skipped: {reason}")
            }
            SchemaWarning::NotApplied { index, command, class, reason } => {
                write!(formatter, "RAFT log entry {index}, {command} of class {class}: {reason}")
            }
            SchemaWarning::UnknownCommands { numbers, entries, first } => {
                let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
                write!(
                    formatter,
                    "{entries} entries of the RAFT log, the first of them {first}, are of unknown \
                     types ({}): a change that they make to the schema is not seen",
                    numbers.join(", ")
                )
            }
        }
    }
}
