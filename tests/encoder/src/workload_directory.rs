//! A data directory full of one workload: segments, a log, updates and deletes.

use std::path::Path;

use crate::directory::{DirectoryWriter, NameStyle, ShardWriter, Sidecar};
use crate::error::EncodeError;
use crate::node::Node;
use crate::object::ObjectOptions;
use crate::segment::SegmentOptions;
use crate::wal::WalVersion;
use crate::workload::Workload;

/// The share of rows, in per cent, whose first version lies in each segment, oldest first. The rest
/// are in the log only.
const SEGMENT_PER_CENT: [u64; 4] = [55, 25, 12, 6];
/// Every so many rows one has a newer version in a younger segment, or in the log.
const ROWS_PER_UPDATE: u64 = 50;
/// For every so many rows there is one more that was deleted.
const ROWS_PER_DELETE: u64 = 100;
/// Id of the oldest segment, Unix nanoseconds; the next ones follow a minute apart.
const FIRST_ID: u64 = 1_795_000_000_000_000_000;
const ID_STEP: u64 = 60_000_000_000;
/// When all deleted objects were deleted, Unix milliseconds.
const DELETED_MS: i64 = 1_795_000_000_000;
/// Name of the one shard.
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
/// Live is `workload.object(row, live_revision(row))` for every row below `rows`. Beside them lie
/// old versions and deleted objects, so that a reader has to merge.
///
/// # Errors
/// The directory cannot be written.
pub fn write_workload(
    workload: Workload,
    rows: u64,
    destination: &Path,
) -> Result<(), EncodeError> {
    let mut directory = DirectoryWriter::create(&destination.join("data"))?;
    let shard = directory.class(workload.class_name(), false)?.shard(SHARD)?;
    let mut sources = sources(workload, rows);
    let log = sources.pop().unwrap_or_default();
    let mut id = FIRST_ID;
    for mut entries in sources {
        entries.sort_unstable_by_key(|entry| entry.uuid);
        write_segment(&shard, id, workload, &entries)?;
        id += ID_STEP;
    }
    let mut wal = shard.wal(id)?;
    for entry in &log {
        wal.append(&node(workload, entry)?, WalVersion::V1)?;
    }
    wal.finish()?;
    directory.write_schema(&destination.join("schema.json"))
}

/// Which revision of a row is the live one.
pub fn live_revision(row: u64) -> u32 {
    u32::from(is_updated(row))
}

fn is_updated(row: u64) -> bool {
    row % ROWS_PER_UPDATE == 7 && home(row) < SEGMENT_PER_CENT.len()
}

/// The source that holds the first version of a row: a segment, or the log after the last segment.
fn home(row: u64) -> usize {
    // A multiplier without a common factor with 100 spreads neighbouring rows over the sources.
    let mut share = row * 37 % 100;
    for (segment, per_cent) in SEGMENT_PER_CENT.iter().enumerate() {
        match share.checked_sub(*per_cent) {
            Some(rest) => share = rest,
            None => return segment,
        }
    }
    SEGMENT_PER_CENT.len()
}

/// The entries of every source, oldest first and the log last.
fn sources(workload: Workload, rows: u64) -> Vec<Vec<Entry>> {
    let mut sources = vec![Vec::new(); SEGMENT_PER_CENT.len() + 1];
    let mut add = |source: usize, row: u64, change| {
        if let Some(entries) = sources.get_mut(source) {
            entries.push(Entry { uuid: workload.uuid(row), row, change });
        }
    };
    for row in 0..rows {
        let home = home(row);
        add(home, row, Change::Put { revision: 0 });
        if is_updated(row) {
            add(later(home, row), row, Change::Put { revision: 1 });
        }
    }
    for row in rows..rows + rows / ROWS_PER_DELETE {
        let home = home(row).min(SEGMENT_PER_CENT.len() - 1);
        add(home, row, Change::Put { revision: 0 });
        add(later(home, row), row, Change::Delete);
    }
    sources
}

/// A source younger than `home`, which is a segment.
fn later(home: usize, row: u64) -> usize {
    let younger = SEGMENT_PER_CENT.len() - home;
    let step = usize::try_from(row / ROWS_PER_UPDATE).unwrap_or(0) % younger;
    home + 1 + step
}

fn write_segment(
    shard: &ShardWriter,
    id: u64,
    workload: Workload,
    entries: &[Entry],
) -> Result<(), EncodeError> {
    let options = SegmentOptions::default();
    let level = options.level;
    let mut segment = shard.segment(id, NameStyle::Long, options)?;
    let mut net_additions = 0;
    for entry in entries {
        segment.append(&node(workload, entry)?)?;
        net_additions += match entry.change {
            Change::Put { revision: 0 } => 1,
            Change::Put { .. } => 0,
            Change::Delete => -1,
        };
    }
    segment.finish()?;
    shard.sidecar(id, NameStyle::Long, level, &Sidecar::NetAdditions(net_additions))
}

fn node(workload: Workload, entry: &Entry) -> Result<Node, EncodeError> {
    match entry.change {
        Change::Put { revision } => {
            Node::live(&workload.object(entry.row, revision), &ObjectOptions::default())
        }
        Change::Delete => {
            let doc_id = Workload::doc_id(entry.row, 0).to_le_bytes().to_vec();
            let tombstone = Node::tombstone(entry.uuid, Some(DELETED_MS));
            Ok(tombstone.with_secondary_keys(vec![doc_id]))
        }
    }
}
