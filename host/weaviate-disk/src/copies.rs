//! A shard that several nodes hold: its copies read as one, and how they differ
//! (`data-directory.md` 8).
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    class::{Class, Shard},
    directory::DataDirectory,
    error::DiskError,
    report::CutOff,
    snapshot::{Findings, ShardSnapshot},
};

/// The copies of a shard, one a directory.
#[derive(Debug, Clone)]
pub struct ShardCopies {
    /// In the order in which the directories were given.
    pub copies: Vec<ShardCopy>,
    differences: Differences,
}

/// The copy of a shard in one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardCopy {
    /// That directory.
    pub directory: Arc<Path>,
    /// Up to where its writes are in the export.
    pub cut_off: CutOff,
}

impl ShardCopies {
    /// Objects that not all copies had in the same version, by update time, as far as the shard's
    /// rows were read.
    pub fn differing_objects(&self) -> u64 {
        self.differences.total().differing
    }

    /// Those of them that are exported although a copy had deleted them, because it had not kept
    /// when.
    pub fn kept_against_deletes(&self) -> u64 {
        self.differences.total().kept_against_deletes
    }
}

/// What a shard's copies came to, key range by key range: one that is read again counts once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Differences(Arc<Mutex<BTreeMap<Option<u128>, DifferenceCounts>>>);

/// Of one key range.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DifferenceCounts {
    pub differing: u64,
    pub kept_against_deletes: u64,
}

impl Differences {
    /// The range that starts with this key was read to its end.
    pub fn record(&self, start_key: Option<u128>, counts: DifferenceCounts) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(start_key, counts);
    }

    fn total(&self) -> DifferenceCounts {
        let ranges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ranges.values().fold(DifferenceCounts::default(), |sum, range| DifferenceCounts {
            differing: sum.differing.saturating_add(range.differing),
            kept_against_deletes: sum
                .kept_against_deletes
                .saturating_add(range.kept_against_deletes),
        })
    }
}

impl DifferenceCounts {
    pub fn add(&mut self, ruling: Ruling) {
        self.differing = self.differing.saturating_add(u64::from(ruling.differs));
        self.kept_against_deletes =
            self.kept_against_deletes.saturating_add(u64::from(ruling.against_delete));
    }
}

/// What one copy says of a key that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Update time, Unix milliseconds.
    Live(i64),
    /// Time of deletion, where it was kept (`lsm-segment.md` 1.3).
    Deleted(Option<i64>),
}

/// What all copies together say of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ruling {
    /// Which of the verdicts is exported.
    pub winner: Option<usize>,
    /// Whether the copies disagree about an object.
    pub differs: bool,
    /// Whether the winner stands against a deletion of unknown time.
    pub against_delete: bool,
}

impl Ruling {
    /// Of `copies` copies, `verdicts` are those that have the key. The newest version counts, of
    /// equal ones the first; a deletion counts when it is later than every version.
    pub fn of(verdicts: &[Verdict], copies: usize) -> Ruling {
        let mut newest: Option<(usize, i64)> = None;
        let mut oldest_is = None;
        let (mut live, mut deleted_at, mut untimed) = (0_usize, None, false);
        for (index, verdict) in verdicts.iter().enumerate() {
            match *verdict {
                Verdict::Live(updated) => {
                    live = live.saturating_add(1);
                    oldest_is = Some(oldest_is.map_or(updated, |time: i64| time.min(updated)));
                    if newest.is_none_or(|(_, time)| updated > time) {
                        newest = Some((index, updated));
                    }
                }
                Verdict::Deleted(Some(at)) => deleted_at = deleted_at.max(Some(at)),
                Verdict::Deleted(None) => untimed = true,
            }
        }
        let agree = live == copies && oldest_is == newest.map(|(_, time)| time);
        let winner = newest.filter(|(_, updated)| deleted_at.is_none_or(|at| at <= *updated));
        Ruling {
            winner: winner.map(|(index, _)| index),
            differs: live > 0 && !agree,
            against_delete: winner.is_some() && untimed,
        }
    }
}

/// Takes the snapshot of a shard from every directory that holds it, as [`ShardSnapshot::take`]
/// does from one. A copy that cannot be trusted is told of, and the others are read.
pub(crate) fn take(
    directory: &DataDirectory,
    class: &Class,
    shard: &Shard,
    index: u32,
    room: Option<usize>,
) -> Result<Option<(Option<ShardSnapshot>, Findings)>, DiskError> {
    let descriptors = directory.descriptors();
    let mut buckets = directory.buckets(class, shard);
    if directory.nodes().len() == 1
        && let Some((_, bucket)) = buckets.next()
    {
        return ShardSnapshot::take(bucket, index, descriptors, room);
    }
    let mut taken = Vec::new();
    let mut joined = Findings::not_looked_at();
    let mut copies = Vec::new();
    let mut open_files = 0_usize;
    for (node, bucket) in buckets {
        // The copies together must fit: the first is never given back while a second waits.
        let total = room.or_else(|| (open_files > 0).then(|| descriptors.total()));
        let left = total.map(|total| total.saturating_sub(open_files));
        let place = bucket.place("");
        let (snapshot, mut findings) = match ShardSnapshot::take(bucket, index, descriptors, left) {
            Ok(Some(taken)) => taken,
            Ok(None) if room.is_some() => return Ok(None),
            Ok(None) => {
                let allowed_files = descriptors.total();
                let needed_files = allowed_files.saturating_add(1);
                return Err(DiskError::TooManyFiles { place, needed_files, allowed_files });
            }
            Err(error) => {
                joined.broken_copy.get_or_insert(error);
                continue;
            }
        };
        open_files =
            open_files.saturating_add(snapshot.as_ref().map_or(0, ShardSnapshot::open_files));
        joined.warnings.append(&mut findings.warnings);
        joined.skip_reason = findings.skip_reason;
        joined.cut_off.at = joined.cut_off.at.min(findings.cut_off.at);
        copies.push(ShardCopy { directory: node.shared_path(), cut_off: findings.cut_off });
        taken.push(snapshot);
    }
    if let Some(error) = joined.broken_copy.take_if(|_| taken.is_empty()) {
        return Err(error);
    }
    let differences = Differences::default();
    let snapshot = ShardSnapshot::joined(taken, differences.clone());
    if snapshot.is_some() {
        joined.skip_reason = None;
    }
    joined.copies = Some(ShardCopies { copies, differences });
    Ok(Some((snapshot, joined)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Deleted, Live};

    fn ruling(verdicts: &[Verdict], copies: usize) -> (Option<usize>, bool, bool) {
        let Ruling { winner, differs, against_delete } = Ruling::of(verdicts, copies);
        (winner, differs, against_delete)
    }

    #[test]
    fn the_newest_version_counts_and_the_first_of_equal_ones() {
        assert_eq!(ruling(&[Live(5), Live(5)], 2), (Some(0), false, false));
        assert_eq!(ruling(&[Live(5), Live(6), Live(6)], 3), (Some(1), true, false));
        assert_eq!(ruling(&[Live(5)], 2), (Some(0), true, false));
        assert_eq!(ruling(&[Live(i64::MIN), Live(-1)], 2), (Some(1), true, false));
    }

    #[test]
    fn a_deletion_counts_when_it_is_later_than_every_version() {
        assert_eq!(ruling(&[Deleted(Some(7)), Live(6)], 2), (None, true, false));
        assert_eq!(ruling(&[Deleted(Some(6)), Live(6)], 2), (Some(1), true, false));
        assert_eq!(ruling(&[Live(6), Deleted(Some(7)), Live(8)], 3), (Some(2), true, false));
        assert_eq!(ruling(&[Live(6), Deleted(Some(9)), Deleted(Some(1))], 3), (None, true, false));
    }

    #[test]
    fn against_a_deletion_without_time_the_object_stays() {
        assert_eq!(ruling(&[Deleted(None), Live(6)], 2), (Some(1), true, true));
        assert_eq!(ruling(&[Deleted(None), Live(6), Deleted(Some(7))], 3), (None, true, false));
    }

    #[test]
    fn where_nobody_has_the_object_nothing_differs() {
        assert_eq!(ruling(&[Deleted(None), Deleted(Some(3))], 3), (None, false, false));
        assert_eq!(ruling(&[Deleted(None)], 2), (None, false, false));
    }
}
