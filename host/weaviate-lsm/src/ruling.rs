//! Which version of an object is exported where the copies of a shard disagree
//! (`data-directory.md` 8).
/// The state of a key in one copy that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The object's update time, Unix milliseconds.
    Live(i64),
    /// The time of deletion, Unix milliseconds, if it was stored (`lsm-segment.md` 1.3).
    Deleted(Option<i64>),
}

/// The decision over all copies of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ruling {
    /// Index of the verdict whose object is exported.
    pub winner: Option<usize>,
    /// Whether the copies disagree about an object.
    pub differs: bool,
    /// Whether a copy deleted the exported object at an unknown time.
    pub against_delete: bool,
}

impl Ruling {
    /// Decides between `verdicts`, one for each of the `copies` copies that has the key. The
    /// newest version wins, and of equal ones the first; a deletion wins if it is later than every
    /// version.
    pub fn of(verdicts: &[Verdict], copies: usize) -> Ruling {
        let mut newest: Option<(usize, i64)> = None;
        let mut oldest_time = None;
        let (mut live, mut deleted_at, mut untimed) = (0_usize, None, false);
        for (index, verdict) in verdicts.iter().enumerate() {
            match *verdict {
                Verdict::Live(updated) => {
                    live = live.saturating_add(1);
                    oldest_time = Some(oldest_time.map_or(updated, |time: i64| time.min(updated)));
                    if newest.is_none_or(|(_, time)| updated > time) {
                        newest = Some((index, updated));
                    }
                }
                Verdict::Deleted(Some(at)) => deleted_at = deleted_at.max(Some(at)),
                Verdict::Deleted(None) => untimed = true,
            }
        }
        let agree = live == copies && oldest_time == newest.map(|(_, time)| time);
        let winner = newest.filter(|(_, updated)| deleted_at.is_none_or(|at| at <= *updated));
        Ruling {
            winner: winner.map(|(index, _)| index),
            differs: live > 0 && !agree,
            against_delete: winner.is_some() && untimed,
        }
    }
}

/// How often the copies of a shard disagree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DifferenceCounts {
    /// Objects that not all copies had in the same version, by update time.
    pub differing: u64,
    /// Those of them that are exported although a copy had deleted them, because it had not stored
    /// the time.
    pub kept_against_deletes: u64,
}

impl DifferenceCounts {
    pub(crate) fn count(&mut self, ruling: Ruling) {
        self.differing = self.differing.saturating_add(u64::from(ruling.differs));
        self.kept_against_deletes =
            self.kept_against_deletes.saturating_add(u64::from(ruling.against_delete));
    }

    /// Adds the counts of other objects.
    pub fn add(&mut self, other: DifferenceCounts) {
        self.differing = self.differing.saturating_add(other.differing);
        self.kept_against_deletes =
            self.kept_against_deletes.saturating_add(other.kept_against_deletes);
    }
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
    fn if_no_copy_has_the_object_nothing_differs() {
        assert_eq!(ruling(&[Deleted(None), Deleted(Some(3))], 3), (None, false, false));
        assert_eq!(ruling(&[Deleted(None)], 2), (None, false, false));
    }
}
