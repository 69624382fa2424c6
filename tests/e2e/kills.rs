//! Kills the program at its system calls: at every arrow of the protocol, and in between. What is carried
//! on afterwards equals what an undisturbed export makes, byte for byte.
//!
//! The kernel stops the program before the call, so nothing in the program is made for this test, and
//! the one that is tested is the one that is shipped.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use offloom_encoder::{Workload, write_workload};
use offloom_fixtures::unpack;
use offloom_test_parts::{Keys, SeaweedFs};
use offloom_test_syscalls::{Call, Event, watch};
use serde_json::{Value, json};

use crate::program::{Said, program, said};
use crate::random::Random;
use crate::s3::bucket;
use crate::server::{Server, serve_filesystem};

/// The calls that change a folder, and those that bring the journal to disk.
const OF_FOLDERS: [Call; 4] = [Call::Sync, Call::Rename, Call::Link, Call::Unlink];
/// Those, and what goes over the network.
const OF_STORES: [Call; 6] =
    [Call::Sync, Call::Rename, Call::Link, Call::Unlink, Call::Send, Call::Receive];

/// Runs the command, and kills it before the call of this number, from 1; returns how many calls there
/// were, and what it said if it was not killed.
fn killed_at(command: &mut Command, calls: &[Call], number: usize) -> (usize, Option<Said>) {
    let (to_watcher, from_work) = mpsc::channel();
    let (mut seen, mut pid) = (0, None);
    let said = watch(
        calls,
        || {
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            to_watcher.send(child.id()).unwrap();
            child.wait_with_output().unwrap()
        },
        |_: &Event| {
            seen += 1;
            let pid = *pid.get_or_insert_with(|| from_work.recv().unwrap());
            if seen == number {
                kill(pid);
            }
        },
    );
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let ended = said.status.code().map(|status| Said {
        ok: status == 0,
        status: Some(status),
        out: text(&said.stdout),
        err: text(&said.stderr),
    });
    (seen, ended)
}

/// Kills a process, unless it has just ended by itself: how it ended shows which.
fn kill(pid: u32) {
    let mut command = Command::new("kill");
    command.args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status().unwrap();
}

fn soak() -> bool {
    std::env::var_os("OFFLOOM_SOAK").is_some()
}

/// A place to export to.
trait Target {
    fn url(&self, id: &str) -> String;
    fn command(&self) -> Command;
    /// The objects of an export, by key.
    fn objects(&self, id: &str) -> BTreeMap<String, Vec<u8>>;
    /// What uploads have left of an export.
    fn leftovers(&self, id: &str) -> Vec<String>;
    fn remove(&self, id: &str);
}

struct Folder(PathBuf);

impl Target for Folder {
    fn url(&self, id: &str) -> String {
        self.0.join(id).display().to_string()
    }

    fn command(&self) -> Command {
        program()
    }

    fn objects(&self, id: &str) -> BTreeMap<String, Vec<u8>> {
        let folder = self.0.join(id);
        let names = std::fs::read_dir(&folder).into_iter().flatten().map(|e| e.unwrap().path());
        let object = |path: PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(path).unwrap())
        };
        names.map(object).collect()
    }

    fn leftovers(&self, id: &str) -> Vec<String> {
        self.objects(id).into_keys().filter(|name| name.contains('#')).collect()
    }

    fn remove(&self, id: &str) {
        std::fs::remove_dir_all(self.0.join(id)).unwrap();
    }
}

struct Bucket(&'static str);

impl Target for Bucket {
    fn url(&self, id: &str) -> String {
        format!("s3://{}/{id}", self.0)
    }

    fn command(&self) -> Command {
        let mut command = program();
        command.envs(SeaweedFs::shared().environment(Keys::ReadWrite));
        command
    }

    fn objects(&self, id: &str) -> BTreeMap<String, Vec<u8>> {
        let prefix = format!("{id}/");
        let keys = SeaweedFs::shared().objects(self.0, &prefix).into_keys();
        let object = |key: String| {
            let content = SeaweedFs::shared().read(self.0, &key).to_vec();
            (key.strip_prefix(&prefix).unwrap().to_owned(), content)
        };
        keys.map(object).collect()
    }

    fn leftovers(&self, id: &str) -> Vec<String> {
        let prefix = format!("{id}/");
        let open = SeaweedFs::shared().open_uploads(self.0).into_iter();
        open.filter(|key| key.starts_with(&prefix)).collect()
    }

    fn remove(&self, _id: &str) {}
}

/// The digest and rows of each file, by class, and what the manifest says of every shard but its times.
#[track_caller]
fn content(target: &dyn Target, id: &str) -> Value {
    let objects = target.objects(id);
    let manifest: Value = serde_json::from_slice(&objects["export_metadata.json"]).unwrap();
    assert_eq!(manifest["status"], "SUCCESS", "{manifest:#}");
    let listed = manifest["files"].as_array().unwrap().iter();
    let files: Vec<Value> = listed
        .map(|file| {
            let bytes = &objects[file["key"].as_str().unwrap()];
            assert_eq!(file["sizeBytes"], bytes.len());
            let digest = blake3::hash(bytes).to_hex().to_string();
            assert_eq!(file["digest"]["value"], digest, "{id}: {file:#}");
            json!([file["class"], digest, file["rows"], file["blocks"]])
        })
        .collect();
    let shards = manifest["source"]["shards"].as_array().unwrap().iter();
    let shards: Vec<Value> = shards
        .map(|shard| json!([shard["shard"], shard["rows"], shard["cutOff"]["sources"]]))
        .collect();
    json!({ "files": files, "shards": shards, "classes": manifest["classes"] })
}

/// What a run of kills has shown.
#[derive(Default)]
struct Counts {
    kills: usize,
    carried_on: usize,
    begun_again: usize,
    ended_before: usize,
    classes_kept: u64,
    parts_kept: u64,
}

/// Kills exports of `data_dir` at `kills` places, carries each on, some of them killed again meanwhile,
/// and compares the outcome with an undisturbed export.
fn kill_and_carry_on(
    target: &dyn Target,
    data_dir: &Path,
    calls: &[Call],
    kills: usize,
    seed: u64,
) -> Counts {
    let new_export = |id: &str| {
        let mut command = target.command();
        let to = target.url("");
        command.args(["export", "--progress", "plain", "--workers", "2", "--id", id, "--to", &to]);
        command.arg("--data-dir").arg(data_dir);
        command
    };
    let (total, ended) = killed_at(&mut new_export("undisturbed"), calls, usize::MAX);
    ended.unwrap().expect_success();
    let expected = content(target, "undisturbed");
    let mut numbers = Random::of(seed, 0);
    let mut counts = Counts::default();
    for kill in 0.. {
        if counts.kills >= kills {
            break;
        }
        let id = format!("kill-{kill}");
        // Every place in turn, where there are kills enough for all.
        let at = if kills >= total { kill % total + 1 } else { numbers.below(total) + 1 };
        let (_, ended) = killed_at(&mut new_export(&id), calls, at);
        let mut ended = match ended {
            Some(said) => said.expect_success(),
            None => {
                counts.kills += 1;
                carry_on(target, &id, calls, &mut counts, numbers.below(total * 4))
            }
        };
        if !ended.ok && ended.err.contains("has ended as SUCCESS") {
            counts.ended_before += 1;
        } else if !ended.ok {
            let nothing_begun =
                ended.err.contains("there is no journal") || ended.err.contains("had not begun");
            assert!(nothing_begun, "{id}, killed at {at} of {total}: {ended:#?}");
            counts.begun_again += 1;
            ended = said(&mut new_export(&id)).expect_success();
        } else {
            counts.carried_on += 1;
        }
        assert_eq!(content(target, &id), expected, "{id}, killed at {at} of {total}: {ended:#?}");
        let manifest = &target.objects(&id)["export_metadata.json"];
        let manifest: Value = serde_json::from_slice(manifest).unwrap();
        let resumed = &manifest["resumed"];
        counts.classes_kept += resumed["classesKept"].as_u64().unwrap_or_default();
        counts.parts_kept += resumed["partsKept"].as_u64().unwrap_or_default();
        let left = target.leftovers(&id);
        assert!(left.is_empty(), "{id}, killed at {at} of {total}: {left:?} stay");
        target.remove(&id);
    }
    counts
}

/// Carries an export on until that ends by itself; the first time it may be killed too.
fn carry_on(
    target: &dyn Target,
    id: &str,
    calls: &[Call],
    counts: &mut Counts,
    again_at: usize,
) -> Said {
    let resume = || {
        let mut command = target.command();
        command.args(["export", "--progress", "plain", "--resume", &target.url(id)]);
        command
    };
    match killed_at(&mut resume(), calls, again_at.max(1)) {
        (_, Some(said)) => said,
        (_, None) => {
            counts.kills += 1;
            said(&mut resume())
        }
    }
}

fn report(what: &str, counts: &Counts) {
    let Counts { kills, carried_on, begun_again, ended_before, classes_kept, parts_kept } = counts;
    println!(
        "soak: {what}: {kills} kills, {carried_on} carried on, {begun_again} begun again, {ended_before} had \
         ended, {classes_kept} classes and {parts_kept} parts were kept"
    );
}

#[test]
fn an_export_to_a_folder_that_is_killed_anywhere_is_carried_on() {
    let fixture = unpack("basic").unwrap();
    let work = tempfile::tempdir().unwrap();
    let target = Folder(work.path().canonicalize().unwrap());
    let kills = if soak() { 3_500 } else { 150 };
    let counts = kill_and_carry_on(&target, &fixture.data_dir(), &OF_FOLDERS, kills, 1);
    report("folder", &counts);
    assert!(counts.carried_on > kills / 3 && counts.classes_kept > 0, "{}", counts.classes_kept);
}

#[test]
fn an_export_to_a_bucket_that_is_killed_anywhere_is_carried_on() {
    let source = tempfile::tempdir().unwrap();
    // A file of four parts.
    write_workload(Workload::W1, 5_000, source.path()).unwrap();
    let target = Bucket(bucket("kills"));
    let kills = if soak() { 1_400 } else { 60 };
    let data_dir = source.path().join("data");
    let counts = kill_and_carry_on(&target, &data_dir, &OF_STORES, kills, 2);
    report("bucket", &counts);
    assert!(counts.carried_on > kills / 3 && counts.parts_kept > 0, "{}", counts.parts_kept);
}

/// Starts a server and an export, and kills the server before the call of this number after its start.
fn kill_server(command: &mut Command, out: &Path, id: &str, number: usize) {
    let (to_watcher, from_work) = mpsc::channel();
    let (mut seen, mut pid) = (0, None);
    watch(
        &OF_FOLDERS,
        || {
            let mut server = Server::start(command);
            to_watcher.send(server.process_id()).unwrap();
            server.post_unanswered("/v1/export/filesystem", &json!({ "id": id }));
            let manifest = out.join(id).join("export_metadata.json");
            while !server.has_ended() {
                if manifest.exists() {
                    server.signal("-KILL");
                }
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        },
        |_: &Event| {
            pid = pid.or_else(|| from_work.try_recv().ok());
            let Some(pid) = pid else { return };
            seen += 1;
            if seen == number {
                kill(pid);
            }
        },
    );
}

/// A server that is killed carries its exports on when it is started again.
#[test]
fn a_server_that_is_killed_anywhere_carries_its_exports_on() {
    let fixture = unpack("basic").unwrap();
    let work = tempfile::tempdir().unwrap();
    let work = work.path().canonicalize().unwrap();
    let mut numbers = Random::of(3, 0);
    let mut expected = None;
    let kills = if soak() { 100 } else { 12 };
    for kill in 0..kills {
        let id = format!("kill-{kill}");
        let serve = || serve_filesystem(&fixture.data_dir(), &work);
        // An export makes about 120 calls; the first kill comes when it has ended.
        let at = if kill == 0 { usize::MAX } else { 1 + numbers.below(110) };
        kill_server(&mut serve(), &work.join("out"), &id, at);
        let server = Server::start(&mut serve());
        if server.get(&format!("/v1/export/filesystem/{id}")).status == 404 {
            server.post("/v1/export/filesystem", &json!({ "id": id })).ok();
        }
        let ended = server.wait("filesystem", &id);
        assert_eq!(ended["status"], "SUCCESS", "killed at {at}: {ended:#}");
        let target = Folder(work.join("out"));
        let found = content(&target, &id);
        assert_eq!(found, *expected.get_or_insert_with(|| found.clone()), "killed at {at}");
        assert!(target.leftovers(&id).is_empty());
    }
    println!("soak: server: {kills} kills");
}
