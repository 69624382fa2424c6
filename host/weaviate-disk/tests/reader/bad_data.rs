//! Bad objects that are left out, and shards that fail while others go on.
use std::collections::BTreeSet;

use offloom_encoder::{
    DirectoryWriter, NameStyle, Node, ObjectOptions, SegmentOptions, ShardWriter, WalVersion,
};
use offloom_rows::{BatchLimits, Cursor, CursorError, ObjectLimit};
use offloom_weaviate_disk::{
    BadObject, DataDirectory, DiskError, Faults, LsmError, OnBadObject, ReadOptions, ReadReport,
    SegmentFault, Unit, UnitCursor, UnitOptions,
};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    rows::{self, LIMITS, Row},
    shard::{CLASS, SHARD, Shard, id, object, put},
};

/// An object whose marshaller version is none.
fn broken(number: u8) -> Node {
    let mut node = put(number, r#"{"secret":1}"#);
    node.value[0] = 9;
    node
}

fn options(on_bad_object: OnBadObject) -> ReadOptions {
    ReadOptions { on_bad_object, ..ReadOptions::default() }
}

fn ids(rows: &[Row]) -> Vec<u8> {
    rows.iter().map(|row| row.id[15]).collect()
}

/// A shard with objects 1 to 5, of which 2 and 4 are broken.
fn shard(in_log: bool) -> Shard {
    let shard = Shard::new();
    let nodes = [put(1, "{}"), broken(2), put(3, "{}"), broken(4), put(5, "{}")];
    if in_log {
        shard.log(7, &nodes, WalVersion::V1);
    } else {
        shard.segment(7, SegmentOptions::default(), &nodes);
    }
    shard
}

#[test]
fn without_a_policy_the_first_bad_object_ends_the_reading() {
    let shard = shard(false);
    let DiskError::Object { id: key, .. } = shard.error() else { panic!("another error") };
    assert_eq!(key, Uuid::from_bytes(id(2)));
    let cursor = UnitCursor::open(&shard.unit(), &ReadOptions::default());
    let (rows, report) = rows::read_reported(cursor, LIMITS);
    rows.unwrap_err();
    // The object is bad, not the shard: there is nothing to be read without.
    assert!(report.faults.shards.is_empty());
}

#[test]
fn bad_objects_are_left_out_and_counted() {
    for in_log in [false, true] {
        let shard = shard(in_log);
        let cursor = UnitCursor::open(&shard.unit(), &options(OnBadObject::Skip));
        let (rows, ReadReport { faults, .. }) = rows::read_reported(cursor, LIMITS);
        assert_eq!(ids(&rows.unwrap()), [1, 3, 5]);
        assert_eq!(faults.shards[&0].objects_left_out, 2);
        assert_eq!((faults.listed.len(), faults.unlisted), (0, 0));
        assert_eq!(faults.shards[&0].error, None);
    }
}

#[test]
fn a_quarantined_object_is_listed_with_its_place_and_reason() {
    for in_log in [false, true] {
        let shard = shard(in_log);
        let cursor = UnitCursor::open(&shard.unit(), &options(OnBadObject::Quarantine));
        let (rows, ReadReport { faults, .. }) = rows::read_reported(cursor, LIMITS);
        assert_eq!(ids(&rows.unwrap()), [1, 3, 5]);
        assert_eq!(faults.shards[&0].objects_left_out, 2);
        let file = format!("segment-0000000000000000007.{}", if in_log { "wal" } else { "db" });
        let stored = std::fs::read(shard.file(&file)).unwrap();
        for (bad, number) in faults.listed.iter().zip([2, 4]) {
            assert_eq!(bad.id, Uuid::from_bytes(id(number)));
            assert_eq!((&*bad.place.class, &*bad.place.shard), (CLASS, SHARD));
            assert_eq!(*bad.place.file, *file);
            assert_eq!(bad.reason, "object version 9 is not known (1 is)");
            assert_eq!(bad.value_bytes, broken(number).value.len() as u64);
            // The version is the first byte of the value.
            let offset = bad.offset as usize;
            assert_eq!(stored[offset..offset + broken(number).value.len()], broken(number).value);
            assert_eq!(bad.stored, None);
        }
    }
}

/// All stored bytes of a bad object, read in pieces.
fn stored_bytes(bad: &BadObject) -> Vec<u8> {
    let stored = bad.stored.as_ref().unwrap();
    let mut bytes = vec![0; stored.bytes() as usize];
    for (number, piece) in bytes.chunks_mut(1 << 20).enumerate() {
        stored.read_at(piece, (number << 20) as u64).unwrap();
    }
    bytes
}

#[test]
fn stored_bytes_are_kept_only_where_that_is_asked_for() {
    let keep = ReadOptions { keep_raw: true, ..options(OnBadObject::Quarantine) };
    let shard = shard(false);
    let cursor = UnitCursor::open(&shard.unit(), &keep);
    let (rows, report) = rows::read_reported(cursor, LIMITS);
    rows.unwrap();
    let raw: Vec<_> = report.faults.listed.iter().map(stored_bytes).collect();
    assert_eq!(raw, [broken(2).value, broken(4).value]);
}

#[test]
fn another_try_does_not_count_again_and_small_batches_do_not_either() {
    let shard = shard(false);
    let unit = shard.unit();
    let options = options(OnBadObject::Quarantine);
    let first = UnitCursor::open(&unit, &options);
    let (rows, first) = rows::read_reported(first, LIMITS);
    rows.unwrap();
    let second = UnitCursor::open(&unit, &options);
    let limits = BatchLimits { max_rows: 1, max_bytes: 1 };
    let (rows, second) = rows::read_reported(second, limits);
    assert_eq!(ids(&rows.unwrap()), [1, 3, 5]);
    assert_eq!(first.faults.listed.len(), 2);
    assert_eq!(second, first);
}

#[test]
fn a_shard_of_bad_objects_alone_has_no_rows_and_no_error() {
    let shard = Shard::new();
    let nodes: Vec<Node> = (0..200).map(broken).collect();
    shard.segment(7, SegmentOptions::default(), &nodes);
    let mut cursor = UnitCursor::open(&shard.unit(), &options(OnBadObject::Skip));
    let limits = BatchLimits { max_rows: 2, max_bytes: 100 };
    assert!(cursor.next_batch(limits).unwrap().is_none());
    assert_eq!(cursor.into_report().faults.shards[&0].objects_left_out, 200);
}

#[test]
fn an_object_too_large_to_be_read_is_left_out_and_its_bytes_can_be_read() {
    let shard = Shard::new();
    let text = format!(r#"{{"t":"{}"}}"#, "x".repeat(3 * (32 << 20)));
    let large = Node::live(&object(2, &text), &ObjectOptions::default()).unwrap();
    let value = large.value.clone();
    shard.segment(7, SegmentOptions::default(), &[put(1, "{}"), large, put(3, "{}")]);
    let keep = ReadOptions { keep_raw: true, ..options(OnBadObject::Quarantine) };
    let cursor = UnitCursor::open(&shard.unit(), &keep);
    let (rows, mut report) = rows::read_reported(cursor, LIMITS);
    assert_eq!(ids(&rows.unwrap()), [1, 3]);
    let bad = report.faults.listed.remove(0);
    assert_eq!(bad.value_bytes, value.len() as u64);
    assert!(stored_bytes(&bad) == value);
    assert!(bad.reason.contains("more than the 33554432"), "{}", bad.reason);
}

/// A class with tenants a to e, each with one segment of objects 1 to 3.
struct Tenants {
    root: TempDir,
    writers: Vec<ShardWriter>,
}

const TENANTS: [&str; 5] = ["a", "b", "c", "d", "e"];
const SEGMENT: &str = "segment-0000000000000000007.db";

impl Tenants {
    fn new() -> Tenants {
        let root = tempfile::tempdir().unwrap();
        let mut directory = DirectoryWriter::create(root.path()).unwrap();
        let class = directory.class(CLASS, true).unwrap();
        let writers = TENANTS.map(|tenant| {
            let writer = class.shard(tenant).unwrap();
            let version_0 = SegmentOptions { version: 0, ..SegmentOptions::default() };
            let mut segment = writer.segment(7, NameStyle::Short, version_0).unwrap();
            for number in 1..=3 {
                segment.append(&put(number, "{}")).unwrap();
            }
            segment.finish().unwrap();
            writer
        });
        Tenants { root, writers: writers.into() }
    }

    fn change(&self, tenant: usize, at: usize, new: &[u8]) {
        let path = self.writers[tenant].path().join(SEGMENT);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at..at + new.len()].copy_from_slice(new);
        std::fs::write(path, bytes).unwrap();
    }

    /// Nothing but a data node: no header, tree or checksum shows the damage.
    fn break_node(&self, tenant: usize) {
        let path = self.writers[tenant].path().join(SEGMENT);
        let bytes = std::fs::read(path).unwrap();
        let index_start = u64::from_le_bytes(bytes[8..16].try_into().unwrap()) as usize;
        let second = 16 + (index_start - 16) / 3;
        self.change(tenant, second + 1, &u64::MAX.to_le_bytes());
    }

    fn open(&self) -> DataDirectory {
        DataDirectory::open(self.root.path(), None).unwrap()
    }

    fn unit(&self) -> Unit {
        let directory = self.open();
        let class = rows::class(&directory, CLASS);
        let mut units = directory.units(class, UnitOptions::new(1 << 20));
        let unit = units.next().unwrap();
        assert!(units.next().is_none());
        unit
    }
}

fn tenants_of(rows: &[Row]) -> Vec<(String, u8)> {
    rows.iter().map(|row| (row.tenant.clone().unwrap(), row.id[15])).collect()
}

fn all_of(tenants: &[&str]) -> Vec<(String, u8)> {
    let rows = |tenant: &&str| [1, 2, 3].map(|number| ((*tenant).to_owned(), number));
    tenants.iter().flat_map(rows).collect()
}

#[test]
fn a_shard_that_cannot_be_trusted_has_its_error_and_the_others_go_on() {
    let tenants = Tenants::new();
    // Header versions that do not exist, and an interrupted compaction that nobody can decide.
    tenants.change(0, 2, &[9]);
    tenants.change(3, 2, &[9]);
    let torn =
        tenants.writers[4].path().join("segment-0000000000000000007_0000000000000000008.db.tmp");
    std::fs::write(torn, b"never opened").unwrap();
    let directory = tenants.open();
    let class = rows::class(&directory, CLASS);
    let mut units = directory.units(class, UnitOptions::new(1 << 20));
    let mut found = Vec::new();
    for unit in units.by_ref() {
        found.extend(tenants_of(&rows::read_unit(&unit, LIMITS).unwrap()));
    }
    assert_eq!(found, all_of(&["b", "c"]));
    let shards = units.into_shards();
    assert_eq!(shards.len(), 5);
    for (shard, failed) in shards.iter().zip([true, false, false, true, true]) {
        assert_eq!(shard.error.is_some(), failed, "{}", shard.shard);
        assert_eq!(shard.cut_off.is_none(), failed);
        assert_eq!(shard.skip_reason, None);
    }
    let LsmError::Segment { place, offset: 2, fault } = &**shards[3].error.as_ref().unwrap() else {
        panic!("{:?}", shards[3].error)
    };
    assert_eq!((&*place.shard, &*place.file), ("d", SEGMENT));
    assert_eq!(*fault, SegmentFault::Version { version: 9 });
    assert!(matches!(**shards[4].error.as_ref().unwrap(), LsmError::Compaction { .. }));
}

#[test]
fn a_unit_is_read_again_without_the_shards_that_break() {
    let tenants = Tenants::new();
    tenants.break_node(1);
    tenants.break_node(3);
    let unit = tenants.unit();
    let mut cursor = UnitCursor::open(&unit, &ReadOptions::default());
    let limits = BatchLimits { max_rows: 1, ..LIMITS };
    // The good rows before it were handed out already.
    for _ in 0..4 {
        assert!(cursor.next_batch(limits).unwrap().is_some());
    }
    let error = cursor.next_batch(limits).unwrap_err();
    assert!(matches!(error, CursorError::InvalidData(_)));
    let failed = cursor.into_report().faults.shards;
    assert_eq!(failed.keys().copied().collect::<Vec<_>>(), [1]);
    assert_eq!(failed[&1].error.as_deref(), Some(error.to_string().as_str()));
    assert!(error.to_string().contains("shard b"), "{error}");

    // The others that break are found at once.
    let failing = Faults::find_failing_shards(&unit, ObjectLimit::DEFAULT);
    let failing: BTreeSet<u32> = failing.shards.into_keys().collect();
    assert_eq!(failing, [1, 3].into());
    let rest = unit.without(&failing);
    assert_eq!((rest.number(), rest.raw_bytes()), (unit.number(), unit.raw_bytes()));
    let rows = rows::read_unit(&rest, LIMITS).unwrap();
    assert_eq!(tenants_of(&rows), all_of(&["a", "c", "e"]));
    // The index of a shard does not move.
    assert_eq!(rows.iter().map(|row| row.shard).collect::<BTreeSet<_>>(), [0, 2, 4].into());
    let none = rest.without(&[0, 2, 4].into());
    assert_eq!(rows::read_unit(&none, LIMITS).unwrap(), []);
}

#[test]
fn a_shard_whose_file_is_cut_while_it_is_read_fails_alone() {
    let tenants = Tenants::new();
    let unit = tenants.unit();
    let path = tenants.writers[2].path().join(SEGMENT);
    std::fs::File::options().write(true).open(path).unwrap().set_len(20).unwrap();
    let cursor = UnitCursor::open(&unit, &ReadOptions::default());
    let (rows, report) = rows::read_reported(cursor, LIMITS);
    let error = rows.unwrap_err();
    assert!(matches!(CursorError::from(error), CursorError::Unavailable(_)));
    let failed: BTreeSet<u32> = report.faults.shards.into_keys().collect();
    assert_eq!(failed, [2].into());
    let rows = rows::read_unit(&unit.without(&failed), LIMITS).unwrap();
    assert_eq!(tenants_of(&rows), all_of(&["a", "b", "d", "e"]));
}

#[test]
fn of_a_shard_that_breaks_in_one_key_range_the_others_remain() {
    let shard = Shard::new();
    let text = format!(r#"{{"t":"{}"}}"#, "x".repeat(1_000));
    let nodes: Vec<Node> = (0..=255).map(|number| put(number, &text)).collect();
    let version_0 = SegmentOptions { version: 0, ..SegmentOptions::default() };
    let path = shard.segment(7, version_0, &nodes);
    let mut bytes = std::fs::read(&path).unwrap();
    let index_start = u64::from_le_bytes(bytes[8..16].try_into().unwrap()) as usize;
    // The node in the middle.
    let middle = 16 + (index_start - 16) / 2;
    bytes[middle + 1..middle + 9].copy_from_slice(&u64::MAX.to_le_bytes());
    std::fs::write(path, bytes).unwrap();
    let directory = shard.open();
    let class = rows::class(&directory, CLASS);
    let mut units = directory.units(class, UnitOptions::new(32 << 10));
    let (mut read, mut failed) = (Vec::new(), 0);
    for unit in units.by_ref() {
        match rows::read_unit(&unit, LIMITS) {
            Ok(rows) => read.extend(ids(&rows)),
            Err(_) => failed += 1,
        }
    }
    assert_eq!(failed, 1);
    assert!(units.shards()[0].error.is_none());
    assert!(read.is_sorted() && read.len() > 200 && !read.contains(&128), "{}", read.len());
    assert!(read.contains(&0) && read.contains(&255));
}

#[test]
fn a_shard_whose_tree_breaks_while_it_is_cut_fails_and_the_next_one_is_cut() {
    let tenants = Tenants::new();
    let path = tenants.writers[1].path().join(SEGMENT);
    let bytes = std::fs::read(path).unwrap();
    let index_start = u64::from_le_bytes(bytes[8..16].try_into().unwrap()) as usize;
    // The left child of the root is the root: the check of pointers allows it, the walk does not.
    tenants.change(1, index_start + 8 + 36, &0_i64.to_le_bytes());
    let directory = tenants.open();
    let class = rows::class(&directory, CLASS);
    let mut units = directory.units(class, UnitOptions::new(1));
    let mut found = Vec::new();
    for unit in units.by_ref() {
        found.extend(tenants_of(&rows::read_unit(&unit, LIMITS).unwrap()));
    }
    assert_eq!(found, all_of(&["a", "c", "d", "e"]));
    let failed: Vec<_> = units.shards().iter().map(|shard| shard.error.is_some()).collect();
    assert_eq!(failed, [false, true, false, false, false]);
}
