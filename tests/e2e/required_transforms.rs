//! Transforms that the operator requires: no request, and no other guest, leaves them out.
use offloom_fixtures::{Fixture, unpack};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::guests::ids_guest;
use crate::program::{program, python, said};
use crate::server::Server;
use crate::transforms::{manifest, measure};

struct Required {
    fixture: Fixture,
    work: TempDir,
}

impl Required {
    fn new(fixture: &str, policy: &str) -> Required {
        let required =
            Required { fixture: unpack(fixture).unwrap(), work: tempfile::tempdir().unwrap() };
        let policy = policy.replace("MEASURE", &measure(""));
        std::fs::write(required.work.path().join("policy.toml"), policy).unwrap();
        required
    }

    fn command(&self, name: &str) -> std::process::Command {
        let path = |name: &str| self.work.path().join(name).into_os_string();
        let mut command = program();
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        command.args(["--data-dir".into(), self.fixture.data_dir().into_os_string()]);
        command.args(["--schema".into(), self.fixture.schema_file().into_os_string()]);
        command.args(["--filesystem-root".into(), path("out")]);
        command.args(["--state-dir".into(), path(name)]);
        command.args(["--guests-policy-file".into(), path("policy.toml")]);
        command
    }

    /// An export of the server in its folder.
    fn export(&self, server: &Server, body: Value) -> std::path::PathBuf {
        server.post("/v1/export/filesystem", &body).ok();
        let id = body["id"].as_str().unwrap();
        let ended = server.wait("filesystem", id);
        assert_eq!(ended["status"], "SUCCESS", "{ended:#}");
        self.work.path().join("out").join(id)
    }
}

const NOTES: &str =
    "[[transform]]\nguest = 'MEASURE'\nclasses = ['Note']\n[transform.options]\nmin-bytes = '60'\n";

/// Requests as an attacker would send them: each export lacks the short notes.
#[test]
fn no_request_leaves_a_required_transform_out() {
    let required = Required::new("basic", NOTES);
    let whole = required.work.path().join("whole");
    let fixture = &required.fixture;
    let more = ["--id", "whole"];
    let exported = crate::golden::export(
        &fixture.data_dir(),
        &fixture.schema_file(),
        required.work.path(),
        &more,
    );
    exported.expect_success();
    let server = Server::start(&mut required.command("state"));
    for (number, request) in [
        json!({}),
        json!({ "include": ["Note"] }),
        json!({ "include": ["note"] }),
        json!({ "exclude": ["AllTypes"] }),
        json!({ "transforms": [] }),
        json!({ "transforms": null }),
        json!({ "guestOptions": { "pages": "v1" } }),
        json!({ "config": { "path": "elsewhere" } }),
        json!({ "onBadObject": "skip", "allowPartial": true }),
        json!({ "required": [], "guests": { "policy_file": null }, "policy_file": "" }),
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = request;
        body["id"] = json!(format!("attack-{number}"));
        let folder = required.export(&server, body.clone());
        let folder = match body["config"]["path"].as_str() {
            Some(path) => {
                let id = body["id"].as_str().unwrap();
                required.work.path().join("out").join(path).join(id)
            }
            None => folder,
        };
        let arguments = [whole.as_os_str(), folder.as_os_str(), "60".as_ref(), "Note".as_ref()];
        if body["guestOptions"].is_object() {
            // Other pages have other bytes in classes that are not transformed.
            let rows = &manifest(&folder)["transforms"][0];
            assert!(rows["rowsIn"].as_u64() > rows["rowsKept"].as_u64(), "{rows}");
            continue;
        }
        python("e2e/compare_measured.py", arguments).expect_success();
        assert_eq!(manifest(&folder)["transforms"][0]["required"], true, "{body}");
    }
    // What the transform has to read cannot be filtered away to make it pass everything.
    let body = json!({ "id": "filtered", "include": ["Note"], "properties": { "Note": { "include": [] } } });
    let answer = server.post("/v1/export/filesystem", &body);
    if answer.status == 200 {
        let ended = server.wait("filesystem", "filtered");
        assert_eq!(ended["progress"]["Note"]["objectsExported"], 0, "{ended:#}");
    }
}

/// An exporter of the operator's own gets the same rows, also where it has another format.
#[test]
fn no_exporter_gets_other_rows() {
    let required = Required::new("basic", NOTES);
    let mut command = required.command("state");
    let server = Server::start(command.arg("--guest").arg(ids_guest()));
    let folder = required.export(&server, json!({ "id": "ids", "include": ["Note"] }));
    let rows = &manifest(&folder)["transforms"][0];
    let bytes = std::fs::metadata(folder.join("Note.ids")).unwrap().len();
    let kept = rows["rowsKept"].as_u64().unwrap();
    assert!(kept > 0 && kept < rows["rowsIn"].as_u64().unwrap(), "{rows}");
    assert_eq!(bytes, 4 + 16 * kept + ";1 blocks".len() as u64);
}

/// Without a schema, classes have the names of their directories, in lower case or with a capital letter.
#[test]
fn a_lost_schema_does_not_lose_the_policy() {
    let policy = NOTES.replace("'Note'", "'NOTE'");
    let required = Required::new("basic", &policy);
    let server = Server::start(&mut required.command("state"));
    let folder = required.export(&server, json!({ "id": "a", "include": ["Note"] }));
    assert_eq!(manifest(&folder)["transforms"][0]["classes"], json!(["Note"]));
}

/// All tenants of a class share its columns.
#[test]
fn a_transform_of_single_tenants_may_not_add_columns() {
    let policy = "[[transform]]\nguest = 'MEASURE'\n[transform.tenants]\nShelf = ['north']\n";
    let tenant = first_tenant();
    let required = Required::new("tenants", &policy.replace("north", &tenant));
    let server = Server::start(&mut required.command("state"));
    let answer = server.post("/v1/export/filesystem", &json!({ "id": "a" }));
    let message = answer.error(422);
    assert!(message.contains("adds the column `properties_bytes`"), "{message}");
    // An export without the tenant does not concern it.
    let other = server.post("/v1/export/filesystem", &json!({ "id": "b", "exclude": ["Shelf"] }));
    other.ok();
    server.wait("filesystem", "b");
}

/// A tenant of the fixture with tenants.
fn first_tenant() -> String {
    let fixture = unpack("tenants").unwrap();
    let to = tempfile::tempdir().unwrap();
    let exported = crate::golden::export(
        &fixture.data_dir(),
        &fixture.schema_file(),
        to.path(),
        &["--id", "a"],
    );
    let folder = exported.expect_success().folder();
    let tenants = python("e2e/tenants_of.py", [folder.join("Shelf.parquet")]).expect_success();
    tenants.out.lines().next().unwrap().to_owned()
}

#[test]
fn a_policy_that_cannot_be_followed_keeps_the_server_from_starting() {
    for (policy, words) in [
        ("[[transform]]\n", "missing field `guest`"),
        ("[[transform]]\nguest = 'MEASURE'\nclass = ['Note']\n", "unknown field `class`"),
        ("[[transforms]]\n", "unknown field `transforms`"),
        ("[[transform]]\nguest = 'nowhere.wasm'\n", "nowhere.wasm cannot be read"),
        ("[[transform]]\nguest = 'policy.toml'\n", "not a WebAssembly component"),
        (
            "[[transform]]\nguest = 'MEASURE'\n[transform.tenants]\nShelf = []\n",
            "tenants.Shelf names no tenant",
        ),
    ] {
        let required = Required::new("basic", policy);
        let error = said(&mut required.command("state")).expect_error();
        assert!(error.contains(words) && error.contains("policy.toml"), "{policy}: {error}");
    }
}
