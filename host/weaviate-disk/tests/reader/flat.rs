//! The flat layout of before 1.22: whose shard is `<class>_<shard>_lsm`?
use std::{fs, path::Path, sync::Arc};

use offloom_weaviate_disk::{DataDirectory, DiskError, Layout, SchemaFile, ShardWarning, Warning};

use crate::{
    rows::{self, LIMITS},
    shard::{SHARD, add, schema},
};

/// Adds a shard as versions before 1.22 laid it out.
fn add_flat(data: &Path, class: &str, shard: &str, class_name: &str) {
    add(data, class, shard, class_name);
    let directory = data.join(class.to_ascii_lowercase());
    let stem = format!("{}_{shard}", class.to_ascii_lowercase());
    fs::rename(directory.join(shard).join("lsm"), data.join(format!("{stem}_lsm"))).unwrap();
    let version = directory.join(shard).join("version");
    fs::rename(version, data.join(format!("{stem}.version"))).unwrap();
    fs::remove_dir_all(directory).unwrap();
    fs::remove_file(data.join("migration1.22.fs.hierarchy")).unwrap();
}

/// Class, tenant and number of rows of every shard.
fn shards(directory: &DataDirectory) -> Vec<(String, String, usize)> {
    let mut shards = Vec::new();
    for class in directory.classes() {
        let read = rows::read(directory, class, 1 << 20, LIMITS).unwrap();
        let all = read.all();
        for shard in read.shards {
            let count = all.iter().filter(|row| row.shard == shard.index).count();
            shards.push((class.name.to_string(), shard.shard, count));
        }
    }
    shards
}

fn owned(shards: &[(&str, &str, usize)]) -> Vec<(String, String, usize)> {
    let owned = |&(class, shard, rows): &(&str, &str, usize)| (class.into(), shard.into(), rows);
    shards.iter().map(owned).collect()
}

/// The fault of all classes of the directory, which are these.
fn fault(directory: &DataDirectory, classes: &[&str]) -> Arc<DiskError> {
    let names: Vec<&str> = directory.classes().iter().map(|class| &*class.name).collect();
    assert_eq!(names, classes);
    let faults = directory.classes().iter().flat_map(|class| class.faults.iter().cloned());
    let faults: Vec<_> = faults.collect();
    assert_eq!(faults.len(), classes.len());
    faults[0].clone()
}

fn opened(data: &Path, schema: Option<SchemaFile>) -> DataDirectory {
    DataDirectory::open(data, schema).unwrap()
}

#[test]
fn objects_tell_the_class_where_the_name_can_be_split_in_two_ways() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    add_flat(&data, "Shelf", "a_b", "Shelf");
    add_flat(&data, "Shelf_A", "c", "Shelf_A");
    add_flat(&data, "Note", SHARD, "Note");
    let directory = opened(&data, None);
    assert_eq!(directory.nodes()[0].layout(), Layout::Flat);
    let expected = [("Note", SHARD, 1), ("Shelf", "a_b", 1), ("Shelf_A", "c", 1)];
    assert_eq!(shards(&directory), owned(&expected));
    let file = schema(
        root.path(),
        r#"{"classes": [
            {"class": "Shelf", "multiTenancyConfig": {"enabled": true}},
            {"class": "Shelf_A", "multiTenancyConfig": {"enabled": true}},
            {"class": "Note"}
        ]}"#,
    );
    let directory = opened(&data, Some(file));
    assert_eq!(shards(&directory), owned(&expected));
    assert_eq!(directory.warnings(), []);
}

#[test]
fn a_shard_that_nothing_tells_of_is_an_error_when_it_holds_something() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    add_flat(&data, "Shelf", "a_b", "");
    let directory = opened(&data, None);
    let error = fault(&directory, &["Shelf"]);
    let DiskError::FlatShard { entry } = &*error else { panic!("{error}") };
    assert_eq!(entry, "shelf_a_b_lsm");
    assert!(error.to_string().contains("--schema"), "{error}");
    // One class of the schema fits.
    let file = schema(
        root.path(),
        r#"{"classes": [{"class": "Shelf", "multiTenancyConfig": {"enabled": true}}]}"#,
    );
    assert_eq!(shards(&opened(&data, Some(file))), owned(&[("Shelf", "a_b", 1)]));
    // Two fit, and it may be of either.
    let file = schema(root.path(), r#"{"classes": [{"class": "Shelf"}, {"class": "Shelf_a"}]}"#);
    let directory = opened(&data, Some(file));
    let error = fault(&directory, &["Shelf", "Shelf_a"]);
    assert!(matches!(*error, DiskError::FlatShard { .. }), "{error}");
    // Nothing to lose.
    let log = data.join("shelf_a_b_lsm/objects/segment-0000000000000000001.wal");
    fs::write(log, b"").unwrap();
    let error = DataDirectory::open(&data, None).unwrap_err();
    assert!(matches!(error, DiskError::NotADataDirectory { .. }), "{error}");
    add_flat(&data, "Note", SHARD, "Note");
    let directory = opened(&data, None);
    assert_eq!(shards(&directory), owned(&[("Note", SHARD, 1)]));
    let left_out = Warning::NoShards { directory: "shelf_a_b_lsm".to_owned() };
    assert_eq!(directory.warnings(), [left_out]);
}

#[test]
fn a_server_that_died_while_it_changed_the_layout_leaves_both() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    add_flat(&data, "Shelf", "a_b", "Shelf");
    add(&data, "Shelf", "c", "Shelf");
    add(&data, "Note", SHARD, "Note");
    let marker = data.join("migration1.22.fs.hierarchy");
    fs::remove_file(&marker).unwrap();
    let directory = opened(&data, None);
    assert_eq!(
        shards(&directory),
        owned(&[("Note", SHARD, 1), ("Shelf", "a_b", 1), ("Shelf", "c", 1)])
    );
    // With the marker the older one does not count.
    fs::write(&marker, b"").unwrap();
    let directory = opened(&data, None);
    assert_eq!(directory.nodes()[0].layout(), Layout::Hierarchical);
    assert_eq!(shards(&directory), owned(&[("Note", SHARD, 1), ("Shelf", "c", 1)]));
}

#[test]
fn a_class_that_is_called_like_a_flat_shard_is_none() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    add(&data, "My_lsm", "objects", "My_lsm");
    fs::remove_file(data.join("migration1.22.fs.hierarchy")).unwrap();
    let directory = opened(&data, None);
    assert_eq!(directory.nodes()[0].layout(), Layout::Hierarchical);
    assert_eq!(shards(&directory), owned(&[("My_lsm", "objects", 1)]));
}

#[test]
fn classes_from_before_there_were_shards_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    add_flat(&data, "Note", "single", "Note");
    let directory = opened(&data, None);
    let error = fault(&directory, &["Note"]);
    let DiskError::Unsharded { entry } = &*error else { panic!("{error}") };
    assert_eq!(entry, "note_single_lsm");
}

#[test]
fn the_version_of_a_flat_shard_is_looked_at() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    add_flat(&data, "Note", SHARD, "Note");
    fs::write(data.join(format!("note_{SHARD}.version")), 3_u16.to_le_bytes()).unwrap();
    let directory = opened(&data, None);
    let class = rows::class(&directory, "Note");
    let read = rows::read(&directory, class, 1 << 20, LIMITS).unwrap();
    let [ShardWarning::ShardVersion { version: 3, .. }] = read.shards[0].warnings.as_slice() else {
        panic!("{:?}", read.shards)
    };
}
