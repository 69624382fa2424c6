//! Reading leaves no trace in a data directory: names, inodes, sizes, times and modes stay.
use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt, path::Path};

use offloom_weaviate_disk::{DataDirectory, SchemaFile};

use crate::rows::{self, LIMITS};

/// Inode, size, mode, time of the last write and of the last change of anything; all but the time
/// of the last reading.
type Trace = (u64, u64, u32, (i64, i64), (i64, i64));

fn listing(root: &Path) -> BTreeMap<String, Trace> {
    let mut found = BTreeMap::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let written = (meta.mtime(), meta.mtime_nsec());
            let changed = (meta.ctime(), meta.ctime_nsec());
            let trace = (meta.ino(), meta.len(), meta.mode(), written, changed);
            found.insert(path.to_str().unwrap().to_owned(), trace);
            if meta.is_dir() {
                directories.push(path);
            }
        }
    }
    found
}

/// Whatever of it can be read is read, in all ways in which it can be.
fn read_all(data: &Path, schema: Option<&Path>) -> usize {
    let mut count = 0;
    for schema in [None, schema.map(|path| SchemaFile::parse(path, std::fs::read(path)).unwrap())] {
        let Ok(directory) = DataDirectory::open(data, schema) else { continue };
        for class in directory.classes() {
            directory.survey(class);
            directory.estimate(class);
            let rows = rows::read(&directory, class, 100_000, LIMITS);
            count += rows.map_or(0, |rows| rows.all().len());
        }
    }
    count
}

#[test]
fn nothing_is_written_to_any_directory() {
    for name in offloom_fixtures::NAMES {
        let fixture = offloom_fixtures::unpack(name).unwrap();
        let data = fixture.data_dir();
        let before = listing(&data);
        assert!(before.len() > 20, "{name}");
        let mut rows = read_all(&data, Some(&fixture.schema_file()));
        for node in ["node1", "node2", "node3"] {
            rows += read_all(&data.join(node), None);
        }
        assert_eq!(listing(&data), before, "{name}");
        assert!(rows > 0, "{name}");
    }
}
