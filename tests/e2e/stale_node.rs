//! A node that was down while shards were deleted and made again, and directories that are not of one
//! cluster.
use std::path::{Path, PathBuf};

use offloom_fixtures::unpack;
use serde_json::Value;

use crate::cluster::export;
use crate::golden::compare;

fn nodes(data: &Path, names: [&str; 3]) -> Vec<PathBuf> {
    names.map(|name| data.join(name)).into()
}

/// `golden.rs` has the other order, without a schema file.
#[test]
fn with_its_schema_file_and_the_stale_node_first_the_rows_are_the_same() {
    let fixture = unpack("stale-node").unwrap();
    let to = tempfile::tempdir().unwrap();
    let schema = fixture.schema_file().display().to_string();
    let nodes = nodes(&fixture.data_dir(), ["node3", "node2", "node1"]);
    let said = export(&nodes, to.path(), &["--schema", &schema]).expect_success();
    compare(&said.folder(), &fixture);
}

#[test]
fn the_manifest_names_what_belongs_to_an_older_life() {
    let fixture = unpack("stale-node").unwrap();
    let to = tempfile::tempdir().unwrap();
    let nodes = nodes(&fixture.data_dir(), ["node1", "node2", "node3"]);
    let said = export(&nodes, to.path(), &["--include", "Ten1,Again"]).expect_success();
    let manifest = std::fs::read(said.folder().join("export_metadata.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let warnings: Vec<&str> =
        manifest["warnings"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let older: Vec<&&str> =
        warnings.iter().filter(|warning| warning.contains("deleted and made again")).collect();
    let [again, ten1] = older.as_slice() else { panic!("{warnings:?}") };
    assert!(again.starts_with("class Again: 3 shards ("), "{again}");
    assert!(ten1.starts_with("class Ten1: 3 shards (t2, t3, t8) are in the directory"), "{ten1}");
    assert!(said.err.contains(**ten1), "{}", said.err);
    let shards = manifest["source"]["shards"].as_array().unwrap();
    let skipped = |class: &str| -> Vec<&str> {
        let of_class = shards.iter().filter(|shard| shard["class"] == class);
        let skipped = of_class
            .filter(|shard| shard["skipReason"] == "its files are of a shard that was deleted");
        skipped.filter_map(|shard| shard["shard"].as_str()).collect()
    };
    assert_eq!(skipped("Again"), ["XlYs0AwllbNh", "kQrf1xu5bw3M", "y9h8cnBANmKU"], "{shards:#?}");
    assert!(skipped("Ten1").contains(&"t2"), "{shards:#?}");
}

#[test]
fn servers_that_are_no_cluster_are_refused_and_both_named() {
    let (basic, tenants) = (unpack("basic").unwrap(), unpack("tenants").unwrap());
    let to = tempfile::tempdir().unwrap();
    let nodes = [basic.data_dir(), tenants.data_dir()];
    let error = export(&nodes, to.path(), &["--id", "refused"]).expect_error();
    for part in [
        &*nodes[0].display().to_string(),
        &*nodes[1].display().to_string(),
        "not of two nodes of one cluster",
        "differs in their RAFT logs",
        "export each cluster by itself",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!to.path().join("refused").exists());
    // Two copies of one node.
    let copy = unpack("basic").unwrap();
    let error = export(&[basic.data_dir(), copy.data_dir()], to.path(), &[]).expect_error();
    assert!(error.contains("both hold the shards of node node1"), "{error}");
}
