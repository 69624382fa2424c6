//! Classes whose names differ in case alone, and so share a directory: every row leaves under the class
//! that it names, or the export fails.
use std::path::{Path, PathBuf};

use offloom_encoder::{DirectoryWriter, Node, Object, ObjectOptions, WalVersion};
use tempfile::TempDir;

use crate::program::{Said, offloom, python};

/// A data directory with one class directory, `question`.
struct Shared {
    work: TempDir,
    objects: u128,
}

impl Shared {
    fn new() -> Shared {
        Shared { work: tempfile::tempdir().unwrap(), objects: 0 }
    }

    fn data(&self) -> PathBuf {
        self.work.path().join("data")
    }

    /// Adds a shard with an object for each of `names`, the class that it names.
    fn shard(mut self, shard: &str, names: &[&str]) -> Shared {
        let mut directory = DirectoryWriter::create(&self.data()).unwrap();
        let shard = directory.class("Question", false).unwrap().shard(shard).unwrap();
        let mut log = shard.wal(1_795_000_000_000_000_000).unwrap();
        for name in names {
            self.objects += 1;
            let mut object = Object::new(self.objects.to_be_bytes(), name);
            object.properties = Some(format!("{{\"of\":\"{name}\"}}").into_bytes());
            let node = Node::live(&object, &ObjectOptions::default()).unwrap();
            log.append(&node, WalVersion::V1).unwrap();
        }
        log.finish().unwrap();
        self
    }

    fn schema(&self, classes: &[(&str, bool)]) -> PathBuf {
        let classes = classes.iter().map(|(class, multi_tenant)| {
            serde_json::json!({ "class": class, "multiTenancyConfig": { "enabled": multi_tenant } })
        });
        let classes: Vec<_> = classes.collect();
        let path = self.work.path().join("schema.json");
        std::fs::write(&path, serde_json::json!({ "classes": classes }).to_string()).unwrap();
        path
    }

    fn export(&self, schema: Option<&Path>, more: &[&str]) -> Said {
        let (data, to) = (self.data(), self.work.path().join("out"));
        let mut arguments = vec!["export".into(), "--data-dir".into(), data.into_os_string()];
        arguments.extend(["--to".into(), to.into_os_string()]);
        if let Some(schema) = schema {
            arguments.extend(["--schema".into(), schema.into()]);
        }
        arguments.extend(more.iter().map(|argument| (*argument).into()));
        offloom(arguments)
    }
}

/// The rows of a complete export: class, tenant and the class that the object named.
#[track_caller]
fn rows(said: Said) -> Vec<String> {
    let folder = said.expect_success().folder();
    offloom(["verify".as_ref(), folder.as_os_str()]).expect_success();
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> =
        files.filter(|file| file.extension().is_some_and(|end| end == "parquet")).collect();
    let rows = python("e2e/rows_of_files.py", files).expect_success().out;
    let row = |line: &str| line.split_once(' ').unwrap().1.to_owned();
    let mut rows: Vec<String> = rows.lines().map(row).collect();
    rows.sort();
    rows
}

#[test]
fn rows_leave_under_the_class_that_they_name_with_a_schema_file_and_without() {
    let shared = Shared::new()
        .shard("aaaaaaaaaaaa", &["Question"; 3])
        .shard("bbbbbbbbbbbb", &["QUESTION"; 2])
        .shard("cccccccccccc", &["QuestioN"])
        .shard("dddddddddddd", &[]);
    let all = ["Question", "QUESTION", "QuestioN"].map(|class| (class, false));
    let schema = shared.schema(&[&all[..], &[("QUestion", false)]].concat());
    let expected = [
        "QUESTION - {\"of\":\"QUESTION\"}",
        "QUESTION - {\"of\":\"QUESTION\"}",
        "QuestioN - {\"of\":\"QuestioN\"}",
        "Question - {\"of\":\"Question\"}",
        "Question - {\"of\":\"Question\"}",
        "Question - {\"of\":\"Question\"}",
    ];
    for schema in [Some(&*schema), None] {
        assert_eq!(rows(shared.export(schema, &[])), expected);
        assert_eq!(rows(shared.export(schema, &["--include", "QUESTION"])), expected[..2]);
        assert_eq!(rows(shared.export(schema, &["--exclude", "QUESTION"])), expected[2..]);
    }
    // A schema file that lacks one of them does not fit: its rows have no place.
    let schema = shared.schema(&all[..2]);
    let error = shared.export(Some(&schema), &[]).expect_error();
    assert!(error.contains("class QuestioN"), "{error}");
}

#[test]
fn a_tenant_of_two_classes_is_split_row_by_row() {
    let shared = Shared::new()
        .shard("t1", &["Question", "QUESTION", "Question"])
        .shard("t2", &["QUESTION", "QUESTION"]);
    let schema = shared.schema(&[("Question", true), ("QUESTION", true)]);
    assert_eq!(
        rows(shared.export(Some(&schema), &[])),
        [
            "QUESTION t1 {\"of\":\"QUESTION\"}",
            "QUESTION t2 {\"of\":\"QUESTION\"}",
            "QUESTION t2 {\"of\":\"QUESTION\"}",
            "Question t1 {\"of\":\"Question\"}",
            "Question t1 {\"of\":\"Question\"}",
        ]
    );
}

#[test]
fn an_object_that_names_none_of_them_is_an_error_that_names_all() {
    let shared = Shared::new().shard("aaaaaaaaaaaa", &["Question"]).shard("bbbbbbbbbbbb", &[""]);
    let schema = shared.schema(&[("Question", false), ("QUESTION", false)]);
    let error = shared.export(Some(&schema), &[]).expect_error();
    assert!(error.contains("names no class"), "{error}");
    assert!(
        error.contains("Question and QUESTION") || error.contains("QUESTION and Question"),
        "{error}"
    );
    let said = shared.export(Some(&schema), &["--on-bad-object", "skip"]).expect_partial();
    assert!(
        said.err.contains("missing: class Question, shard bbbbbbbbbbbb: 1 objects"),
        "{said:#?}"
    );
    // Alone, a class has the objects that name none.
    let schema = shared.schema(&[("Question", false)]);
    assert_eq!(rows(shared.export(Some(&schema), &[])).len(), 2);
    assert_eq!(rows(shared.export(None, &[])).len(), 2);
}

#[test]
fn a_namesake_that_was_not_found_by_its_first_objects_is_an_error() {
    let shared = Shared::new()
        .shard("aaaaaaaaaaaa", &["Question", "Question", "Question", "Question", "QUESTION"]);
    let schema = shared.schema(&[("Question", false)]);
    for schema in [Some(&*schema), None] {
        let error = shared.export(schema, &[]).expect_error();
        assert!(error.contains("names class QUESTION"), "{error}");
    }
}
