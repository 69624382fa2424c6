//! What a proof could not check, each with its class.

/// A part of an export that was not proved, although nothing differs there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unproved {
    /// A file of a format whose rows cannot be read.
    #[error("{key}: of the format '{}' only size and digest are compared", .format.escape_debug())]
    Format {
        /// The class.
        class: String,
        /// The file's key.
        key: String,
        /// The name of the format.
        format: String,
    },
    /// Rows were not read, because their files differ from the manifest.
    #[error("{class}: its rows were not read, because of the differences above")]
    Differences {
        /// The class.
        class: String,
    },
    /// The files have no column of ids.
    #[error("{class}: its files have no text column 'id', so order and uniqueness are not proved")]
    NoIds {
        /// The class.
        class: String,
    },
    /// A column is stored in a way that is not read.
    #[error("{class}: column {column}: {reason}")]
    Column {
        /// The class.
        class: String,
        /// Its name.
        column: String,
        /// Why.
        reason: String,
    },
    /// The ids of one shard were not compared with those of another.
    #[error("{class}: ids were not compared between shards: {reason}")]
    BetweenShards {
        /// The class.
        class: String,
        /// Why.
        reason: String,
    },
}

impl Unproved {
    /// The class.
    pub fn class(&self) -> &str {
        match self {
            Unproved::Format { class, .. }
            | Unproved::Differences { class }
            | Unproved::NoIds { class }
            | Unproved::Column { class, .. }
            | Unproved::BetweenShards { class, .. } => class,
        }
    }

    /// What was not checked, in a few words, such as `rows and ids of Note.csv`.
    pub fn subject(&self) -> String {
        match self {
            Unproved::Format { key, .. } => format!("rows and ids of {key}"),
            Unproved::Differences { class } => format!("rows and ids of {class}"),
            Unproved::NoIds { class } => format!("ids of {class}"),
            Unproved::Column { class, .. } => format!("rows and ids of {class}"),
            Unproved::BetweenShards { class, .. } => format!("ids of {class} between shards"),
        }
    }
}
