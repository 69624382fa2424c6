//! Reads the objects of a Weaviate data directory: classes, shards, units, rows.
//!
//! [`DataDirectory::open`] lists the classes, [`DataDirectory::units`] cuts one into [`Unit`]s, and
//! [`UnitCursor::open`] reads the rows of a unit as an [`offloom_rows::Cursor`]. Everything is
//! read-only and blocking; nothing outside of the directory can be opened.
//!
//! Reading order:
//!
//! * `directory`: the entry, which starts everything below.
//! * `fingerprint`: whether an open directory would be opened as the same again.
//! * `error`: what can go wrong.
//! * `catalog`: the classes and shards, from the schema and from what is on disk.
//! * `unit`: the rows of a class, cut into units.
//! * `rows`: the rows of a unit, decoded, filtered, in flat columns.
//! * `look`: what a class holds, without making rows.
//!
//! The files of one shard are read by [`offloom_weaviate_lsm`].
mod catalog;
mod directory;
mod error;
mod fingerprint;
mod look;
mod rows;
mod unit;

pub use catalog::{
    class::{Class, Shard, SkipReason},
    effective_schema::SchemaSource,
    name_list::name_list,
    node::Node,
    tenants::TenantError,
    warning::{Examples, Warning},
};
pub use directory::DataDirectory;
pub use error::{ClusterFault, DiskError};
pub use fingerprint::Fingerprint;
pub use look::{
    estimate::ClassEstimate,
    inspect::{CopySurvey, IgnoredFile, LogSurvey, SegmentSurvey, ShardSurvey, Survey},
};
/// Shortens the text of an error for readers who do not operate the host.
pub use offloom_weaviate_access::without_owners;
pub use offloom_weaviate_lsm::{
    LogFault, Lost, LsmError, ObjectFault, Place, SegmentFault,
    check::{Check, Finding, FindingKind},
    copies::{PinnedShard, ShardCopy},
    descriptors::{Descriptors, raise_descriptor_limit, reserved_files},
    layout::Layout,
    leftovers::IgnoredReason,
    ruling::DifferenceCounts,
    snapshot::{CutOff, ReadSource, ShardWarning},
};
/// The crate that reads schemas: its types are part of this crate's interface.
pub use offloom_weaviate_schema as schema;
pub use rows::{
    cursor::{ReadReport, UnitCursor},
    faults::{
        BadObject, Faults, MAX_LISTED_OBJECTS, OnBadObject, ReadOptions, ShardFaults, StoredValue,
        UnknownPolicy,
    },
    filter::{FilterError, PropertySelection, RowFilter, UNNAMED_VECTOR, VectorSelection},
};
pub use schema::{SchemaClass, SchemaFile};
pub use unit::{
    Unit,
    units::{ShardSummary, UnitOptions, Units},
};
