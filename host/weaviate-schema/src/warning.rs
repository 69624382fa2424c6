//! What was skipped in a stored schema, for the operator.
use std::fmt;

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
    /// A command of a type that this version does not know was not applied.
    UnknownCommand {
        /// RAFT index of the log entry.
        index: u64,
        /// The type, as stored.
        number: i32,
        /// The class that the command names, or empty.
        class: String,
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
            SchemaWarning::UnknownCommand { index, number, class } => write!(
                formatter,
                "RAFT log entry {index} (class `{class}`) is of the unknown type {number}: a change \
                 that it makes to the schema is not seen"
            ),
        }
    }
}
