//! Every setting of the server by its documented variable, observed at a running server.
#![allow(non_snake_case, reason = "two underscores stand for the dot of a key, as in its variable")]
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use offloom_fixtures::{Fixture, unpack};
use offloom_test_parts::{AzureKeys, Azurite, Gcs, GcsKeys, Keys, SeaweedFs};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bad_data::Damaged;
use crate::guests::ids_guest;
use crate::held::Held;
use crate::load_settings::{
    idle_io, max_read_rate, max_request_rate, max_write_rate, metrics_listen, quotas__per_day,
    quotas__running, quotas__waiting,
};
use crate::program::{offloom, program, root, said};
use crate::s3;
use crate::server::Server;

/// One test for each key, called like it, with the variable that belongs to the key.
macro_rules! observed {
    ($($key:ident),* $(,)?) => {
        const OBSERVED: &[&str] = &[$(stringify!($key)),*];

        mod by_its_variable {
            $(#[test]
            fn $key() {
                super::$key(&super::variable(stringify!($key)));
            })*
        }
    };
}

observed! {
    allowed_azure_containers, allowed_buckets, allowed_gcs_buckets, allowed_hosts, authentication__api_keys_file,
    authorization__action, authorization__policy_file, azure_container, bucket, cache_dir, config, data_dir,
    digest, exporter, filesystem_root, gcs_bucket, grpc_listen, guest, guest_cpu_seconds, guests__admins, guests__policy_file, guests__public_keys, guests__tenant_cpu_seconds, guests__tenant_instances,
    guests__tenant_memory, guests__tenant_output, idle_io, listen, log, log_format, max_exports, max_object_bytes,
    max_read_rate, max_request_rate, max_waiting, max_write_rate, metrics_listen, path, quarantine_raw,
    quotas__per_day, quotas__running, quotas__waiting, schema, shutdown_grace_seconds, state_dir,
    tls_certificate, tls_key, workers,
}

/// As `docs/rest-api.md` has it: `OFFLOOM_<KEY>`, with `__` for a dot.
fn variable(key: &str) -> String {
    format!("OFFLOOM_{}", key.to_uppercase().replace('.', "__"))
}

/// The first column of the table of settings.
fn documented() -> BTreeSet<String> {
    let docs = std::fs::read_to_string(root().join("docs/rest-api.md")).unwrap();
    let (_, section) = docs.split_once("\n## Settings\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split_once('`').unwrap().0.to_owned()).collect()
}

#[test]
fn every_documented_setting_is_observed_and_has_its_variable_in_the_help() {
    let mut expected = documented();
    // No flag of its own; its variable is tested in `surroundings.rs`.
    assert!(expected.remove("sources"));
    let help = offloom(["serve", "--help"]).expect_success().out;
    let shown = |key: &String| help.contains(&format!("[env: {}=", variable(key)));
    let hidden: Vec<_> = expected.iter().filter(|key| !shown(key)).collect();
    assert!(hidden.is_empty(), "{hidden:?} {help}");
    // The file itself, and the log.
    expected.extend(["config", "log", "log_format"].map(str::to_owned));
    assert_eq!(help.matches("[env: OFFLOOM_").count(), expected.len() - 2, "{help}");
    let observed = OBSERVED.iter().map(|key| key.replace("__", "."));
    assert_eq!(observed.collect::<BTreeSet<_>>(), expected);
}

/// A directory to export, and a place for the rest.
struct Trial {
    fixture: Fixture,
    work: TempDir,
}

impl Trial {
    fn new() -> Trial {
        Trial { fixture: unpack("basic").unwrap(), work: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    /// `offloom serve` with this variable; the settings that it cannot do without are flags.
    fn command(&self, variable: &str, value: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = program();
        command.arg("serve").env(variable, value);
        for (key, needed) in [
            ("data_dir", self.fixture.data_dir()),
            ("filesystem_root", self.path("out")),
            ("listen", "127.0.0.1:0".into()),
            ("state_dir", self.path("state")),
        ] {
            if variable != self::variable(key) {
                command.arg(format!("--{}", key.replace('_', "-"))).arg(needed);
            }
        }
        command
    }

    fn serve(&self, variable: &str, value: impl AsRef<std::ffi::OsStr>) -> Server {
        Server::start(&mut self.command(variable, value))
    }

    fn serve_s3(&self, variable: &str, value: &str, bucket: Option<&str>) -> Server {
        let mut command = self.command(variable, value);
        command.envs(SeaweedFs::shared().environment(Keys::ReadWrite));
        command.args(bucket.map(|name| format!("--bucket={name}")));
        Server::start(&mut command)
    }
}

impl Trial {
    /// One user with a key.
    fn key_file(&self) -> PathBuf {
        let file = self.path("keys");
        std::fs::write(&file, "# the users\nnightly the-key\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        file
    }

    /// That user may read one class, and back up another.
    fn policy_file(&self) -> PathBuf {
        let file = self.path("policy.csv");
        let policy = "p, role:jobs, data/collections/Target/shards/.*/objects/.*, R, data\n\
                      p, role:jobs, backups/collections/Note, (C)|(R)|(U)|(D), backups\n\
                      g, db:nightly, role:jobs";
        std::fs::write(&file, policy).unwrap();
        file
    }
}

/// Exports one small class, and returns the last status.
fn export(server: &Server, backend: &str, place: &Value) -> Value {
    let body = json!({ "id": "tried", "include": ["Target"], "config": place });
    server.post(&format!("/v1/export/{backend}"), &body).ok();
    let ended = server.wait(backend, "tried");
    assert_eq!(ended["status"], "SUCCESS", "{ended:#}");
    ended
}

fn data_dir(variable: &str) {
    let trial = Trial::new();
    let server = trial.serve(variable, trial.fixture.data_dir());
    export(&server, "filesystem", &json!({}));
}

fn filesystem_root(variable: &str) {
    let trial = Trial::new();
    let server = trial.serve(variable, trial.path("elsewhere"));
    export(&server, "filesystem", &json!({}));
    assert!(trial.path("elsewhere/tried/Target.parquet").exists());
}

fn listen(variable: &str) {
    let trial = Trial::new();
    let server = trial.serve(variable, "127.0.0.2:0");
    assert!(server.authority().starts_with("127.0.0.2:"), "{}", server.authority());
}

fn grpc_listen(variable: &str) {
    let trial = Trial::new();
    let server = trial.serve(variable, "127.0.0.2:0");
    let address = server.grpc().unwrap();
    assert!(address.starts_with("127.0.0.2:"), "{address}");
    assert_eq!(crate::grpc::call(address, crate::grpc::CHECK, ""), "SERVING");
}

/// Which hosts are allowed is tested in `web_pages.rs`.
fn allowed_hosts(variable: &str) {
    let trial = Trial::new();
    let server = trial.serve(variable, "offloom.example,ten.example:443");
    for (host, status) in
        [("offloom.example:9", 200), ("ten.example:443", 200), ("ten.example", 421)]
    {
        assert_eq!(server.get_as(host, "/v1/meta").status, status, "{host}");
    }
}

/// Its effect on objects is tested in `large_rows.rs`.
fn max_object_bytes(variable: &str) {
    let refused = said(&mut Trial::new().command(variable, "513MiB"));
    assert_eq!(refused.status, Some(2), "{refused:#?}");
    assert!(refused.err.contains("1 MiB to 512 MiB"), "{refused:#?}");
}

fn authentication__api_keys_file(variable: &str) {
    let trial = Trial::new();
    let mut server = trial.serve(variable, trial.key_file());
    assert_eq!(server.get("/v1/export/filesystem/a").status, 401);
    server.log_in("the-key");
    assert_eq!(server.get("/v1/export/filesystem/a").status, 404);
}

fn authorization__policy_file(variable: &str) {
    let trial = Trial::new();
    let mut command = trial.command(variable, trial.policy_file());
    let mut server = Server::start(command.arg("--api-keys-file").arg(trial.key_file()));
    server.log_in("the-key");
    let created = server.post("/v1/export/filesystem", &json!({ "id": "tried" })).ok();
    assert_eq!(created["classes"], json!(["Target"]));
}

fn authorization__action(variable: &str) {
    for (value, classes) in [("read", "Target"), ("manage_backups", "Note")] {
        let trial = Trial::new();
        let mut command = trial.command(variable, value);
        command.arg("--api-keys-file").arg(trial.key_file());
        command.arg("--policy-file").arg(trial.policy_file());
        let mut server = Server::start(&mut command);
        server.log_in("the-key");
        let created = server.post("/v1/export/filesystem", &json!({ "id": "tried" })).ok();
        assert_eq!(created["classes"], json!([classes]), "{value}");
    }
}

/// Its effect on exports is tested in `registry.rs`.
fn exporter(variable: &str) {
    let refused = said(&mut Trial::new().command(variable, "nothing"));
    let error = refused.expect_error();
    assert!(error.contains("there is no guest nothing"), "{error}");
    let trial = Trial::new();
    export(&trial.serve(variable, "parquet"), "filesystem", &json!({}));
}

fn guests__admins(variable: &str) {
    for (admins, status) in [("alice,nightly", 404), ("alice", 403)] {
        let trial = Trial::new();
        let mut command = trial.command(variable, admins);
        let mut server = Server::start(command.arg("--api-keys-file").arg(trial.key_file()));
        server.log_in("the-key");
        let answer = server.post("/v1/guests/none/rollback", &json!({}));
        assert_eq!(answer.status, status, "{admins}");
    }
}

fn guests__public_keys(variable: &str) {
    let error = said(&mut Trial::new().command(variable, "no-key")).expect_error();
    assert!(error.contains("no-key") && error.contains("minisign"), "{error}");
}

/// Their effects are tested in `tenant_guests.rs`.
fn guests__tenant_memory(variable: &str) {
    refuses(variable, "much");
}

fn guests__tenant_output(variable: &str) {
    refuses(variable, "much");
}

fn guests__tenant_cpu_seconds(variable: &str) {
    refuses(variable, "0");
}

fn guests__tenant_instances(variable: &str) {
    refuses(variable, "0");
}

fn refuses(variable: &str, value: &str) {
    let refused = said(&mut Trial::new().command(variable, value));
    assert_eq!(refused.status, Some(2), "{refused:#?}");
    let flag = variable.trim_start_matches("OFFLOOM_").to_lowercase().replace("__", "-");
    assert!(refused.err.contains(&flag.replace('_', "-")), "{refused:#?}");
}

/// Which rows it concerns is tested in `required_transforms.rs`.
fn guests__policy_file(variable: &str) {
    let trial = Trial::new();
    let policy = trial.path("guests.toml");
    let guest = crate::guests::guest("offloom-guest-minimal-transform");
    std::fs::write(&policy, format!("[[transform]]\nguest = '{}'\n", guest.display())).unwrap();
    let server = trial.serve(variable, policy);
    export(&server, "filesystem", &json!({}));
    let manifest = std::fs::read(trial.path("out/tried/export_metadata.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["transforms"][0]["required"], true, "{manifest:#}");
}

fn state_dir(variable: &str) {
    let trial = Trial::new();
    let _server = trial.serve(variable, trial.path("remembered"));
    assert!(trial.path("remembered/exports.redb").exists());
}

/// A file that holds all that is needed.
fn config(variable: &str) {
    let trial = Trial::new();
    let file = trial.path("offloom.toml");
    let text = format!(
        "data_dir = {:?}\nlisten = '127.0.0.1:0'\nfilesystem_root = {:?}\nstate_dir = {:?}\n",
        trial.fixture.data_dir(),
        trial.path("of-file"),
        trial.path("state"),
    );
    std::fs::write(&file, text).unwrap();
    let server = Server::start(program().arg("serve").env(variable, file));
    export(&server, "filesystem", &json!({}));
    assert!(trial.path("of-file/tried/Target.parquet").exists());
}

fn schema(variable: &str) {
    let trial = Trial::new();
    let server = trial.serve(variable, trial.fixture.schema_file());
    export(&server, "filesystem", &json!({}));
    let manifest = std::fs::read(trial.path("out/tried/export_metadata.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let from = manifest["source"]["schemaFrom"].as_str().unwrap();
    assert!(from.contains(trial.fixture.schema_file().to_str().unwrap()), "{from}");
}

fn guest(variable: &str) {
    let trial = Trial::new();
    let server = trial.serve(variable, ids_guest());
    export(&server, "filesystem", &json!({}));
    assert!(trial.path("out/tried/Target.ids").exists());
}

fn guest_cpu_seconds(variable: &str) {
    let trial = Trial::new();
    let server = Server::start(trial.command(variable, "1").arg("--guest").arg(ids_guest()));
    let body = json!({ "id": "tried", "guestOptions": { "do": "loop" } });
    server.post("/v1/export/filesystem", &body).ok();
    let ended = server.wait("filesystem", "tried");
    let error = ended["error"].as_str().unwrap();
    assert!(error.contains("1s of processor time in one export"), "{error}");
}

/// A guest that is small, because it is compiled anew.
fn cache_dir(variable: &str) {
    let trial = Trial::new();
    let mut command = trial.command(variable, trial.path("compiled"));
    let _server = Server::start(command.arg("--guest").arg(ids_guest()));
    let names: Vec<String> = std::fs::read_dir(trial.path("compiled"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.len() == 1 && names[0].ends_with(".guest"), "{names:?}");
}

fn quarantine_raw(variable: &str) {
    let damaged = Damaged::new("basic");
    damaged.break_object("note");
    for (value, kept) in [("true", true), ("false", false)] {
        let work = damaged.to.path().join(value);
        let mut command = crate::server::serve_filesystem(&damaged.data_dir(), &work);
        let server = Server::start(command.env(variable, value));
        let body = json!({ "id": "tried", "include": ["Note"], "onBadObject": "quarantine" });
        server.post("/v1/export/filesystem", &body).ok();
        assert_eq!(server.wait("filesystem", "tried")["status"], "SUCCESS");
        let lines = std::fs::read(work.join("out/tried/quarantine/Note.jsonl")).unwrap();
        let line: Value = serde_json::from_slice(&lines).unwrap();
        assert_eq!(line.get("raw").is_some(), kept, "{line}");
    }
}

fn digest(variable: &str) {
    for value in ["blake3", "sha256"] {
        let trial = Trial::new();
        export(&trial.serve(variable, value), "filesystem", &json!({}));
        let manifest = std::fs::read(trial.path("out/tried/export_metadata.json")).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["files"][0]["digest"]["algorithm"], value);
    }
}

/// Each worker may run on a thread of its own.
fn workers(variable: &str) {
    for wanted in [3, 5] {
        let trial = Trial::new();
        let server = trial.serve(variable, wanted.to_string());
        let tasks = format!("/proc/{}/task", server.process_id());
        let names = std::fs::read_dir(tasks).unwrap().map(|task| {
            std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default()
        });
        assert_eq!(names.filter(|name| name.trim() == "guest").count(), wanted);
    }
}

fn bucket(variable: &str) {
    let (trial, bucket) = (Trial::new(), s3::bucket("set-bucket"));
    let server = trial.serve_s3(variable, bucket, None);
    assert_eq!(export(&server, "s3", &json!({}))["path"], "s3://set-bucket/tried/");
}

fn allowed_buckets(variable: &str) {
    let buckets = ["set-allowed-a", "set-allowed-b"].map(s3::bucket);
    for bucket in buckets {
        let trial = Trial::new();
        let server = trial.serve_s3(variable, &buckets.join(","), None);
        let ended = export(&server, "s3", &json!({ "bucket": bucket }));
        assert_eq!(ended["path"], format!("s3://{bucket}/tried/"));
    }
}

/// A server with the stand-in for Google and Azurite.
fn serve_clouds(trial: &Trial, variable: &str, value: &str) -> Server {
    let mut command = trial.command(variable, value);
    command.envs(Gcs::shared().environment(&GcsKeys::Token));
    command.envs(Azurite::shared().environment(&AzureKeys::Account));
    Server::start(&mut command)
}

fn gcs_bucket(variable: &str) {
    let (trial, bucket) = (Trial::new(), s3::bucket("set-gcs-bucket"));
    let server = serve_clouds(&trial, variable, bucket);
    assert_eq!(export(&server, "gcs", &json!({}))["path"], "gs://set-gcs-bucket/tried/");
}

fn allowed_gcs_buckets(variable: &str) {
    let buckets = ["set-allowed-gcs-a", "set-allowed-gcs-b"].map(s3::bucket);
    let trial = Trial::new();
    let server = serve_clouds(&trial, variable, &buckets.join(","));
    let ended = export(&server, "gcs", &json!({ "bucket": buckets[1] }));
    assert_eq!(ended["path"], "gs://set-allowed-gcs-b/tried/");
}

fn azure_container(variable: &str) {
    Azurite::shared().create_container("set-azure-container");
    let trial = Trial::new();
    let server = serve_clouds(&trial, variable, "set-azure-container");
    assert_eq!(export(&server, "azure", &json!({}))["path"], "az://set-azure-container/tried/");
}

fn allowed_azure_containers(variable: &str) {
    Azurite::shared().create_container("set-allowed-azure");
    let trial = Trial::new();
    let server = serve_clouds(&trial, variable, "not-there, set-allowed-azure");
    let ended = export(&server, "azure", &json!({ "bucket": "set-allowed-azure" }));
    assert_eq!(ended["path"], "az://set-allowed-azure/tried/");
}

fn path(variable: &str) {
    let (trial, bucket) = (Trial::new(), s3::bucket("set-path"));
    let server = trial.serve_s3(variable, "team/a", Some(bucket));
    assert_eq!(export(&server, "s3", &json!({}))["path"], "s3://set-path/team/a/tried/");
}

/// Creates more exports than run at once, and waits until so many run.
fn expect_at_once(held: &Held, limit: usize) {
    let ids: Vec<String> = (0..limit + 2).map(|number| format!("held-{number}")).collect();
    ids.iter().for_each(|id| held.create(id));
    let of_status = |wanted: &str| {
        let status = |id: &String| held.server.get(&format!("/v1/export/s3/{id}")).ok();
        ids.iter().filter(|id| status(id)["status"] == wanted).count()
    };
    s3::eventually(|| of_status("TRANSFERRING") == limit && of_status("STARTED") == 2);
}

fn max_exports(variable: &str) {
    let held = Held::new("set-max-exports", |command| {
        command.env(variable, "2");
    });
    expect_at_once(&held, 2);
}

/// One export runs, and two wait.
fn max_waiting(variable: &str) {
    let held = Held::new("set-max-waiting", |command| {
        command.env(variable, "2").env(self::variable("max_exports"), "1");
    });
    let server = &held.server;
    for id in ["runs", "waits", "waits-too"] {
        held.create(id);
    }
    let post = |id: &str| server.post("/v1/export/s3", &json!({ "id": id }));
    let together = |ids: &[&'static str]| {
        let (refused, taken): (Vec<_>, Vec<_>) = std::thread::scope(|threads| {
            let posts: Vec<_> =
                ids.iter().map(|id| threads.spawn(move || (*id, post(id)))).collect();
            posts.into_iter().map(|post| post.join().unwrap()).partition(|(_, a)| a.status == 429)
        });
        for (_, answer) in &refused {
            assert!(answer.retry_after.is_some_and(|seconds| seconds > 0), "{answer:#?}");
            let message = answer.error(429);
            assert!(message.starts_with("too many exports: 2 exports wait "), "{message}");
        }
        taken
    };
    let ids = ["a", "b", "c", "d", "e", "f", "g", "h"];
    assert_eq!(together(&ids), []);
    server.get("/v1/export/s3/a").error(404);
    // Neither an export that is refused for another reason nor one that is canceled keeps its place.
    assert_eq!(server.delete("/v1/export/s3/waits").status, 204);
    for _ in 0..3 {
        server.post("/v1/export/s3", &json!({ "id": "a", "include": ["NotThere"] })).error(422);
        server.post("/v1/export/s3", &json!({ "id": "waits" })).error(409);
    }
    let taken = together(&ids);
    assert!(matches!(&taken[..], [(_, answer)] if answer.status == 200), "{taken:#?}");
    // Nor does one that has ended.
    assert_eq!(server.delete("/v1/export/s3/runs").status, 204);
    post("last").ok();
}

#[test]
fn four_exports_run_at_once_by_default() {
    let docs = std::fs::read_to_string(root().join("docs/rest-api.md")).unwrap();
    assert!(docs.contains("exports that run at once, 4; others wait as `STARTED`"));
    expect_at_once(&Held::new("set-by-default", |_| ()), 4);
}

/// Without the variable it would be 20 seconds.
fn shutdown_grace_seconds(variable: &str) {
    let held = Held::new("set-grace", |command| {
        command.env(variable, "3");
    });
    held.create("cut");
    s3::eventually(|| held.server.get("/v1/export/s3/cut").ok()["status"] == "TRANSFERRING");
    let begun = Instant::now();
    held.server.signal("-TERM");
    assert!(held.server.ended().success());
    let took = begun.elapsed();
    assert!((Duration::from_secs(3)..Duration::from_secs(18)).contains(&took), "{took:?}");
}

fn log(variable: &str) {
    for (level, logged) in [("warn", false), ("info", true)] {
        let held = Held::new("set-log", |command| {
            command.env(variable, level);
        });
        let id = format!("canceled-{level}");
        held.create(&id);
        assert_eq!(held.server.delete(&format!("/v1/export/s3/{id}")).status, 204);
        let text = std::fs::read_to_string(held.source.path().join("log")).unwrap();
        assert_eq!(text.contains("the export was canceled"), logged, "{level}: {text}");
    }
}

/// Each line is a document.
fn log_format(variable: &str) {
    let trial = Trial::new();
    let mut command = trial.command(variable, "json");
    let log = trial.path("log");
    command.env("OFFLOOM_LOG", "info").stderr(File::create(&log).unwrap());
    let server = Server::start(&mut command);
    server.post("/v1/export/filesystem", &json!({ "id": "logged" })).ok();
    server.wait("filesystem", "logged");
    let text = std::fs::read_to_string(&log).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("warning: "));
    let parsed: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(parsed.iter().any(|line| line["message"] == "an export begins"), "{text}");
}

fn tls_certificate(variable: &str) {
    crate::tls::by_variables(variable, &self::variable("tls_key"));
}

fn tls_key(variable: &str) {
    crate::tls::by_variables(&self::variable("tls_certificate"), variable);
}
