//! A written directory has the layout of a real one.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use offloom_encoder::{
    DirectoryWriter, NameStyle, Node, SegmentOptions, Sidecar, WalVersion, tear,
};

#[test]
fn classes_tenants_and_files_are_where_servers_put_them() {
    let root = tempfile::tempdir().unwrap();
    let mut directory = DirectoryWriter::create(root.path()).unwrap();
    let shelf = directory.class("MyShelf", true).unwrap();
    let tenant = shelf.shard("a_B").unwrap();
    directory.class("NoTenants", true).unwrap();
    for (style, level) in [(NameStyle::Short, 0), (NameStyle::Long, 3)] {
        let options = SegmentOptions { level, ..SegmentOptions::default() };
        let mut segment = tenant.segment(12, style, options).unwrap();
        segment.append(&Node::tombstone([1; 16], None)).unwrap();
        segment.finish().unwrap();
        tenant.sidecar(12, style, level, &Sidecar::NetAdditions(-1)).unwrap();
    }
    tenant.sidecar(12, NameStyle::Long, 3, &Sidecar::SecondaryBloom(0, vec![9])).unwrap();

    assert!(root.path().join("migration1.22.fs.hierarchy").is_file());
    assert_eq!(fs::read_dir(root.path().join("notenants")).unwrap().count(), 0);
    let bucket = root.path().join("myshelf/a_B/lsm/objects");
    assert_eq!(bucket, tenant.path());
    assert_eq!(fs::metadata(&bucket).unwrap().permissions().mode() & 0o777, 0o700);
    let entries = fs::read_dir(&bucket).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "segment-0000000000000000012.cna",
            "segment-0000000000000000012.db",
            "segment-0000000000000000012.l3.s0.cna",
            "segment-0000000000000000012.l3.s0.db",
            "segment-0000000000000000012.l3.s0.secondary.0.bloom",
        ]
    );
    let count = fs::read(bucket.join(&names[0])).unwrap();
    assert_eq!(count[..4], crc32fast::hash(&count[4..]).to_le_bytes());
    assert_eq!(count[4..], (-1_i64).to_le_bytes());

    let schema = directory.schema();
    assert_eq!(schema["classes"][0]["class"], "MyShelf");
    assert_eq!(schema["classes"][0]["multiTenancyConfig"]["enabled"], true);
    assert_eq!(schema["classes"][1]["class"], "NoTenants");
}

#[test]
fn a_torn_log_is_shorter_by_the_bytes_cut() {
    let root = tempfile::tempdir().unwrap();
    let shard = DirectoryWriter::create(root.path())
        .unwrap()
        .class("C", false)
        .unwrap()
        .shard("s")
        .unwrap();
    let mut log = shard.wal(7).unwrap();
    log.append(&Node::tombstone([1; 16], None), WalVersion::V1).unwrap();
    log.finish().unwrap();
    let path = shard.path().join("segment-0000000000000000007.wal");
    let whole = fs::read(&path).unwrap();
    tear(&path, 5).unwrap();
    assert_eq!(fs::read(&path).unwrap(), whole[..whole.len() - 5]);
}
