//! The data directories of several nodes, read as one.
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use offloom_encoder::{
    DirectoryWriter, NameStyle, Node, Object, ObjectOptions, SegmentOptions, ShardWriter,
    WalVersion,
};
use offloom_weaviate_disk::{
    DataDirectory, Descriptors, DiskError, LsmError, ReadOptions, SchemaFile, UnitCursor,
    UnitOptions, Warning,
};
use proptest::{collection::vec, prelude::*};
use tempfile::TempDir;

use crate::{
    catalog::{Server, class, examples},
    log::Log,
    real::{disk_objects, rest_objects, sorted},
    rows::{self, LIMITS},
    shard::{CLASS, SHARD, id},
};

/// One write, with its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Put(i64),
    Delete(Option<i64>),
}

/// Changes by the last byte of their id, in a file of their own.
type File = BTreeMap<u8, Change>;

/// A node's copy of the shard.
struct Copy {
    root: TempDir,
    shard: ShardWriter,
    files: u64,
}

impl Copy {
    fn new() -> Copy {
        let root = tempfile::tempdir().unwrap();
        let mut directory = DirectoryWriter::create(root.path()).unwrap();
        let shard = directory.class(CLASS, false).unwrap().shard(SHARD).unwrap();
        Copy { root, shard, files: 0 }
    }

    fn of(files: &[(bool, File)]) -> Copy {
        let mut copy = Copy::new();
        for (in_log, file) in files {
            copy.write(*in_log, file);
        }
        copy
    }

    fn write(&mut self, in_log: bool, changes: &File) {
        self.files += 1;
        let nodes = changes.iter().map(|(number, change)| node(*number, *change));
        if in_log {
            let mut log = self.shard.wal(self.files).unwrap();
            for node in nodes {
                log.append(&node, WalVersion::V1).unwrap();
            }
            log.finish().unwrap();
        } else {
            let options = SegmentOptions::default();
            let mut segment = self.shard.segment(self.files, NameStyle::Short, options).unwrap();
            for node in nodes {
                segment.append(&node).unwrap();
            }
            segment.finish().unwrap();
        }
    }
}

fn node(number: u8, change: Change) -> Node {
    match change {
        Change::Put(updated_ms) => {
            let object = Object { updated_ms, ..Object::new(id(number), CLASS) };
            Node::live(&object, &ObjectOptions::default()).unwrap()
        }
        Change::Delete(deleted_ms) => Node::tombstone(id(number), deleted_ms),
    }
}

fn open(copies: &[Copy]) -> DataDirectory {
    let paths: Vec<&Path> = copies.iter().map(|copy| copy.root.path()).collect();
    DataDirectory::open_nodes(&paths, None).unwrap()
}

/// Last byte of the id and update time of every row; how many objects differed, and how many
/// stand against a deletion.
fn merged(directory: &DataDirectory, block_bytes: u64) -> (Vec<(u8, i64)>, u64, u64) {
    let class = rows::class(directory, CLASS);
    let read = rows::read(directory, class, block_bytes, LIMITS).unwrap();
    let found = read.all().iter().map(|row| (row.id[15], row.updated_ms)).collect();
    let [shard] = read.shards.as_slice() else { panic!("{:?}", read.shards) };
    let copies = shard.copies.as_ref().unwrap();
    assert_eq!(copies.len(), directory.nodes().len());
    let counts = read.differences.get(&0).copied().unwrap_or_default();
    (found, counts.differing, counts.kept_against_deletes)
}

fn file(changes: &[(u8, Change)]) -> File {
    changes.iter().copied().collect()
}

use Change::{Delete, Put};

#[test]
fn of_every_object_the_newest_version_of_all_copies_is_read() {
    for (left_log, right_log) in [(false, false), (true, false), (false, true), (true, true)] {
        let left = Copy::of(&[(
            left_log,
            file(&[
                (1, Put(10)),
                (2, Put(20)),
                (3, Put(10)),
                (4, Put(10)),
                (6, Put(10)),
                (7, Put(10)),
                (8, Put(10)),
                (9, Delete(None)),
                (10, Delete(Some(30))),
            ]),
        )]);
        let right = Copy::of(&[(
            right_log,
            file(&[
                (1, Put(10)),
                (2, Put(10)),
                (3, Put(20)),
                (5, Put(10)),
                (6, Delete(Some(11))),
                (7, Delete(Some(9))),
                (8, Delete(None)),
                (9, Delete(Some(5))),
            ]),
        )]);
        let rows = vec![(1, 10), (2, 20), (3, 20), (4, 10), (5, 10), (7, 10), (8, 10)];
        let copies = [left, right];
        for block_bytes in [1, 1 << 20] {
            assert_eq!(merged(&open(&copies), block_bytes), (rows.clone(), 7, 1));
        }
        let [left, right] = copies;
        assert_eq!(merged(&open(&[right, left]), 1 << 20), (rows, 7, 1));
    }
}

#[test]
fn within_one_node_the_newest_file_decides_whatever_its_time() {
    let left = Copy::of(&[
        (false, file(&[(1, Put(50)), (2, Put(50)), (3, Delete(Some(90)))])),
        (true, file(&[(1, Put(10)), (2, Delete(Some(60))), (3, Put(70))])),
    ]);
    let right = Copy::of(&[(false, file(&[(1, Put(20)), (2, Put(55)), (3, Put(70))]))]);
    assert_eq!(merged(&open(&[left, right]), 1 << 20), (vec![(1, 20), (3, 70)], 2, 0));
}

#[test]
fn an_object_that_is_broken_in_one_copy_is_taken_from_the_other() {
    let mut left = Copy::of(&[(false, file(&[(2, Put(10))]))]);
    let right = Copy::of(&[(false, file(&[(1, Put(10)), (2, Put(10))]))]);
    let broken = Node { value: vec![1; 20], ..node(1, Put(10)) };
    left.files += 1;
    let mut log = left.shard.wal(left.files).unwrap();
    log.append(&broken, WalVersion::V1).unwrap();
    log.finish().unwrap();
    assert_eq!(merged(&open(&[left, right]), 1 << 20), (vec![(1, 10), (2, 10)], 1, 0));
}

#[test]
fn every_reading_of_a_unit_counts_its_own_differences() {
    let left = Copy::of(&[(false, file(&[(1, Put(10)), (2, Put(10))]))]);
    let right = Copy::of(&[(false, file(&[(2, Put(11))]))]);
    let copies = [left, right];
    let directory = open(&copies);
    let class = rows::class(&directory, CLASS);
    let mut units = directory.units(class, UnitOptions::new(1));
    let all: Vec<_> = units.by_ref().collect();
    assert_eq!(all.len(), 2);
    let differing = |unit| {
        let cursor = UnitCursor::open(unit, &ReadOptions::default());
        let (rows, report) = rows::read_reported(cursor, LIMITS);
        rows.unwrap();
        report.differences.get(&0).map(|counts| counts.differing)
    };
    for unit in [&all[1], &all[1]] {
        assert_eq!(differing(unit), Some(1));
    }
    assert_eq!(differing(&all[0]), Some(1));
    // A unit that is not read to its end counts nothing of the key range that it stopped in.
    let mut cursor = UnitCursor::open(&all[0], &ReadOptions::default());
    cursor.read_batch(offloom_rows::BatchLimits { max_rows: 1, ..LIMITS }).unwrap().unwrap();
    assert!(cursor.into_report().differences.is_empty());
}

fn change() -> impl Strategy<Value = Change> {
    let time = || 0_i64..6;
    prop_oneof![
        5 => time().prop_map(Put),
        2 => time().prop_map(|time| Delete(Some(time))),
        1 => Just(Delete(None)),
    ]
}

fn copy() -> impl Strategy<Value = Vec<(bool, File)>> {
    let file = prop::collection::btree_map(0_u8..12, change(), 0..10);
    vec((any::<bool>(), file), 0..4)
}

/// What the copies hold together, by the rule of the specification.
fn model(copies: &[Vec<(bool, File)>]) -> (Vec<(u8, i64)>, u64, u64) {
    let (mut rows, mut differing, mut kept) = (Vec::new(), 0, 0);
    for number in 0..12 {
        let verdicts: Vec<Option<Change>> = copies
            .iter()
            .map(|files| files.iter().rev().find_map(|(_, file)| file.get(&number).copied()))
            .collect();
        let live = |verdict: &Option<Change>| match verdict {
            Some(Put(time)) => Some(*time),
            _ => None,
        };
        let versions: Vec<Option<i64>> = verdicts.iter().map(live).collect();
        let Some(newest) = versions.iter().copied().flatten().max() else { continue };
        differing += u64::from(versions.iter().any(|version| *version != Some(newest)));
        let deleted = verdicts
            .iter()
            .any(|verdict| matches!(verdict, Some(Delete(Some(time))) if *time > newest));
        if !deleted {
            rows.push((number, newest));
            kept += u64::from(verdicts.contains(&Some(Delete(None))));
        }
    }
    (rows, differing, kept)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_copies_are_read_as_the_model_says(copies in vec(copy(), 2..4), block_bytes in 1_u64..2000) {
        let written: Vec<Copy> = copies.iter().map(|files| Copy::of(files)).collect();
        prop_assert_eq!(merged(&open(&written), block_bytes), model(&copies));
    }
}

pub fn nodes_of_cluster(data: &Path) -> [PathBuf; 3] {
    ["node1", "node2", "node3"].map(|node| data.join(node))
}

#[test]
fn the_nodes_of_a_real_cluster_are_one_export() {
    let fixture = offloom_fixtures::unpack("cluster").unwrap();
    let paths = nodes_of_cluster(&fixture.data_dir());
    let schema =
        SchemaFile::parse(&fixture.schema_file(), std::fs::read(fixture.schema_file())).unwrap();
    for schema in [None, Some(schema)] {
        let directory = DataDirectory::open_nodes(&paths, schema).unwrap();
        assert_eq!(directory.warnings(), []);
        let names: Vec<_> = directory.nodes().iter().map(|node| node.names().to_vec()).collect();
        assert_eq!(names, [["node1".into()], ["node2".into()], ["node3".into()]]);
        let expected = sorted(rest_objects(&fixture));
        for block_bytes in [1, 3_000, 32 << 20] {
            assert_eq!(sorted(disk_objects(&directory, block_bytes)), expected);
        }
        for (name, shards, copies) in [("Copied", 3, 2), ("Shelf", 7, 1), ("Spread", 6, 1)] {
            let class = rows::class(&directory, name);
            let read = rows::read(&directory, class, 1 << 20, LIMITS).unwrap();
            assert_eq!(read.shards.len(), shards);
            assert!(read.differences.is_empty(), "{:?}", read.differences);
            for shard in &read.shards {
                assert_eq!(shard.skip_reason, None);
                let held = shard.copies.as_ref().unwrap();
                assert_eq!(held.len(), copies, "{name}, {}", shard.shard);
                for copy in held {
                    assert!(copy.directory.join(name.to_lowercase()).join(&shard.shard).is_dir());
                    assert!(
                        copy.cut_off.newest_segment.is_some() || !copy.cut_off.sources.is_empty()
                    );
                    assert!(copy.cut_off.at >= shard.cut_off.as_ref().unwrap().at);
                }
            }
        }
    }
}

#[test]
fn two_nodes_of_three_tell_what_is_missing() {
    let fixture = offloom_fixtures::unpack("cluster").unwrap();
    let [one, two, _] = nodes_of_cluster(&fixture.data_dir());
    let directory = DataDirectory::open_nodes(&[one, two], None).unwrap();
    let texts: Vec<String> = directory.warnings().iter().map(Warning::to_string).collect();
    let [shelf, spread] = texts.as_slice() else { panic!("{texts:?}") };
    assert!(shelf.starts_with("class Shelf: 2 shards (t1, t4) are only on other"), "{shelf}");
    assert!(spread.contains("(node3)"), "{spread}");
}

#[test]
fn without_any_schema_the_objects_of_all_nodes_tell() {
    let fixture = offloom_fixtures::unpack("cluster").unwrap();
    let paths = nodes_of_cluster(&fixture.data_dir());
    for path in &paths {
        fs::remove_dir_all(path.join("raft")).unwrap();
    }
    let directory = DataDirectory::open_nodes(&paths, None).unwrap();
    let names: Vec<_> = directory.classes().iter().map(|class| &*class.name).collect();
    assert_eq!(names, ["Copied", "Shelf", "Spread"]);
    assert_eq!(sorted(disk_objects(&directory, 3_000)), sorted(rest_objects(&fixture)));
}

#[test]
fn the_schema_that_goes_furthest_counts_and_the_others_are_reported() {
    let older = class(Log::new(), "Article", false, &[("s1", "n1"), ("s2", "n2")]);
    let newer = class(older.clone(), "Note", false, &[("s3", "n1")]);
    let (one, two) = (Server::new(&older), Server::new(&newer));
    one.add("Article", "s1");
    one.add("Note", "s3");
    two.add("Article", "s2");
    let paths = [one.root.path(), two.root.path()];
    let directory = DataDirectory::open_nodes(&paths, None).unwrap();
    let names: Vec<_> = directory.classes().iter().map(|class| &*class.name).collect();
    assert_eq!(names, ["Article", "Note"]);
    assert_eq!(directory.schema_from().to_string(), "RAFT log up to entry 4");
    let [warning] = directory.warnings() else { panic!("{:?}", directory.warnings()) };
    assert_eq!(
        warning.to_string(),
        format!(
            "the schema in {} (RAFT log up to entry 3) differs from the newer one, which is used \
             (RAFT log up to entry 4)",
            one.root.path().display()
        )
    );

    // A broken one costs a warning as long as another node has it.
    fs::write(one.root.path().join("raft/raft.db"), [7; 8192]).unwrap();
    let directory = DataDirectory::open_nodes(&paths, None).unwrap();
    assert_eq!(directory.classes().len(), 2);
    let [warning] = directory.warnings() else { panic!("{:?}", directory.warnings()) };
    let text = warning.to_string();
    assert!(text.contains(one.root.path().to_str().unwrap()), "{text}");
    assert!(!text.contains("states are not known"), "{text}");
    fs::write(two.root.path().join("raft/raft.db"), [7; 8192]).unwrap();
    let error = DataDirectory::open_nodes(&paths, None).unwrap_err();
    assert!(matches!(error, DiskError::ServerSchema { .. }), "{error}");
}

#[test]
fn a_copy_on_a_node_where_it_does_not_belong_is_left_out() {
    let log = class(Log::new(), "Article", false, &[("s1", "n1"), ("s2", "n2"), ("s3", "n2")]);
    let log = class(log, "Copied", true, &[]).add_tenants("Copied", &["n1", "n2"], &[("t", "")]);
    let (one, two) = (Server::new(&log), Server::new(&log));
    one.add("Article", "s1");
    for shard in ["s1", "s2", "s3"] {
        two.add("Article", shard);
    }
    one.add("Copied", "t");
    let paths = [one.root.path(), two.root.path()];
    let directory = DataDirectory::open_nodes(&paths, None).unwrap();
    let misplaced =
        Warning::CopiesMisplaced { class: "Article".to_owned(), shards: examples(&["s1"]) };
    assert_eq!(directory.warnings(), [misplaced]);
    let article = rows::class(&directory, "Article");
    let read = rows::read(&directory, article, 1 << 20, LIMITS).unwrap();
    let held: Vec<_> = read
        .shards
        .iter()
        .map(|shard| {
            let copies = shard.copies.as_ref().unwrap().iter();
            copies.map(|copy| copy.directory.to_path_buf()).collect::<Vec<_>>()
        })
        .collect();
    let (one, two) = (one.root.path().to_owned(), two.root.path().to_owned());
    assert_eq!(held, [vec![one], vec![two.clone()], vec![two]]);
}

#[test]
fn a_copy_that_should_be_there_and_is_not_is_reported() {
    let place = |node: &str| {
        serde_json::json!({"physical": {
            "s1": {"name": "s1", "belongsToNodes": ["n1", "n2"]},
            "s2": {"name": "s2", "belongsToNodes": [node]},
        }})
    };
    let definition = serde_json::json!({"class": "Article"});
    let log = Log::new().add_class(&definition, &place("n2"));
    let log = class(log, "Note", false, &[("s3", "n1")]);
    let (one, two) = (Server::new(&log), Server::new(&log));
    one.add("Note", "s3");
    two.add("Article", "s1");
    two.add("Article", "s2");
    let paths = [one.root.path(), two.root.path()];
    let directory = DataDirectory::open_nodes(&paths, None).unwrap();
    let missing = Warning::CopiesMissing { class: "Article".to_owned(), shards: examples(&["s1"]) };
    assert_eq!(directory.warnings(), [missing]);
}

#[test]
fn a_directory_may_be_given_once() {
    let copy = Copy::new();
    let root = tempfile::tempdir().unwrap();
    let link = root.path().join("link");
    symlink(copy.root.path(), &link).unwrap();
    let error = DataDirectory::open_nodes(&[copy.root.path(), &link], None).unwrap_err();
    let DiskError::DirectoryTwice { path, .. } = &error else { panic!("{error}") };
    assert_eq!(*path, link);
    let none: [&Path; 0] = [];
    let error = DataDirectory::open_nodes(&none, None).unwrap_err();
    assert!(matches!(error, DiskError::NoDirectory), "{error}");
    let other = root.path().join("other");
    fs::create_dir(&other).unwrap();
    let error = DataDirectory::open_nodes(&[copy.root.path(), &other], None).unwrap_err();
    let DiskError::NotADataDirectory { path } = &error else { panic!("{error}") };
    assert_eq!(*path, other);
}

#[test]
fn an_error_names_the_directory() {
    let left = Copy::of(&[(false, file(&[(1, Put(1))]))]);
    let right = Copy::of(&[(false, file(&[(1, Put(1))]))]);
    fs::write(right.shard.path().join("segment-0000000000000000009.db"), b"x").unwrap();
    let copies = [left, right];
    let directory = open(&copies);
    let class = rows::class(&directory, CLASS);
    let error = rows::read(&directory, class, 1 << 20, LIMITS).unwrap_err().to_string();
    let expected = format!("segment-0000000000000000009.db in {}", copies[1].root.path().display());
    assert!(error.contains(&expected), "{error}");
    let survey = directory.survey(class);
    assert_eq!(survey.shards[0].copies.len(), 2);
    assert_eq!(survey.shards[0].objects_estimate(), 1);
    assert!(survey.shards[0].fault().unwrap().to_string().contains(&expected));
}

#[test]
fn of_a_shard_with_a_broken_copy_the_others_are_read_and_it_is_reported() {
    let left = Copy::of(&[(false, file(&[(1, Put(1)), (2, Put(2))]))]);
    let right = Copy::of(&[(false, file(&[(1, Put(1))]))]);
    fs::write(left.shard.path().join("segment-0000000000000000009.db"), b"x").unwrap();
    let copies = [left, right];
    let directory = open(&copies);
    let class = rows::class(&directory, CLASS);
    let mut units = directory.units(class, UnitOptions::new(1 << 20));
    let read: Vec<_> =
        units.by_ref().flat_map(|unit| rows::read_unit(&unit, LIMITS).unwrap()).collect();
    assert_eq!(read.iter().map(|row| row.id[15]).collect::<Vec<_>>(), [1]);
    let [shard] = units.shards() else { panic!("{:?}", units.shards()) };
    assert!(shard.error.as_ref().unwrap().to_string().contains("segment-0000000000000000009.db"));
    let reported = shard.copies.as_ref().unwrap();
    assert_eq!(reported.len(), 1);
    assert_eq!(*reported[0].directory, *copies[1].root.path());
}

#[test]
fn copies_hold_their_files_from_one_budget() {
    let files = |number| (false, file(&[(number, Put(1))]));
    let copies = [Copy::of(&[files(1), files(2)]), Copy::of(&[files(3), files(4)])];
    let class_of = |directory: &DataDirectory| rows::class(directory, CLASS).clone();
    let directory = open(&copies).with_descriptors(Descriptors::new(4));
    let read = rows::read(&directory, &class_of(&directory), 1, LIMITS).unwrap();
    assert_eq!(read.all().len(), 4);
    // Fewer than both need, and more than each does: an error, and no waiting for ever.
    let directory = open(&copies).with_descriptors(Descriptors::new(3));
    let error = rows::read(&directory, &class_of(&directory), 1, LIMITS).unwrap_err();
    let DiskError::Lsm(LsmError::TooManyFiles { place, allowed_files: 3, .. }) = &error else {
        panic!("{error}")
    };
    assert_eq!(place.node.as_deref(), Some(copies[1].root.path()));
}
