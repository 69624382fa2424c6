//! Transforms on the command line: which rows stay, in which columns, and what the manifest says of them.
use std::path::Path;

use offloom_fixtures::unpack;
use serde_json::Value;
use tempfile::TempDir;

use crate::bad_data::Damaged;
use crate::golden::export;
use crate::guests::guest;
use crate::program::{Said, offloom, python};

/// The transform that guest authors copy, with options.
pub fn measure(options: &str) -> String {
    format!("{}{options}", guest("offloom-guest-minimal-transform").display())
}

/// The manifest in a folder.
pub fn manifest(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("export_metadata.json")).unwrap()).unwrap()
}

fn export_of(fixture: &str, to: &TempDir, id: &str, more: &[&str]) -> Said {
    let fixture = unpack(fixture).unwrap();
    let more = [&["--id", id], more].concat();
    export(&fixture.data_dir(), &fixture.schema_file(), to.path(), &more)
}

/// Rows with tenants and rows without, and every kind of vector.
#[test]
fn rows_are_measured_and_dropped_as_all_rows_say() {
    for fixture in ["basic", "tenants"] {
        let to = tempfile::tempdir().unwrap();
        let whole = export_of(fixture, &to, "whole", &[]).expect_success().folder();
        for (id, options) in [("all", ""), ("long", "?min-bytes=60")] {
            let more = ["--transform", &measure(options)];
            let folder = export_of(fixture, &to, id, &more).expect_success().folder();
            let min_bytes = options.rsplit('=').next().filter(|number| !number.is_empty());
            let min_bytes = min_bytes.unwrap_or("0").to_owned();
            let arguments = [whole.as_os_str(), folder.as_os_str(), min_bytes.as_ref()];
            python("e2e/compare_measured.py", arguments).expect_success();
            let verified = offloom(["verify".as_ref(), folder.as_os_str()]).expect_success();
            assert!(verified.out.contains("is whole"), "{verified:?}");
        }
    }
}

#[test]
fn files_are_the_same_with_any_number_of_workers() {
    let to = tempfile::tempdir().unwrap();
    let files = |workers: &str| {
        let more = ["--transform", &measure("?min-bytes=60"), "--workers", workers];
        let folder = export_of("tenants", &to, &format!("w{workers}"), &more);
        let folder = folder.expect_success().folder();
        std::fs::read(folder.join("Shelf.parquet")).unwrap()
    };
    assert_eq!(files("1"), files("3"));
}

/// Each transform gets what the one before it leaves.
#[test]
fn transforms_form_a_chain() {
    let to = tempfile::tempdir().unwrap();
    let whole = export_of("basic", &to, "whole", &[]).expect_success().folder();
    let (first, second) = (measure("?min-bytes=60"), measure("?min-bytes=100"));
    let more = ["--transform", &first, "--transform", &second, "--include", "AllTypes,Note"];
    let folder = export_of("basic", &to, "chain", &more).expect_success().folder();
    let of_chain = manifest(&folder);
    let [one, two] = &of_chain["transforms"].as_array().unwrap()[..] else { panic!() };
    assert_eq!(one["rowsKept"], two["rowsIn"]);
    assert!(one["rowsIn"].as_u64() > one["rowsKept"].as_u64(), "{one}");
    assert!(two["rowsIn"].as_u64() > two["rowsKept"].as_u64(), "{two}");
    assert_eq!(two["options"]["min-bytes"], "100");
    let rows = |folder: &Path| {
        let progress = &manifest(folder)["progress"];
        ["AllTypes", "Note"].map(|class| progress[class]["objectsExported"].as_u64().unwrap())
    };
    assert!(rows(&folder).iter().sum::<u64>() < rows(&whole).iter().sum(), "{folder:?}");
    assert_eq!(two["rowsKept"].as_u64().unwrap(), rows(&folder).iter().sum::<u64>());
}

#[test]
fn what_a_transform_refuses_is_refused_before_anything_is_written() {
    let to = tempfile::tempdir().unwrap();
    let hostile = guest("offloom-guest-hostile").display().to_string();
    for (transform, words) in [
        (measure("?colour=red"), "min-bytes is a number"),
        (hostile, "guest of the kind `exporter`, and `transform` is needed here"),
        ("/nowhere.wasm".to_owned(), "/nowhere.wasm cannot be read"),
        ("a.wasm?b".to_owned(), "expected KEY=VALUE after ?"),
    ] {
        let error = export_of("basic", &to, "refused", &["--transform", &transform]).expect_error();
        assert!(error.contains(words), "{transform}: {error}");
        assert_eq!(std::fs::read_dir(to.path()).unwrap().count(), 0, "{transform}");
    }
}

/// They are what the transforms are there to change.
#[test]
fn stored_bytes_are_not_kept_where_a_transform_is_active() {
    let damaged = Damaged::new("basic");
    damaged.break_object("note");
    let transform = measure("");
    let raw = ["--on-bad-object", "quarantine", "--quarantine-raw"];
    for (id, more) in [("plain", &[][..]), ("transformed", &["--transform", &transform])] {
        damaged.export(id, &[&raw, more].concat()).expect_partial();
        let list = damaged.to.path().join(id).join("quarantine/Note.jsonl");
        let list = std::fs::read_to_string(list).unwrap();
        assert!(list.contains("\"reason\""), "{list}");
        assert_eq!(list.contains("\"raw\""), more.is_empty(), "{id}: {list}");
    }
}
