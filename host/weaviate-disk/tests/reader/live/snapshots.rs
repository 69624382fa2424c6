//! Takes snapshots in a loop while a writer is at work, and reads each of them wholly.
use std::{path::Path, thread, time::Duration};

use offloom_encoder::scale;
use offloom_weaviate_disk::{DataDirectory, LsmError, SchemaFile, Unit, UnitOptions};

use super::{
    journal,
    writer::{Mode, Writer},
};
use crate::{
    rows::{self, LIMITS},
    shard::{CLASS, Shard},
};

/// One writer is looked at so often; then it is killed, and another one begins. Some are looked at
/// for long, so that they come to compactions of compactions; some are killed soon.
fn snapshots_of_writer(seed: u64) -> u64 {
    25 << (seed % 5)
}

/// One shard, in a directory beside the writer's journal.
fn open(shard: &Shard, root: &Path) -> DataDirectory {
    let schema = root.join("schema.json");
    std::fs::write(&schema, format!(r#"{{"classes": [{{"class": "{CLASS}"}}]}}"#)).unwrap();
    let schema = SchemaFile::parse(&schema, std::fs::read(&schema)).unwrap();
    DataDirectory::open(shard.root(), Some(schema)).unwrap()
}

/// Takes a snapshot, reads it, and compares it with what its writer has noted. Whether there was
/// one: a busy shard is an honest answer.
fn check_snapshot(directory: &DataDirectory, root: &Path, number: u64) -> bool {
    let acknowledged = journal::acknowledged(root);
    let block_bytes = [1 << 30, 20_000, 100_000][(number % 3) as usize];
    let class = rows::class(directory, CLASS);
    let mut units = directory.units(class, UnitOptions::new(block_bytes));
    let taken: Vec<Unit> = units.by_ref().collect();
    let [shard] = units.shards() else { panic!("{:?}", units.shards()) };
    match shard.error.as_deref() {
        None => {}
        Some(LsmError::Busy { .. }) => return false,
        Some(error) => panic!("{error}"),
    }
    let cut_off = shard.cut_off.as_ref().unwrap();
    // The writer goes on: what was listed may be gone when it is read.
    if number.is_multiple_of(2) {
        thread::sleep(Duration::from_millis(number % 7));
    }
    let found: Vec<_> =
        taken.iter().flat_map(|unit| rows::read_unit(unit, LIMITS).unwrap()).collect();
    assert!(found.is_sorted_by(|left, right| left.id < right.id), "a row came twice");
    let writes = journal::begun(root);
    let expected = journal::expected(&writes, cut_off, acknowledged);
    let ids: Vec<_> = found.iter().map(|row| row.id).collect();
    let expected_ids: Vec<_> = expected.keys().copied().collect();
    assert_eq!(ids, expected_ids, "{cut_off:?}");
    for row in found {
        let text = String::from_utf8(row.properties.unwrap()).unwrap();
        assert_eq!(text, journal::properties(expected[&row.id]), "{cut_off:?}");
    }
    true
}

fn snapshots_of(mode: Mode) {
    // With each mode of the writer.
    let wanted = scale(400, 2_000);
    let (mut good, mut busy) = (0, 0);
    let mut seed = 0;
    while good < wanted {
        let shard = Shard::new();
        let root = tempfile::tempdir().unwrap();
        let directory = open(&shard, root.path());
        let mut writer = Writer::start(root.path(), shard.writer.path(), mode, seed);
        while journal::acknowledged(root.path()) == 0 {
            writer.is_at_work();
            thread::sleep(Duration::from_millis(1));
        }
        let first = good;
        while good < wanted && good - first < snapshots_of_writer(seed) {
            if check_snapshot(&directory, root.path(), good) {
                good += 1;
            } else {
                busy += 1;
            }
            writer.is_at_work();
        }
        drop(writer);
        // What it left in the middle of its work.
        assert!(check_snapshot(&directory, root.path(), good));
        good += 1;
        seed += 1;
    }
    println!(
        "soak: {good} snapshots of {seed} writers ({mode:?}), none wrong; {busy} times too busy"
    );
    assert!(busy * 10 < good, "{busy} times too busy for {good} snapshots");
}

#[test]
fn snapshots_of_a_server_at_work_hold_what_was_acknowledged() {
    snapshots_of(Mode::Replay);
}

#[test]
fn snapshots_amid_switches_flushes_compactions_and_cleanups_hold_what_was_acknowledged() {
    snapshots_of(Mode::Random);
}
