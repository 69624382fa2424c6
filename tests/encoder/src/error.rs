//! What can go wrong while a directory is written.

use std::io;
use std::path::PathBuf;

/// A value that the format cannot hold, an order that a segment does not allow, or a failed write.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A length does not fit the field that the format has for it.
    #[error("{field} is {length} long, the format allows {max}")]
    TooLong {
        /// The field, as the specification names it.
        field: &'static str,
        /// The length asked for, in the field's own unit (bytes, dimensions, entries).
        length: usize,
        /// The largest length that the field holds.
        max: u64,
    },
    /// A segment's primary keys must be strictly ascending (`lsm-segment.md 3.3`).
    #[error("key {key} does not follow {previous} in ascending order")]
    KeyOrder {
        /// The key before, in hexadecimal.
        previous: String,
        /// The key that was refused, in hexadecimal.
        key: String,
    },
    /// A node has more secondary keys than the segment's header promises.
    #[error("node has {node} secondary keys, the segment {segment}")]
    SecondaryKeys {
        /// Keys of the node.
        node: usize,
        /// Slots of the segment.
        segment: u16,
    },
    /// The permutation of the vector segment does not name every vector exactly once.
    #[error("vector order {order:?} is not a permutation of {vectors} vectors")]
    VectorOrder {
        /// The order that was given.
        order: Vec<usize>,
        /// How many vectors there are.
        vectors: usize,
    },
    /// The output could not be written.
    #[error("cannot write: {0}")]
    Io(#[from] io::Error),
    /// A file or directory could not be made.
    #[error("cannot create {path}: {source}")]
    Create {
        /// What should have been made.
        path: PathBuf,
        /// Why it was not.
        source: io::Error,
    },
}

/// `length` as the integer type of its field, or `TooLong`.
pub(crate) fn length_as<T: TryFrom<usize>>(
    field: &'static str,
    length: usize,
    max: u64,
) -> Result<T, EncodeError> {
    T::try_from(length).map_err(|_| EncodeError::TooLong { field, length, max })
}
