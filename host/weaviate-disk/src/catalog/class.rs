//! The classes of a data directory and their shards, from schema and directories together.
use std::{fmt, sync::Arc};

use offloom_rows::Schema;

use offloom_weaviate_lsm::{Lost, LsmError, Place, bucket::Bucket, layout::Layout};

use super::node::Node;
use crate::{error::DiskError, schema::ShardStatus};

/// A class (collection) of a data directory.
#[derive(Debug, Clone)]
pub struct Class {
    /// Exact name.
    pub name: Arc<str>,
    /// The name in lower case, which is the name of its directory. Classes whose names differ in case
    /// alone share it.
    pub directory: Arc<str>,
    /// Whether its shards are tenants.
    pub multi_tenant: bool,
    /// Its definition in the schema, JSON.
    pub definition: Option<Arc<str>>,
    /// The shards (tenants) that have a directory here, or should have one, in byte order of their
    /// names.
    pub shards: Arc<[Shard]>,
    /// Why the class cannot be read, or not all of it, besides the faults of its shards. If there is
    /// any, shards may be missing above.
    pub faults: Arc<[Arc<DiskError>]>,
}

impl Class {
    /// Whether any of its shards has files that are read.
    pub fn has_shards(&self) -> bool {
        self.shards.iter().any(|shard| shard.skip_reason.is_none())
    }

    /// The columns of its rows.
    pub fn row_schema(&self) -> Schema {
        let definition = self.definition.as_deref().map(str::to_owned);
        Schema::of_class(&self.name, self.multi_tenant, definition)
    }

    /// The error of a shard that has no directory and should have one: [`SkipReason::NoData`].
    pub(crate) fn lost(&self, shard: &Shard) -> LsmError {
        let (class, shard) = (self.name.clone(), shard.name.clone());
        let place = Place { class, shard, file: "".into(), node: None };
        LsmError::Lost { place, lost: Lost::Directory }
    }

    /// The buckets of `shard`, which is one of the class's, in every data directory that holds it.
    pub(crate) fn buckets<'a>(
        &'a self,
        shard: &'a Shard,
        nodes: &'a [Node],
    ) -> impl Iterator<Item = Bucket> {
        shard.locations.iter().filter_map(move |location| {
            let node = nodes.get(location.node)?;
            Some(Bucket {
                root: node.root.clone(),
                directory: node.path.clone(),
                one_of_several: nodes.len() > 1,
                class_directory: self.directory.clone(),
                class: self.name.clone(),
                shard: shard.name.clone(),
                layout: location.layout,
            })
        })
    }
}

/// A shard (tenant) of a class.
#[derive(Debug, Clone)]
pub struct Shard {
    /// Its name; in a multi-tenant class, that of the tenant.
    pub name: Arc<str>,
    /// Its status in the schema; `None` without a schema.
    pub status: Option<ShardStatus>,
    /// Why its files are not read, if so.
    pub skip_reason: Option<SkipReason>,
    /// Why its files cannot be found, if so.
    pub fault: Option<Arc<LsmError>>,
    /// Which of its objects are the class's.
    pub(crate) attribution: Attribution,
    /// The directories that hold it, in the order in which they were given; none if it is skipped.
    pub(crate) locations: Box<[ShardLocation]>,
}

impl Shard {
    /// Whether it is left out because it has no directory.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self.skip_reason, Some(SkipReason::NoData | SkipReason::TenantWithoutData))
    }
}

/// Which objects of a shard are those of its class.
#[derive(Debug, Clone)]
pub(crate) enum Attribution {
    /// All: the schema says that the shard is the class's.
    Schema,
    /// Those that do not name another class.
    Names {
        /// Other classes that the shard is read for, and that have the objects which name them.
        others: Arc<[Arc<str>]>,
    },
}

/// Where a shard lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShardLocation {
    /// Index of the node whose directory holds it.
    pub node: usize,
    /// How its files lie there.
    pub layout: Layout,
}

/// Why a shard is left out without reading its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkipReason {
    /// The tenant is neither active nor inactive, so that its files may be incomplete
    /// (`data-directory.md` 7).
    Status(ShardStatus),
    /// The tenant is in the schema and has no directory, usually because it was never written to.
    TenantWithoutData,
    /// The schema places the shard here, and it has no directory although servers make it with the
    /// class: an error when it is exported.
    NoData,
    /// The schema has the class, but not this shard: it was deleted, or its creation failed.
    NotInSchema,
    /// Its files were written before the shard was deleted: the node was down meanwhile. The shard may
    /// have been made again (`data-directory.md` 5.5).
    OlderLife,
    /// The shard, of a class without tenants, was made while the node was down, so that it has no
    /// directory there.
    MadeLater,
}

/// The words are upstream's, if it has any (`export-api.md` 3).
impl fmt::Display for SkipReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SkipReason::Status(status) => write!(formatter, "tenant status is {status}"),
            SkipReason::TenantWithoutData => formatter.write_str("tenant has no data on disk"),
            SkipReason::NoData => formatter.write_str("no data on disk"),
            SkipReason::NotInSchema => formatter.write_str("not in the schema"),
            SkipReason::OlderLife => {
                formatter.write_str("its files are of a shard that was deleted")
            }
            SkipReason::MadeLater => {
                formatter.write_str("no data on disk: its node was down when it was made")
            }
        }
    }
}
