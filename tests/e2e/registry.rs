//! The registry of guests: what a server takes, keeps, activates and removes.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use offloom_fixtures::{Fixture, unpack};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::guests::{guest, ids_guest};
use crate::program::{Said, program, python, said};
use crate::server::{Server, serve_filesystem};
use crate::transforms::manifest;

/// A server over a directory with a few objects, and a folder for components.
pub struct Registry {
    fixture: Fixture,
    pub work: TempDir,
}

impl Registry {
    pub fn new(fixture: &str) -> Registry {
        Registry { fixture: unpack(fixture).unwrap(), work: tempfile::tempdir().unwrap() }
    }

    pub fn command(&self) -> Command {
        serve_filesystem(&self.fixture.data_dir(), self.work.path())
    }

    /// `offloom guest ...` against a server.
    pub fn guest(&self, server: &Server, arguments: &[&str]) -> Said {
        let mut command = program();
        command.arg("guest").args(arguments);
        command.arg(format!("--server=http://{}", server.authority()));
        said(&mut command)
    }

    /// The measuring transform, or another version of it that adds a column of another name.
    pub fn measure(&self, column: &str) -> (PathBuf, String) {
        let component = std::fs::read(guest("offloom-guest-minimal-transform")).unwrap();
        let own = b"properties_bytes";
        assert_eq!(own.len(), column.len());
        let mut changed = Vec::with_capacity(component.len());
        let mut rest = component.as_slice();
        while let Some(at) = rest.windows(own.len()).position(|window| window == own) {
            changed.extend_from_slice(&rest[..at]);
            changed.extend_from_slice(column.as_bytes());
            rest = &rest[at + own.len()..];
        }
        changed.extend_from_slice(rest);
        let path = self.work.path().join(format!("{column}.wasm"));
        std::fs::write(&path, &changed).unwrap();
        (path, hex::encode(Sha256::digest(&changed)))
    }

    /// An export with a transform; its folder.
    pub fn export(&self, server: &Server, id: &str, transform: &str) -> PathBuf {
        let body = json!({ "id": id, "include": ["Note"], "transforms": [{ "guest": transform }] });
        server.post("/v1/export/filesystem", &body).ok();
        let ended = server.wait("filesystem", id);
        assert_eq!(ended["status"], "SUCCESS", "{ended:#}");
        self.work.path().join("out").join(id)
    }
}

fn has_column(folder: &Path, column: &str) -> bool {
    let file = std::fs::read(folder.join("Note.parquet")).unwrap();
    file.windows(column.len()).any(|window| window == column.as_bytes())
}

#[test]
fn a_guest_is_pushed_used_replaced_rolled_back_and_removed() {
    let registry = Registry::new("basic");
    let server = Server::start(&mut registry.command());
    let (first, first_digest) = registry.measure("properties_bytes");
    let (second, second_digest) = registry.measure("properties_bytez");
    let push = |file: &Path| registry.guest(&server, &["push", "measure", file.to_str().unwrap()]);
    let pushed = push(&first).expect_success();
    assert_eq!(pushed.out.trim(), format!("measure@sha256:{first_digest} (active)"));
    // The same bytes again are no other version.
    push(&first).expect_success();
    let pushed = push(&second).expect_success();
    assert_eq!(pushed.out.trim(), format!("measure@sha256:{second_digest}"));

    let shown = server.get("/v1/guests/measure").ok();
    assert_eq!(shown["versions"].as_array().unwrap().len(), 2, "{shown:#}");
    assert_eq!((&shown["active"], &shown["kind"]), (&json!(first_digest), &json!("transform")));
    let details = &shown["details"];
    assert_eq!(details["contract"], "0.1.0");
    assert_eq!(details["options"][0]["key"], "min-bytes");
    assert_eq!(details["reads"], json!(["properties"]));
    let columns = details["columns"].as_array().unwrap();
    assert!(columns.iter().any(|column| column["name"] == "properties_bytes"), "{details:#}");
    let imports = details["imports"].as_array().unwrap();
    assert!(imports.iter().any(|import| import == "offloom:export/types@0.1.0"), "{details:#}");

    // What is not active is used by its digest alone.
    let folder = registry.export(&server, "one", "measure");
    assert!(has_column(&folder, "properties_bytes"));
    let name = format!("measure@sha256:{first_digest}");
    assert_eq!(manifest(&folder)["transforms"][0]["name"], name);
    let pinned = format!("measure@sha256:{second_digest}");
    assert!(has_column(&registry.export(&server, "two", &pinned), "properties_bytez"));

    registry.guest(&server, &["activate", "measure", &second_digest]).expect_success();
    let folder = registry.export(&server, "three", "measure");
    assert_eq!(manifest(&folder)["transforms"][0]["digest"], second_digest);
    let back = registry.guest(&server, &["rollback", "measure"]).expect_success();
    assert!(back.out.contains(&first_digest), "{back:?}");
    assert!(has_column(&registry.export(&server, "four", "measure"), "properties_bytes"));
    let error = registry.guest(&server, &["rollback", "measure"]).expect_error();
    assert!(error.contains("no other version"), "{error}");

    registry.guest(&server, &["delete", "measure"]).expect_success();
    server.get("/v1/guests/measure").error(404);
    let kept: Vec<_> =
        std::fs::read_dir(registry.work.path().join("state/guests")).unwrap().collect();
    assert!(kept.is_empty(), "{kept:?}");
    let body = json!({ "id": "five", "transforms": [{ "guest": "measure" }] });
    let message = server.post("/v1/export/filesystem", &body).error(422);
    assert!(message.contains("there is no guest measure"), "{message}");
}

#[test]
fn guests_outlive_the_server_and_a_changed_one_is_not_run() {
    let registry = Registry::new("basic");
    let (file, digest) = registry.measure("properties_bytes");
    {
        let server = Server::start(&mut registry.command());
        registry.guest(&server, &["push", "measure", file.to_str().unwrap()]).expect_success();
    }
    {
        let server = Server::start(&mut registry.command());
        registry.export(&server, "one", "measure");
    }
    let stored = registry.work.path().join(format!("state/guests/{digest}.wasm"));
    let mut bytes = std::fs::read(&stored).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&stored, bytes).unwrap();
    let server = Server::start(&mut registry.command());
    let body = json!({ "id": "two", "include": ["Note"], "transforms": [{ "guest": "measure" }] });
    let message = server.post("/v1/export/filesystem", &body).error(500);
    assert!(message.contains("changed on disk"), "{message}");
    // Others still serve.
    let body = json!({ "id": "three", "include": ["Note"], "exporter": "parquet" });
    server.post("/v1/export/filesystem", &body).ok();
    assert_eq!(server.wait("filesystem", "three")["status"], "SUCCESS");
}

#[test]
fn what_is_no_guest_is_refused_with_the_reason() {
    let registry = Registry::new("basic");
    let server = Server::start(&mut registry.command());
    let file = |name: &str, bytes: &[u8]| {
        let path = registry.work.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let exporter = ids_guest().display().to_string();
    for (arguments, words) in [
        (["push", "a", &file("text", b"(module)")], "it is text"),
        (["push", "a", &file("core", b"\0asm\x01\0\0\0")], "core module"),
        (["push", "a", &file("elf", b"\x7fELF")], "native code"),
        (["push", "a", &file("empty", b"")], "it is empty"),
        (["push", "parquet", &exporter], "is a guest of the program"),
        (["push", "redact", &exporter], "is a guest of the program"),
        (["push", "Upper", &exporter], "is no name of a guest"),
        (["push", &"x".repeat(64), &exporter], "is no name of a guest"),
    ] {
        let error = registry.guest(&server, &arguments).expect_error();
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
    registry.guest(&server, &["push", "a", &exporter]).expect_success();
    let (transform, _) = registry.measure("properties_bytes");
    let error = registry.guest(&server, &["push", "a", transform.to_str().unwrap()]).expect_error();
    assert!(error.contains("kind `exporter`"), "{error}");
    server.delete("/v1/guests/filter").error(409);
    // A guest of the other kind, a version that is not there, a format that it does not write.
    for (body, words) in [
        (json!({ "exporter": "redact" }), "`exporter` is needed here"),
        (json!({ "transforms": [{ "guest": "parquet" }] }), "`transform` is needed here"),
        (json!({ "exporter": format!("a@sha256:{}", "0".repeat(64)) }), "has no version"),
        (json!({ "exporter": "a@1" }), "is no digest"),
        (json!({ "exporter": "a", "file_format": "parquet" }), "writes ids"),
        (json!({ "transforms": [{ "guest": "redact", "classes": ["Nowhere"] }] }), "Nowhere"),
    ] {
        let mut body = body;
        body["id"] = json!("refused");
        let message = server.post("/v1/export/filesystem", &body).error(422);
        assert!(message.contains(words), "{body}: {message}");
    }
}

/// The largest component that is taken, and one byte more.
#[test]
fn a_component_has_64_mib_at_most() {
    let registry = Registry::new("basic");
    let server = Server::start(&mut registry.command());
    let file = registry.work.path().join("large.wasm");
    std::fs::write(&file, vec![0; (64 << 20) + 1]).unwrap();
    let error = registry.guest(&server, &["push", "a", file.to_str().unwrap()]).expect_error();
    assert!(error.contains("cannot be read") || error.contains("67108864"), "{error}");
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let address = format!("http://{}/v1/guests/a", server.authority());
    let answer = agent.put(address).send(&vec![0; (64 << 20) + 1][..]).unwrap();
    assert_eq!(answer.status().as_u16(), 413);
}

#[test]
fn a_guest_in_use_is_not_removed() {
    let registry = Registry::new("basic");
    let server = Server::start(registry.command().env("OFFLOOM_MAX_EXPORTS", "1"));
    let (file, _) = registry.measure("properties_bytes");
    registry.guest(&server, &["push", "measure", file.to_str().unwrap()]).expect_success();
    // The hostile exporter occupies the only turn; the other export waits with its lease.
    registry.guest(&server, &["push", "ids", ids_guest().to_str().unwrap()]).expect_success();
    let busy = json!({ "id": "busy", "include": ["Note"], "exporter": "ids", "guestOptions": { "do": "loop" } });
    server.post("/v1/export/filesystem", &busy).ok();
    let waits =
        json!({ "id": "waits", "include": ["Note"], "transforms": [{ "guest": "measure" }] });
    server.post("/v1/export/filesystem", &waits).ok();
    let message = server.delete("/v1/guests/measure").error(409);
    assert!(message.contains("in use"), "{message}");
    server.delete("/v1/export/filesystem/waits");
    let gone = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        server.delete("/v1/guests/measure").status == 204
    });
    assert!(gone);
    server.delete("/v1/export/filesystem/busy");
}

/// No request is lost while the active version changes, and no export has two versions.
#[test]
fn a_thousand_exports_while_a_guest_is_swapped() {
    let registry = Registry::new("basic");
    let server = Server::start(registry.command().env("OFFLOOM_MAX_EXPORTS", "8"));
    let (first, first_digest) = registry.measure("properties_bytes");
    let (second, second_digest) = registry.measure("properties_bytez");
    for file in [&first, &second] {
        registry.guest(&server, &["push", "measure", file.to_str().unwrap()]).expect_success();
    }
    let (next, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let used = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let body = json!({ "digest": second_digest });
                server.post("/v1/guests/measure/activate", &body).ok();
                server.post("/v1/guests/measure/rollback", &json!({})).ok();
            }
        });
        let clients: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut used = Vec::new();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= 1_000 {
                            return used;
                        }
                        let folder = registry.export(&server, &format!("n{number}"), "measure");
                        let transform = manifest(&folder)["transforms"][0].clone();
                        let digest = transform["digest"].as_str().unwrap().to_owned();
                        let columns = ["properties_bytes", "properties_bytez"];
                        let has = columns.map(|column| has_column(&folder, column));
                        assert_eq!(has, [digest == first_digest, digest == second_digest]);
                        assert!(transform["name"].as_str().unwrap().ends_with(&digest));
                        std::fs::remove_dir_all(&folder).unwrap();
                        used.push(digest);
                    }
                })
            })
            .collect();
        let used: Vec<String> =
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        done.store(true, Ordering::Relaxed);
        used
    });
    assert_eq!(used.len(), 1_000);
    let versions: BTreeSet<&String> = used.iter().collect();
    assert_eq!(versions.len(), 2, "one of the versions was never used");
}

#[test]
fn a_dry_run_shows_rows_and_stores_nothing() {
    let registry = Registry::new("basic");
    let server = Server::start(&mut registry.command());
    let (file, _) = registry.measure("properties_bytes");
    registry.guest(&server, &["push", "measure", file.to_str().unwrap()]).expect_success();
    let run = |arguments: &[&str]| -> Value {
        let said = registry.guest(&server, &[&["dry-run"], arguments].concat()).expect_success();
        serde_json::from_str(&said.out).unwrap()
    };
    let tried = run(&["measure", "--class", "Note", "--rows", "7", "--option", "min-bytes=60"]);
    assert_eq!(tried["rowsIn"], 7, "{tried:#}");
    let kept = tried["rowsKept"].as_u64().unwrap();
    assert_eq!(tried["rows"].as_array().unwrap().len() as u64, kept);
    for row in tried["rows"].as_array().unwrap() {
        assert!(row["properties_bytes"].as_u64().unwrap() >= 60, "{row}");
        assert!(row["properties"].is_object(), "{row}");
    }
    assert!(tried["memoryBytes"].as_u64().unwrap() > 64 * 1024, "{tried:#}");
    assert!(tried["processorUs"].as_u64().unwrap() > 0, "{tried:#}");

    let tried = run(&["parquet", "--class", "note"]);
    assert_eq!((&tried["rowsIn"], &tried["file"]["format"]), (&json!(10), &json!("parquet")));
    assert!(tried["file"]["head"].as_str().unwrap().starts_with("UEFSM"), "{tried:#}");
    assert!(!registry.work.path().join("out").join("Note.parquet").exists());
    let stored = std::fs::read_dir(registry.work.path().join("out")).map_or(0, Iterator::count);
    assert_eq!(stored, 0, "something was written");

    for (body, status, words) in [
        (json!({ "class": "Nowhere" }), 422, "Nowhere"),
        (json!({ "class": "Note", "rows": 1001 }), 422, "1 to 1000"),
        (json!({ "class": "Note", "options": { "colour": "red" } }), 422, "min-bytes is a number"),
    ] {
        let message = server.post("/v1/guests/measure/dry-run", &body).error(status);
        assert!(message.contains(words), "{body}: {message}");
    }
}

/// Signed with the key of the settings, with another one, for another file, or not at all.
#[test]
fn an_operator_may_require_signatures() {
    let registry = Registry::new("basic");
    let (file, digest) = registry.measure("properties_bytes");
    let (other_file, _) = registry.measure("properties_bytez");
    let signed = python("e2e/sign_guest.py", [registry.work.path(), &file, &other_file]);
    let keys = signed.expect_success().out;
    let [public, others] = *keys.lines().collect::<Vec<_>>() else { panic!("{keys}") };
    let command = || {
        let mut command = registry.command();
        command.env("OFFLOOM_GUESTS__PUBLIC_KEYS", public);
        command
    };
    let server = Server::start(&mut command());
    let signature = |name: &str| registry.work.path().join(name);
    let push = |signature: Option<&Path>| {
        let mut arguments = vec!["push", "measure", file.to_str().unwrap()];
        arguments
            .extend(signature.map(|path| ["--signature", path.to_str().unwrap()]).iter().flatten());
        registry.guest(&server, &arguments)
    };
    let garbage = registry.work.path().join("garbage");
    std::fs::write(&garbage, "untrusted comment: none\n").unwrap();
    for (signature, words) in [
        (None, "signed guests alone"),
        (Some(signature("B-0.minisig")), "none of the keys"),
        (Some(signature("A-1.minisig")), "none of the keys"),
        (Some(garbage), "minisign's form"),
    ] {
        let error = push(signature.as_deref()).expect_error();
        assert!(error.contains(words), "{words}: {error}");
    }
    push(Some(&signature("A-0.minisig"))).expect_success();
    registry.export(&server, "one", "measure");
    drop(server);

    // It is checked again when the server loads the guest: here with another key.
    let mut command = registry.command();
    let server = Server::start(command.env("OFFLOOM_GUESTS__PUBLIC_KEYS", others));
    let body = json!({ "id": "two", "include": ["Note"], "transforms": [{ "guest": "measure" }] });
    let message = server.post("/v1/export/filesystem", &body).error(422);
    assert!(message.contains("none of the keys"), "{digest}: {message}");
    drop(server);

    // Files of the settings have their signature beside them.
    let mut command = self::Registry::command(&registry);
    command.env("OFFLOOM_GUESTS__PUBLIC_KEYS", public).arg("--guest").arg(ids_guest());
    let error = said(&mut command).expect_error();
    assert!(error.contains("signed guests alone"), "{error}");
}
