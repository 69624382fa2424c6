//! Plays the file operations of a real server in their order, with contents of its own.
use super::bucket::{LiveBucket, Log};

/// `tests/fixtures/live-events`: milliseconds, operation, name, new name, bytes.
const EVENTS: &str = include_str!("../../../../../tests/fixtures/live-events/events.tsv");
/// Between the ids of one pass and those of the next.
const PASS_NANOS: u64 = 1_000_000_000_000;

/// The name of an event with all ids in it moved to a pass.
fn in_pass(name: &str, pass: u64) -> String {
    let mut moved = String::new();
    let mut rest = name;
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(from.len());
        let (digits, behind) = from.split_at(end);
        moved.push_str(before);
        match digits.len() {
            19 => moved += &(digits.parse::<u64>().unwrap() + pass * PASS_NANOS).to_string(),
            _ => moved += digits,
        }
        rest = behind;
    }
    moved + rest
}

/// The ids in a segment's name, and its level.
fn ids_and_level(name: &str) -> (Vec<&str>, u16) {
    let (ids, rest) = name.strip_prefix("segment-").unwrap().split_once('.').unwrap();
    let level = rest.strip_prefix('l').and_then(|rest| rest.split('.').next()?.parse().ok());
    (ids.split('_').collect(), level.unwrap_or(0))
}

/// Never ends.
pub fn replay(bucket: &mut LiveBucket) {
    for pass in 0.. {
        let mut log: Option<Log> = None;
        for line in EVENTS.lines().skip(1) {
            let fields: Vec<&str> = line.split('\t').collect();
            let (name, to) = (in_pass(fields[2], pass), in_pass(fields[3], pass));
            event(bucket, &mut log, fields[1], &name, &to, fields[4]);
        }
        if let Some(mut log) = log {
            bucket.acknowledge(&mut log);
            bucket.flush(log);
        }
        // So that the bucket does not grow from pass to pass.
        while let [left, right, ..] = stems(bucket).as_slice() {
            bucket.compact(left, right, 9);
        }
    }
}

fn stems(bucket: &LiveBucket) -> Vec<String> {
    let names = bucket.segments.keys();
    names.filter_map(|name| name.strip_suffix(".db").map(str::to_owned)).collect()
}

// Over 60 lines: one arm for each kind of event.
fn event(
    bucket: &mut LiveBucket,
    log: &mut Option<Log>,
    operation: &str,
    name: &str,
    to: &str,
    bytes: &str,
) {
    match operation {
        "append" => {
            let (ids, _) = ids_and_level(name);
            assert!(log.replace(bucket.open_log(ids[0].parse().unwrap())).is_none());
        }
        "write" if name.ends_with(".wal") => {
            let log = log.as_mut().unwrap();
            if bytes == "4096" {
                let pieces = log.pieces();
                while log.pieces() == pieces {
                    bucket.write(log);
                }
            } else {
                bucket.write(log);
                bucket.acknowledge(log);
            }
            bucket.breathe();
        }
        "fsync" if name.ends_with(".wal") => bucket.acknowledge(log.as_mut().unwrap()),
        "create" if name.ends_with(".db.tmp") => {
            let (ids, level) = ids_and_level(name);
            let content = match ids.as_slice() {
                [_] => {
                    let log = log.take().unwrap();
                    LiveBucket::content(&log)
                }
                ids => {
                    let of = |id: &&str| {
                        let found = bucket.segments.keys().find(|name| {
                            name.starts_with(&format!("segment-{id}.")) && name.ends_with(".db")
                        });
                        found.unwrap().clone()
                    };
                    let names: Vec<String> = ids.iter().map(of).collect();
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    bucket.merged(&names)
                }
            };
            bucket.create_segment(name, content, level);
        }
        // Written until then; a result of a compaction is closed twice.
        "fsync" if name.ends_with(".db.tmp") => {
            let (_, level) = ids_and_level(name);
            bucket.finish_segment(name, level);
        }
        "create" => bucket.sidecar(name),
        "rename" => {
            bucket.rename(name, to);
            bucket.breathe();
        }
        "unlink" => {
            bucket.unlink(name);
            bucket.breathe();
        }
        _ => {}
    }
}
