//! Decides which files of an objects bucket hold its data, as Weaviate does when it starts.
//!
//! The table is that of `wal.md` 5, with the rule for a segment beside its log of `wal.md` 3.
use std::collections::HashSet;

/// A file of the bucket as its listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedFile {
    pub name: String,
    pub bytes: u64,
    pub inode: u64,
}

/// How a file is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceKind {
    Segment,
    Log,
}

/// A file that holds data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChosenFile {
    pub file: ListedFile,
    pub kind: SourceKind,
    /// Set for a `.db.tmp` that stands for a finished compaction.
    pub leftover: bool,
}

/// Why a file of an objects bucket is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IgnoredReason {
    /// A log of the same id holds everything that is in this segment.
    SegmentBesideLog,
    /// A log without a byte.
    EmptyLog,
    /// What a flush or a cleanup had not finished.
    UnfinishedWrite,
    /// A compaction of more than two segments, from before 1.24.
    OldCompaction,
    /// A compaction that had not finished: both of its inputs are there.
    UnfinishedCompaction,
    /// The right half of a compaction whose result is read instead.
    Compacted,
    /// Named `.deleteme`: its data is elsewhere.
    Superseded,
    /// A name that no version of Weaviate gives to data.
    UnknownName,
}

impl std::fmt::Display for IgnoredReason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            IgnoredReason::SegmentBesideLog => "its log is still there and holds the same",
            IgnoredReason::EmptyLog => "empty log",
            IgnoredReason::UnfinishedWrite => "unfinished flush or cleanup",
            IgnoredReason::OldCompaction => "unfinished compaction from before 1.24",
            IgnoredReason::UnfinishedCompaction => "unfinished compaction, both inputs are there",
            IgnoredReason::Compacted => "already merged into the compaction's result",
            IgnoredReason::Superseded => "superseded, waiting to be deleted",
            IgnoredReason::UnknownName => "no name that Weaviate gives to data",
        })
    }
}

/// What a listing comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The files to read, oldest first.
    pub chosen: Vec<ChosenFile>,
    /// The others that are worth telling of; sidecars are not.
    pub ignored: Vec<(String, IgnoredReason)>,
    /// A compaction result whose left half exists and right half does not: an error.
    pub refused: Option<String>,
}

impl Decision {
    /// Whether a compaction's result has to stand for its inputs, or cannot: for a moment every
    /// switch to a result looks like that, and what a crash leaves does for ever (`wal.md` 4).
    pub fn is_ambiguous(&self) -> bool {
        self.refused.is_some() || self.chosen.iter().any(|file| file.leftover)
    }
}

/// The files that hold data or may come to stand for it, as far as two listings must agree on them
/// (`wal.md` 7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileSet(Vec<ListedFile>);

impl FileSet {
    /// Of a listing. Logs and the results of compactions may grow; segments are never written to.
    pub fn of(files: &[ListedFile]) -> FileSet {
        let mut kept: Vec<ListedFile> = files
            .iter()
            .filter_map(|file| match Name::parse(&file.name) {
                Name::Segment { .. } => Some(file.clone()),
                Name::Log { .. } => Some(ListedFile { bytes: 0, ..file.clone() }),
                Name::Temporary { ids } if ids.contains('_') => {
                    Some(ListedFile { bytes: 0, ..file.clone() })
                }
                _ => None,
            })
            .collect();
        kept.sort_by(|left, right| left.name.cmp(&right.name));
        FileSet(kept)
    }
}

/// What a file's name says.
enum Name<'a> {
    Segment { id: &'a str },
    Log { id: &'a str },
    Temporary { ids: &'a str },
    Superseded,
    Sidecar,
    Unknown,
}

impl Name<'_> {
    /// By the table of `data-directory.md` 4.
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

/// Applies the tables to a listing, in whatever order it comes.
pub(crate) fn decide(files: Vec<ListedFile>) -> Decision {
    let mut segment_ids = HashSet::new();
    let mut log_ids = HashSet::new();
    for file in &files {
        match Name::parse(&file.name) {
            Name::Segment { id } => {
                segment_ids.insert(id.to_owned());
            }
            Name::Log { id } if file.bytes > 0 => {
                log_ids.insert(id.to_owned());
            }
            _ => {}
        }
    }
    let mut ignored = Vec::new();
    let mut refused = None;
    let mut compacted = HashSet::new();
    let mut kept = Vec::new();
    let mut sorted = files;
    sorted.sort_by(|left, right| left.name.cmp(&right.name));
    for file in sorted {
        let reason = match Name::parse(&file.name) {
            Name::Sidecar => continue,
            Name::Superseded => IgnoredReason::Superseded,
            Name::Unknown => IgnoredReason::UnknownName,
            Name::Log { .. } if file.bytes == 0 => IgnoredReason::EmptyLog,
            Name::Log { id } => {
                kept.push((
                    id.to_owned(),
                    ChosenFile { kind: SourceKind::Log, leftover: false, file: file.clone() },
                ));
                continue;
            }
            Name::Segment { id } if log_ids.contains(id) => IgnoredReason::SegmentBesideLog,
            Name::Segment { id } => {
                kept.push((
                    id.to_owned(),
                    ChosenFile { kind: SourceKind::Segment, leftover: false, file: file.clone() },
                ));
                continue;
            }
            Name::Temporary { ids } => {
                let parts: Vec<&str> = ids.split('_').collect();
                match parts.as_slice() {
                    [left, right] => {
                        match (segment_ids.contains(*left), segment_ids.contains(*right)) {
                            (true, true) => IgnoredReason::UnfinishedCompaction,
                            (true, false) => {
                                refused.get_or_insert_with(|| file.name.clone());
                                continue;
                            }
                            (false, _) => {
                                compacted.insert((*right).to_owned());
                                kept.push((
                                    (*right).to_owned(),
                                    ChosenFile {
                                        kind: SourceKind::Segment,
                                        leftover: true,
                                        file: file.clone(),
                                    },
                                ));
                                continue;
                            }
                        }
                    }
                    [_] => IgnoredReason::UnfinishedWrite,
                    _ => IgnoredReason::OldCompaction,
                }
            }
        };
        ignored.push((file.name, reason));
    }
    let mut chosen: Vec<(String, ChosenFile)> = Vec::new();
    for (id, source) in kept {
        let replaced = source.kind == SourceKind::Segment && !source.leftover;
        if replaced && compacted.contains(&id) {
            ignored.push((source.file.name, IgnoredReason::Compacted));
        } else {
            chosen.push((id, source));
        }
    }
    // Within an id the file name decides, and a log is newer than a segment: `.wal` > `.db`, `.l0`.
    chosen.sort_by(|(left_id, left), (right_id, right)| {
        left_id
            .cmp(right_id)
            .then_with(|| (left.kind == SourceKind::Log).cmp(&(right.kind == SourceKind::Log)))
            .then_with(|| left.file.name.cmp(&right.file.name))
    });
    ignored.sort_by(|left, right| left.0.cmp(&right.0));
    Decision { chosen: chosen.into_iter().map(|(_, source)| source).collect(), ignored, refused }
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
