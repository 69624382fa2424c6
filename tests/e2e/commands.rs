//! The command line: what is refused, with which message, and what the commands print.
use std::path::{Path, PathBuf};

use crate::golden::export;
use crate::program::{offloom, offloom_on_small_disk};

struct Basic {
    fixture: offloom_fixtures::Fixture,
    to: tempfile::TempDir,
}

impl Basic {
    fn new() -> Basic {
        Basic {
            fixture: offloom_fixtures::unpack("basic").unwrap(),
            to: tempfile::tempdir().unwrap(),
        }
    }

    fn export(&self, more: &[&str]) -> crate::program::Said {
        export(&self.fixture.data_dir(), &self.fixture.schema_file(), self.to.path(), more)
    }

    fn left_behind(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.to.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn all_classes_go_out_and_the_folder_is_named_last() {
    let basic = Basic::new();
    let said = basic.export(&["--id", "first"]).expect_success();
    assert_eq!(said.folder(), basic.to.path().join("first"));
    assert_eq!(
        files(&said.folder()),
        [
            "AllTypes.parquet",
            "Empty.parquet",
            "NamedVectors.parquet",
            "NoVector.parquet",
            "Note.parquet",
            "Note_Draft.parquet",
            "Target.parquet",
            "_claim.json",
            "export_metadata.json",
            "schema.json",
        ]
    );
}

#[test]
fn include_takes_names_with_their_first_letter_capitalised() {
    let basic = Basic::new();
    let said = basic.export(&["--include", "note,target"]).expect_success();
    assert_eq!(
        files(&said.folder()),
        ["Note.parquet", "Target.parquet", "_claim.json", "export_metadata.json", "schema.json"]
    );
}

#[test]
fn exclude_ignores_what_does_not_exist() {
    let basic = Basic::new();
    let said = basic
        .export(&["--exclude", "Nowhere,allTypes,Empty,namedVectors,NoVector,Note_Draft"])
        .expect_success();
    assert_eq!(
        files(&said.folder()),
        ["Note.parquet", "Target.parquet", "_claim.json", "export_metadata.json", "schema.json"]
    );
}

#[test]
fn an_unknown_class_in_include_is_named_and_burns_no_id() {
    let basic = Basic::new();
    let error = basic.export(&["--id", "x", "--include", "Nowhere"]).expect_error();
    assert_eq!(
        error,
        "error: class Nowhere does not exist; there is AllTypes, Empty, NamedVectors, NoVector, Note, Note_Draft, Target"
    );
    assert!(basic.left_behind().is_empty());
}

#[test]
fn include_with_exclude_is_refused() {
    let error = Basic::new().export(&["--include", "Note", "--exclude", "Target"]).expect_error();
    assert!(error.contains("include and exclude cannot be given together"), "{error}");
}

#[test]
fn an_export_of_nothing_is_refused() {
    let all = "AllTypes,Empty,NamedVectors,NoVector,Note,Note_Draft,Target";
    let error = Basic::new().export(&["--exclude", all]).expect_error();
    assert_eq!(error, "error: nothing to export: every class is excluded");

    let (empty, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data_dir = empty.path().display().to_string();
    let error =
        offloom(["export", "--data-dir", &data_dir, "--to", &to.path().display().to_string()])
            .expect_error();
    assert!(error.contains("is not a Weaviate data directory"), "{error}");
}

#[test]
fn an_id_is_used_once() {
    let basic = Basic::new();
    basic.export(&["--id", "twice"]).expect_success();
    let before = std::fs::read(basic.to.path().join("twice/export_metadata.json")).unwrap();
    let error = basic.export(&["--id", "twice"]).expect_error();
    assert!(error.contains("twice") && error.contains("in use"), "{error}");
    let after = std::fs::read(basic.to.path().join("twice/export_metadata.json")).unwrap();
    assert_eq!(before, after);
}

#[test]
fn a_bad_id_is_refused() {
    for id in ["UPPER", "a/b", "..", "", "ä"] {
        let basic = Basic::new();
        let error = basic.export(&[&format!("--id={id}")]).expect_error();
        assert!(error.contains("a-z"), "{id}: {error}");
        assert!(basic.left_behind().is_empty());
    }
}

#[test]
fn a_missing_directory_is_named() {
    let error = offloom(["export", "--data-dir", "/nowhere/at/all", "--to", "/tmp"]).expect_error();
    assert!(error.contains("/nowhere/at/all"), "{error}");
}

#[test]
fn an_unknown_destination_scheme_is_refused() {
    let basic = Basic::new();
    let data_dir = basic.fixture.data_dir().display().to_string();
    let error = offloom(["export", "--data-dir", &data_dir, "--to", "ftp://host/x"]).expect_error();
    assert!(error.contains("ftp") && error.contains("file://"), "{error}");
}

/// The operator at the command line sees all warnings once; the manifest names only classes of the export.
#[test]
fn warnings_on_other_classes_are_printed_and_not_in_the_manifest() {
    let basic = Basic::new();
    for directory in ["note/not a shard", "target/not a shard", "secret"] {
        std::fs::create_dir(basic.fixture.data_dir().join(directory)).unwrap();
    }
    let said = basic.export(&["--include", "Note"]).expect_success();
    for directory in ["note/not a shard", "target/not a shard", "secret"] {
        let warning = format!("warning: directory {directory} ");
        assert_eq!(said.err.matches(&warning).count(), 1, "{said:#?}");
    }
    let manifest = std::fs::read(said.folder().join("export_metadata.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let [warning] = manifest["warnings"].as_array().unwrap().as_slice() else {
        panic!("{manifest}")
    };
    assert!(warning.as_str().unwrap().starts_with("directory note/not a shard "), "{warning}");
}

#[test]
fn names_come_from_the_server_s_own_schema_without_a_schema_file() {
    let basic = Basic::new();
    let data_dir = basic.fixture.data_dir().display().to_string();
    let to = basic.to.path().display().to_string();
    let said = offloom(["export", "--data-dir", &data_dir, "--to", &to]).expect_success();
    assert!(!said.err.contains("warning"), "{}", said.err);
    let names = files(&said.folder());
    for class in ["AllTypes", "NamedVectors", "NoVector", "Note", "Note_Draft", "Target"] {
        assert!(names.contains(&format!("{class}.parquet")), "{names:?}");
    }
    let manifest = std::fs::read_to_string(said.folder().join("export_metadata.json")).unwrap();
    assert!(manifest.contains("RAFT log up to entry"), "{manifest}");
}

#[test]
fn names_come_from_the_objects_without_any_schema() {
    let basic = Basic::new();
    std::fs::remove_dir_all(basic.fixture.data_dir().join("raft")).unwrap();
    let data_dir = basic.fixture.data_dir().display().to_string();
    let to = basic.to.path().display().to_string();
    let said = offloom(["export", "--data-dir", &data_dir, "--to", &to]).expect_success();
    let names = files(&said.folder());
    let guessed = "warning: directory empty is exported as class Empty";
    assert_eq!(said.err.matches(guessed).count(), 1, "{}", said.err);
    for class in ["AllTypes", "NamedVectors", "NoVector", "Note", "Note_Draft", "Target"] {
        assert!(names.contains(&format!("{class}.parquet")), "{names:?}");
    }
}

#[test]
fn a_full_disk_ends_the_export_with_one_message() {
    let basic = Basic::new();
    let data_dir = basic.fixture.data_dir().display().to_string();
    let error = offloom_on_small_disk(16, |disk| {
        ["export", "--data-dir", &data_dir, "--to", disk].map(str::to_owned).to_vec()
    })
    .expect_error();
    assert!(error.contains("full") || error.contains("No space"), "{error}");
}

#[test]
fn nothing_is_written_to_the_data_directory() {
    let basic = Basic::new();
    let before = listing(&basic.fixture.data_dir());
    basic.export(&[]).expect_success();
    let data_dir = basic.fixture.data_dir().display().to_string();
    offloom(["inspect", "--data-dir", &data_dir]).expect_success();
    assert_eq!(before, listing(&basic.fixture.data_dir()));
}

/// Every entry with its size and its times of change.
fn listing(folder: &Path) -> Vec<(PathBuf, u64, i64, i64)> {
    use std::os::unix::fs::MetadataExt;
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                folders.push(entry.path());
            }
            found.push((entry.path(), metadata.len(), metadata.mtime(), metadata.ctime_nsec()));
        }
    }
    found.sort();
    found
}

#[test]
fn inspect_shows_every_class_as_text_and_as_json() {
    let basic = Basic::new();
    let data_dir = basic.fixture.data_dir().display().to_string();
    let text = offloom(["inspect", "--data-dir", &data_dir]).expect_success().out;
    let json = offloom(["inspect", "--data-dir", &data_dir, "--json"]).expect_success().out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    for class in ["AllTypes", "NamedVectors", "NoVector", "Note", "Note_Draft", "Target"] {
        assert!(text.contains(class), "{text}");
        let classes = json["classes"].as_array().unwrap();
        assert!(classes.iter().any(|found| found["name"] == class), "{json:#}");
    }
}
