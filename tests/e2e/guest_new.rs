//! `offloom guest new`: what it writes builds, loads and exports.
use std::path::Path;
use std::process::Command;

use offloom_fixtures::unpack;

use crate::golden::export;
use crate::program::{offloom, python, said};

#[test]
fn the_crates_build_and_export() {
    let work = tempfile::tempdir().unwrap();
    let dir = work.path().join("mine");
    let new = || offloom(["guest".as_ref(), "new".as_ref(), dir.as_os_str()]);
    new().expect_success();
    let error = new().expect_error();
    assert!(error.contains("is not empty"), "{error}");
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    build.current_dir(&dir).args(["build", "--release", "--target", "wasm32-wasip2"]);
    // A target directory of its own would have to compile the dependencies anew.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guest-new");
    said(build.env("CARGO_TARGET_DIR", &target)).expect_success();
    let built = |name: &str| {
        target.join("wasm32-wasip2/release").join(format!("my_{name}.wasm")).display().to_string()
    };
    let checked = offloom(["guest", "check", &built("transform")]).expect_success();
    assert!(checked.out.contains("\"kind\": \"transform\""), "{checked:?}");

    let fixture = unpack("basic").unwrap();
    let run = |id: &str, more: &[&str]| {
        let more = [&["--id", id, "--include", "AllTypes,Note"], more].concat();
        let exported = export(&fixture.data_dir(), &fixture.schema_file(), work.path(), &more);
        exported.expect_success().folder()
    };
    let whole = run("whole", &[]);
    let transform = format!("{}?min-bytes=60", built("transform"));
    let measured = run("measured", &["--transform", &transform]);
    let arguments = [whole.as_os_str(), measured.as_os_str(), "60".as_ref()];
    python("e2e/compare_measured.py", arguments).expect_success();
    let lines = run("lines", &["--guest", &built("exporter")]);
    let note = std::fs::read_to_string(lines.join("Note.jsonl")).unwrap();
    assert_eq!(note.lines().count(), 28);
}
