//! Logs: versions, torn tails, and their place among the segments.
use std::collections::BTreeMap;

use offloom_encoder::{Node, Object, ObjectOptions, SegmentOptions, WalVersion, tear};
use offloom_rows::BatchLimits;
use offloom_weaviate_disk::{LogFault, ReadOptions, ShardWarning, UnitCursor, UnitOptions};

use crate::{
    allocations::largest_bytes,
    rows,
    shard::{CLASS, Shard, delete, put},
};

fn pairs(found: &[(u8, String)]) -> Vec<(u8, &str)> {
    found.iter().map(|(id, text)| (*id, text.as_str())).collect()
}

/// The one torn tail that reading reports.
fn torn(shard: &Shard) -> (u64, u64, LogFault) {
    match shard.warnings().as_slice() {
        [ShardWarning::TornLog { offset, dropped_bytes, fault, .. }] => {
            (*offset, *dropped_bytes, fault.clone())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_log_is_newer_than_segments_with_smaller_ids_only() {
    let shard = Shard::new();
    shard.segment(1, SegmentOptions::default(), &[put(1, r#"{"n":1}"#), put(2, r#"{"n":1}"#)]);
    shard.log(2, &[put(1, r#"{"n":2}"#), delete(2)], WalVersion::V1);
    shard.segment(3, SegmentOptions::default(), &[put(2, r#"{"n":3}"#)]);
    assert_eq!(pairs(&shard.found()), [(1, r#"{"n":2}"#), (2, r#"{"n":3}"#)]);
    assert_eq!(shard.warnings(), []);
}

#[test]
fn a_tombstone_without_its_put_hides_the_row_of_an_older_segment() {
    // Servers from 1.35.15 on lose this delete (`wal.md` 1.4).
    for version in [WalVersion::V0, WalVersion::V1] {
        let shard = Shard::new();
        shard.segment(1, SegmentOptions::default(), &[put(1, "{}"), put(2, "{}")]);
        shard.log(2, &[delete(1)], version);
        assert_eq!(pairs(&shard.found()), [(2, "{}")]);
    }
}

#[test]
fn the_last_record_of_a_key_counts() {
    let shard = Shard::new();
    let records =
        [put(1, r#"{"n":1}"#), delete(2), delete(1), put(2, r#"{"n":2}"#), put(1, r#"{"n":3}"#)];
    shard.log(1, &records, WalVersion::V1);
    assert_eq!(pairs(&shard.found()), [(1, r#"{"n":3}"#), (2, r#"{"n":2}"#)]);
}

#[test]
fn whatever_is_cut_off_a_log_the_whole_records_before_stay() {
    for version in [WalVersion::V0, WalVersion::V1] {
        let whole = Shard::new();
        let first = whole.log(1, &[put(1, "{}")], version).metadata().unwrap().len();
        let both = whole.log(2, &[put(1, "{}"), put(2, "{}")], version);
        let bytes = both.metadata().unwrap().len();
        for cut in 1..bytes - first {
            let shard = Shard::new();
            let log = shard.log(1, &[put(1, "{}"), put(2, "{}")], version);
            tear(&log, cut).unwrap();
            assert_eq!(pairs(&shard.found()), [(1, "{}")], "{version:?}, cut by {cut}");
            assert_eq!(torn(&shard), (first, bytes - first - cut, LogFault::Cut));
        }
        let shard = Shard::new();
        tear(&shard.log(1, &[put(1, "{}"), put(2, "{}")], version), bytes - first).unwrap();
        assert_eq!(pairs(&shard.found()), [(1, "{}")]);
        assert_eq!(shard.warnings(), []);
    }
}

#[test]
fn any_flipped_bit_ends_a_log_of_version_1_before_its_record() {
    let whole = Shard::new();
    let first = whole.log(1, &[put(1, "{}")], WalVersion::V1).metadata().unwrap().len();
    let records = [put(1, "{}"), put(2, "{}"), put(3, "{}")];
    let log = whole.log(2, &records, WalVersion::V1);
    let bytes = std::fs::read(log).unwrap();
    for position in first as usize..2 * first as usize {
        let shard = Shard::new();
        let mut damaged = bytes.clone();
        damaged[position] ^= 0x10;
        std::fs::write(shard.file("segment-1.wal"), damaged).unwrap();
        assert_eq!(pairs(&shard.found()), [(1, "{}")], "bit at {position}");
        let (offset, dropped_bytes, fault) = torn(&shard);
        assert_eq!((offset, dropped_bytes), (first, bytes.len() as u64 - first));
        match position as u64 - first {
            0 => assert_eq!(fault, LogFault::CommitType { commit_type: 0x10 }),
            1 => assert_eq!(fault, LogFault::Version { version: 0x11 }),
            // A longer record swallows the next one, or runs past the end.
            2..6 => assert!(matches!(fault, LogFault::Cut | LogFault::Checksum { .. })),
            _ => assert!(matches!(fault, LogFault::Checksum { .. }), "{fault:?}"),
        }
    }
}

#[test]
fn a_log_of_zeros_and_one_of_text_hold_nothing() {
    for (content, fault) in [
        (vec![0; 4096], LogFault::Implausible { reason: "a key that does not have 16 bytes" }),
        (b"not a log".to_vec(), LogFault::CommitType { commit_type: b'n' }),
        (vec![0, 1, 255, 255, 255, 255, 0, 0], LogFault::Cut),
        (vec![0], LogFault::Cut),
    ] {
        let shard = Shard::new();
        shard.segment(1, SegmentOptions::default(), &[put(1, "{}")]);
        std::fs::write(shard.file("segment-2.wal"), &content).unwrap();
        assert_eq!(pairs(&shard.found()), [(1, "{}")]);
        assert_eq!(torn(&shard), (0, content.len() as u64, fault));
    }
}

#[test]
fn a_log_that_an_upgraded_server_went_on_with_is_read_to_its_end() {
    for versions in [
        [WalVersion::V0, WalVersion::V1, WalVersion::V1],
        [WalVersion::V0, WalVersion::V0, WalVersion::V1],
        [WalVersion::V1, WalVersion::V0, WalVersion::V1],
    ] {
        let shard = Shard::new();
        let mut log = shard.writer.wal(1).unwrap();
        for (number, version) in (1..).zip(versions) {
            log.append(&put(number, "{}"), version).unwrap();
        }
        log.finish().unwrap();
        assert_eq!(pairs(&shard.found()), [(1, "{}"), (2, "{}"), (3, "{}")]);
        assert_eq!(shard.warnings(), []);
    }
}

#[test]
fn a_log_that_starts_its_checksum_anew_behind_version_0_is_read_too() {
    let shard = Shard::new();
    let old = shard.log(1, &[put(1, "{}")], WalVersion::V0);
    let new = shard.log(2, &[put(2, "{}"), put(3, "{}")], WalVersion::V1);
    let joined = [std::fs::read(&old).unwrap(), std::fs::read(&new).unwrap()].concat();
    std::fs::write(&old, joined).unwrap();
    std::fs::remove_file(&new).unwrap();
    assert_eq!(pairs(&shard.found()), [(1, "{}"), (2, "{}"), (3, "{}")]);
}

#[test]
fn a_log_that_overwrites_one_key_again_and_again_keeps_the_last() {
    let shard = Shard::new();
    let mut log = shard.writer.wal(1).unwrap();
    for number in 0..150_000_u32 {
        log.append(&put((number % 3) as u8, &format!(r#"{{"n":{number}}}"#)), WalVersion::V1)
            .unwrap();
    }
    log.finish().unwrap();
    assert_eq!(
        pairs(&shard.found()),
        [(0, r#"{"n":149997}"#), (1, r#"{"n":149998}"#), (2, r#"{"n":149999}"#)]
    );
}

/// Superseded records are dropped several times while so long a log is indexed.
#[test]
fn a_log_of_two_hundred_thousand_records_loses_no_key() {
    const RECORDS: u32 = 200_000;
    let number_of = |id: u32, change: u32| {
        let mut object = Object::new([0; 16], CLASS);
        object.uuid[..4].copy_from_slice(&id.to_be_bytes());
        object.properties = Some(format!(r#"{{"n":{change}}}"#).into_bytes());
        object
    };
    let live = |object: &Object| Node::live(object, &ObjectOptions::default()).unwrap();
    // Ids come in another order than that of the file; those in the upper half are written once.
    let new_id = |number: u32| number.wrapping_mul(2_654_435_761);
    let mut model = BTreeMap::new();
    let shard = Shard::new();
    let older: BTreeMap<u32, u32> = (0..2_000).map(|at| (new_id(at * 75), u32::MAX)).collect();
    let nodes: Vec<Node> =
        older.iter().map(|(id, change)| live(&number_of(*id, *change))).collect();
    shard.segment(1, SegmentOptions::default(), &nodes);
    let mut log = shard.writer.wal(2).unwrap();
    let mut new = 0;
    for change in 0..RECORDS {
        let again = (change % 4 == 3).then(|| new_id(new / 3)).filter(|id| *id < 1 << 31);
        let id = again.unwrap_or_else(|| {
            new += 1;
            new_id(new - 1)
        });
        let object = number_of(id, change);
        let delete = change.is_multiple_of(7);
        let node = if delete { Node::tombstone(object.uuid, None) } else { live(&object) };
        log.append(&node, WalVersion::V1).unwrap();
        model.insert(id, (!delete).then_some(change));
    }
    log.finish().unwrap();
    assert!(model.len() > 2 * 65_536 && model.len() + 10_000 < RECORDS as usize);
    let expected: Vec<([u8; 16], Vec<u8>)> = model
        .into_iter()
        .filter_map(|(id, change)| Some(number_of(id, change?)))
        .map(|object| (object.uuid, object.properties.unwrap()))
        .collect();
    let found = shard.rows().into_iter().map(|row| (row.id, row.properties.unwrap()));
    let found: Vec<_> = found.collect();
    assert!(found == expected, "{} rows of {}", found.len(), expected.len());
}

#[test]
fn a_large_log_is_indexed_and_not_held() {
    const OBJECTS: u32 = 50_000;
    let shard = Shard::new();
    let mut log = shard.writer.wal(1).unwrap();
    for number in 0..OBJECTS {
        let mut id = [0; 16];
        // Keys come in another order than that of the file.
        id[..4].copy_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
        let mut object = Object::new(id, CLASS);
        object.vector = vec![number as f32; 250];
        let node = Node::live(&object, &ObjectOptions::default()).unwrap();
        log.append(&node, WalVersion::V1).unwrap();
    }
    log.finish().unwrap();
    let log_bytes = shard.file("segment-0000000000000000001.wal").metadata().unwrap().len();
    let limits = BatchLimits { max_rows: 10_000, max_bytes: 1 << 20 };
    let (rows, largest) = largest_bytes(|| {
        let directory = shard.open();
        let class = rows::class(&directory, CLASS);
        let units = directory.units(class, UnitOptions::new(1 << 20));
        units
            .map(|unit| {
                let mut cursor = UnitCursor::open(&unit, &ReadOptions::default());
                let mut rows = 0;
                while let Some(batch) = cursor.read_batch(limits).unwrap() {
                    rows += batch.rows.row_count;
                }
                rows
            })
            .sum::<u32>()
    });
    assert_eq!(rows, OBJECTS);
    assert!(log_bytes > 50_000_000 && (largest as u64) < log_bytes / 12, "{largest} bytes at once");
}
