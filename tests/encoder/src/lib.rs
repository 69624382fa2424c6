//! An independent writer of Weaviate's on-disk object format, written from the specification only.
//!
//! The disk reader is tested against it, so it shares no code with the reader: what both get
//! right, they got right twice. Section numbers in the comments are those of the specification
//! documents `object-binary.md`, `lsm-segment.md`, `wal.md` and `data-directory.md`.
//!
//! Everything that real servers may vary is an option here: object generations, segment versions,
//! numbers of secondary keys, tree orders, log versions, file-name styles.

mod directory;
mod embedding;
mod error;
mod history;
mod history_directory;
mod node;
mod object;
mod prose;
mod recipe;
mod recipe_directory;
mod scale;
mod segment;
mod tree;
mod wal;
mod workload;

pub use directory::{ClassWriter, DirectoryWriter, NameStyle, ShardWriter, Sidecar};
pub use embedding::{EmbeddingSpace, Embeddings};
pub use error::EncodeError;
pub use history::History;
pub use history_directory::write_history;
pub use node::Node;
pub use object::{Generation, IntegerEncoding, Object, ObjectOptions};
pub use recipe::{NamedVector, Recipe, Spaces};
pub use recipe_directory::{write_recipes, write_tenants, write_workload};
pub use scale::scale;
pub use segment::{SegmentOptions, SegmentWriter};
pub use tree::TreeOrder;
pub use wal::{WalVersion, WalWriter, tear};
pub use workload::Workload;
