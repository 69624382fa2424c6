//! Properties, vectors and tenants that are chosen: what is left out reaches no guest and no file.
use offloom_fixtures::{Fixture, unpack};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{Said, offloom, python};
use crate::server::{Server, serve_filesystem};

struct Source {
    fixture: Fixture,
    to: TempDir,
}

impl Source {
    fn new(fixture: &str) -> Source {
        Source { fixture: unpack(fixture).unwrap(), to: tempfile::tempdir().unwrap() }
    }

    fn export(&self, id: &str, more: &[&str]) -> Said {
        let data_dir = self.fixture.data_dir().display().to_string();
        let to = self.to.path().display().to_string();
        let start = ["export", "--data-dir", &data_dir, "--to", &to, "--id", id];
        offloom(start.iter().chain(more))
    }

    /// The script compares a file with the one of the whole export, and fails where more or less
    /// than the selection is left.
    fn compare(&self, id: &str, class: &str, selection: &Value) {
        let file = |id: &str| self.to.path().join(id).join(format!("{class}.parquet"));
        let arguments = [file("whole"), file(id), selection.to_string().into()];
        python("e2e/compare_selection.py", arguments).expect_success();
    }
}

#[test]
fn properties_and_vectors_are_selected_and_the_rest_stays_byte_for_byte() {
    let source = Source::new("basic");
    source.export("whole", &[]).expect_success();
    let title = "AllTypes=txt,i";
    source
        .export("some", &["--properties", title, "--vectors", "NamedVectors=none"])
        .expect_success();
    source.compare("some", "AllTypes", &json!({ "include": ["txt", "i"] }));
    source.compare("some", "NamedVectors", &json!({ "vectors": [] }));
    // A class that no filter names is the same file.
    let file = |id: &str| std::fs::read(source.to.path().join(id).join("Note.parquet")).unwrap();
    assert_eq!(file("whole"), file("some"));
    source.export("less", &["--properties", "AllTypes=-txt"]).expect_success();
    source.compare("less", "AllTypes", &json!({ "exclude": ["txt"] }));
}

#[test]
fn tenants_are_selected() {
    let source = Source::new("tenants");
    source.export("whole", &[]).expect_success();
    let whole = source.to.path().join("whole");
    let all = python("e2e/tenants_of.py", [whole.join("Shelf.parquet")]).expect_success();
    let chosen: Vec<&str> = all.out.lines().take(2).collect();
    let option = format!("Shelf={}", chosen.join(","));
    source.export("two", &["--tenants", &option]).expect_success();
    let two = source.to.path().join("two");
    let left = python("e2e/tenants_of.py", [two.join("Shelf.parquet")]).expect_success();
    assert_eq!(left.out.lines().collect::<Vec<_>>(), chosen);
    offloom(["verify".as_ref(), two.as_os_str()]).expect_success();
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_written() {
    let source = Source::new("basic");
    for (options, expected) in [
        (&["--properties", "AllTypes=nope"][..], "no property nope"),
        (&["--properties", "AllTypes=-nope"], "no property nope"),
        (&["--vectors", "AllTypes=nope"], "no vector nope"),
        (&["--tenants", "AllTypes=a"], "has no tenants"),
        (&["--vectors", "Nowhere=none"], "class Nowhere does not exist"),
        (&["--include", "Note", "--vectors", "Target=none"], "not among those to export"),
        (&["--vectors", "Note=none", "--vectors", "note=all"], "given twice"),
    ] {
        let error = source.export("refused", options).expect_error();
        assert!(error.contains(expected), "{options:?}: {error}");
    }
    assert!(!source.to.path().join("refused").exists());
}

#[test]
fn a_request_selects_as_the_command_line_does() {
    let source = Source::new("tenants");
    source.export("whole", &[]).expect_success();
    let work = tempfile::tempdir().unwrap();
    let server = Server::start(&mut serve_filesystem(&source.fixture.data_dir(), work.path()));
    let create = |body: Value| server.post("/v1/export/filesystem", &body);
    let whole = source.to.path().join("whole/Shelf.parquet");
    let all = python("e2e/tenants_of.py", [whole]).expect_success();
    let tenant = all.out.lines().next().unwrap();
    create(json!({
        "id": "one", "tenants": { "shelf": [tenant] }, "vectors": { "Shelf": "none" },
        "properties": { "Shelf": { "include": [] } }, "include": ["Shelf"],
    }))
    .ok();
    let ended = server.wait("filesystem", "one");
    assert_eq!(ended["status"], "SUCCESS", "{ended:#}");
    let shards: Vec<&String> = ended["shardStatus"]["Shelf"].as_object().unwrap().keys().collect();
    assert_eq!(shards, [tenant]);
    let file = work.path().join("out/one/Shelf.parquet");
    let left = python("e2e/tenants_of.py", [file.clone()]).expect_success();
    assert_eq!(left.out.trim(), tenant);
    python("e2e/nothing_but_ids.py", [file]).expect_success();

    for (body, expected) in [
        (json!({ "tenants": { "Shelf": ["nobody"] } }), "no tenant 'nobody'"),
        (json!({ "tenants": { "Shelf": [] } }), "no tenant of class Shelf is named"),
        (json!({ "tenants": { "Nowhere": ["a"] } }), "class does not exist"),
        (json!({ "properties": { "Shelf": { "include": ["nope"] } } }), "no property nope"),
        (json!({ "properties": { "Shelf": {} } }), "either include or exclude"),
        (json!({ "vectors": { "Shelf": ["nope"] } }), "no vector nope"),
    ] {
        let mut body = body;
        body["id"] = "refused".into();
        let message = create(body.clone()).error(422);
        assert!(message.contains(expected), "{body}: {message}");
    }
    for body in [
        json!({ "id": "x", "vectors": { "Shelf": "some" } }),
        json!({ "id": "x", "tenants": ["a"] }),
        json!({ "id": "x", "properties": { "Shelf": { "inclde": [] } } }),
    ] {
        create(body).error(400);
    }
}
