//! The copies of a shard in the data directories of several nodes, read as one
//! (`data-directory.md` 8).
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    bucket::Bucket,
    descriptors::Descriptors,
    error::LsmError,
    snapshot::{CutOff, ShardSnapshot, SnapshotReport, SnapshotResult},
};

/// The copy of a shard in one data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardCopy {
    /// That directory.
    pub directory: Arc<Path>,
    /// Which of its writes are in the export.
    pub cut_off: CutOff,
}

/// A shard as all its copies together have it.
#[derive(Debug)]
pub struct TakenShard {
    /// The data; `None` if there is nothing to read.
    pub snapshot: Option<ShardSnapshot>,
    /// What was found besides the data. With several copies, [`SnapshotReport::cut_off`] has only
    /// the earliest time.
    pub report: SnapshotReport,
    /// The copies, in the order of the data directories; set where several directories are read
    /// together.
    pub copies: Option<Vec<ShardCopy>>,
    /// Why one of several copies cannot be trusted; the others are read.
    pub broken_copy: Option<LsmError>,
}

/// The cut-offs of an earlier snapshot of a shard, by data directory.
pub type PinnedShard = BTreeMap<PathBuf, CutOff>;

/// Takes the snapshot of a shard from each of its `buckets`, one for each copy, as
/// [`ShardSnapshot::take`] does from one; `None` if the shard needs more than `room` descriptors.
/// A copy with a cut-off in `pinned` is read as it was then, if its files are still there.
///
/// # Errors
/// When no copy can be read, or all copies together need more descriptors than the budget has.
pub fn take(
    buckets: Vec<Bucket>,
    shard_index: u32,
    descriptors: &Descriptors,
    room: Option<usize>,
    pinned: &PinnedShard,
) -> Result<Option<TakenShard>, LsmError> {
    let alone = buckets.iter().all(|bucket| !bucket.one_of_several);
    match <[Bucket; 1]>::try_from(buckets) {
        Ok([bucket]) if alone => {
            let pinned = pinned.get(&*bucket.directory);
            let taken = ShardSnapshot::take(bucket, shard_index, descriptors, room, pinned)?;
            Ok(taken.map(|SnapshotResult { snapshot, report }| TakenShard {
                snapshot,
                report,
                copies: None,
                broken_copy: None,
            }))
        }
        Ok([bucket]) => take_copies(vec![bucket], shard_index, descriptors, room, pinned),
        Err(buckets) => take_copies(buckets, shard_index, descriptors, room, pinned),
    }
}

fn take_copies(
    buckets: Vec<Bucket>,
    shard_index: u32,
    descriptors: &Descriptors,
    room: Option<usize>,
    pinned: &PinnedShard,
) -> Result<Option<TakenShard>, LsmError> {
    let mut snapshots = Vec::new();
    let mut joined = SnapshotReport::not_read();
    let mut copies = Vec::new();
    let mut broken_copy = None;
    let mut open_files = 0_usize;
    for bucket in buckets {
        // All copies must fit into the budget together: the files of the first are not returned
        // while the second waits.
        let total = room.or_else(|| (open_files > 0).then(|| descriptors.total()));
        let left = total.map(|total| total.saturating_sub(open_files));
        let (directory, place) = (bucket.directory.clone(), bucket.place(""));
        let taken =
            ShardSnapshot::take(bucket, shard_index, descriptors, left, pinned.get(&*directory));
        let SnapshotResult { snapshot, mut report } = match taken {
            Ok(Some(taken)) => taken,
            Ok(None) if room.is_some() => return Ok(None),
            Ok(None) => {
                let allowed_files = descriptors.total();
                let needed_files = allowed_files.saturating_add(1);
                return Err(LsmError::TooManyFiles { place, needed_files, allowed_files });
            }
            Err(error) => {
                broken_copy.get_or_insert(error);
                continue;
            }
        };
        let files = snapshot.as_ref().map_or(0, ShardSnapshot::open_files);
        open_files = open_files.saturating_add(files);
        joined.warnings.append(&mut report.warnings);
        joined.skip_reason = report.skip_reason;
        joined.cut_off.at = joined.cut_off.at.min(report.cut_off.at);
        copies.push(ShardCopy { directory, cut_off: report.cut_off });
        snapshots.push(snapshot);
    }
    if let Some(error) = broken_copy.take_if(|_| snapshots.is_empty()) {
        return Err(error);
    }
    let snapshot = ShardSnapshot::joined(snapshots);
    if snapshot.is_some() {
        joined.skip_reason = None;
    }
    Ok(Some(TakenShard { snapshot, report: joined, copies: Some(copies), broken_copy }))
}
