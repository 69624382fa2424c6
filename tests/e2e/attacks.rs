//! Attacks by guests, seen from outside: each ends in its own error on its own export, the server answers,
//! memory comes back, and a neighbour's files are the bytes that it gets alone.
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use offloom_encoder::{Workload, scale, write_workload};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::guests::{guest, ids_guest};
use crate::program::{offloom, program, root, said};
use crate::server::Server;
use crate::tenants::write_classes;

/// What a server may keep in memory of an attack.
const KEPT_KIB: u64 = 64 * 1024;

/// How an attack must end.
#[derive(Debug, Clone, Copy)]
pub enum Outcome {
    /// The request is answered with 422 and these words.
    Refused(&'static str),
    /// The export ends `FAILED` with these words.
    Failed(&'static str),
    /// The export succeeds, and `verify` finds this.
    Found(&'static str),
    /// The export succeeds with other files than the honest guest's, and `verify` finds nothing: no check
    /// covers what a guest writes into values.
    Unnoticed,
    /// The export succeeds: the host cut the misbehaviour down, or it concerns the guest's own format.
    Harmless,
}

/// A server with one guest, and what it writes when it is honest and alone.
pub struct Frame {
    server: Server,
    work: TempDir,
    alone: BTreeMap<String, Vec<u8>>,
    baseline_kib: u64,
    number: AtomicU32,
    /// The body of a request with a behaviour; empty for none.
    order: fn(&str, &str) -> Value,
}

/// The guest of the server is the one that attacks.
fn by_exporter(id: &str, behaviour: &str) -> Value {
    let options = if behaviour.is_empty() { json!({}) } else { json!({ "do": behaviour }) };
    json!({ "id": id, "guestOptions": options })
}

/// A transform of the registry does.
fn by_transform(id: &str, behaviour: &str) -> Value {
    let options = if behaviour.is_empty() { json!({}) } else { json!({ "do": behaviour }) };
    json!({ "id": id, "transforms": [{ "guest": "hostile", "options": options }] })
}

impl Frame {
    /// Starts the server over 1,500 objects, which are several blocks, and warms it up.
    pub fn start(guest: &Path, workers: u32) -> Frame {
        Frame::open(workers, &["--guest".as_ref(), guest.as_os_str()], by_exporter, |_| {})
    }

    /// The same with the default exporter and a transform that is pushed as `hostile`.
    pub fn with_transform(package: &str) -> Frame {
        Frame::open(8, &[], by_transform, |server| {
            let file = guest(package);
            let mut command = program();
            command.args(["guest".as_ref(), "push".as_ref(), "hostile".as_ref(), file.as_os_str()]);
            command.arg(format!("--server=http://{}", server.authority()));
            said(&mut command).expect_success();
        })
    }

    fn open(
        workers: u32,
        more: &[&OsStr],
        order: fn(&str, &str) -> Value,
        prepare: impl FnOnce(&Server),
    ) -> Frame {
        let work = tempfile::tempdir().unwrap();
        write_workload(Workload::W3, 1_500, work.path()).unwrap();
        let mut command = program();
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--workers", &workers.to_string()])
            .env("OFFLOOM_SHUTDOWN_GRACE_SECONDS", "0")
            .args(["--data-dir".as_ref(), work.path().join("data").as_os_str()])
            .args(["--state-dir".as_ref(), work.path().join("state").as_os_str()])
            .args(["--filesystem-root".as_ref(), work.path().join("out").as_os_str()])
            .args(more);
        let server = Server::start(&mut command);
        prepare(&server);
        let mut frame = Frame {
            server,
            order,
            work,
            alone: BTreeMap::new(),
            baseline_kib: 0,
            number: AtomicU32::new(0),
        };
        for round in 0..3 {
            let id = format!("alone-{round}");
            frame.create(&id, "").ok();
            assert_eq!(frame.server.wait("filesystem", &id)["status"], "SUCCESS");
            frame.alone = frame.files(&id);
        }
        assert!(!frame.alone.is_empty());
        frame.baseline_kib = frame.memory_kib();
        frame
    }

    fn create(&self, id: &str, behaviour: &str) -> crate::server::Answer {
        self.server.post("/v1/export/filesystem", &(self.order)(id, behaviour))
    }

    fn folder(&self, id: &str) -> PathBuf {
        self.work.path().join("out").join(id)
    }

    /// The files that the guest wrote.
    fn files(&self, id: &str) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(self.folder(id)).unwrap();
        let files = entries.map(|entry| entry.unwrap().path());
        let written =
            |path: &PathBuf| path.extension().is_some_and(|end| end == "ids" || end == "parquet");
        files
            .filter(written)
            .map(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, std::fs::read(path).unwrap())
            })
            .collect()
    }

    /// Resident memory of the server: the median of several looks.
    fn memory_kib(&self) -> u64 {
        let status = format!("/proc/{}/status", self.server.process_id());
        let mut looks: Vec<u64> = (0..5)
            .map(|_| {
                std::thread::sleep(Duration::from_millis(5));
                let text = std::fs::read_to_string(&status).unwrap();
                let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
                line.split_whitespace().next().unwrap().parse().unwrap()
            })
            .collect();
        looks.sort_unstable();
        looks[2]
    }

    /// Runs an attack beside a neighbour, and checks its outcome and that the neighbour has its bytes.
    fn attack(&self, name: &str, outcome: Outcome) {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (attack, neighbour) = (format!("attack-{number}"), format!("neighbour-{number}"));
        self.create(&neighbour, "").ok();
        let answer = self.create(&attack, name);
        if let Outcome::Refused(words) = outcome {
            let message = answer.error(422);
            assert!(message.contains(words), "{name}: {message}");
            self.server.get(&format!("/v1/export/filesystem/{attack}")).error(404);
        } else {
            answer.ok();
            let ended = self.server.wait("filesystem", &attack);
            let expected = if matches!(outcome, Outcome::Failed(_)) { "FAILED" } else { "SUCCESS" };
            assert_eq!(ended["status"], expected, "{name}: {ended:#}");
            self.check_end(name, outcome, &attack, &ended);
        }
        let ended = self.server.wait("filesystem", &neighbour);
        assert_eq!(ended["status"], "SUCCESS", "beside {name}: {ended:#}");
        assert!(self.files(&neighbour) == self.alone, "{name}: a neighbour has other bytes");
        std::fs::remove_dir_all(self.folder(&neighbour)).unwrap();
    }

    fn check_end(&self, name: &str, outcome: Outcome, id: &str, ended: &Value) {
        let folder = self.folder(id);
        match outcome {
            Outcome::Failed(words) => {
                let error = ended["error"].as_str().unwrap();
                assert!(error.contains(words), "{name}: {error}");
                // No file of a failed export stays.
                assert_eq!(self.files(id).len(), 0, "{name}");
            }
            Outcome::Found(words) => {
                let said = offloom(["verify".as_ref(), folder.as_os_str()]);
                assert_eq!(said.status, Some(1), "{name}: {said:#?}");
                assert!(said.err.contains(words), "{name}: {said:#?}");
            }
            Outcome::Unnoticed => {
                offloom(["verify".as_ref(), folder.as_os_str()]).expect_success();
                assert!(self.files(id) != self.alone, "{name} changed nothing");
            }
            Outcome::Harmless | Outcome::Refused(_) => {}
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// The server answers, and memory is back.
    fn check_server(&self, after: &str) {
        assert_eq!(self.server.get("/v1/.well-known/live").status, 200, "after {after}");
        self.server.get("/v1/export/filesystem/alone-0").ok();
        let kib = self.memory_kib();
        assert!(
            kib < self.baseline_kib + KEPT_KIB,
            "{kib} KiB after {after}, {} before",
            self.baseline_kib
        );
    }

    /// Runs the attacks one after the other.
    pub fn run(&self, attacks: &[(&str, Outcome)]) {
        for (name, outcome) in attacks {
            self.attack(name, *outcome);
            self.check_server(name);
        }
    }

    /// Runs the attacks at the same time: those that burn processor time until a limit.
    pub fn run_together(&self, attacks: &[(&str, Outcome)]) {
        std::thread::scope(|threads| {
            for (name, outcome) in attacks {
                threads.spawn(move || self.attack(name, *outcome));
            }
        });
        self.check_server("all at once");
    }
}

use Outcome::{Failed, Harmless, Refused};

/// Every behaviour of `guest/hostile` that ends at once.
const QUICK: &[(&str, Outcome)] = &[
    ("parquet-by-name", Failed("other than PAR1")),
    ("parquet-by-extension", Failed("other than PAR1")),
    ("parquet-by-media-type", Failed("other than PAR1")),
    ("extension-path", Refused("the file name extension `../../etc/passwd` is not")),
    ("extension-empty", Refused("the file name extension `` is not")),
    ("refuse-with-ansi", Refused(r"unsupported: \u{1b}[2J\u{1b}[31mall is well\u{d}\u{a}")),
    ("plan-outside", Refused("it planned class `Secret`, which was not offered")),
    ("plan-twice", Refused("it planned class `W3Passage` twice")),
    ("plan-no-utf8", Refused("the guest trapped: ")),
    ("plan-huge", Refused("bytes handed to the host in one call")),
    ("open-resource-flood", Failed("too many resources at once")),
    ("prologue-huge", Failed("a prologue of 2097152 bytes, more than 1048576")),
    ("forged-handle", Failed("the guest trapped: ")),
    ("dropped-handle", Failed("the guest trapped: ")),
    ("foreign-handle", Failed("the guest trapped: ")),
    ("compress-huge", Failed("34603009 bytes to compress in one call")),
    ("compress-level", Failed("the guest refused: unsupported: ")),
    ("held-hoard", Failed("more than 134217728 bytes in buffers of the host")),
    ("held-many", Failed("too many resources at once")),
    ("held-forged", Failed("the guest trapped: ")),
    ("held-dropped", Failed("the guest trapped: ")),
    ("held-foreign", Failed("the guest trapped: ")),
    ("splice-flood", Failed("bytes of output")),
    // Its own files have three million bytes more.
    ("splice-single-bytes", Harmless),
    ("splice-beyond", Failed("of a buffer of")),
    ("splice-overflow", Failed("of a buffer of")),
    ("read-beyond", Failed("of a buffer of")),
    ("pack-beyond", Failed("of a buffer of")),
    ("pack-huge", Failed("bytes to compress in one call, more than 34603008")),
    ("pack-brotli", Failed("the guest refused: unsupported: ")),
    ("memory", Failed("more than 268435456 bytes of memory")),
    ("memory-grow", Failed("more than 268435456 bytes of memory")),
    ("panic", Failed(r"unreachable code or a panic")),
    ("exit", Failed("the guest trapped: ")),
    ("recursion", Failed("the guest trapped: ")),
    ("output-flood", Failed("bytes of output")),
    ("write-huge", Failed("a write of 1048577 bytes, more than 1048576")),
    // Its own files have three million bytes more.
    ("write-single-bytes", Harmless),
    // What is too much is dropped.
    ("log-flood", Harmless),
    ("log-second-flood", Harmless),
    ("log-injection", Harmless),
    ("read-nothing", Failed("it did not read its rows to the end (0 were read)")),
    ("read-once", Failed("it did not read its rows to the end (1 were read)")),
    // There are no errors to swallow.
    ("swallow-errors", Failed("and wrote nothing")),
    ("next-again", Harmless),
    ("write-nothing", Failed("and wrote nothing")),
    ("say-more", Failed("the guest broke the contract: it was handed ")),
    ("say-fewer", Failed("the guest broke the contract: it was handed ")),
    // A block without rows is not encoded, and of this format it decides itself what the others hold.
    ("bytes-without-rows", Harmless),
    ("note-huge", Failed("more than 33554432 bytes of notes")),
    ("counters-many", Failed("its counters are not 64 at most")),
    ("counters-newline", Failed("its counters are not 64 at most")),
    ("assemble-flood", Failed("bytes of output")),
    // See `a_guest_sees_its_rows_and_nothing_else`.
    ("dump-plan", Refused("W3Passage false Some(")),
    ("dump", Harmless),
    ("dump-held", Harmless),
];

/// Those that end after ten seconds of processor time, or thirty on the wall.
const SLOW: &[(&str, Outcome)] = &[
    ("describe-loop", Refused("the guest broke a limit: ")),
    ("plan-loop", Refused("the guest broke a limit: ")),
    ("prologue-loop", Failed("the guest broke a limit: ")),
    ("loop", Failed("the guest broke a limit: more than 10s of processor time")),
    ("call-flood", Failed("the guest broke a limit: more than 10s of processor time")),
    ("fill-flood", Failed("the guest broke a limit: more than 10s of processor time")),
    ("compress-flood", Failed("the guest broke a limit: more than 10s of processor time")),
    ("pack-flood", Failed("the guest broke a limit: more than 10s of processor time")),
    ("splice-nothing-flood", Failed("the guest broke a limit: more than 10s of processor time")),
    ("assemble-loop", Failed("the guest broke a limit: ")),
];

#[test]
fn a_guest_that_misbehaves_fails_its_own_export_and_nothing_else() {
    let frame = Frame::start(&ids_guest(), 8);
    let rounds = scale(1, 3);
    for _ in 0..rounds {
        frame.run(QUICK);
        frame.run_together(SLOW);
    }
    let attacks = QUICK.len() + SLOW.len();
    println!(
        "soak: {attacks} attacks of guests, {rounds} times each; the server has {} KiB, {} before",
        frame.memory_kib(),
        frame.baseline_kib
    );
}

/// What is added to the guest is added here.
#[test]
fn every_behaviour_of_the_hostile_guest_is_tried() {
    let tried: BTreeSet<&str> = QUICK.iter().chain(SLOW).map(|(name, _)| *name).collect();
    let read = |file| std::fs::read_to_string(root().join("guest/hostile/src").join(file)).unwrap();
    let source = ["lib.rs", "held.rs"].map(read).concat();
    let of_match = source
        .split(" =>")
        .filter_map(|before| before.rsplit('"').nth(1).filter(|_| before.ends_with('"')));
    let of_if = source.split("== \"").skip(1).filter_map(|after| after.split('"').next());
    // The two options; how the second one damages a guest is tried in the sandbox's tests.
    let options = ["do", "scribble"];
    let all: BTreeSet<&str> =
        of_match.chain(of_if).filter(|name| !options.contains(name)).collect();
    assert_eq!(all, tried);
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An export of one tenant by a guest that writes down whatever it gets.
#[test]
fn a_guest_sees_its_rows_and_nothing_else() {
    let work = tempfile::tempdir().unwrap();
    let data = work.path().join("data");
    let classes: &[(&str, &[(&str, u32)])] =
        &[("Shelf", &[("aardvark", 5), ("mine", 3), ("zebra", 700)]), ("Hidden", &[("walrus", 4)])];
    write_classes(&data, classes);
    let out = work.path().join("lake-of-the-operator");
    let mut command = program();
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env("A_SECRET_OF_THE_OPERATOR", "swordfish")
        .args(["--data-dir".as_ref(), data.as_os_str()])
        .args(["--state-dir".as_ref(), work.path().join("state").as_os_str()])
        .args(["--filesystem-root".as_ref(), out.as_os_str()])
        .args(["--guest".as_ref(), ids_guest().as_os_str()]);
    let server = Server::start(&mut command);
    let body = |id: &str, path: &str, behaviour: &str| {
        json!({
            "id": id, "include": ["Shelf"], "tenants": { "Shelf": ["mine"] },
            "config": { "path": path }, "guestOptions": { "do": behaviour },
        })
    };

    let refused = body("planned", "here", "dump-plan");
    let plan = server.post("/v1/export/filesystem", &refused).error(422);
    // The estimate is that of its tenant.
    assert!(plan.contains("Shelf true Some(3); include [\"Shelf\"] exclude []"), "{plan}");
    let nothing = "variables [] arguments [] input Ok(0) [] seed ";
    assert!(plan.contains(nothing), "{plan}");

    let mut seen = Vec::new();
    for (id, path) in [("first-id", "here"), ("second-id", "somewhere/else")] {
        server.post("/v1/export/filesystem", &body(id, path, "dump")).ok();
        assert_eq!(server.wait("filesystem", id)["status"], "SUCCESS");
        let folder = out.join(path).join(id);
        seen.push(std::fs::read(folder.join("Shelf.ids")).unwrap());
        // Not even beside the guest's own file.
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let written = text(&std::fs::read(&path).unwrap());
            for name in ["aardvark", "zebra", "walrus", "Hidden", "swordfish"] {
                assert!(!written.contains(name), "{name} in {}: {written}", path.display());
            }
        }
    }
    // Whatever depends on id, place or time would differ.
    assert!(seen[0] == seen[1], "{}\n{}", text(&seen[0]), text(&seen[1]));
    let seen = text(&seen[0]);
    assert!(seen.contains(nothing), "{seen}");
    assert!(seen.contains("3 rows\n") && seen.contains(r#"{"tenant":"mine"}"#), "{seen}");
    let place = work.path().file_name().unwrap().to_string_lossy().into_owned();
    for name in ["-id", "here", "lake-of-the-operator", &place] {
        assert!(!seen.contains(name), "{name} in {seen}");
    }
}

/// A file that is replaced after it was checked is not read again.
#[test]
fn a_guest_whose_file_is_replaced_stays_the_one_that_was_loaded() {
    let work = tempfile::tempdir().unwrap();
    write_classes(&work.path().join("data"), &[("Shelf", &[("a", 30)])]);
    let file = work.path().join("guest.wasm");
    std::fs::copy(ids_guest(), &file).unwrap();
    let mut command = crate::server::serve_filesystem(&work.path().join("data"), work.path());
    command.args(["--guest".as_ref(), file.as_os_str()]);
    let export = |server: &Server, id: &str| {
        server.post("/v1/export/filesystem", &json!({ "id": id })).ok();
        assert_eq!(server.wait("filesystem", id)["status"], "SUCCESS");
        let folder = work.path().join("out").join(id);
        let manifest = std::fs::read(folder.join("export_metadata.json")).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        (manifest["guest"].clone(), manifest["files"].clone())
    };
    let server = Server::start(&mut command);
    let loaded = export(&server, "loaded");
    let other = guest("offloom-guest-minimal");
    std::fs::copy(&other, &file).unwrap();
    assert_eq!(export(&server, "replaced"), loaded);
    std::fs::write(&file, "(module)").unwrap();
    assert_eq!(export(&server, "garbage"), loaded);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(export(&server, "removed"), loaded);
    drop(server);
    // Another start reads another file.
    std::fs::copy(&other, &file).unwrap();
    let (guest, files) = export(&Server::start(&mut command), "again");
    assert_ne!(guest["digest"], loaded.0["digest"]);
    assert_eq!(files[0]["format"]["name"], "jsonl");
}
