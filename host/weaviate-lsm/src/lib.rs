//! Reads the objects bucket of one Weaviate shard: its files, a consistent set of them while a
//! server writes, and the live objects in key order.
//!
//! Everything is read-only and blocking. No schema is needed, and nothing outside of the data
//! directory can be opened. Reading order, each file using only those before it:
//!
//! * `error`: what can go wrong, with the place in which file.
//! * [`layout`]: the paths of a shard's files.
//! * [`leftovers`]: which files of a bucket hold its data.
//! * `page_cache`: leaves the page cache of the system as it was.
//! * [`bucket`]: listing, opening and reading those files, forward by `forward_reader`.
//! * [`emptiness`]: whether a shard without objects is an empty one.
//! * [`descriptors`]: the budget of open files.
//! * [`segment`], [`key_index`], [`wal`]: the formats of the files.
//! * `cut_off`: which writes of a shard were read.
//! * `freeze`: a consistent set of files while a server writes.
//! * [`object`]: the format of a stored object.
//! * [`ruling`]: which version of an object counts where several copies of a shard disagree.
//! * [`snapshot`]: the frozen view of one copy of a shard, checked and indexed.
//! * [`copies`]: the snapshots of all copies of a shard as one.
//! * [`merge`]: the live objects of a key range.
//! * [`check`]: every byte of a bucket, for a report on damage.
pub mod bucket;
pub mod check;
pub mod copies;
mod cut_off;
pub mod descriptors;
pub mod emptiness;
mod error;
mod forward_reader;
mod freeze;
pub mod key_index;
pub mod layout;
pub mod leftovers;
pub mod merge;
pub mod object;
mod page_cache;
pub mod ruling;
pub mod segment;
pub mod snapshot;
pub mod wal;

pub use error::{LogFault, Lost, LsmError, ObjectFault, OtherClass, Place, SegmentFault};
