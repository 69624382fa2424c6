//! What a request may ask for has an effect, and what it does not ask for has none.
use std::collections::BTreeSet;
use std::path::Path;

use offloom_fixtures::{Fixture, unpack};
use serde_json::{Value, json};

use crate::bad_data::Damaged;
use crate::program::{offloom, python};
use crate::server::{Server, serve_filesystem};

fn manifest(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("export_metadata.json")).unwrap()).unwrap()
}

/// Creates an export of one class, and returns its last status.
fn export(server: &Server, id: &str, class: &str, more: &Value) -> Value {
    let mut body = json!({ "id": id, "include": [class] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.post("/v1/export/filesystem", &body).ok();
    server.wait("filesystem", id)
}

#[test]
fn properties_to_exclude_are_left_out_and_those_to_include_stay() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let server = Server::start(&mut serve_filesystem(&fixture.data_dir(), work.path()));
    for (id, selection) in [
        ("whole", json!({})),
        ("exclude", json!({ "exclude": ["txt", "i"] })),
        ("include", json!({ "include": ["txt", "i"] })),
    ] {
        let more = match id {
            "whole" => json!({}),
            _ => json!({ "properties": { "allTypes": selection } }),
        };
        assert_eq!(export(&server, id, "AllTypes", &more)["status"], "SUCCESS");
        if id != "whole" {
            let file = |id: &str| work.path().join("out").join(id).join("AllTypes.parquet");
            let arguments = [file("whole"), file(id), selection.to_string().into()];
            python("e2e/compare_selection.py", arguments).expect_success();
        }
    }
}

/// The names of the vectors of `NamedVectors`, as the schema has them.
fn vector_names(fixture: &Fixture) -> Vec<String> {
    let schema: Value =
        serde_json::from_slice(&std::fs::read(fixture.schema_file()).unwrap()).unwrap();
    let classes = schema["classes"].as_array().unwrap();
    let class = classes.iter().find(|class| class["class"] == "NamedVectors").unwrap();
    class["vectorConfig"].as_object().unwrap().keys().cloned().collect()
}

/// What is exported does not depend on who asks: the files are the same bytes, and what is missing
/// is the same.
#[test]
fn a_request_writes_what_the_command_line_writes() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let data_dir = fixture.data_dir().display().to_string();
    let to = work.path().join("out").display().to_string();
    let server = Server::start(&mut serve_filesystem(&fixture.data_dir(), work.path()));
    let vector = vector_names(&fixture).remove(0);
    let one_vector = format!("NamedVectors={vector}");
    let mut seen = BTreeSet::new();
    for (number, (options, body)) in [
        (&[][..], json!({})),
        (&["--include", "Note,Target"], json!({ "include": ["Note", "Target"] })),
        (&["--exclude", "Note,Target"], json!({ "exclude": ["Note", "Target"] })),
        (
            &["--properties", "AllTypes=txt,i"],
            json!({ "properties": { "AllTypes": { "include": ["txt", "i"] } } }),
        ),
        (
            &["--properties", "AllTypes=-txt,-i"],
            json!({ "properties": { "AllTypes": { "exclude": ["txt", "i"] } } }),
        ),
        (&["--vectors", &one_vector], json!({ "vectors": { "NamedVectors": [vector] } })),
        (&["--vectors", "NamedVectors=none"], json!({ "vectors": { "NamedVectors": "none" } })),
        (
            &["--guest-option", "compression-level=9"],
            json!({ "guestOptions": { "compression-level": "9" } }),
        ),
        (
            &["--guest-option", "vector-compression=same"],
            json!({ "guestOptions": { "vector-compression": "same" } }),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let (asked, typed) = (format!("asked-{number}"), format!("typed-{number}"));
        let mut body = body;
        body["id"] = asked.as_str().into();
        server.post("/v1/export/filesystem", &body).ok();
        assert_eq!(server.wait("filesystem", &asked)["status"], "SUCCESS", "{body}");
        let start = ["export", "--data-dir", &data_dir, "--to", &to, "--id", &typed];
        offloom(start.iter().chain(options)).expect_success();
        let [asked, typed] = [asked, typed].map(|id| manifest(&work.path().join("out").join(id)));
        for part in ["classes", "files", "attachments", "guest", "warnings"] {
            assert_eq!(asked[part], typed[part], "{options:?}");
        }
        assert!(seen.insert(asked["files"].to_string()), "{options:?} changed nothing");
    }
}

#[test]
fn the_guest_has_the_options_of_the_request() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let server = Server::start(&mut serve_filesystem(&fixture.data_dir(), work.path()));
    let size = |id: &str, options: Value| {
        let more = json!({ "guestOptions": options });
        let ended = export(&server, id, "AllTypes", &more);
        assert_eq!(ended["status"], "SUCCESS", "{ended:#}");
        let manifest = manifest(&work.path().join("out").join(id));
        assert_eq!(manifest["guest"]["options"], options);
        ended["progress"]["AllTypes"]["fileSizeBytes"].as_u64().unwrap()
    };
    let packed = size("packed", json!({}));
    let plain = size("plain", json!({ "compression": "none" }));
    assert!(plain > 2 * packed, "{plain} {packed}");
}

#[test]
fn an_export_is_partial_only_where_the_request_allows_it() {
    let damaged = Damaged::new("tenants");
    let segments = damaged.segments("shelf");
    damaged.change(segments.last().unwrap(), |bytes| bytes.truncate(bytes.len() - 7));
    let server = Server::start(&mut serve_filesystem(&damaged.data_dir(), damaged.to.path()));
    for (id, more) in [("left-out", json!({})), ("false", json!({ "allowPartial": false }))] {
        let ended = export(&server, id, "Shelf", &more);
        assert_eq!(ended["status"], "FAILED", "{ended:#}");
        assert!(ended.get("partial").is_none() && ended.get("missing").is_none(), "{ended:#}");
    }
    let ended = export(&server, "true", "Shelf", &json!({ "allowPartial": true }));
    assert_eq!(ended["status"], "SUCCESS", "{ended:#}");
    assert_eq!(ended["partial"], true, "{ended:#}");
    assert_eq!(ended["missing"].as_array().unwrap().len(), 1, "{ended:#}");
    let manifest = manifest(&damaged.to.path().join("out/true"));
    assert_eq!((&manifest["partial"], &manifest["missing"]), (&json!(true), &ended["missing"]));

    // Without its manifest the list is lost, and that there is one is not.
    std::fs::remove_dir_all(damaged.to.path().join("out/true")).unwrap();
    let known = server.get("/v1/export/filesystem/true").ok();
    assert_eq!((&known["status"], &known["partial"]), (&json!("SUCCESS"), &json!(true)));
}

#[test]
fn a_bad_object_is_treated_as_the_request_says() {
    let damaged = Damaged::new("basic");
    damaged.break_object("note");
    let server = Server::start(&mut serve_filesystem(&damaged.data_dir(), damaged.to.path()));
    for (policy, status, listed) in [
        (json!({}), "FAILED", false),
        (json!({ "onBadObject": null }), "FAILED", false),
        (json!({ "onBadObject": "fail", "allowPartial": true }), "FAILED", false),
        (json!({ "onBadObject": "skip" }), "SUCCESS", false),
        (json!({ "onBadObject": "quarantine" }), "SUCCESS", true),
    ] {
        let id =
            format!("bad-{}", policy.to_string().replace(|c: char| !c.is_ascii_lowercase(), "-"));
        let ended = export(&server, &id, "Note", &policy);
        assert_eq!(ended["status"], status, "{policy}: {ended:#}");
        assert_eq!(ended.get("partial").is_some(), status == "SUCCESS", "{policy}: {ended:#}");
        let folder = damaged.to.path().join("out").join(id).join("quarantine");
        assert_eq!(folder.exists(), listed, "{policy}");
    }
}

#[test]
fn stored_bytes_are_kept_only_where_the_operator_allows_it() {
    let damaged = Damaged::new("basic");
    damaged.break_object("note");
    for (work, flags, kept) in [
        ("unset", &[][..], false),
        ("off", &["--quarantine-raw", "false"], false),
        ("on", &["--quarantine-raw"], true),
    ] {
        let work = damaged.to.path().join(work);
        let mut command = serve_filesystem(&damaged.data_dir(), &work);
        let server = Server::start(command.args(flags));
        // A request cannot ask for them.
        let more =
            json!({ "onBadObject": "quarantine", "quarantineRaw": true, "quarantine_raw": true });
        assert_eq!(export(&server, "listed", "Note", &more)["status"], "SUCCESS");
        let lines = std::fs::read(work.join("out/listed/quarantine/Note.jsonl")).unwrap();
        let line: Value = serde_json::from_slice(&lines).unwrap();
        assert_eq!(line.get("raw").is_some(), kept, "{flags:?}: {line}");
    }
}
