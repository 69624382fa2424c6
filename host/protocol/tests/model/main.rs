//! A model of the protocol: seeded schedules of several coordinators over a store in memory, with crashes,
//! zombies, cancels, lost replies, late writes and `gc`. After every request an outsider reads the bucket,
//! and promise P must hold: what a SUCCESS manifest lists is there, whole, once, and stays.
//!
//! The protocol is the program's own code; the store and the data are the model's. The order of requests
//! follows the seed; what a process does between two of them is not controlled.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod process;
#[path = "../../../../tests/e2e/random.rs"]
#[allow(dead_code, reason = "the model draws numbers alone")]
mod random;
mod store;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use object_store::ObjectStoreExt;
use object_store::path::Path;
use offloom_protocol::digest::Digest;
use offloom_protocol::manifest::{Manifest, Outcome};
use tokio::task::JoinHandle;

use process::{Bugs, CLASSES, End, How, Notes, Process, content};
use random::Random;
use store::{Bucket, Connection, Turn};

/// How far a process is.
enum State {
    Running,
    /// It gets no turn until it is woken.
    Stopped,
    Dead,
}

struct Running {
    task: JoinHandle<End>,
    state: State,
    notes: Arc<Mutex<Notes>>,
    cancel: Arc<AtomicBool>,
    end: Option<End>,
}

/// What many schedules have shown.
#[derive(Debug, Default)]
struct Counts {
    schedules: usize,
    requests: usize,
    crashes: usize,
    late_writes: usize,
    lost_replies: usize,
    take_overs: usize,
    gcs: usize,
    carried_on: usize,
    stopped: usize,
    cancels: usize,
    successes: usize,
    reads: usize,
}

struct Schedule {
    numbers: Random,
    bugs: Bugs,
    bucket: Arc<Bucket>,
    processes: Vec<Running>,
    /// The manifest that must not change any more.
    ended: Option<Vec<u8>>,
    /// The requests before the last take-over.
    taken_over_at: Option<usize>,
    counts: Counts,
}

/// What the model found wrong.
type Violation = String;

impl Schedule {
    fn new(seed: u64, bugs: Bugs) -> Schedule {
        let bucket = Bucket::new(bugs.unconditional_commit);
        Schedule {
            numbers: Random::of(seed, 0),
            bugs,
            bucket: Arc::new(bucket),
            processes: Vec::new(),
            ended: None,
            taken_over_at: None,
            counts: Counts { schedules: 1, ..Counts::default() },
        }
    }

    fn start(&mut self, how: How, notes: Arc<Mutex<Notes>>) {
        let number = self.processes.len();
        let connection = Connection { bucket: Arc::clone(&self.bucket), process: number };
        let (cancel, version) = (Arc::new(AtomicBool::new(false)), self.numbers.below(3) as u8);
        let process = Process {
            connection,
            notes: Arc::clone(&notes),
            how,
            version,
            cancel: Arc::clone(&cancel),
            bugs: self.bugs,
        };
        let task = tokio::spawn(process.run());
        self.processes.push(Running { task, state: State::Running, notes, cancel, end: None });
    }

    /// Waits until every process that may run has ended or waits for its turn.
    async fn settle(&mut self) {
        for number in 0..self.processes.len() {
            let bucket = Arc::clone(&self.bucket);
            let process = &mut self.processes[number];
            while process.end.is_none() && matches!(process.state, State::Running) {
                if process.task.is_finished() {
                    process.end = Some((&mut process.task).await.unwrap());
                } else if bucket.has_waiting(number) {
                    // Parts are sent side by side: let all of them come.
                    for _ in 0..8 {
                        tokio::task::yield_now().await;
                    }
                    break;
                } else {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Something that happens between two requests.
    fn disturb(&mut self) {
        let number = self.numbers.below(self.processes.len());
        let is_active =
            |process: &Running| process.end.is_none() && !matches!(process.state, State::Dead);
        if !is_active(&self.processes[number]) {
            return;
        }
        match self.numbers.below(7) {
            0 | 1 => {
                self.counts.crashes += 1;
                self.processes[number].state = State::Dead;
                let (bucket, numbers) = (Arc::clone(&self.bucket), &mut self.numbers);
                bucket.die(number, || numbers.once_in(2));
                if self.numbers.once_in(4) {
                    self.take_over();
                } else {
                    self.counts.carried_on += 1;
                    let notes = Arc::clone(&self.processes[number].notes);
                    self.start(How::CarryOn, notes);
                }
            }
            2 => {
                self.counts.stopped += 1;
                self.processes[number].state = State::Stopped;
                self.take_over();
            }
            3 => self.take_over(),
            4 => {
                self.counts.cancels += 1;
                self.processes[number].cancel.store(true, Ordering::SeqCst);
            }
            5 => self.start(How::Begin, Arc::default()),
            _ => {
                self.counts.gcs += 1;
                self.start(How::Gc, Arc::default());
            }
        }
    }

    fn take_over(&mut self) {
        self.counts.take_overs += 1;
        self.taken_over_at = Some(self.bucket.requests());
        self.start(How::TakeOver, Arc::default());
    }

    async fn run(mut self) -> Result<Counts, Violation> {
        self.start(How::Begin, Arc::default());
        let mut disturbances = self.numbers.below(5);
        loop {
            self.settle().await;
            if disturbances > 0 && self.numbers.once_in(8) && self.processes.len() < 7 {
                disturbances -= 1;
                self.disturb();
                continue;
            }
            let may_run: BTreeSet<usize> = (0..self.processes.len())
                .filter(|number| matches!(self.processes[*number].state, State::Running))
                .collect();
            let numbers = &mut self.numbers;
            let next = self.bucket.next(
                |request| request.late || may_run.contains(&request.process),
                |count| numbers.below(count),
            );
            let Some(request) = next else {
                // A zombie wakes up when all others have ended.
                let stopped = |process: &&mut Running| matches!(process.state, State::Stopped);
                match self.processes.iter_mut().find(stopped) {
                    Some(process) => process.state = State::Running,
                    None => break,
                }
                continue;
            };
            let turn = if request.late {
                self.counts.late_writes += 1;
                Turn::Late
            } else if request.writes && self.numbers.once_in(25) {
                self.counts.lost_replies += 1;
                Turn::ReplyLost
            } else {
                Turn::Answered
            };
            let before = self.bucket.requests();
            request.go(turn);
            while self.bucket.requests() == before {
                tokio::task::yield_now().await;
            }
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
            self.look().await?;
        }
        self.look_at_the_end().await?;
        self.counts.requests = self.bucket.requests();
        for process in &self.processes {
            process.task.abort();
        }
        Ok(self.counts)
    }

    /// Reads the bucket as an outsider would.
    async fn look(&mut self) -> Result<(), Violation> {
        self.counts.reads += 1;
        let objects = &self.bucket.objects;
        let read = async |key: &str| {
            let found = objects.get(&Path::from(format!("export/{key}"))).await.ok()?;
            found.bytes().await.ok()
        };
        let Some(found) = read("export_metadata.json").await else {
            return if self.ended.is_some() {
                Err("the manifest is gone".to_owned())
            } else {
                Ok(())
            };
        };
        if let Some(ended) = &self.ended
            && *ended != found
        {
            return Err("a terminal state has changed".to_owned());
        }
        let manifest: Manifest = serde_json::from_slice(&found).unwrap();
        if manifest.status == Outcome::Failed {
            return Ok(());
        }
        self.ended = Some(found.to_vec());
        if manifest.status != Outcome::Success {
            return Ok(());
        }
        let classes: Vec<&str> = manifest.files.iter().map(|file| &*file.class).collect();
        if classes.iter().collect::<BTreeSet<_>>().len() != CLASSES.len()
            || classes.len() != CLASSES.len()
        {
            return Err(format!("SUCCESS with the files of {classes:?}"));
        }
        for file in &manifest.files {
            let Some(bytes) = read(&file.key).await else {
                return Err(format!("{} is listed and not there", file.key));
            };
            if Digest::of(file.digest.algorithm, &bytes) != file.digest {
                return Err(format!("{} is not what the manifest says", file.key));
            }
            if !(0..3).any(|version| content(&file.class, version) == bytes) {
                return Err(format!("{} is of several versions", file.key));
            }
        }
        Ok(())
    }

    async fn look_at_the_end(&mut self) -> Result<(), Violation> {
        let committed = |outcome: Outcome| {
            self.processes.iter().filter(|p| p.end == Some(End::Committed(outcome))).count()
        };
        let (succeeded, canceled) = (committed(Outcome::Success), committed(Outcome::Canceled));
        if succeeded + canceled > 1 {
            return Err(format!("{succeeded} say SUCCESS and {canceled} CANCELED"));
        }
        if succeeded + canceled > 0 && self.ended.is_none() {
            return Err("an outcome was reported and is not there".to_owned());
        }
        self.counts.successes += succeeded;
        // Who takes over has aborted what was open before; only it can say so when it got so far.
        let last = self.processes.last().map(|process| &process.end);
        if let (Some(at), Some(Some(End::Committed(_)))) = (self.taken_over_at, last) {
            let open = self.bucket.open_since_before(at);
            if !open.is_empty() {
                return Err(format!("{open:?} were left open by who took over"));
            }
        }
        Ok(())
    }
}

/// Runs schedules; the first violation with its seed.
fn run(seeds: impl Iterator<Item = u64>, bugs: Bugs) -> (Counts, Option<(u64, Violation)>) {
    let mut sum = Counts::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for seed in seeds {
        match runtime.block_on(Schedule::new(seed, bugs).run()) {
            Ok(counts) => {
                sum.schedules += counts.schedules;
                sum.requests += counts.requests;
                sum.crashes += counts.crashes;
                sum.late_writes += counts.late_writes;
                sum.lost_replies += counts.lost_replies;
                sum.take_overs += counts.take_overs;
                sum.gcs += counts.gcs;
                sum.carried_on += counts.carried_on;
                sum.stopped += counts.stopped;
                sum.cancels += counts.cancels;
                sum.successes += counts.successes;
                sum.reads += counts.reads;
            }
            Err(violation) => return (sum, Some((seed, violation))),
        }
    }
    (sum, None)
}

#[test]
fn promise_p_holds_in_every_schedule() {
    let (counts, violation) = run(0..10_000, Bugs::default());
    println!("soak: model: {counts:?}");
    assert_eq!(violation, None);
    assert_eq!(counts.schedules, 10_000);
    // Each kind of disturbance took place, and often an export still succeeded.
    let Counts { crashes, late_writes, lost_replies, take_overs, .. } = counts;
    for count in
        [crashes, late_writes, lost_replies, take_overs, counts.stopped, counts.cancels, counts.gcs]
    {
        assert!(count > 500, "{counts:?}");
    }
    assert!(counts.successes > 3_000, "{counts:?}");
}

#[test]
fn bugs_that_are_put_in_on_purpose_are_found() {
    for bugs in [
        Bugs { unconditional_commit: true, ..Bugs::default() },
        Bugs { no_abort: true, ..Bugs::default() },
        Bugs { same_names: true, ..Bugs::default() },
    ] {
        let (counts, violation) = run(0..10_000, bugs);
        let (seed, violation) = violation.unwrap_or_else(|| panic!("{bugs:?}: {counts:?}"));
        println!("{bugs:?}: seed {seed}: {violation}");
    }
}
