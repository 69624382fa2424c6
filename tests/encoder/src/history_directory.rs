//! A data directory of a history: six segments and two logs for each tenant.

use std::path::Path;

use crate::directory::{DirectoryWriter, NameStyle, ShardWriter};
use crate::error::EncodeError;
use crate::history::{Change, History, STEPS, change};
use crate::node::Node;
use crate::object::{Generation, ObjectOptions};
use crate::segment::SegmentOptions;
use crate::tree::TreeOrder;
use crate::wal::WalVersion;

/// Id of the oldest file, Unix nanoseconds; the next ones follow a minute apart.
const FIRST_ID: u64 = 1_790_000_000_000_000_000;
const ID_STEP: u64 = 60_000_000_000;
/// When all objects were deleted, Unix milliseconds, where the time was written.
const DELETED_MS: i64 = 1_790_000_000_000;

/// One file, and the steps that it holds.
enum File {
    Segment(SegmentOptions, usize),
    Log(WalVersion, [usize; 2]),
}

/// The files of a tenant, oldest first. Versions, secondary keys and orders of the trees all differ.
fn files() -> [File; 7] {
    let segment = |version, secondary_keys, tree_order, step| {
        let level = secondary_keys;
        File::Segment(SegmentOptions { level, version, secondary_keys, tree_order }, step)
    };
    const _: () = assert!(STEPS == 9);
    [
        segment(0, 1, TreeOrder::VanEmdeBoas, 0),
        segment(1, 0, TreeOrder::Level, 1),
        File::Log(WalVersion::V0, [2, 3]),
        segment(0, 3, TreeOrder::Level, 4),
        segment(1, 5, TreeOrder::VanEmdeBoas, 5),
        segment(0, 2, TreeOrder::VanEmdeBoas, 6),
        File::Log(WalVersion::V1, [7, 8]),
    ]
}

/// Writes `history` as a data directory in `destination/data`, and its schema to
/// `destination/schema.json`.
///
/// # Errors
/// The directory cannot be written.
pub fn write_history(history: &History, destination: &Path) -> Result<(), EncodeError> {
    let mut directory = DirectoryWriter::create(&destination.join("data"))?;
    let class = directory.class(History::CLASS, true)?;
    for (tenant, (name, objects)) in history.tenants().iter().enumerate() {
        let shard = class.shard(name)?;
        // Segments are written in the order of ids.
        let mut sorted: Vec<u64> = (0..*objects).collect();
        sorted.sort_unstable_by_key(|number| History::id(*number));
        for (position, file) in (0_u64..).zip(files()) {
            let id = FIRST_ID + position * ID_STEP;
            match file {
                File::Segment(options, step) => {
                    write_segment(&shard, id, options, history, (tenant, step), &sorted)?;
                }
                File::Log(version, steps) => {
                    write_log(&shard, id, version, history, (tenant, steps), *objects)?;
                }
            }
        }
    }
    directory.write_schema(&destination.join("schema.json"))
}

fn write_segment(
    shard: &ShardWriter,
    id: u64,
    options: SegmentOptions,
    history: &History,
    (tenant, step): (usize, usize),
    sorted: &[u64],
) -> Result<(), EncodeError> {
    let slots = options.secondary_keys;
    let style = if step.is_multiple_of(2) { NameStyle::Short } else { NameStyle::Long };
    let mut segment = shard.segment(id, style, options)?;
    for number in sorted {
        if let Some(node) = node(history, tenant, *number, step)? {
            // The document id, a slot that is empty in every node, and others that are not.
            let doc_id = node.secondary_keys.first().cloned().unwrap_or_default();
            let key = |slot: u16| match slot {
                0 => doc_id.clone(),
                1 => Vec::new(),
                _ => [&doc_id[..], &slot.to_le_bytes()].concat(),
            };
            segment.append(&node.with_secondary_keys((0..slots).map(key).collect()))?;
        }
    }
    segment.finish()?;
    Ok(())
}

fn write_log(
    shard: &ShardWriter,
    id: u64,
    version: WalVersion,
    history: &History,
    (tenant, steps): (usize, [usize; 2]),
    objects: u64,
) -> Result<(), EncodeError> {
    let mut log = shard.wal(id)?;
    for step in steps {
        for number in 0..objects {
            if let Some(node) = node(history, tenant, number, step)? {
                log.append(&node, version)?;
            }
        }
    }
    log.finish()?;
    Ok(())
}

fn node(
    history: &History,
    tenant: usize,
    number: u64,
    step: usize,
) -> Result<Option<Node>, EncodeError> {
    let generation = match step % 3 {
        0 => Generation::V1_20,
        1 => Generation::V1_24,
        _ => Generation::Current,
    };
    let options = ObjectOptions::from(generation);
    Ok(match change(tenant, number, step) {
        None => None,
        Some(Change::Put) => Some(Node::live(&history.object(tenant, number, step), &options)?),
        // Both kinds of deletion occur.
        Some(Change::Delete) => {
            let deleted_ms = number.is_multiple_of(2).then_some(DELETED_MS);
            Some(Node::tombstone(History::id(number), deleted_ms))
        }
    })
}
