//! Which entries a node's RAFT log has, and whether two logs can be of one cluster
//! (`data-directory.md` 5.5).
use std::{collections::BTreeMap, fmt};

/// Times of one entry agree to the nanosecond on all nodes of the versions seen. Versions that keep
/// less of it are no other cluster.
const APPENDED_AT_TOLERANCE_S: u64 = 1;

/// An entry of a log. A later term is newer than a higher index, as in RAFT's elections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// RAFT term.
    pub term: u64,
    /// RAFT index.
    pub index: u64,
}

/// What distinguishes an entry from another cluster's of the same index and term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub term: u64,
    /// Checksum of type and data. `None` for a configuration: the nodes of a new cluster write the
    /// first one themselves, each in its own order.
    pub content: Option<u64>,
    /// When the leader appended it: seconds since the beginning of year 1.
    pub appended_at_s: Option<i64>,
}

/// The entries of a node's log, with those that its snapshot includes as far as they are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    snapshot: Option<Position>,
    /// RAFT index of the first entry in the log.
    first: Option<u64>,
    /// By RAFT index: those in the log, and the last one of the snapshot.
    entries: BTreeMap<u64, Mark>,
    pub(crate) cluster_id: Option<String>,
    pub(crate) servers: Vec<String>,
}

/// What two logs say of each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agreement {
    /// They have no entry in common.
    Unknown,
    /// All entries in common are the same.
    Same,
    /// From this index on, they have entries of different terms: those of the older log were never
    /// committed.
    Parted {
        /// RAFT index of the first such entry.
        at: u64,
        /// Whether they have the same entries before.
        have_common: bool,
    },
    /// They are logs of different clusters.
    Foreign(Foreign),
}

/// Why two logs cannot be of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foreign {
    /// Their clusters have different ids.
    ClusterIds {
        /// Of the first log.
        left: String,
        /// Of the second log.
        right: String,
    },
    /// They have different entries at the same place, which RAFT rules out within a cluster.
    Entry(Position),
    /// They have entries of different terms at the same index, and both were committed.
    Committed {
        /// RAFT index of the first such entry.
        at: u64,
    },
}

impl fmt::Display for Foreign {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Foreign::ClusterIds { left, right } => {
                write!(formatter, "their clusters have the ids {left} and {right}")
            }
            Foreign::Entry(Position { term, index }) => {
                write!(formatter, "entry {index} of term {term} differs in their RAFT logs")
            }
            Foreign::Committed { at } => write!(
                formatter,
                "their RAFT logs differ from entry {at} on, and each has applied its own"
            ),
        }
    }
}

impl Mark {
    /// Whether two entries of the same index and term may be the same.
    fn may_be(&self, other: &Mark) -> bool {
        let agree = |differ: Option<bool>| !differ.unwrap_or(false);
        let content = self.content.zip(other.content).map(|(left, right)| left != right);
        let time = self.appended_at_s.zip(other.appended_at_s);
        let time = time.map(|(left, right)| left.abs_diff(right) > APPENDED_AT_TOLERANCE_S);
        agree(content) && agree(time)
    }
}

impl History {
    /// That of a snapshot: its last entry, and the names of the nodes then.
    pub(crate) fn of_snapshot(
        last: Position,
        servers: Vec<String>,
        cluster_id: Option<String>,
    ) -> History {
        let mark = Mark { term: last.term, content: None, appended_at_s: None };
        let entries = [(last.index, mark)].into();
        History { snapshot: Some(last), first: None, entries, cluster_id, servers }
    }

    /// Adds an entry of the log, which are added in ascending order.
    pub(crate) fn add(&mut self, index: u64, mark: Mark) {
        self.first.get_or_insert(index);
        self.entries.insert(index, mark);
    }

    /// The last entry, in the log or in the snapshot.
    pub fn last(&self) -> Position {
        let last = self.entries.last_key_value();
        last.map(|(index, mark)| Position { term: mark.term, index: *index }).unwrap_or_default()
    }

    /// Whether the log has every entry after `index`, so that no change since is hidden in a snapshot.
    pub fn has_all_after(&self, index: u64) -> bool {
        self.last().index <= index
            || self.first.is_some_and(|first| first <= index.saturating_add(1))
    }

    /// RAFT index of the first entry in the log; `None` if it has none.
    pub fn first(&self) -> Option<u64> {
        self.first
    }

    /// Names of the nodes in the newest configuration of the cluster; none if there is none.
    pub fn servers(&self) -> &[String] {
        &self.servers
    }

    /// What this log and that of another node say of each other.
    pub fn agreement(&self, other: &History) -> Agreement {
        if let (Some(left), Some(right)) = (&self.cluster_id, &other.cluster_id)
            && left != right
        {
            let (left, right) = (left.clone(), right.clone());
            return Agreement::Foreign(Foreign::ClusterIds { left, right });
        }
        let mut agreement = Agreement::Unknown;
        for (&index, mark) in &self.entries {
            let Some(others) = other.entries.get(&index) else { continue };
            if mark.term != others.term {
                // A snapshot has committed entries only.
                let is_committed = |history: &History| {
                    history.snapshot.is_some_and(|snapshot| snapshot.index >= index)
                };
                return if is_committed(self) && is_committed(other) {
                    Agreement::Foreign(Foreign::Committed { at: index })
                } else {
                    let have_common = agreement == Agreement::Same;
                    Agreement::Parted { at: index, have_common }
                };
            }
            if !mark.may_be(others) {
                return Agreement::Foreign(Foreign::Entry(Position { term: mark.term, index }));
            }
            agreement = Agreement::Same;
        }
        agreement
    }
}
