//! The same directory gives the same bytes, whatever the number of workers.
use std::collections::BTreeMap;
use std::path::Path;

use offloom_encoder::{DirectoryWriter, NameStyle, Node, SegmentOptions, WalVersion, Workload};

use crate::golden::export;
use crate::program::offloom;

/// Key of every file with its digest and number of blocks.
fn files(folder: &Path) -> BTreeMap<String, (String, usize)> {
    let manifest = std::fs::read(folder.join("export_metadata.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    manifest["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| {
            let text = |field: &str| file[field].as_str().unwrap().to_owned();
            let digest = file["digest"]["value"].as_str().unwrap().to_owned();
            (text("key"), (digest, file["blocks"].as_array().unwrap().len()))
        })
        .collect()
}

/// A class of three shards in several segments and a log each, large enough for several blocks a
/// shard, and one of three hundred small tenants.
fn write(root: &Path) {
    const ROWS_A_SHARD: u64 = 12_000;
    let mut directory = DirectoryWriter::create(&root.join("data")).unwrap();
    let class = directory.class("Big", false).unwrap();
    for shard in 0..3u64 {
        let writer = class.shard(&format!("shard{shard:07}")).unwrap();
        for segment in 0..3u64 {
            let id = 1_700_000_000_000_000_000 + segment;
            let mut out = writer.segment(id, NameStyle::Long, SegmentOptions::default()).unwrap();
            let mut nodes: Vec<Node> = (0..ROWS_A_SHARD)
                .filter(|row| row % 3 == segment || row % 50 == 7)
                .map(|row| node(shard * ROWS_A_SHARD + row, segment))
                .collect();
            nodes.sort_by(|left, right| left.key.cmp(&right.key));
            for node in &nodes {
                out.append(node).unwrap();
            }
            out.finish().unwrap();
        }
        let mut log = writer.wal(1_700_000_000_000_000_009).unwrap();
        for row in (0..ROWS_A_SHARD).step_by(97) {
            log.append(&node(shard * ROWS_A_SHARD + row, 9), WalVersion::V1).unwrap();
        }
        log.finish().unwrap();
    }
    let class = directory.class("Tenants", true).unwrap();
    for tenant in 0..300u64 {
        let mut log = class
            .shard(&format!("tenant-{tenant}"))
            .unwrap()
            .wal(1_700_000_000_000_000_000)
            .unwrap();
        log.append(&node(tenant, 0), WalVersion::V1).unwrap();
        log.finish().unwrap();
    }
    directory.write_schema(&root.join("schema.json")).unwrap();
}

fn node(row: u64, revision: u64) -> Node {
    let object = Workload::W1.object(row, revision.try_into().unwrap());
    Node::live(&object, &Default::default()).unwrap()
}

#[test]
fn one_two_and_eight_workers_write_the_same_bytes() {
    let source = tempfile::tempdir().unwrap();
    write(source.path());
    let to = tempfile::tempdir().unwrap();
    let written: Vec<_> = ["1", "2", "8"]
        .iter()
        .map(|workers| {
            let more = ["--workers", workers, "--id", &format!("with-{workers}")];
            let schema = source.path().join("schema.json");
            let said = export(&source.path().join("data"), &schema, to.path(), &more);
            let folder = said.expect_success().folder();
            offloom(["verify", &folder.display().to_string()]).expect_success();
            files(&folder)
        })
        .collect();
    assert_eq!(written[0], written[1]);
    assert_eq!(written[0], written[2]);
    let blocks = |key: &str| written[0][key].1;
    assert!(blocks("Big.parquet") > 6, "{written:?}");
    assert_eq!(blocks("Tenants.parquet"), 1, "small tenants share a block");
}
