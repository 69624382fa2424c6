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
