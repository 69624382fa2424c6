//! A row of many megabytes goes through guest and file whole; one beyond the limit is named.
use offloom_encoder::{DirectoryWriter, NameStyle, Node, Object, SegmentOptions};

use crate::golden::export;
use crate::program::{Said, offloom, python};

/// A class `Large` with one property of `bytes` characters between two small objects.
fn export_property(bytes: usize, to: &std::path::Path) -> Said {
    let source = tempfile::tempdir().unwrap();
    let mut directory = DirectoryWriter::create(&source.path().join("data")).unwrap();
    let shard = directory.class("Large", false).unwrap().shard("abcdefghijkl").unwrap();
    let mut segment = shard
        .segment(1_700_000_000_000_000_000, NameStyle::Long, SegmentOptions::default())
        .unwrap();
    for (id, length) in [(1u8, 10), (2, bytes), (3, 10)] {
        let mut object = Object::new([id; 16], "Large");
        let text: String = (0..length).map(|at| char::from(b'a' + (at * at % 23) as u8)).collect();
        object.properties = Some(format!("{{\"text\":\"{text}\"}}").into_bytes());
        segment.append(&Node::live(&object, &Default::default()).unwrap()).unwrap();
    }
    segment.finish().unwrap();
    directory.write_schema(&source.path().join("schema.json")).unwrap();
    export(&source.path().join("data"), &source.path().join("schema.json"), to, &["--id", "large"])
}

#[test]
fn a_property_of_twenty_megabytes_is_exported() {
    let to = tempfile::tempdir().unwrap();
    let folder = export_property(20_000_000, to.path()).expect_success().folder();
    offloom(["verify", &folder.display().to_string()]).expect_success();
    let file = folder.join("Large.parquet").display().to_string();
    python("e2e/read_back.py", [&file]).expect_success();
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;
    let reader = SerializedFileReader::new(std::fs::File::open(file).unwrap()).unwrap();
    let lengths: Vec<usize> = reader
        .get_row_iter(None)
        .unwrap()
        .map(|row| row.unwrap().get_bytes(7).unwrap().len())
        .collect();
    assert_eq!(lengths, [21, 20_000_011, 21]);
}

#[test]
fn a_row_beyond_the_limit_is_named() {
    let to = tempfile::tempdir().unwrap();
    let error = export_property(40_000_000, to.path()).expect_error();
    assert!(error.contains("02020202-0202-0202-0202-020202020202"), "{error}");
    assert!(error.contains("Large") && error.contains("segment-1700000000000000000"), "{error}");
}
