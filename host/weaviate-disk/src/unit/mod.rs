//! A unit: the part of a class that is read and encoded as one block.
//!
//! Reading order: this file, `cutter`, `units`.
mod cutter;
pub(crate) mod units;

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use offloom_rows::Schema;
use offloom_weaviate_lsm::{ObjectFault, merge::ShardRange};

use crate::catalog::class::Shard;

/// Key ranges of one or several shards, whose rows fill about one block. Their files stay open until
/// the unit and all its clones are dropped. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Unit(Arc<UnitParts>);

/// What a unit consists of.
#[derive(Debug)]
pub(super) struct UnitParts {
    pub number: u64,
    pub raw_bytes: u64,
    pub schema: Arc<Schema>,
    /// All shards of the class.
    pub shards: Arc<[Shard]>,
    pub ranges: Vec<ShardRange>,
}

impl Unit {
    pub(super) fn new(parts: UnitParts) -> Unit {
        Unit(Arc::new(parts))
    }

    /// Its position among the class's units, from 0.
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// Bytes of the stored rows, replaced and deleted ones included: an upper bound of what is
    /// exported.
    pub fn raw_bytes(&self) -> u64 {
        self.0.raw_bytes
    }

    /// The columns of its rows.
    pub fn schema(&self) -> &Schema {
        &self.0.schema
    }

    /// Its shards, by index in the class, each with a range of keys; an absent bound is none.
    pub fn keys(&self) -> impl Iterator<Item = (u32, Range<Option<u128>>)> {
        self.0.ranges.iter().map(|range| (range.snapshot.shard_index, range.keys.clone()))
    }

    /// The same unit without the rows of these shards, by index. Key ranges of theirs in other units
    /// are not affected.
    pub fn without(&self, shards: &BTreeSet<u32>) -> Unit {
        let remains = |range: &&ShardRange| !shards.contains(&range.snapshot.shard_index);
        Unit::new(UnitParts {
            number: self.0.number,
            raw_bytes: self.0.raw_bytes,
            schema: self.0.schema.clone(),
            shards: self.0.shards.clone(),
            ranges: self.0.ranges.iter().filter(remains).cloned().collect(),
        })
    }

    /// Whether an object that names the class `named` is a row of this shard, by index.
    ///
    /// # Errors
    /// When it may be of another class, which does not read the shard.
    pub(crate) fn has_object(&self, shard: u32, named: &[u8]) -> Result<bool, ObjectFault> {
        match self.0.shards.get(shard as usize) {
            Some(shard) => shard.attribution.reads(&self.0.schema.class_name, named),
            None => Ok(true),
        }
    }

    pub(crate) fn ranges(&self) -> &[ShardRange] {
        &self.0.ranges
    }
}
