//! The definition of a class in its Parquet files: `weaviate.class` of the key-value metadata.
use std::path::Path;

use offloom_fixtures::{Fixture, unpack};
use serde_json::Value;

use crate::golden::export;
use crate::program::{Said, offloom, python};

/// What the file of a class says, as text; `null` without a definition.
fn in_file(folder: &Path, class: &str) -> String {
    let file = folder.join(format!("{class}.parquet"));
    python("e2e/class_definition.py", [file]).expect_success().out
}

fn export_alone(fixture: &Fixture, to: &Path) -> Said {
    let (data_dir, to) = (fixture.data_dir(), to.display().to_string());
    offloom(["export", "--data-dir", &data_dir.display().to_string(), "--to", &to])
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// From a schema file, the text is what the file has for the class. A class without rows has it too.
#[test]
fn each_file_has_the_definition_of_its_class() {
    let (fixture, to) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let exported = export(&fixture.data_dir(), &fixture.schema_file(), to.path(), &[]);
    let folder = exported.expect_success().folder();
    let classes = json(&fixture.schema_file())["classes"].as_array().unwrap().clone();
    assert_eq!(classes.len(), 7);
    for class in &classes {
        let found = in_file(&folder, class["class"].as_str().unwrap());
        assert_eq!(serde_json::from_str::<Value>(&found).unwrap(), *class);
    }
}

/// From the server's own schema, it is what `schema.json` beside the files has.
#[test]
fn the_definition_is_that_of_schema_json() {
    for name in ["tenants", "v1.24.26"] {
        let (fixture, to) = (unpack(name).unwrap(), tempfile::tempdir().unwrap());
        let folder = export_alone(&fixture, to.path()).expect_success().folder();
        let classes = json(&folder.join("schema.json"))["classes"].as_array().unwrap().clone();
        assert!(!classes.is_empty());
        for class in &classes {
            let found = in_file(&folder, class["class"].as_str().unwrap());
            assert_eq!(serde_json::from_str::<Value>(&found).unwrap(), *class, "{name}");
        }
    }
}

#[test]
fn without_a_schema_a_file_has_no_definition() {
    let (fixture, to) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    std::fs::remove_dir_all(fixture.data_dir().join("raft")).unwrap();
    let folder = export_alone(&fixture, to.path()).expect_success().folder();
    assert!(!folder.join("schema.json").exists());
    assert_eq!(in_file(&folder, "Note"), "null");
}

/// Up to 1 MiB, also in a file without a block, whose end may be the least long. `verify` and the check
/// of the footer accept it.
#[test]
fn a_definition_of_more_than_a_mebibyte_is_left_out() {
    let (fixture, to) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let mut schema = json(&fixture.schema_file());
    let mut lengths = Vec::new();
    for (class, bytes) in [("Empty", 1 << 20), ("Note", (1 << 20) + 1)] {
        let classes = schema["classes"].as_array_mut().unwrap();
        let class = classes.iter_mut().find(|found| found["class"] == class).unwrap();
        class["description"] = "".into();
        let without = class.to_string().len();
        class["description"] = "x".repeat(bytes - without).into();
        lengths.push(class.to_string().len());
    }
    assert_eq!(lengths, [1 << 20, (1 << 20) + 1]);
    let file = to.path().join("schema-file.json");
    std::fs::write(&file, schema.to_string()).unwrap();
    let more = ["--include", "Empty,Note"];
    let folder = export(&fixture.data_dir(), &file, to.path(), &more).expect_success().folder();
    assert_eq!(in_file(&folder, "Empty").len(), 1 << 20);
    assert_eq!(in_file(&folder, "Note"), "null");
    // `schema.json` has it all the same.
    assert!(folder.join("schema.json").metadata().unwrap().len() > 2 << 20);
    offloom(["verify".as_ref(), folder.as_os_str()]).expect_success();
}
