//! The directories of a cluster's nodes as one export: every shard once, copies reported.
use std::path::{Path, PathBuf};

use offloom_encoder::{DirectoryWriter, Node, Object, ObjectOptions, WalVersion};
use offloom_fixtures::unpack;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::golden::compare;
use crate::program::{Said, offloom, program};
use crate::server::Server;

fn nodes(data: &Path) -> Vec<PathBuf> {
    ["node1", "node2", "node3"].map(|node| data.join(node)).into()
}

/// Exports the data directories of several nodes as one.
pub fn export(nodes: &[PathBuf], to: &Path, more: &[&str]) -> Said {
    let mut arguments: Vec<String> = vec!["export".to_owned()];
    for node in nodes {
        arguments.extend(["--data-dir".to_owned(), node.display().to_string()]);
    }
    arguments.extend(["--to".to_owned(), to.display().to_string()]);
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    offloom(arguments)
}

fn manifest(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("export_metadata.json")).unwrap()).unwrap()
}

#[test]
fn the_manifest_tells_where_each_shard_lay() {
    let fixture = unpack("cluster").unwrap();
    let to = tempfile::tempdir().unwrap();
    let nodes = nodes(&fixture.data_dir());
    let folder = export(&nodes, to.path(), &[]).expect_success().folder();
    let manifest = manifest(&folder);
    let paths: Vec<String> = nodes.iter().map(|node| node.display().to_string()).collect();
    assert_eq!(manifest["source"]["directories"], json!(paths));
    let shards = manifest["source"]["shards"].as_array().unwrap();
    let held_by = |shard: &Value| shard["copies"]["directories"].as_array().unwrap().len();
    let twice = shards.iter().filter(|shard| shard["copies"].is_object() && held_by(shard) == 2);
    // Three shards have two copies each (the fixture's README).
    assert_eq!(twice.count(), 3, "{shards:#?}");
    for shard in shards {
        if shard["copies"].is_object() {
            assert_eq!(shard["copies"]["keptAgainstDeletes"], 0, "{shard}");
        }
    }
    // The order of the directories does not matter to the rows.
    let again = tempfile::tempdir().unwrap();
    let turned: Vec<PathBuf> = nodes.iter().rev().cloned().collect();
    let other = export(&turned, again.path(), &["--workers", "1"]).expect_success().folder();
    compare(&other, &fixture);
}

/// A data directory with objects 1 to 3 in one shard, updated at these times.
fn copy(updates: [i64; 3]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let mut writer = DirectoryWriter::create(root.path()).unwrap();
    let shard = writer.class("Article", false).unwrap().shard("aBcDeFgHiJkL").unwrap();
    let mut log = shard.wal(1).unwrap();
    for (number, updated) in (1..).zip(updates) {
        let mut object = Object::new([number; 16], "Article");
        object.updated_ms = updated;
        let node = Node::live(&object, &ObjectOptions::default()).unwrap();
        log.append(&node, WalVersion::V1).unwrap();
    }
    log.finish().unwrap();
    root
}

#[test]
fn the_manifest_counts_the_objects_that_differ_between_copies() {
    let copies = [copy([10, 10, 10]), copy([10, 20, 30])];
    let nodes: Vec<PathBuf> = copies.iter().map(|copy| copy.path().to_owned()).collect();
    for workers in ["1", "8"] {
        let to = tempfile::tempdir().unwrap();
        let folder = export(&nodes, to.path(), &["--workers", workers]).expect_success().folder();
        let manifest = manifest(&folder);
        let copies = &manifest["source"]["shards"][0]["copies"];
        assert_eq!(copies["differingObjects"], 2, "{manifest:#}");
        assert_eq!(copies["keptAgainstDeletes"], 0, "{manifest:#}");
    }
}

#[test]
fn one_node_alone_says_what_lies_elsewhere() {
    let fixture = unpack("cluster").unwrap();
    let to = tempfile::tempdir().unwrap();
    let nodes = nodes(&fixture.data_dir());
    let said = export(&nodes[..1], to.path(), &[]).expect_success();
    assert!(said.err.contains("warning: ") && said.err.contains("node2"), "{}", said.err);
    let twice = [nodes[0].clone(), nodes[0].clone()];
    let error = export(&twice, to.path(), &["--id", "twice"]).expect_error();
    assert!(error.contains("node1"), "{error}");
}

#[test]
fn a_server_takes_them_as_sources_of_its_file() {
    let fixture = unpack("cluster").unwrap();
    let work = tempfile::tempdir().unwrap();
    let sources: Vec<String> = nodes(&fixture.data_dir())
        .iter()
        .map(|node| format!("{:?}", node.display().to_string()))
        .collect();
    let settings = work.path().join("offloom.toml");
    let text = format!("sources = [{}]\nlisten = '127.0.0.1:0'\n", sources.join(", "));
    std::fs::write(&settings, text).unwrap();
    let mut command = program();
    command
        .args(["serve".as_ref(), "--config".as_ref(), settings.as_os_str()])
        .args(["--filesystem-root".as_ref(), work.path().join("out").as_os_str()])
        .args(["--state-dir".as_ref(), work.path().join("state").as_os_str()]);
    let server = Server::start(&mut command);
    server.post("/v1/export/filesystem", &json!({ "id": "all" })).ok();
    let ended = server.wait("filesystem", "all");
    assert_eq!(ended["status"], "SUCCESS", "{ended:#}");
    compare(&work.path().join("out/all"), &fixture);
}

#[test]
fn inspect_shows_nodes_copies_and_tenants() {
    let fixture = unpack("cluster").unwrap();
    let nodes: Vec<String> =
        nodes(&fixture.data_dir()).iter().map(|node| node.display().to_string()).collect();
    let mut arguments = vec!["inspect"];
    for node in &nodes {
        arguments.extend(["--data-dir", node]);
    }
    let text = offloom(&arguments).expect_success();
    for part in ["node node1", "RAFT", "copy in", "1.22 and later"] {
        assert!(text.out.contains(part), "{part}: {}", text.out);
    }
    arguments.push("--json");
    let shown: Value = serde_json::from_str(&offloom(&arguments).expect_success().out).unwrap();
    let names: Vec<&Value> = shown["directories"]
        .as_array()
        .unwrap()
        .iter()
        .map(|directory| &directory["nodeNames"])
        .collect();
    assert_eq!(names, [&json!(["node1"]), &json!(["node2"]), &json!(["node3"])]);
    let classes = shown["classes"].as_array().unwrap();
    let shards = classes.iter().flat_map(|class| class["shards"].as_array().unwrap());
    assert!(shards.clone().any(|shard| shard["copies"].as_array().unwrap().len() == 2));
    assert!(shards.clone().any(|shard| shard["status"] == "HOT"));
}
