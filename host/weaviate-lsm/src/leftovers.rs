//! Decides which files of an objects bucket hold its data, as Weaviate does when it starts.
//!
//! The table is that of `wal.md` 5, with the rule for a segment beside its log of `wal.md` 3.
use std::collections::HashSet;

/// A file of a bucket as its listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    /// File name.
    pub name: String,
    /// Length.
    pub bytes: u64,
    /// Number of its inode: another one under the same name is another file.
    pub inode: u64,
}

/// The format of a file with data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// A segment.
    Segment,
    /// A write-ahead log.
    Log,
}

/// A file that holds data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChosenFile {
    /// The file.
    pub file: ListedFile,
    /// Its format.
    pub kind: SourceKind,
    /// Set for a `.db.tmp` that holds the result of a finished compaction.
    pub leftover: bool,
}

/// Why a file of an objects bucket is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IgnoredReason {
    /// A log with the same id holds everything in this segment.
    SegmentBesideLog,
    /// A log of no bytes.
    EmptyLog,
    /// The result of an unfinished flush or cleanup.
    UnfinishedWrite,
    /// The result of a compaction of more than two segments, from before 1.24.
    OldCompaction,
    /// The result of an unfinished compaction: both of its inputs are there.
    UnfinishedCompaction,
    /// The right input of a compaction whose result is read instead.
    Compacted,
    /// Named `.deleteme`: another file holds its data.
    Superseded,
    /// A name that no version of Weaviate gives to data.
    UnknownName,
}

impl std::fmt::Display for IgnoredReason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            IgnoredReason::SegmentBesideLog => "its log is still there and holds the same data",
            IgnoredReason::EmptyLog => "empty log",
            IgnoredReason::UnfinishedWrite => "unfinished flush or cleanup",
            IgnoredReason::OldCompaction => "unfinished compaction from before 1.24",
            IgnoredReason::UnfinishedCompaction => "unfinished compaction, both inputs are there",
            IgnoredReason::Compacted => "already merged into the compaction's result",
            IgnoredReason::Superseded => "superseded, waiting to be deleted",
            IgnoredReason::UnknownName => "not a name that Weaviate gives to data",
        })
    }
}

/// Which files of a listing are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The files to read, oldest first.
    pub chosen: Vec<ChosenFile>,
    /// The other files, with the reasons; sidecars are left out.
    pub ignored: Vec<(String, IgnoredReason)>,
    /// A compaction's result whose left input exists and right input does not: an error.
    pub refused: Option<String>,
}

impl Decision {
    /// Whether a compaction's result has to replace its inputs, or cannot. Every switch to a result
    /// looks like this for a moment; the leftovers of a crash stay like this (`wal.md` 4).
    pub(crate) fn is_ambiguous(&self) -> bool {
        self.refused.is_some() || self.chosen.iter().any(|file| file.leftover)
    }
}

/// The files that hold data, or may become the ones that do, with the properties in which two
/// listings must agree (`wal.md` 7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileSet(Vec<ListedFile>);

impl FileSet {
    /// The set of a listing. Logs and results of compactions may grow; segments never change.
    pub fn of(files: &[ListedFile]) -> FileSet {
        let mut kept: Vec<ListedFile> = files
            .iter()
            .filter(|file| may_hold_data(&file.name))
            .map(|file| match Name::parse(&file.name) {
                Name::Segment { .. } => file.clone(),
                _ => ListedFile { bytes: 0, ..file.clone() },
            })
            .collect();
        kept.sort_by(|left, right| left.name.cmp(&right.name));
        FileSet(kept)
    }
}

/// Whether a name is that of a file with data, or of one that may become it.
pub(crate) fn may_hold_data(name: &str) -> bool {
    match Name::parse(name) {
        Name::Segment { .. } | Name::Log { .. } => true,
        Name::Temporary { ids } => ids.contains('_'),
        Name::Superseded | Name::Sidecar | Name::Unknown => false,
    }
}

/// Whether a name is that of a log.
pub(crate) fn is_log(name: &str) -> bool {
    matches!(Name::parse(name), Name::Log { .. })
}

/// Whether a name ends like that of a file with data.
pub(crate) fn ends_like_data(name: &str) -> bool {
    [".db", ".wal", ".db.tmp"].iter().any(|ending| name.ends_with(ending))
}

/// A file name, parsed.
enum Name<'a> {
    Segment { id: &'a str },
    Log { id: &'a str },
    Temporary { ids: &'a str },
    Superseded,
    Sidecar,
    Unknown,
}

impl Name<'_> {
    /// Parses by the table of `data-directory.md` 4.
    fn parse(name: &str) -> Name<'_> {
        if name.ends_with(".deleteme") {
            return Name::Superseded;
        }
        let Some((id, rest)) = name
            .strip_prefix("segment-")
            .and_then(|tail| tail.find('.').and_then(|dot| tail.split_at_checked(dot)))
        else {
            return if name.ends_with(".db") || name.ends_with(".wal") {
                Name::Unknown
            } else {
                Name::Sidecar
            };
        };
        let numeric = |id: &str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        if rest.ends_with(".db.tmp") {
            return if id.split('_').all(numeric) {
                Name::Temporary { ids: id }
            } else {
                Name::Unknown
            };
        }
        match rest {
            _ if rest.ends_with(".db") && numeric(id) => Name::Segment { id },
            ".wal" if numeric(id) => Name::Log { id },
            _ if rest.ends_with(".db") || rest == ".wal" => Name::Unknown,
            _ => Name::Sidecar,
        }
    }
}

/// Applies the tables to a listing in any order.
pub fn decide(files: Vec<ListedFile>) -> Decision {
    let (segment_ids, log_ids) = ids(&files);
    let mut sorted = files;
    sorted.sort_by(|left, right| left.name.cmp(&right.name));
    let mut decision = Decision { chosen: Vec::new(), ignored: Vec::new(), refused: None };
    let mut kept: Vec<(String, ChosenFile)> = Vec::new();
    let mut compacted = HashSet::new();
    for file in sorted {
        let keep = |id: &str, kind, leftover| {
            (id.to_owned(), ChosenFile { kind, leftover, file: file.clone() })
        };
        let reason = match Name::parse(&file.name) {
            Name::Sidecar => continue,
            Name::Superseded => IgnoredReason::Superseded,
            Name::Unknown => IgnoredReason::UnknownName,
            Name::Log { .. } if file.bytes == 0 => IgnoredReason::EmptyLog,
            Name::Log { id } => {
                kept.push(keep(id, SourceKind::Log, false));
                continue;
            }
            Name::Segment { id } if log_ids.contains(id) => IgnoredReason::SegmentBesideLog,
            Name::Segment { id } => {
                kept.push(keep(id, SourceKind::Segment, false));
                continue;
            }
            Name::Temporary { ids } => match Temporary::of(ids, &segment_ids) {
                Temporary::Ignored(reason) => reason,
                Temporary::Refused => {
                    decision.refused.get_or_insert_with(|| file.name.clone());
                    continue;
                }
                Temporary::Result { right } => {
                    compacted.insert(right.to_owned());
                    kept.push(keep(right, SourceKind::Segment, true));
                    continue;
                }
            },
        };
        decision.ignored.push((file.name, reason));
    }
    kept.retain(|(id, source)| {
        let input = source.kind == SourceKind::Segment && !source.leftover;
        let replaced = input && compacted.contains(id);
        if replaced {
            decision.ignored.push((source.file.name.clone(), IgnoredReason::Compacted));
        }
        !replaced
    });
    // Within an id, a log is newer than a segment; then the file names decide.
    kept.sort_by(|(left_id, left), (right_id, right)| {
        left_id
            .cmp(right_id)
            .then_with(|| (left.kind == SourceKind::Log).cmp(&(right.kind == SourceKind::Log)))
            .then_with(|| left.file.name.cmp(&right.file.name))
    });
    decision.chosen = kept.into_iter().map(|(_, source)| source).collect();
    decision.ignored.sort_by(|left, right| left.0.cmp(&right.0));
    decision
}

/// The ids of the segments, and of the logs that are not empty.
fn ids(files: &[ListedFile]) -> (HashSet<String>, HashSet<String>) {
    let (mut segments, mut logs) = (HashSet::new(), HashSet::new());
    for file in files {
        match Name::parse(&file.name) {
            Name::Segment { id } => segments.insert(id.to_owned()),
            Name::Log { id } if file.bytes > 0 => logs.insert(id.to_owned()),
            _ => false,
        };
    }
    (segments, logs)
}

/// How a `.db.tmp` file is treated.
enum Temporary<'a> {
    Ignored(IgnoredReason),
    Refused,
    /// It holds the data of two segments, of which `right` names the newer.
    Result {
        right: &'a str,
    },
}

impl<'a> Temporary<'a> {
    /// `ids` are those in its name, `segment_ids` those of the segments that exist.
    fn of(ids: &'a str, segment_ids: &HashSet<String>) -> Temporary<'a> {
        let parts: Vec<&str> = ids.split('_').collect();
        match parts.as_slice() {
            [left, right] => match (segment_ids.contains(*left), segment_ids.contains(*right)) {
                (true, true) => Temporary::Ignored(IgnoredReason::UnfinishedCompaction),
                (true, false) => Temporary::Refused,
                (false, _) => Temporary::Result { right },
            },
            [_] => Temporary::Ignored(IgnoredReason::UnfinishedWrite),
            _ => Temporary::Ignored(IgnoredReason::OldCompaction),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of files with a byte, or without one when they end in `=0`.
    fn decide_names(names: &[&str]) -> (Vec<String>, Vec<(String, IgnoredReason)>, Option<String>) {
        let files = names.iter().map(|name| {
            let (name, bytes) = name.strip_suffix("=0").map_or((*name, 1), |name| (name, 0));
            ListedFile { name: name.to_owned(), bytes, inode: 0 }
        });
        let decision = decide(files.collect());
        let chosen = decision.chosen.into_iter().map(|chosen| chosen.file.name).collect();
        (chosen, decision.ignored, decision.refused)
    }

    fn chosen(names: &[&str]) -> Vec<String> {
        let (chosen, _, refused) = decide_names(names);
        assert_eq!(refused, None);
        chosen
    }

    #[test]
    fn sidecars_and_bookkeeping_are_no_data() {
        let (chosen, ignored, refused) = decide_names(&[
            "segment-2.l0.s0.db",
            "segment-2.l0.s0.bloom",
            "segment-2.l0.s0.secondary.0.bloom",
            "segment-2.l0.s0.cna",
            "segment-2.metadata",
            "segment-2.bloom.tmp",
            "segment-2.wal.tmp",
            "cleanup.db.bolt",
            "segment_edit_ops.db.bolt",
        ]);
        assert_eq!(chosen, ["segment-2.l0.s0.db"]);
        assert_eq!((ignored, refused), (vec![], None));
    }

    #[test]
    fn sources_are_ordered_by_id_and_a_log_is_newer_than_what_shares_its_id() {
        let expected = [
            "segment-10.wal",
            "segment-11.db",
            "segment-11.l0.s0.db",
            "segment-12.l3.s0.db",
            "segment-13.db",
            "segment-14.wal",
            "segment-15.wal",
        ];
        let mut shuffled = expected;
        shuffled.reverse();
        assert_eq!(chosen(&shuffled), expected);
    }

    #[test]
    fn a_log_replaces_the_segments_of_its_id_unless_it_is_empty() {
        let (chosen, ignored, _) =
            decide_names(&["segment-1.wal", "segment-1.db", "segment-1.l0.s0.db"]);
        assert_eq!(chosen, ["segment-1.wal"]);
        assert!(ignored.iter().all(|(_, reason)| *reason == IgnoredReason::SegmentBesideLog));
        assert_eq!(ignored.len(), 2);
        let (chosen, ignored, _) = decide_names(&["segment-1.wal=0", "segment-1.db"]);
        assert_eq!(chosen, ["segment-1.db"]);
        assert_eq!(ignored, [("segment-1.wal".to_owned(), IgnoredReason::EmptyLog)]);
        // An id that only begins alike is another one.
        let (chosen, ..) = decide_names(&["segment-1.wal", "segment-12.db"]);
        assert_eq!(chosen, ["segment-1.wal", "segment-12.db"]);
    }

    #[test]
    fn interrupted_compactions_follow_the_table() {
        for tmp in ["segment-1_3.db.tmp", "segment-1_3.l1.s0.db.tmp"] {
            let both = decide_names(&[tmp, "segment-1.db", "segment-3.l0.s0.db", "segment-4.db"]);
            assert_eq!(both.0, ["segment-1.db", "segment-3.l0.s0.db", "segment-4.db"]);
            assert_eq!(both.1, [(tmp.to_owned(), IgnoredReason::UnfinishedCompaction)]);

            let right = decide_names(&[tmp, "segment-0.db", "segment-3.l0.s0.db", "segment-4.db"]);
            assert_eq!(right.0, ["segment-0.db", tmp, "segment-4.db"]);
            assert_eq!(right.1, [("segment-3.l0.s0.db".to_owned(), IgnoredReason::Compacted)]);

            let neither = decide_names(&["segment-2.wal", tmp, "segment-0.db", "segment-4.db"]);
            assert_eq!(neither.0, ["segment-0.db", "segment-2.wal", tmp, "segment-4.db"]);
            assert_eq!(neither.1, []);

            let left = decide_names(&[tmp, "segment-1.db", "segment-4.db"]);
            assert_eq!(left.2.as_deref(), Some(tmp));
        }
    }

    #[test]
    fn other_temporaries_are_ignored_with_their_reason() {
        let (chosen, ignored, refused) = decide_names(&[
            "segment-1.l0.s0.db.tmp",
            "segment-2.db.tmp",
            "segment-1_2_3.db.tmp",
            "segment-4.db.1795407641874.deleteme",
            "segment-5.l0.s0.cna.1795407641874.deleteme",
            "segment-.db",
            "segment-x.db",
            "segment-1_2.db",
            "other.wal",
        ]);
        assert_eq!((chosen.len(), refused), (0, None));
        let reason = |name: &str| {
            ignored.iter().find(|(ignored, _)| ignored == name).map(|(_, reason)| *reason)
        };
        use IgnoredReason::{OldCompaction, Superseded, UnfinishedWrite, UnknownName};
        for (name, expected) in [
            ("segment-1.l0.s0.db.tmp", UnfinishedWrite),
            ("segment-2.db.tmp", UnfinishedWrite),
            ("segment-1_2_3.db.tmp", OldCompaction),
            ("segment-4.db.1795407641874.deleteme", Superseded),
            ("segment-5.l0.s0.cna.1795407641874.deleteme", Superseded),
            ("segment-.db", UnknownName),
            ("segment-x.db", UnknownName),
            ("segment-1_2.db", UnknownName),
            ("other.wal", UnknownName),
        ] {
            assert_eq!(reason(name), Some(expected), "{name}");
        }
    }
}
