//! How classes are cut into units: bounded, by the data alone, with large shards and many tenants.
use std::{collections::HashSet, fs, path::Path, time::Instant};

use offloom_encoder::{DirectoryWriter, NameStyle, Node, SegmentOptions, WalVersion, Workload};
use offloom_weaviate_disk::{DataDirectory, UnitOptions};

use crate::{
    rows::{self, LIMITS},
    shard::{CLASS, Shard, object, put},
};

/// Units of a class without reading their rows: raw bytes of each.
fn raw_bytes(directory: &DataDirectory, class: &str, block_bytes: u64) -> Vec<u64> {
    let class = rows::class(directory, class);
    let units = directory.units(class, UnitOptions::new(block_bytes));
    units.map(|unit| unit.raw_bytes()).collect()
}

#[test]
fn units_of_a_large_shard_fill_a_block_each() {
    let root = tempfile::tempdir().unwrap();
    offloom_encoder::write_workload(Workload::W2, 60_000, root.path()).unwrap();
    let directory = DataDirectory::open(&root.path().join("data"), None).unwrap();
    let class = Workload::W2.class_name();
    let whole = raw_bytes(&directory, class, u64::MAX);
    for block_bytes in [1_u64 << 20, 4 << 20] {
        let units = raw_bytes(&directory, class, block_bytes);
        assert_eq!(units.iter().sum::<u64>(), whole[0]);
        let (last, full) = units.split_last().unwrap();
        for bytes in full {
            // A step of every source, and the slack of the last unit.
            assert!(*bytes >= block_bytes && *bytes <= block_bytes * 3 / 2, "{bytes}");
        }
        assert!(*last <= block_bytes * 3 / 2);
        assert!(full.len() as u64 + 1 >= whole[0] * 2 / 3 / block_bytes, "{}", full.len());
    }
}

#[test]
fn a_row_larger_than_a_block_shares_a_unit_or_has_its_own() {
    let shard = Shard::new();
    let large = |number| put(number, &format!(r#"{{"t":"{}"}}"#, "x".repeat(3 << 20)));
    let nodes = [put(1, "{}"), large(2), put(3, "{}"), large(4), large(5), put(6, "{}")];
    shard.segment(1, SegmentOptions::default(), &nodes);
    let directory = shard.open();
    let class = rows::class(&directory, CLASS);
    let units = rows::read(&directory, class, 1 << 20, LIMITS).unwrap().units;
    assert!(units.len() >= 3, "{} units", units.len());
    assert_eq!(units.concat().len(), 6);
    let large_rows = |rows: &Vec<rows::Row>| {
        rows.iter().filter(|row| row.properties.as_ref().unwrap().len() > 1 << 20).count()
    };
    assert!(units.iter().all(|rows| large_rows(rows) <= 1));
}

/// Writes `count` tenants, each with one object, in a log alone.
fn write_tenants(data: &Path, count: u32) {
    let mut directory = DirectoryWriter::create(data).unwrap();
    let class = directory.class("Shelf", true).unwrap();
    let mut object = object(0, r#"{"t":"one small object"}"#);
    object.class_name = "Shelf".to_owned();
    let node = Node::live(&object, &Default::default()).unwrap();
    for tenant in 0..count {
        // Only what a reader looks at: the other files of 5,000 tenants take their time.
        let bucket = class.path().join(format!("tenant-{tenant:06}/lsm/objects"));
        fs::create_dir_all(&bucket).unwrap();
        let log = fs::File::create(bucket.join("segment-1795408272761733407.wal")).unwrap();
        let mut log = offloom_encoder::WalWriter::new(log);
        log.append(&node, WalVersion::V1).unwrap();
        log.finish().unwrap();
    }
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn many_tenants_share_units_and_hold_no_descriptors() {
    const TENANTS: u32 = 5_000;
    let root = tempfile::tempdir().unwrap();
    write_tenants(root.path(), TENANTS);
    let start = Instant::now();
    let directory = DataDirectory::open(root.path(), None).unwrap();
    let class = rows::class(&directory, "Shelf");
    let mut units = directory.units(class, UnitOptions::new(32 << 20));
    let before = open_descriptors();
    let mut kept = Vec::new();
    for unit in units.by_ref() {
        kept.push(unit);
        // Other tests of this process open files too, but not hundreds.
        assert!(open_descriptors() < before + 500);
    }
    assert_eq!(units.shards().len(), TENANTS as usize);
    // Bounded by the number of shards: 5,000 tenants of 200 bytes would fit into one.
    assert_eq!(kept.len(), 2);
    let mut tenants = HashSet::new();
    for unit in &kept {
        for row in rows::read_unit(unit, LIMITS).unwrap() {
            assert!(tenants.insert(row.tenant.unwrap()));
        }
        assert!(open_descriptors() < before + 500);
    }
    assert_eq!(tenants.len(), TENANTS as usize);
    println!("{TENANTS} tenants in {:?}", start.elapsed());
}

#[test]
fn a_log_is_cut_by_key_as_a_segment_is() {
    let shard = Shard::new();
    let text = format!(r#"{{"t":"{}"}}"#, "x".repeat(1_000));
    let nodes: Vec<Node> = (0..=255).rev().map(|number| put(number, &text)).collect();
    shard.log(2, &nodes, WalVersion::V1);
    shard.segment(1, SegmentOptions::default(), &[put(7, "{}"), put(200, "{}")]);
    let directory = shard.open();
    let class = rows::class(&directory, CLASS);
    let read = rows::read(&directory, class, 32 << 10, LIMITS).unwrap();
    assert!(read.units.len() > 5, "{} units", read.units.len());
    let ids: Vec<u8> = read.all().iter().map(|row| row.id[15]).collect();
    assert_eq!(ids, (0..=255).collect::<Vec<u8>>());
    assert!(read.all().iter().all(|row| row.properties.as_deref() == Some(text.as_bytes())));
}

#[test]
fn a_unit_whose_objects_were_all_deleted_has_no_rows() {
    let shard = Shard::new();
    shard.segment(1, SegmentOptions::default(), &[put(1, "{}")]);
    shard.segment(2, SegmentOptions::default(), &[crate::shard::delete(1)]);
    let read = shard.read().unwrap();
    assert_eq!(read.units, [vec![]]);
    assert_eq!(read.shards[0].skip_reason, None);
}

#[test]
fn many_segments_in_both_naming_styles_are_merged() {
    let shard = Shard::new();
    for round in 0..120_u64 {
        let style = if round % 2 == 0 { NameStyle::Short } else { NameStyle::Long };
        let mut segment =
            shard.writer.segment(1_000 + round, style, SegmentOptions::default()).unwrap();
        for number in [round as u8, 250] {
            segment.append(&put(number, &format!(r#"{{"n":{round}}}"#))).unwrap();
        }
        segment.finish().unwrap();
    }
    let found = shard.found();
    assert_eq!(found.len(), 121);
    assert_eq!(found[120], (250, r#"{"n":119}"#.to_owned()));
    assert_eq!(found[7], (7, r#"{"n":7}"#.to_owned()));
}
