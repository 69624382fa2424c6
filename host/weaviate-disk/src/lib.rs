//! Reads the objects of a Weaviate data directory: classes, shards, segments, logs, rows.
//!
//! [`DataDirectory::open`] lists the classes, [`DataDirectory::units`] cuts one into [`Unit`]s, and
//! [`Unit::open`] yields its rows as an [`offloom_rows::Cursor`]. Everything is read-only and
//! blocking; nothing outside of the directory can be opened.
mod bad_data;
mod bucket;
mod columns;
mod cursor;
mod directory;
mod error;
mod filter;
mod inspect;
mod key_index;
mod leftovers;
mod merge;
mod names;
mod object;
mod report;
pub mod schema;
mod segment;
mod snapshot;
mod tenants;
mod units;
mod wal;

pub use bad_data::{
    BadObject, FaultLog, Faults, MAX_LISTED_OBJECTS, MAX_RAW_BYTES, OnBadObject, ReadOptions,
    ShardFaults, UnknownPolicy,
};
pub use cursor::UnitCursor;
pub use directory::{Class, DataDirectory, SchemaSource};
pub use error::{DiskError, LogFault, ObjectFault, Place, SegmentFault};
pub use filter::{FilterError, PropertySelection, RowFilter, UNNAMED_VECTOR, VectorSelection};
pub use inspect::{IgnoredFile, LogSurvey, SegmentSurvey, ShardSurvey, Survey};
pub use leftovers::IgnoredReason;
pub use report::{CutOff, LogLength, ShardSummary, Warning};
pub use schema::file::{SchemaClass, SchemaFile};
pub use tenants::TenantError;
pub use units::{Unit, UnitOptions, Units};
