//! Reads the objects of a Weaviate data directory: classes, shards, segments, logs, rows.
//!
//! [`DataDirectory::open`] lists the classes, [`DataDirectory::units`] cuts one into [`Unit`]s, and
//! [`Unit::open`] yields its rows as an [`offloom_rows::Cursor`]. Everything is read-only and
//! blocking; nothing outside of the directory can be opened.
mod bad_data;
mod bucket;
mod catalog;
mod class;
mod columns;
mod copies;
mod cursor;
mod descriptors;
mod directory;
mod error;
mod estimate;
mod filter;
mod freeze;
mod inspect;
mod key_index;
mod layout;
mod leftovers;
mod merge;
mod nodes;
mod object;
mod report;
mod segment;
mod snapshot;
mod tenants;
mod units;
mod wal;

pub use bad_data::{
    BadObject, FaultLog, Faults, MAX_LISTED_OBJECTS, MAX_RAW_BYTES, OnBadObject, ReadOptions,
    ShardFaults, UnknownPolicy,
};
pub use catalog::effective_schema::SchemaSource;
pub use class::{Class, Shard, SkipReason};
pub use copies::{ShardCopies, ShardCopy};
pub use cursor::UnitCursor;
pub use descriptors::{Descriptors, raise_descriptor_limit};
pub use directory::DataDirectory;
pub use error::{DiskError, LogFault, ObjectFault, Place, SegmentFault};
pub use estimate::ClassEstimate;
pub use filter::{FilterError, PropertySelection, RowFilter, UNNAMED_VECTOR, VectorSelection};
pub use inspect::{CopySurvey, IgnoredFile, LogSurvey, SegmentSurvey, ShardSurvey, Survey};
pub use layout::Layout;
pub use leftovers::IgnoredReason;
pub use nodes::Node;
/// The crate that reads schemas: its types are part of this crate's interface.
pub use offloom_weaviate_schema as schema;
pub use report::{CutOff, Examples, LogLength, ShardSummary, Warning};
pub use schema::{SchemaClass, SchemaFile};
pub use tenants::TenantError;
pub use units::{Unit, UnitOptions, Units};
