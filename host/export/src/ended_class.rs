//! How a class and each of its shards ended, in the form that the manifest needs and the journal keeps.
use std::collections::BTreeMap;

use offloom_protocol::manifest::{
    self, Attachment, ClassFile, Missing, Shard, ShardCopies, ShardCopy, SourceCutOff,
};
use offloom_weaviate_disk::{Class, CutOff, ReadSource, ShardSummary};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::definitions::ClassDefinition;
use crate::file::WrittenClass;
use crate::refused::StepSums;

/// A class whose files are complete, or that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndedClass {
    /// Exact name.
    pub name: String,
    /// Its complete files, in order.
    pub files: Vec<ClassFile>,
    /// Other objects of it.
    pub attachments: Vec<Attachment>,
    /// Its shards, in the order of their rows in the files.
    pub shards: Vec<EndedShard>,
    /// Objects that were left out and are not listed in the quarantine.
    pub unlisted: u64,
    /// What each transform did, by index of the step in the export.
    pub transforms: BTreeMap<usize, StepSums>,
    /// Its definition, if it is known.
    pub definition: Option<ClassDefinition>,
}

/// How a shard ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndedShard {
    /// Its index in the shards of the class.
    pub index: u32,
    /// What the manifest says of it.
    pub shard: Shard,
    /// Whether its error is that permission to read is denied.
    pub denied: bool,
    /// What a partial export leaves out of it.
    pub missing: Vec<Missing>,
    /// What a reader of the export should know.
    pub warnings: Vec<String>,
}

impl EndedClass {
    /// Joins what the cutter found of each shard with what the workers found in its rows.
    pub fn new(
        class: &Class,
        steps: impl Iterator<Item = usize>,
        shards: Vec<ShardSummary>,
        written: WrittenClass,
    ) -> EndedClass {
        let name = class.name.to_string();
        let shards = shards.into_iter().map(|summary| ended_shard(&name, summary, &written));
        let shards = shards.collect();
        let mut transforms: BTreeMap<usize, StepSums> =
            steps.map(|step| (step, StepSums::default())).collect();
        transforms.extend(written.transforms.sums);
        EndedClass {
            name,
            shards,
            files: written.files,
            attachments: written.quarantine,
            unlisted: written.faults.unlisted.saturating_add(written.transforms.unlisted),
            transforms,
            definition: ClassDefinition::of(class),
        }
    }

    /// Bytes of its files together.
    pub fn file_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes).fold(0, u64::saturating_add)
    }
}

fn ended_shard(class: &str, summary: ShardSummary, written: &WrittenClass) -> EndedShard {
    let index = summary.index;
    let faults = written.faults.shards.get(&index).cloned().unwrap_or_default();
    let differences = written.differences.get(&index).copied().unwrap_or_default();
    let refused = written.transforms.refused.get(&index).copied().unwrap_or_default();
    let rows = written.shards.get(&index);
    let denied = summary.error.as_ref().is_some_and(|error| error.is_denied());
    let error = summary.error.as_ref().map(ToString::to_string).or(faults.error);
    let missing = |objects, reason: String| Missing {
        class: class.to_owned(),
        shard: Some(summary.shard.clone()),
        objects,
        reason,
    };
    let unread = error.clone().map(|error| missing(None, error));
    let (left_out, too_large) = (faults.objects_left_out, faults.objects_too_large);
    let objects =
        (left_out > 0).then(|| missing(Some(left_out), why_objects_left_out(left_out, too_large)));
    let rows_refused =
        (refused > 0).then(|| missing(Some(refused), "transforms refused them".to_owned()));
    let missing = unread.into_iter().chain(objects).chain(rows_refused).collect();
    let mut warnings: Vec<String> = summary.warnings.iter().map(ToString::to_string).collect();
    if faults.rows_with_trailing_bytes > 0 {
        warnings.push(format!(
            "class {class}, shard {}: {} objects have bytes after their last field, which are left \
             out, as Weaviate does",
            summary.shard, faults.rows_with_trailing_bytes
        ));
    }
    let id = |id: [u8; 16]| Uuid::from_bytes(id).to_string();
    let copies = summary.copies.map(|copies| ShardCopies {
        differing_objects: differences.differing,
        kept_against_deletes: differences.kept_against_deletes,
        directories: copies
            .into_iter()
            .map(|copy| ShardCopy {
                directory: copy.directory.display().to_string(),
                cut_off: cut_off(copy.cut_off),
            })
            .collect(),
    });
    let shard = Shard {
        class: class.to_owned(),
        shard: summary.shard,
        rows: rows.map_or(0, |rows| rows.rows),
        first_id: rows.map(|rows| id(rows.first_id)),
        last_id: rows.map(|rows| id(rows.last_id)),
        cut_off: summary.cut_off.map(cut_off),
        skip_reason: summary.skip_reason,
        error,
        objects_left_out: Some(left_out.saturating_add(refused)).filter(|count| *count > 0),
        copies,
    };
    EndedShard { index, shard, denied, missing, warnings }
}

fn why_objects_left_out(left_out: u64, too_large: u64) -> String {
    const TOO_LARGE: &str = "larger than --max-object-bytes allows (max_object_bytes)";
    match too_large {
        0 => "they break their format".to_owned(),
        all if all == left_out => format!("they are {TOO_LARGE}"),
        some => format!("{some} of them are {TOO_LARGE}, the others break their format"),
    }
}

fn cut_off(cut_off: CutOff) -> manifest::CutOff {
    manifest::CutOff {
        at: cut_off.at,
        newest_segment: cut_off.newest_segment,
        sources: cut_off.sources.into_iter().map(source_cut_off).collect(),
    }
}

fn source_cut_off(source: ReadSource) -> SourceCutOff {
    let hex = |crc: u32| format!("{crc:08x}");
    SourceCutOff {
        name: source.name,
        size_bytes: source.size_bytes,
        modified_at: source.modified_at,
        header_crc: hex(source.header_crc),
        bytes_read: source.bytes_read,
        crc: source.crc.map(hex),
    }
}
