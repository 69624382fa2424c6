//! The encoder against real servers: taken apart and written again, their files come out the same.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use offloom_encoder::{Node, SegmentWriter, TreeOrder, WalVersion, WalWriter};

use crate::parse;

/// Files of all objects buckets under `directory` whose names end in `ending`.
pub fn bucket_files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(bucket_files(&path, ending));
        } else if path.parent().is_some_and(|bucket| bucket.ends_with("lsm/objects"))
            && path.to_str().unwrap().ends_with(ending)
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The node made again from what it means, not from its bytes.
fn made_again(node: &Node) -> Node {
    let again = if node.tombstone == 0 {
        let (object, options) = parse::object(&node.value);
        Node::live(&object, &options).unwrap()
    } else {
        let time = node.value.get(1..9).map(|time| i64::from_le_bytes(time.try_into().unwrap()));
        Node::tombstone(node.key.as_slice().try_into().unwrap(), time)
    };
    again.with_secondary_keys(node.secondary_keys.clone())
}

#[test]
fn segments_of_real_servers_come_out_the_same() {
    let (mut files, mut identical, mut objects) = (0, 0, 0);
    for name in offloom_fixtures::SINGLE_NODES {
        // The tagged releases are older than the change of order, the others are of August 2026.
        let tree_order =
            if name.starts_with('v') { TreeOrder::Level } else { TreeOrder::VanEmdeBoas };
        let fixture = offloom_fixtures::unpack(name).unwrap();
        for path in bucket_files(&fixture.data_dir(), ".db") {
            let real = fs::read(&path).unwrap();
            let (options, nodes) = parse::segment(&real, tree_order);
            let mut segment = SegmentWriter::new(Cursor::new(Vec::new()), options).unwrap();
            for node in &nodes {
                segment.append(&made_again(node)).unwrap();
            }
            let ours = segment.finish().unwrap().into_inner();
            let same = parse::without_ties(&ours) == parse::without_ties(&real);
            assert!(same, "{name}: {} differs", path.display());
            identical += usize::from(ours == real);
            files += 1;
            objects += nodes.len();
        }
    }
    // The five others differ in the order of empty secondary keys, and in nothing else.
    assert_eq!((identical, files, objects), (114, 119, 2132));
}

#[test]
fn logs_of_real_servers_come_out_the_same() {
    let mut records = 0;
    for name in offloom_fixtures::SINGLE_NODES {
        let fixture = offloom_fixtures::unpack(name).unwrap();
        let data = fixture.data_dir();
        for path in bucket_files(&data, ".wal") {
            let real = fs::read(&path).unwrap();
            let mut log = WalWriter::new(Vec::new());
            let mut bytes = parse::Bytes(&real);
            while !bytes.is_empty() {
                assert_eq!((bytes.u8(), bytes.u8()), (0, 1), "type and version");
                let node_bytes = bytes.u32() as usize;
                if bytes.0.len() < node_bytes + 4 {
                    break; // the torn record at the end of `crashed`
                }
                let node = parse::Bytes(bytes.take(node_bytes)).node(None);
                bytes.take(4);
                log.append(&made_again(&node), WalVersion::V1).unwrap();
                records += 1;
            }
            let ours = log.finish().unwrap();
            assert!(real.starts_with(&ours), "{name}: {} differs", path.display());
            let torn = name == "crashed" && path.starts_with(data.join("namedvectors"));
            assert_eq!(ours.len() < real.len(), torn, "{name}: length of {}", path.display());
        }
    }
    assert!(records > 200, "{records} records");
}
