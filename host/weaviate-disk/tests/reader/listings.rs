//! A server that changes a bucket in the middle of a listing, at a moment that the test chooses.
//!
//! A listing reads names and then looks at each. The thread that reads is stopped at its first look,
//! and meanwhile this test does what a server does. What is then seen is neither the state before nor
//! the one after; only another listing shows it (`wal.md` 7).
use std::fs;

use offloom_encoder::{Node, SegmentOptions};
use offloom_test_syscalls::{Call, watch};
use offloom_weaviate_disk::UnitOptions;

use crate::{
    rows::{self, LIMITS},
    shard::{CLASS, Shard, put},
};

/// Ids and texts of the rows that are read while `server` acts. It is called before each look of a
/// listing, with the number of the listing and the name that is looked at.
fn found_while(shard: &Shard, mut server: impl FnMut(u32, &str)) -> Vec<(u8, String)> {
    let bucket = shard.writer.path().canonicalize().unwrap();
    let directory = shard.open();
    let mut reads = 0_u32;
    let read = || {
        let class = rows::class(&directory, CLASS);
        let mut units = directory.units(class, UnitOptions::new(1 << 20));
        let read = units.by_ref().flat_map(|unit| rows::read_unit(&unit, LIMITS).unwrap());
        let rows: Vec<rows::Row> = read.collect();
        assert!(units.shards().iter().all(|shard| shard.error.is_none()), "{:?}", units.shards());
        rows
    };
    let rows = watch(&[Call::ReadFolder, Call::Look], read, |event| match event.call {
        Call::ReadFolder if event.path == bucket => reads += 1,
        Call::Look if event.path.parent() == Some(&bucket) => {
            // Names are read once, and once more to find that there are no others.
            let name = event.path.file_name().unwrap().to_str().unwrap();
            server(reads.div_ceil(2), name);
        }
        _ => {}
    });
    assert!(reads >= 4, "{reads}: the bucket was not listed twice");
    let text = |row: rows::Row| (row.id[15], String::from_utf8(row.properties.unwrap()).unwrap());
    rows.into_iter().map(text).collect()
}

fn row(number: u8, revision: u8) -> (u8, String) {
    (number, format!(r#"{{"n":{revision}}}"#))
}

fn node(number: u8, revision: u8) -> Node {
    put(number, &row(number, revision).1)
}

fn segment(shard: &Shard, id: u64, nodes: &[Node]) {
    shard.segment(id, SegmentOptions::default(), nodes);
}

fn name(ids: &str) -> String {
    let ids: Vec<String> = ids.split('_').map(|id| format!("{id:0>19}")).collect();
    format!("segment-{}", ids.join("_"))
}

/// A segment that is written under another name, and keeps it.
fn segment_under(shard: &Shard, file: &str, nodes: &[Node]) {
    let elsewhere = Shard::new();
    segment(&elsewhere, 9, nodes);
    fs::copy(elsewhere.file(&format!("{}.db", name("9"))), shard.file(file)).unwrap();
}

fn rename(shard: &Shard, from: &str, to: &str) {
    fs::rename(shard.file(from), shard.file(to)).unwrap();
}

#[test]
fn a_log_that_is_flushed_during_the_first_listing_is_not_lost() {
    let shard = Shard::new();
    segment(&shard, 1, &[node(1, 1)]);
    shard.log(2, &[node(2, 2)], offloom_encoder::WalVersion::V1);
    let mut steps = 0;
    let found = found_while(&shard, |_, _| {
        if steps == 0 {
            segment(&shard, 2, &[node(2, 2)]);
            fs::remove_file(shard.file(&format!("{}.wal", name("2")))).unwrap();
        }
        steps += 1;
    });
    assert_eq!(found, [row(1, 1), row(2, 2)]);
}

#[test]
fn an_object_that_moves_to_a_newer_segment_during_the_first_listing_is_not_lost() {
    let shard = Shard::new();
    segment(&shard, 1, &[node(1, 1), node(2, 1)]);
    let mut steps = 0;
    let found = found_while(&shard, |_, _| {
        if steps == 0 {
            segment(&shard, 2, &[node(1, 2)]);
            // A cleanup: the older segment without what the newer one has.
            let tmp = format!("{}.db.tmp", name("1"));
            segment_under(&shard, &tmp, &[node(2, 1)]);
            rename(&shard, &tmp, &format!("{}.db", name("1")));
        }
        steps += 1;
    });
    assert_eq!(found, [row(1, 2), row(2, 1)]);
}

/// Both inputs of a compaction have lost their names.
fn begin_compaction(shard: &Shard) {
    segment_under(shard, &format!("{}.db.tmp", name("1_2")), &[node(1, 1), node(2, 2)]);
    for input in ["1", "2"] {
        let segment = format!("{}.db", name(input));
        rename(shard, &segment, &format!("{segment}.0000000000001.deleteme"));
    }
}

/// The result has its name.
fn end_compaction(shard: &Shard) {
    rename(shard, &format!("{}.db.tmp", name("1_2")), &format!("{}.db", name("2")));
}

/// Whether no segment is lost when a compaction begins in the first listing, and ends when the listing
/// after `end_after` begins.
fn assert_nothing_lost(end_after: u32) {
    let shard = Shard::new();
    segment(&shard, 1, &[node(1, 1)]);
    segment(&shard, 2, &[node(2, 2)]);
    let mut last = 0;
    let found = found_while(&shard, |listing, _| {
        if listing == 1 && last == 0 {
            begin_compaction(&shard);
        } else if listing == end_after + 1 && last == end_after {
            end_compaction(&shard);
        }
        last = listing;
    });
    assert_eq!(found, [row(1, 1), row(2, 2)]);
}

#[test]
fn segments_that_are_compacted_during_the_first_listing_are_not_lost() {
    assert_nothing_lost(2);
}

/// The two listings agree: each comes to names that are gone when it looks at them.
#[test]
fn segments_that_are_compacted_during_both_listings_are_not_lost() {
    assert_nothing_lost(1);
}
