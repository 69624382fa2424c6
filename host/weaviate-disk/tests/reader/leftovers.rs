//! What crashes leave in a bucket, read as Weaviate reads it when it starts (`wal.md` 3 and 5).
use std::fs;

use offloom_encoder::{Node, SegmentOptions, WalVersion, tear};
use offloom_weaviate_disk::{DiskError, LsmError, ShardSummary, ShardWarning};

use crate::shard::{Shard, delete, put};

/// Adds the segment of `id` under another name.
fn segment_as(shard: &Shard, name: &str, nodes: &[Node]) {
    let written = shard.segment(999, SegmentOptions::default(), nodes);
    fs::rename(written, shard.file(name)).unwrap();
}

fn numbered(number: u8, text: &str) -> Node {
    put(number, &format!(r#"{{"from":"{text}"}}"#))
}

/// Ids of the rows, with the file that their properties name.
fn found(shard: &Shard) -> Vec<(u8, String)> {
    let name = |text: String| text.split('"').nth(3).unwrap().to_owned();
    shard.found().into_iter().map(|(id, text)| (id, name(text))).collect()
}

fn cut_off_name(shard: &ShardSummary) -> Option<&str> {
    shard.cut_off.as_ref()?.newest_segment.as_deref()
}

fn expect(shard: &Shard, rows: &[(u8, &str)]) {
    let found = found(shard);
    let found: Vec<_> = found.iter().map(|(id, text)| (*id, text.as_str())).collect();
    assert_eq!(found, rows);
}

/// Before and behind the files of a compaction stand others, which must not be touched by it.
fn with_neighbours() -> Shard {
    let shard = Shard::new();
    segment_as(&shard, "segment-1.db", &[numbered(1, "oldest"), numbered(2, "oldest")]);
    segment_as(&shard, "segment-9.l0.s0.db", &[delete(2), numbered(9, "newest")]);
    shard
}

const RESULTS: [&str; 2] = ["segment-3_5.db.tmp", "segment-3_5.l1.s0.db.tmp"];

#[test]
fn an_unfinished_compaction_is_not_even_opened() {
    for result in RESULTS {
        let shard = with_neighbours();
        segment_as(&shard, "segment-3.l0.s0.db", &[numbered(3, "left"), numbered(4, "left")]);
        segment_as(&shard, "segment-5.db", &[numbered(4, "right")]);
        fs::write(shard.file(result), b"a fragment that nobody can read").unwrap();
        expect(&shard, &[(1, "oldest"), (3, "left"), (4, "right"), (9, "newest")]);
    }
}

#[test]
fn the_result_of_a_compaction_stands_for_what_it_was_made_of() {
    for result in RESULTS {
        let shard = with_neighbours();
        segment_as(&shard, result, &[numbered(2, "result"), numbered(3, "result")]);
        expect(&shard, &[(1, "oldest"), (3, "result"), (9, "newest")]);
        // Its right half is still there: it says nothing that the result does not.
        segment_as(&shard, "segment-5.l0.s0.db", &[numbered(3, "right"), numbered(6, "right")]);
        expect(&shard, &[(1, "oldest"), (3, "result"), (9, "newest")]);
        let shards = shard.read().unwrap().shards;
        assert_eq!(cut_off_name(&shards[0]), Some("segment-9.l0.s0.db"));
    }
}

#[test]
fn a_result_whose_left_half_alone_is_there_is_refused_with_the_remedy() {
    for result in RESULTS {
        let shard = with_neighbours();
        segment_as(&shard, result, &[numbered(3, "result")]);
        segment_as(&shard, "segment-3.db", &[numbered(3, "left")]);
        let error = shard.error();
        let DiskError::Lsm(LsmError::Compaction { place }) = &error else { panic!("{error}") };
        assert_eq!(&*place.file, result);
        assert!(error.to_string().contains("delete this file"), "{error}");
    }
}

#[test]
fn unfinished_flushes_old_compactions_and_superseded_files_are_no_data() {
    let shard = with_neighbours();
    for name in [
        "segment-4.l0.s0.db.tmp",
        "segment-9.l0.s0.db.tmp",
        "segment-3_4_5.db.tmp",
        "segment-4.db.1795407641874.deleteme",
        "segment-3_5.l1.s0.bloom.tmp",
    ] {
        segment_as(&shard, name, &[numbered(1, "ignored"), numbered(4, "ignored")]);
    }
    fs::create_dir(shard.file("segment-4.scratch.d")).unwrap();
    expect(&shard, &[(1, "oldest"), (9, "newest")]);
    assert_eq!(shard.warnings(), []);
}

#[test]
fn a_log_decides_over_a_segment_of_its_id_unless_it_is_empty() {
    for name in ["segment-0000000000000000005.db", "segment-0000000000000000005.l0.s0.db"] {
        let shard = Shard::new();
        segment_as(&shard, name, &[numbered(1, "segment")]);
        let log = shard.log(5, &[numbered(1, "log"), numbered(2, "log")], WalVersion::V1);
        expect(&shard, &[(1, "log"), (2, "log")]);
        // A torn one too: the server removes the segment and replays what is whole.
        tear(&log, 1).unwrap();
        expect(&shard, &[(1, "log")]);
        assert!(matches!(shard.warnings().as_slice(), [ShardWarning::TornLog { .. }]));
        fs::write(&log, b"").unwrap();
        expect(&shard, &[(1, "segment")]);
    }
}

#[test]
fn both_name_styles_stand_side_by_side_even_for_one_id() {
    let shard = Shard::new();
    segment_as(&shard, "segment-10.db", &[numbered(1, "short"), numbered(2, "short")]);
    segment_as(&shard, "segment-10.l0.s0.db", &[numbered(2, "long")]);
    segment_as(&shard, "segment-11.l3.s0.db", &[numbered(3, "long")]);
    segment_as(&shard, "segment-12.db", &[numbered(3, "short")]);
    expect(&shard, &[(1, "short"), (2, "long"), (3, "short")]);
}
