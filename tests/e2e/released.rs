//! The released contract: its text stays as it is, and guests that were built against it go on working.
use std::path::{Path, PathBuf};

use offloom_fixtures::unpack;

use crate::golden::export;
use crate::program::{python, root};

/// Components that were built against version 0.1.0 on the day when it was frozen, and are never built again.
fn kept(name: &str) -> PathBuf {
    root().join("tests/fixtures/guests/0.1.0").join(name)
}

/// What `wit/` and the frozen copy may differ in: documentation. A change of an item needs a new version.
#[test]
fn the_contract_has_the_items_of_its_frozen_version() {
    let items = |folder: &Path| {
        let mut files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "wit"));
        files.sort();
        let of_file = |path: PathBuf| {
            let text = std::fs::read_to_string(&path).unwrap();
            let items = text.lines().filter(|line| !line.trim_start().starts_with("///"));
            let items: Vec<String> = items.map(str::to_owned).collect();
            (path.file_name().unwrap().to_owned(), items)
        };
        files.into_iter().map(of_file).collect::<Vec<_>>()
    };
    let frozen = items(&root().join("wit/released/0.1.0"));
    assert_eq!(frozen.len(), 9);
    assert_eq!(items(&root().join("wit")), frozen);
}

#[test]
fn guests_that_were_built_against_it_go_on_working() {
    let to = tempfile::tempdir().unwrap();
    let fixture = unpack("basic").unwrap();
    let run = |id: &str, more: &[&str]| {
        let more = [&["--id", id, "--include", "AllTypes,Note"], more].concat();
        let exported = export(&fixture.data_dir(), &fixture.schema_file(), to.path(), &more);
        exported.expect_success().folder()
    };
    let whole = run("whole", &[]);
    let transform = format!("{}?min-bytes=60", kept("minimal_transform.wasm").display());
    let measured = run("measured", &["--transform", &transform]);
    let arguments = [whole.as_os_str(), measured.as_os_str(), "60".as_ref()];
    python("e2e/compare_measured.py", arguments).expect_success();
    let exporter = kept("minimal.wasm").display().to_string();
    let lines = run("lines", &["--guest", &exporter]);
    let note = std::fs::read_to_string(lines.join("Note.jsonl")).unwrap();
    assert_eq!(note.lines().count(), 28);
}
