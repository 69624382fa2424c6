//! A workload directory holds exactly the live objects that it promises.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use offloom_encoder::{Node, Object, TreeOrder, Workload, write_workload};

use crate::parse;
use crate::real::bucket_files;

/// What the directory's segments and log hold, newest wins, tombstones included.
fn merged(directory: &Path) -> BTreeMap<Vec<u8>, Node> {
    let mut merged = BTreeMap::new();
    let mut add = |node: Node| merged.insert(node.key.clone(), node);
    for path in bucket_files(directory, ".db") {
        let (_, nodes) = parse::segment(&fs::read(path).unwrap(), TreeOrder::VanEmdeBoas);
        for node in nodes {
            add(node);
        }
    }
    for path in bucket_files(directory, ".wal") {
        let file = fs::read(path).unwrap();
        let mut bytes = parse::Bytes(&file);
        while !bytes.is_empty() {
            bytes.take(2);
            add(parse::Bytes(bytes.blob()).node(None));
            bytes.take(4);
        }
    }
    merged
}

#[test]
fn every_row_is_live_in_its_newest_revision() {
    for workload in [Workload::W1, Workload::W2, Workload::W3] {
        let destination = tempfile::tempdir().unwrap();
        write_workload(workload, 500, destination.path()).unwrap();
        let live: BTreeMap<[u8; 16], Object> = merged(destination.path())
            .into_values()
            .filter(|node| node.tombstone == 0)
            .map(|node| parse::object(&node.value).0)
            .map(|object| (object.uuid, object))
            .collect();
        let expected: BTreeMap<[u8; 16], Object> = (0..500)
            .map(|row| parse::object(&workload_value(workload, row)).0)
            .map(|object| (object.uuid, object))
            .collect();
        assert_eq!(live.len(), 500);
        assert!(live == expected, "{workload:?}");
    }
}

fn workload_value(workload: Workload, row: u64) -> Vec<u8> {
    workload.object(row, workload.live_revision(row)).encode(&Default::default()).unwrap()
}

#[test]
fn a_reader_must_merge_updates_and_deletes() {
    let destination = tempfile::tempdir().unwrap();
    write_workload(Workload::W2, 5000, destination.path()).unwrap();
    let merged = merged(destination.path());
    let tombstones = merged.values().filter(|node| node.tombstone == 1).count();
    assert_eq!((merged.len(), tombstones), (5050, 50));
    let updated = (0..5000).filter(|&row| Workload::W2.live_revision(row) == 1).count();
    assert!(updated > 50, "{updated} updated");
    assert_eq!(bucket_files(destination.path(), ".db").len(), 4);
    let [log] = bucket_files(destination.path(), ".wal").try_into().unwrap();
    assert!(fs::metadata(log).unwrap().len() > 50 * 500);
}

#[test]
fn a_workload_is_the_same_every_time() {
    let [first, second] = [(); 2].map(|()| {
        let destination = tempfile::tempdir().unwrap();
        write_workload(Workload::W3, 300, destination.path()).unwrap();
        let files = [".db", ".wal", ".cna"].map(|ending| bucket_files(destination.path(), ending));
        files.concat().into_iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>()
    });
    assert!(first == second);
}

#[test]
fn properties_are_json_text_of_the_promised_length() {
    for workload in [Workload::W1, Workload::W2, Workload::W3] {
        for row in 0..200 {
            let properties = workload.object(row, 0).properties.unwrap();
            let length = properties.len();
            let promised = workload.properties_bytes();
            assert!((promised..promised + 20).contains(&length), "{workload:?}: {length} bytes");
            let json: serde_json::Value = serde_json::from_slice(&properties).unwrap();
            assert!(json.is_object());
        }
    }
}
