//! Every byte of a segment and a log, changed: what is exported then is right, or it is said.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use offloom_encoder::{Node, Object, ObjectOptions, SegmentOptions, WalVersion};
use offloom_weaviate_disk::{DataDirectory, DiskError, ShardWarning};

use crate::{
    rows::{self, LIMITS, Row},
    shard::{CLASS, Shard, id, schema},
};

/// Bits of a byte that are changed together.
const CHANGES: [u8; 3] = [0x01, 0x80, 0xff];

/// Rows by the last byte of their ids.
type Rows = BTreeMap<u8, Row>;

/// An older segment, a newer one, and a log, which replace and delete rows of those before.
struct Files {
    shard: Shard,
    segments: [PathBuf; 2],
    log: PathBuf,
    /// Nodes of each file.
    nodes: [Vec<Node>; 3],
    truth: Rows,
}

fn node(number: u8, revision: u8) -> Node {
    let mut object = Object::new(id(number), CLASS);
    object.doc_id = u64::from(number) * 256 + u64::from(revision);
    (object.created_ms, object.updated_ms) = (1_000, 1_000 + i64::from(revision));
    object.vector = vec![0.5, f32::from(number)];
    object.named_vectors = vec![("named".to_owned(), vec![1.0, f32::from(revision)])];
    object.multi_vectors = vec![("multi".to_owned(), vec![vec![2.0], vec![]])];
    object.properties = Some(format!(r#"{{"t":"of {number}","n":{revision}}}"#).into_bytes());
    Node::live(&object, &ObjectOptions::default()).unwrap()
}

fn files(segment_version: u16, log_version: WalVersion) -> Files {
    let shard = Shard::new();
    let options = SegmentOptions { version: segment_version, ..SegmentOptions::default() };
    let deleted = |number, time| Node::tombstone(id(number), time);
    let nodes = [
        (1..=6).map(|number| node(number, 1)).collect(),
        vec![node(2, 2), deleted(3, None), deleted(4, Some(1_700_000_000_000)), node(7, 2)],
        vec![node(5, 3), deleted(6, None), node(8, 3)],
    ];
    let segments = [(1, &nodes[0]), (2, &nodes[1])]
        .map(|(file, nodes): (u64, &Vec<Node>)| shard.segment(file, options.clone(), nodes));
    let log = shard.log(3, &nodes[2], log_version);
    let truth = read(&shard).unwrap().0;
    assert_eq!(truth.keys().collect::<Vec<_>>(), [&1, &2, &5, &7, &8]);
    Files { shard, segments, log, nodes, truth }
}

/// What is read, and the offset at which a log was given up.
fn read(shard: &Shard) -> Result<(Rows, Option<u64>), DiskError> {
    // Without a schema, a changed class name is that of another class.
    let schema = schema(shard.root(), r#"{"classes": [{"class": "Article"}]}"#);
    let directory = DataDirectory::open(shard.root(), Some(schema)).unwrap();
    let read = rows::read(&directory, rows::class(&directory, CLASS), 1 << 20, LIMITS)?;
    let torn = match &read.shards[0].warnings[..] {
        [] => None,
        [ShardWarning::TornLog { offset, .. }] => Some(*offset),
        other => panic!("{other:?}"),
    };
    let all = read.all();
    let rows: Rows = all.iter().map(|row| (row.id[15], row.clone())).collect();
    assert_eq!(rows.len(), all.len(), "a row came twice");
    Ok((rows, torn))
}

/// What is read when one byte of a file is changed.
enum Outcome {
    /// An error that names the file.
    Error,
    /// Rows without a warning.
    Rows(Rows),
    /// Rows, and a warning that the log ends at this offset.
    Torn(Rows, u64),
}

/// Calls `on_outcome` with every byte's offset in a file, and what comes of changing it.
fn change_each_byte(shard: &Shard, path: &Path, mut on_outcome: impl FnMut(usize, Outcome)) {
    let original = std::fs::read(path).unwrap();
    for at in 0..original.len() {
        for change in CHANGES {
            let mut bytes = original.clone();
            bytes[at] ^= change;
            std::fs::write(path, &bytes).unwrap();
            on_outcome(
                at,
                match read(shard) {
                    Err(error) => {
                        let name = path.file_name().unwrap().to_str().unwrap();
                        assert!(error.to_string().contains(name), "byte {at}: {error}");
                        Outcome::Error
                    }
                    Ok((rows, None)) => Outcome::Rows(rows),
                    Ok((rows, Some(offset))) => Outcome::Torn(rows, offset),
                },
            );
        }
    }
    std::fs::write(path, original).unwrap();
}

/// The id of the object, by its last byte, if `byte` of a node is in an object's value.
fn object_at(node: &Node, byte: usize) -> Option<u8> {
    let value = 9..9 + node.value.len();
    (node.tombstone == 0 && value.contains(&byte)).then(|| node.key[15])
}

/// Whether rows have the right ids, and differ at most in the row of `object`.
fn differ_at_most_in(object: Option<u8>, rows: &Rows, truth: &Rows) -> bool {
    rows.keys().eq(truth.keys())
        && rows.iter().all(|(id, row)| Some(*id) == object || *row == truth[id])
}

#[test]
fn a_changed_byte_of_a_segment_with_a_checksum_is_an_error() {
    let files = files(1, WalVersion::V1);
    for segment in &files.segments {
        change_each_byte(&files.shard, segment, |at, outcome| {
            assert!(matches!(outcome, Outcome::Error), "{}: byte {at}", segment.display());
        });
    }
}

/// A segment without a checksum says most things twice. A changed byte of an object's value can be
/// exported with that object; no row is lost, comes back or changes its id.
#[test]
fn a_changed_byte_of_a_segment_without_a_checksum_changes_one_object_at_most() {
    let files = files(0, WalVersion::V1);
    for (segment, nodes) in files.segments.iter().zip(&files.nodes) {
        let mut silent = 0;
        change_each_byte(&files.shard, segment, |at, outcome| {
            let Outcome::Rows(rows) = outcome else { return };
            let (mut start, mut object) = (16, None);
            for node in nodes {
                let bytes = node.encode().unwrap().len();
                object = object.or(at.checked_sub(start).and_then(|byte| object_at(node, byte)));
                start += bytes;
            }
            let allowed = differ_at_most_in(object, &rows, &files.truth);
            assert!(allowed, "{}: byte {at}: {rows:#?}", segment.display());
            silent += u32::from(rows != files.truth);
        });
        // The test would notice a change that the reader does not.
        assert!(silent > 100, "{silent}");
    }
}

/// Offset of each record of a log, and what is read of the log up to there.
fn records(files: &Files, head_and_tail_bytes: usize) -> Vec<(usize, Rows)> {
    let original = std::fs::read(&files.log).unwrap();
    let mut start = 0;
    let mut records = Vec::new();
    for node in &files.nodes[2] {
        std::fs::write(&files.log, &original[..start]).unwrap();
        let (rows, torn) = read(&files.shard).unwrap();
        assert_eq!(torn, None);
        records.push((start, rows));
        start += node.encode().unwrap().len() + head_and_tail_bytes;
    }
    assert_eq!(start, original.len());
    std::fs::write(&files.log, original).unwrap();
    records
}

/// The record that holds this byte.
fn record_of(records: &[(usize, Rows)], byte: usize) -> usize {
    records.partition_point(|(start, _)| *start <= byte) - 1
}

#[test]
fn a_changed_byte_of_a_log_with_checksums_ends_it_before_that_record_with_a_warning() {
    let files = files(1, WalVersion::V1);
    // Type, version, length; checksum.
    let records = records(&files, 6 + 4);
    change_each_byte(&files.shard, &files.log, |at, outcome| {
        let (start, before) = &records[record_of(&records, at)];
        let Outcome::Torn(rows, offset) = outcome else { panic!("byte {at}: no warning") };
        assert_eq!((offset, &rows), (*start as u64, before), "byte {at}");
    });
}

/// A log from before 1.24 says nothing twice but the ids of objects. Beside an object's value, the key of
/// a deletion can change unnoticed; all else is an error, or ends the log with a warning.
#[test]
fn a_changed_byte_of_a_log_without_checksums_changes_one_object_or_one_deletion_at_most() {
    let files = files(1, WalVersion::V0);
    let records = records(&files, 2);
    change_each_byte(&files.shard, &files.log, |at, outcome| {
        let record = record_of(&records, at);
        let (start, before) = &records[record];
        let node = &files.nodes[2][record];
        match outcome {
            Outcome::Error => {}
            Outcome::Torn(rows, offset) => {
                assert_eq!((offset, &rows), (*start as u64, before), "byte {at}");
            }
            Outcome::Rows(rows) => {
                let byte = (at - start).checked_sub(2);
                let object = byte.and_then(|byte| object_at(node, byte));
                let deletion = node.tombstone == 1 && at - start >= 2 + 9 + node.value.len() + 4;
                let allowed = deletion || differ_at_most_in(object, &rows, &files.truth);
                assert!(allowed, "byte {at}: {rows:#?}");
            }
        }
    });
}
