//! The classes of a data directory and their shards, as schema and directory tell them together.
use std::{fmt, sync::Arc};

use offloom_rows::Schema;

use crate::{layout::Layout, schema::ShardStatus};

/// A class (collection) of a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// Exact name.
    pub name: Arc<str>,
    /// The name in lower case, as its directory is called.
    pub directory: Arc<str>,
    /// Whether its shards are tenants.
    pub multi_tenant: bool,
    /// Its definition in the schema, JSON.
    pub definition: Option<Arc<str>>,
    /// The shards (tenants) that have a directory or should have one here, in byte order of their
    /// names.
    pub shards: Arc<[Shard]>,
}

impl Class {
    /// The columns of its rows.
    pub fn row_schema(&self) -> Schema {
        let definition = self.definition.as_deref().map(str::to_owned);
        Schema::of_class(&self.name, self.multi_tenant, definition)
    }
}

/// A shard (tenant) of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its name, which is the tenant's.
    pub name: Arc<str>,
    /// As the schema has it; `None` when no schema tells.
    pub status: Option<ShardStatus>,
    /// Why its files are not looked at.
    pub skip_reason: Option<SkipReason>,
    /// The directories that hold it, in the order in which they were given; none when it is
    /// skipped.
    pub(crate) held_by: Box<[Held]>,
}

/// A directory that holds a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    /// Index of the directory's node.
    pub node: usize,
    /// How the shard's files lie there.
    pub layout: Layout,
}

/// Why a shard is left out before its files are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkipReason {
    /// A tenant that is neither active nor inactive: what lies on disk may be a part of it
    /// (`data-directory.md` 7).
    Status(ShardStatus),
    /// A tenant of the schema that has no directory, usually because nothing was ever written.
    TenantWithoutData,
    /// A shard of a class without tenants that has no directory.
    NoData,
    /// The schema has the class, but not this shard: it was deleted, or never finished.
    NotInSchema,
}

/// The words are upstream's, where it has any (`export-api.md` 3).
impl fmt::Display for SkipReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SkipReason::Status(status) => write!(formatter, "tenant status is {status}"),
            SkipReason::TenantWithoutData => formatter.write_str("tenant has no data on disk"),
            SkipReason::NoData => formatter.write_str("no data on disk"),
            SkipReason::NotInSchema => formatter.write_str("not in the schema"),
        }
    }
}
