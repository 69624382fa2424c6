//! `schema.db` of every version, and when it is used.
use std::fs;

use offloom_weaviate_schema::{
    ClusterSchema, ReadFrom, SchemaError, ShardStatus, bbolt::Database, schema_db, stored,
};
use serde_json::json;

use crate::{
    bbolt_file::{self, Node, SHAPE, Tree},
    log::Log,
    real::open,
};

fn value(text: &str) -> Node {
    Node::Value(text.as_bytes().to_vec())
}

fn file(bucket: Tree) -> Vec<u8> {
    bbolt_file::write(&Tree::from([(b"schema".to_vec(), Node::Bucket(bucket))]), SHAPE)
}

fn read(bucket: Tree) -> Result<ClusterSchema, SchemaError> {
    schema_db::read_database(&Database::from_bytes("schema.db", file(bucket)).unwrap())
}

fn class(definition: &str) -> Tree {
    let records = Tree::from([
        (vec![5, 0], value(definition)),
        (vec![15, 0], value(r#"{"physical":null,"partitioningEnabled":true}"#)),
        (b"\x04a_b".to_vec(), value(r#"{"name":"a_b","belongsToNodes":["n1"],"status":"COLD"}"#)),
        (b"\x04Big".to_vec(), value(r#"{"name":"Big","belongsToNodes":["n2"]}"#)),
    ]);
    Tree::from([
        (vec![1, 0], value(r#"{"Version":2}"#)),
        (b"\x02Shelf".to_vec(), Node::Bucket(records)),
    ])
}

const SHELF: &str = r#"{"class":"Shelf","multiTenancyConfig":{"enabled":true}}"#;

#[test]
fn version_2_has_a_bucket_for_each_class() {
    let schema = read(class(SHELF)).unwrap();
    assert_eq!(schema.read_from, ReadFrom::SchemaDb { version: 2 });
    let shelf = &schema.classes["Shelf"];
    assert!(shelf.multi_tenant);
    assert_eq!(shelf.definition, SHELF);
    assert!(shelf.shards.keys().eq(["Big", "a_b"]));
    assert_eq!(shelf.shards["a_b"].status, ShardStatus::Cold);
    assert_eq!(shelf.shards["Big"].status, ShardStatus::Hot);
    assert_eq!(*shelf.shards["Big"].nodes, ["n2".into()]);
}

#[test]
fn versions_0_and_1_have_one_record() {
    let state = json!({
        "object": {"classes": [{"class": "Note", "properties": null}, {"class": "Bare"}]},
        "ShardingState": {"Note": {"physical": {"s": {"name": "s", "belongsToNode": "n1"}}}},
    });
    let schema = read(Tree::from([(b"schema".to_vec(), value(&state.to_string()))])).unwrap();
    assert_eq!(schema.read_from, ReadFrom::SchemaDb { version: 0 });
    assert!(schema.classes.keys().eq(["Bare", "Note"]));
    assert_eq!(*schema.classes["Note"].shards["s"].nodes, ["n1".into()]);
    assert!(schema.classes["Bare"].shards.is_empty());
}

#[test]
fn records_that_weaviate_does_not_write_are_named() {
    let error = |bucket: Tree| read(bucket).unwrap_err().to_string();
    let newer = Tree::from([(vec![1, 0], value(r#"{"Version":3}"#))]);
    assert_eq!(error(newer), "schema.db, its version: 3 is unknown (the last known is 2)");
    let other = error(class(r#"{"class":"Other"}"#));
    assert_eq!(other, "schema.db, class Shelf, definition: it defines class Other");
    let broken = error(class("{"));
    assert!(broken.starts_with("schema.db, class Shelf, definition: EOF"), "{broken}");
    let empty =
        Tree::from([(b"\x02A".to_vec(), Node::Bucket(Tree::from([(vec![4], value("{}"))])))]);
    assert_eq!(error(empty), "schema.db, class A, definition: it is missing");
}

/// Servers since 1.25 keep an old `schema.db`.
#[test]
fn it_is_used_only_if_raft_has_no_class() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path());
    let read = || stored::read(&directory);
    assert_eq!(read().unwrap(), None);

    fs::write(folder.path().join("schema.db"), file(class(SHELF))).unwrap();
    assert!(read().unwrap().unwrap().classes.contains_key("Shelf"));

    fs::create_dir(folder.path().join("raft")).unwrap();
    let raft = folder.path().join("raft/raft.db");
    fs::write(&raft, Log::new().file(1)).unwrap();
    assert!(read().unwrap().unwrap().classes.contains_key("Shelf"));

    let definition = json!({"class": "Article"});
    fs::write(&raft, Log::new().add_class(&definition, &json!({})).file(1)).unwrap();
    assert!(read().unwrap().unwrap().classes.keys().eq(["Article"]));

    fs::write(&raft, "this is not a bbolt file").unwrap();
    assert!(matches!(read(), Err(SchemaError::NoMetaPage { .. })));

    fs::write(&raft, Log::new().file(1)).unwrap();
    fs::remove_file(folder.path().join("schema.db")).unwrap();
    let empty = read().unwrap().unwrap();
    assert!(empty.classes.is_empty());
    assert_eq!(empty.read_from, ReadFrom::Raft { snapshot: None, entries: Some(1..=2) });
}

#[test]
fn only_regular_files_within_the_directory_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(folder.path().join("outside.db"), file(class(SHELF))).unwrap();
    std::os::unix::fs::symlink("../outside.db", data.join("schema.db")).unwrap();
    assert!(matches!(stored::read(&open(&data)), Err(SchemaError::Read { .. })));
    fs::remove_file(data.join("schema.db")).unwrap();
    fs::create_dir(data.join("schema.db")).unwrap();
    assert!(matches!(stored::read(&open(&data)), Err(SchemaError::Read { .. })));
}
