//! What a script learns of the end of a command: its exit status. Those of signals are in `signals`.
use std::path::{Path, PathBuf};

use offloom_fixtures::{Fixture, unpack};
use serde_json::Value;

use crate::golden::export;
use crate::program::{Said, offloom};

/// Every segment below `directory`.
fn segments(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(segments(&path));
        } else if path.extension().is_some_and(|extension| extension == "db")
            && path.parent().unwrap().ends_with("lsm/objects")
        {
            found.push(path);
        }
    }
    found
}

/// `basic`, with every segment of objects replaced by junk.
fn broken() -> Fixture {
    let fixture = unpack("basic").unwrap();
    let segments = segments(&fixture.data_dir());
    assert!(segments.len() > 5, "{segments:?}");
    for segment in segments {
        std::fs::write(segment, "junk").unwrap();
    }
    fixture
}

fn export_to(fixture: &Fixture, to: &Path, more: &[&str]) -> Said {
    export(&fixture.data_dir(), &fixture.schema_file(), to, more)
}

fn verify(folder: &Path, more: &[&str]) -> Said {
    let folder = folder.display().to_string();
    offloom(["verify", &folder].iter().chain(more))
}

fn manifest(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("export_metadata.json")).unwrap()).unwrap()
}

#[test]
fn a_complete_export_ends_with_0_and_no_word_of_missing_parts() {
    let to = tempfile::tempdir().unwrap();
    let said = export_to(&unpack("basic").unwrap(), to.path(), &["--allow-partial"]);
    assert_eq!(said.status, Some(0), "{said:#?}");
    assert!(!said.err.contains("missing") && !said.err.contains("partial"), "{said:#?}");
    let verified = verify(&said.folder(), &["--require-complete"]);
    assert_eq!(verified.status, Some(0), "{verified:#?}");
}

#[test]
fn a_partial_export_ends_with_3_and_says_all_that_is_missing() {
    let to = tempfile::tempdir().unwrap();
    let said = export_to(&broken(), to.path(), &["--allow-partial"]).expect_partial();
    let folder = said.folder();
    let manifest = manifest(&folder);
    let missing = manifest["missing"].as_array().unwrap();
    assert!(missing.len() > 5, "{missing:?}");
    let verified = verify(&folder, &[]);
    assert_eq!(verified.status, Some(0), "{verified:#?}");
    for missing in missing {
        let text = |key: &str| missing[key].as_str().unwrap();
        let (class, shard, reason) = (text("class"), text("shard"), text("reason"));
        let line = format!("missing: class {class}, shard {shard}: {reason}\n");
        for said in [&said, &verified] {
            assert_eq!(said.err.matches(&line).count(), 1, "{line} {said:#?}");
        }
    }
    assert!(said.err.ends_with(
        "partial: the export has all the rest; export_metadata.json lists what is missing\n"
    ));
    assert!(verified.out.contains("is partial"), "{verified:#?}");

    let required = verify(&folder, &["--require-complete"]);
    assert_eq!(required.status, Some(3), "{required:#?}");
    assert!(required.err.contains("error: the export is partial"), "{required:#?}");
    // Damage is worse than a part that is missing.
    std::fs::remove_file(folder.join("Note.parquet")).unwrap();
    assert_eq!(verify(&folder, &["--require-complete"]).status, Some(1));
}

#[test]
fn a_failed_command_ends_with_1() {
    let to = tempfile::tempdir().unwrap();
    let failed = export_to(&broken(), to.path(), &["--id", "failed"]);
    assert_eq!(failed.status, Some(1), "{failed:#?}");
    assert_eq!(verify(&to.path().join("failed"), &[]).status, Some(1));
    assert_eq!(verify(&to.path().join("nowhere"), &[]).status, Some(1));
    let nowhere = to.path().join("nowhere").display().to_string();
    assert_eq!(offloom(["inspect", "--data-dir", &nowhere]).status, Some(1));
}

#[test]
fn wrong_usage_ends_with_2_and_leaves_nothing() {
    let to = tempfile::tempdir().unwrap();
    let fixture = unpack("basic").unwrap();
    for wrong in [
        &["--colour", "red"][..],
        &["--id", "UPPER"],
        &["--include", "Note", "--exclude", "Target"],
        &["--properties", "Note=a", "--properties", "note=b"],
        &["--workers", "0"],
        &["--on-bad-object", "ignore"],
    ] {
        let said = export_to(&fixture, to.path(), wrong);
        assert_eq!(said.status, Some(2), "{wrong:?} {said:#?}");
        said.expect_error();
    }
    assert_eq!(std::fs::read_dir(to.path()).unwrap().count(), 0);
    let data_dir = fixture.data_dir().display().to_string();
    let said = offloom(["export", "--data-dir", &data_dir, "--to", "ftp://host/x"]);
    assert_eq!(said.status, Some(2), "{said:#?}");
    assert_eq!(offloom(["verify", "ftp://host/x"]).status, Some(2));
    assert_eq!(offloom(["verify"]).status, Some(2));
    assert_eq!(offloom::<&str>([]).status, Some(2));
    assert_eq!(offloom(["--help"]).status, Some(0));
}
