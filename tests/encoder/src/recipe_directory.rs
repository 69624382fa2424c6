//! A data directory full of one class: segments, a log, updates and deletes, in one shard or in tenants.

use std::borrow::Cow;
use std::path::Path;

use crate::directory::{DirectoryWriter, NameStyle, ShardWriter, Sidecar};
use crate::embedding::Embeddings;
use crate::error::EncodeError;
use crate::node::Node;
use crate::object::ObjectOptions;
use crate::recipe::{Recipe, Spaces};
use crate::segment::SegmentOptions;
use crate::wal::WalVersion;
use crate::workload::Workload;

/// Id of the oldest segment, Unix nanoseconds; the next ones follow a minute apart.
const FIRST_ID: u64 = 1_795_000_000_000_000_000;
const ID_STEP: u64 = 60_000_000_000;
/// When all deleted objects were deleted, Unix milliseconds.
const DELETED_MS: i64 = 1_795_000_000_000;
/// Name of the shard of a class without tenants.
const SHARD: &str = "bEnchmark1x2";

/// What one source holds of a row.
#[derive(Debug, Clone, Copy)]
enum Change {
    Put { revision: u32 },
    Delete,
}

/// One entry of a segment or the log.
#[derive(Debug, Clone, Copy)]
struct Entry {
    uuid: [u8; 16],
    row: u64,
    change: Change,
}

/// Writes `rows` live objects of a workload as a data directory in `destination/data`, and its
/// schema to `destination/schema.json`.
///
/// Live is `workload.object(row, workload.live_revision(row))` for every row below `rows`. Beside them
/// lie old versions and deleted objects, so that a reader has to merge.
///
/// # Errors
/// The directory cannot be written.
pub fn write_workload(
    workload: Workload,
    rows: u64,
    destination: &Path,
) -> Result<(), EncodeError> {
    write_recipes(&[Recipe { objects: rows, ..workload.recipe() }], destination)
}

/// Writes a multi-tenant class with `tenants` tenants of one small object each to
/// `destination/data`, and its schema to `destination/schema.json`. Nothing of them was ever
/// flushed, as with a server since 1.31 (`wal.md 2`).
///
/// # Errors
/// The directory cannot be written.
pub fn write_tenants(tenants: u64, destination: &Path) -> Result<(), EncodeError> {
    write_recipes(&[Recipe::small_tenants(tenants)], destination)
}

impl Recipe {
    /// Tenants of one small object each, in logs alone.
    pub fn small_tenants(tenants: u64) -> Recipe {
        Recipe {
            class_name: Cow::Borrowed("Shelf"),
            objects: tenants,
            dimensions: 16,
            named: Vec::new(),
            properties_bytes: 40,
            embeddings: Embeddings::Normal,
            updates_percent: 0,
            deletes_percent: 0,
            segments: 0,
            tenants: Some(tenants),
            seed: 0,
        }
    }

    /// Name of the tenant with this number.
    pub fn tenant_name(number: u64) -> String {
        format!("tenant_{number:06}")
    }

    /// Fills the shard of a tenant, or the one shard of a class without tenants (tenant 0), with the
    /// objects that belong there.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn fill(
        &self,
        shard: &ShardWriter,
        spaces: &Spaces,
        tenant: u64,
    ) -> Result<(), EncodeError> {
        let mut sources = self.sources(tenant);
        let log = sources.pop().unwrap_or_default();
        let mut id = FIRST_ID;
        for mut entries in sources {
            entries.sort_unstable_by_key(|entry| entry.uuid);
            self.write_segment(shard, spaces, id, &entries)?;
            id += ID_STEP;
        }
        let mut wal = shard.wal(id)?;
        for entry in &log {
            wal.append(&self.node(spaces, entry)?, WalVersion::V1)?;
        }
        wal.finish()?;
        Ok(())
    }

    /// The entries of every source, oldest first and the log last.
    fn sources(&self, tenant: u64) -> Vec<Vec<Entry>> {
        let mut sources = vec![Vec::new(); self.segments + 1];
        let mut add = |source: usize, row: u64, change| {
            if let Some(entries) = sources.get_mut(source) {
                entries.push(Entry { uuid: self.uuid(row), row, change });
            }
        };
        let (live, deleted) = self.rows_of(tenant);
        for row in live {
            let home = self.home(row);
            add(home, row, Change::Put { revision: 0 });
            if self.live_revision(row) == 1 {
                add(self.later(home, row), row, Change::Put { revision: 1 });
            }
        }
        for row in deleted {
            let home = self.home(row);
            add(home, row, Change::Put { revision: 0 });
            add(self.later(home, row), row, Change::Delete);
        }
        sources
    }

    /// A source younger than `home`; after the log comes only the log itself.
    fn later(&self, home: usize, row: u64) -> usize {
        let younger = self.segments.saturating_sub(home).max(1) as u64;
        let step = usize::try_from(row % younger).unwrap_or(0);
        (home + 1 + step).min(self.segments)
    }

    fn write_segment(
        &self,
        shard: &ShardWriter,
        spaces: &Spaces,
        id: u64,
        entries: &[Entry],
    ) -> Result<(), EncodeError> {
        // A shard has no empty segments.
        if entries.is_empty() {
            return Ok(());
        }
        let options = SegmentOptions::default();
        let level = options.level;
        let mut segment = shard.segment(id, NameStyle::Long, options)?;
        let mut net_additions = 0;
        for entry in entries {
            segment.append(&self.node(spaces, entry)?)?;
            net_additions += match entry.change {
                Change::Put { revision: 0 } => 1,
                Change::Put { .. } => 0,
                Change::Delete => -1,
            };
        }
        segment.finish()?;
        shard.sidecar(id, NameStyle::Long, level, &Sidecar::NetAdditions(net_additions))
    }

    fn node(&self, spaces: &Spaces, entry: &Entry) -> Result<Node, EncodeError> {
        match entry.change {
            Change::Put { revision } => {
                let object = self.object(spaces, entry.row, revision);
                Node::live(&object, &ObjectOptions::default())
            }
            Change::Delete => {
                let doc_id = Self::doc_id(entry.row, 0).to_le_bytes().to_vec();
                let tombstone = Node::tombstone(entry.uuid, Some(DELETED_MS));
                Ok(tombstone.with_secondary_keys(vec![doc_id]))
            }
        }
    }
}

/// Writes the classes of `recipes` as a data directory in `destination/data` that no server has seen, and
/// their schema to `destination/schema.json`.
///
/// # Errors
/// The directory cannot be written.
pub fn write_recipes(recipes: &[Recipe], destination: &Path) -> Result<(), EncodeError> {
    let mut directory = DirectoryWriter::create(&destination.join("data"))?;
    for recipe in recipes {
        let class = directory.class(&recipe.class_name, recipe.tenants.is_some())?;
        let spaces = recipe.spaces();
        match recipe.tenants {
            None => recipe.fill(&class.shard(SHARD)?, &spaces, 0)?,
            Some(tenants) => {
                for tenant in 0..tenants {
                    let shard = class.shard(&Recipe::tenant_name(tenant))?;
                    recipe.fill(&shard, &spaces, tenant)?;
                }
            }
        }
    }
    directory.write_schema(&destination.join("schema.json"))
}
