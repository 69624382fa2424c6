//! What was odd about the schema on disk, for the operator.
use std::fmt;

/// Something in the schema's files that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaWarning {
    /// A snapshot cannot be trusted; an older one, or the log alone, was taken.
    SnapshotSkipped {
        /// Name of its directory in `raft/snapshots`.
        snapshot: String,
        /// Why.
        reason: String,
    },
    /// A log entry, or a part of it, could not be applied, as it could not when it was written.
    NotApplied {
        /// RAFT index of the entry.
        index: u64,
        /// What it wanted.
        command: &'static str,
        /// The class that it names.
        class: String,
        /// Why not.
        reason: String,
    },
    /// A log entry of a type that this version does not know: if it changes the schema, that is
    /// not seen.
    UnknownCommand {
        /// RAFT index of the entry.
        index: u64,
        /// As stored.
        number: i32,
        /// The class that it names, or empty.
        class: String,
    },
}

impl fmt::Display for SchemaWarning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchemaWarning::SnapshotSkipped { snapshot, reason } => {
                write!(formatter, "RAFT snapshot {snapshot} is passed over: {reason}")
            }
            SchemaWarning::NotApplied { index, command, class, reason } => {
                write!(formatter, "RAFT log entry {index}, {command} of class {class}: {reason}")
            }
            SchemaWarning::UnknownCommand { index, number, class } => write!(
                formatter,
                "RAFT log entry {index} (class `{class}`) is of type {number}, which is not known: \
                 if it changes the schema, that is not seen"
            ),
        }
    }
}
