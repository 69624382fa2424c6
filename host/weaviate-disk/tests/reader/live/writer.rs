//! The writer process, and what it does of its own: writes, switches, flushes, compactions, cleanups.
use std::{
    env,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rand::RngExt;

use super::{bucket::LiveBucket, journal::Journal, replay};

/// Set for the process that writes: where to, how, and with what random seed.
const ROOT: &str = "OFFLOOM_TEST_LIVE_ROOT";
const MODE: &str = "OFFLOOM_TEST_LIVE_MODE";
const SEED: &str = "OFFLOOM_TEST_LIVE_SEED";

/// What a writer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The events of a real server in their order, again and again.
    Replay,
    /// Whatever comes to its mind.
    Random,
}

/// A writer that is killed when it is no longer needed: what it leaves is what a crash leaves.
#[derive(Debug)]
pub struct Writer(Child);

impl Writer {
    /// Starts this binary again, to write to the bucket `objects`.
    pub fn start(root: &Path, objects: &Path, mode: Mode, seed: u64) -> Writer {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["live::writer::process", "--exact", "--ignored", "--nocapture"])
            .env(ROOT, format!("{}\n{}", root.display(), objects.display()))
            .env(MODE, if mode == Mode::Replay { "replay" } else { "random" })
            .env(SEED, seed.to_string())
            .stdout(Stdio::null());
        Writer(command.spawn().unwrap())
    }

    /// Panics when it has ended, which it never does by itself.
    pub fn is_at_work(&mut self) {
        assert!(self.0.try_wait().unwrap().is_none(), "the writer failed: see its output");
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        self.0.wait().unwrap();
    }
}

#[test]
#[ignore = "the process that the other tests start; without them it has nothing to do"]
fn process() {
    let Ok(places) = env::var(ROOT) else { return };
    let (root, objects) = places.split_once('\n').unwrap();
    let journal = Journal::create(Path::new(root));
    let seed = env::var(SEED).unwrap().parse().unwrap();
    let mut bucket = LiveBucket::new(PathBuf::from(objects), journal, seed);
    if env::var(MODE).unwrap() == "replay" {
        replay::replay(&mut bucket);
    } else {
        random(&mut bucket);
    }
}

const FIRST_ID: u64 = 1_795_000_000_000_000_000;

/// Never ends.
fn random(bucket: &mut LiveBucket) {
    let mut id = FIRST_ID;
    let mut log = bucket.open_log(id);
    loop {
        for _ in 0..bucket.random.random_range(1..12) {
            for _ in 0..bucket.random.random_range(1..20) {
                bucket.write(&mut log);
            }
            bucket.acknowledge(&mut log);
            bucket.breathe();
        }
        if bucket.random.random_range(0..3) == 0 {
            id += 1_000_000_000;
            let mut next = bucket.open_log(id);
            bucket.write(&mut next);
            // A late writer still had the old memtable.
            bucket.write(&mut log);
            log.push();
            bucket.acknowledge(&mut next);
            bucket.flush(std::mem::replace(&mut log, next));
        }
        let stems: Vec<String> = bucket
            .segments
            .keys()
            .filter_map(|name| name.strip_suffix(".db").map(str::to_owned))
            .collect();
        let neighbours = stems.windows(2).nth(bucket.random.random_range(0..8));
        if let Some([left, right]) = neighbours {
            let level = bucket.random.random_range(1..4);
            bucket.compact(left, right, level);
        } else if let Some(stem) = stems.get(bucket.random.random_range(0..8)) {
            bucket.clean_up(&format!("{stem}.db"));
        }
    }
}
