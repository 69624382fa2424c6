//! Whether everything that changes what opening gives changes the fingerprint.
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use offloom_fixtures::Fixture;
use offloom_weaviate_disk::{DataDirectory, Fingerprint, SchemaFile};

/// What an export gets of a directory, as text.
fn opened(data: &Path, schema: Option<&Path>) -> (String, bool) {
    let schema = schema.map(|path| SchemaFile::parse(path, fs::read(path)).unwrap());
    match DataDirectory::open(data, schema) {
        Ok(directory) => {
            let (classes, from) = (directory.classes(), directory.schema_from());
            let text = format!("{classes:#?} {from:?} {:?}", directory.warnings());
            (text, directory.depends_on_entries_alone())
        }
        Err(error) => (error.to_string(), false),
    }
}

/// Every entry, without what lies deeper than the files of a shard's bucket.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(entries(&path));
        }
        all.push(path);
    }
    all
}

fn fixture(name: &str) -> Fixture {
    offloom_fixtures::unpack(name).unwrap()
}

/// Takes every entry away, one at a time, and puts it back.
#[test]
fn what_changes_the_catalog_changes_the_fingerprint() {
    let (mut noticed, mut cached) = (0, 0);
    for name in ["basic", "tenants", "namespaces", "v1.20.6", "v1.24.26", "v1.28.16"] {
        for with_schema in [false, true] {
            let fixture = fixture(name);
            let (data, schema) = (fixture.data_dir(), fixture.schema_file());
            let schema = with_schema.then_some(&*schema);
            let (before, depends_on_entries) = opened(&data, schema);
            if !depends_on_entries {
                continue;
            }
            cached += 1;
            let aside = data.parent().unwrap().join("aside");
            for entry in entries(&data) {
                let whole = Fingerprint::take(&[&data]).unwrap();
                fs::rename(&entry, &aside).unwrap();
                let same_entries =
                    Fingerprint::take(&[&data]).is_ok_and(|fingerprint| fingerprint == whole);
                let same_catalog = opened(&data, schema).0 == before;
                fs::rename(&aside, &entry).unwrap();
                assert!(same_catalog || !same_entries, "{name}: {}", entry.display());
                noticed += usize::from(!same_catalog);
            }
        }
    }
    assert!(cached >= 3 && noticed > 20, "{cached} {noticed}");
}

/// A file that is written in place, and a class and a shard that are added.
#[test]
fn a_change_of_the_stored_schema_or_the_lists_changes_the_fingerprint() {
    let fixture = fixture("basic");
    let data = fixture.data_dir();
    let mut last = Fingerprint::take(&[&data]).unwrap();
    assert_eq!(last, Fingerprint::take(&[&data]).unwrap());
    let snapshot = entries(&data.join("raft")).into_iter().find(|path| path.ends_with("meta.json"));
    let written = snapshot.into_iter().chain([data.join("raft/raft.db")]);
    let mut changes: Vec<Box<dyn Fn()>> = Vec::new();
    for file in written {
        changes.push(Box::new(move || {
            let same = fs::read(&file).unwrap();
            fs::write(&file, same).unwrap();
        }));
    }
    for folder in ["newclass", "newclass/shard0", "raft/snapshots/1-2-3"] {
        let folder = data.join(folder);
        changes.push(Box::new(move || fs::create_dir_all(&folder).unwrap()));
    }
    for change in changes {
        // Longer than a step of the clock.
        std::thread::sleep(Duration::from_millis(30));
        change();
        let next = Fingerprint::take(&[&data]).unwrap();
        assert_ne!(last, next);
        last = next;
    }
    assert_eq!(last, Fingerprint::take(&[&data]).unwrap());
}

/// Otherwise a second change in the same step of the clock would be missed.
#[test]
fn a_fingerprint_is_settled_when_the_last_change_is_old() {
    let fixture = fixture("basic");
    let data = fixture.data_dir();
    let fingerprint = Fingerprint::take(&[&data]).unwrap();
    let now = SystemTime::now();
    assert!(!fingerprint.is_settled(now));
    assert!(fingerprint.is_settled(now + Duration::from_secs(11)));
    // A clock that was set back.
    assert!(!fingerprint.is_settled(now - Duration::from_secs(3600)));
}

#[test]
fn names_that_come_from_objects_are_read_every_time() {
    let fixture = fixture("basic");
    let data = fixture.data_dir();
    assert!(opened(&data, None).1);
    fs::rename(data.join("raft"), data.parent().unwrap().join("raft")).unwrap();
    assert!(!opened(&data, None).1);
}
