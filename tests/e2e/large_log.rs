//! A log that was never flushed is read in place: memory follows its records, not its bytes.
use std::path::Path;

use offloom_encoder::{DirectoryWriter, Node, Object, ObjectOptions, WalVersion, scale};

use crate::many_tenants::{manifest, measured_export};
use crate::program::offloom;

const MIB: u64 = 1024 * 1024;
/// The largest log that a server leaves by default (`wal.md` 2).
const WHOLE_LOG_BYTES: u64 = 1024 * MIB;

/// Writes one shard that is a log of at least `bytes`, and returns its number of objects.
fn write_log(bytes: u64, root: &Path) -> u64 {
    let mut directory = DirectoryWriter::create(&root.join("data")).unwrap();
    let shard = directory.class("Journal", false).unwrap().shard("aBcDeFgHiJkL").unwrap();
    let mut log = shard.wal(1_795_000_000_000_000_000).unwrap();
    let (mut objects, mut written) = (0_u64, 0_u64);
    while written < bytes {
        // Keys come in another order than that of the file.
        let id = (u128::from(objects + 1)).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let mut object = Object::new(id.to_be_bytes(), "Journal");
        object.doc_id = objects;
        object.vector = (0..1536).map(|at| ((objects * 1536 + at) % 1_000_003) as f32).collect();
        object.properties = Some(format!(r#"{{"number":{objects}}}"#).into_bytes());
        let node = Node::live(&object, &ObjectOptions::default()).unwrap();
        written += node.value.len() as u64;
        log.append(&node, WalVersion::V1).unwrap();
        objects += 1;
    }
    log.finish().unwrap();
    directory.write_schema(&root.join("schema.json")).unwrap();
    objects
}

#[test]
fn a_large_log_is_exported_in_little_memory() {
    let source = tempfile::tempdir().unwrap();
    let bytes = scale(256 * MIB, WHOLE_LOG_BYTES);
    let objects = write_log(bytes, source.path());
    let (peak_mib, took) = measured_export(source.path(), "1", "log");
    println!("soak: a log of {} MiB, {objects} objects, in {took:?}, {peak_mib} MiB", bytes / MIB);
    // Any export takes 110 MiB; the smaller log alone has 256 MiB.
    assert!(peak_mib < 180, "{peak_mib} MiB with one worker");
    let folder = source.path().join("lake/log");
    assert_eq!(manifest(&folder)["progress"]["Journal"]["objectsExported"], objects);
    offloom(["verify".as_ref(), folder.as_os_str()]).expect_success();
}
