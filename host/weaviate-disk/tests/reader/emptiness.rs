//! What an empty shard looks like, and what a server at work makes of a shard for a moment
//! (`data-directory.md` 3.1).
use std::{
    fs::{self, File},
    path::Path,
    thread,
    time::{Duration, SystemTime},
};

use offloom_encoder::{DirectoryWriter, NameStyle, SegmentOptions, WalVersion};
use offloom_weaviate_disk::{DataDirectory, DiskError, Lost, LsmError};

use crate::{
    rows::{self, LIMITS},
    shard::{CLASS, SHARD, Shard, delete, put},
};

/// Makes a file or folder look as if it did not change for a day: no server is waited for.
pub fn age(path: &Path) {
    let day = Duration::from_secs(24 * 3600);
    File::open(path).unwrap().set_modified(SystemTime::now() - day).unwrap();
}

#[track_caller]
fn lost(error: &DiskError) -> &Lost {
    match error {
        DiskError::Lsm(LsmError::Lost { lost, .. }) => lost,
        _ => panic!("{error}"),
    }
}

/// A shard as servers make it, with this counter.
fn shard_with_counter(counter: &[u8]) -> Shard {
    let shard = Shard::new();
    let path = shard.file("../../indexcount");
    fs::write(&path, counter).unwrap();
    age(&path);
    shard
}

#[test]
fn a_shard_is_empty_only_if_its_counter_says_so() {
    for counter in [&[][..], &[0; 8]] {
        let shard = shard_with_counter(counter);
        assert_eq!(shard.rows(), []);
        // Before 1.31 often with this.
        shard.log(1, &[], WalVersion::V1);
        assert_eq!(shard.rows(), []);
    }
    let shard = shard_with_counter(&5_u64.to_le_bytes());
    let error = shard.error();
    let path = format!("article/{SHARD}/indexcount");
    assert_eq!(*lost(&error), Lost::Objects { path: path.clone(), count: 5 });
    let text = error.to_string();
    let start = format!(
        "class Article, shard {SHARD}: no file holds an object, although {path} counts 5: files"
    );
    assert!(text.starts_with(&start) && text.contains("backup"), "{text}");
    // Neither a log of nothing, nor one of less than a record, nor a segment of nothing is one.
    shard.log(1, &[], WalVersion::V1);
    assert!(matches!(lost(&shard.error()), Lost::Objects { .. }));
    fs::write(shard.file("segment-0000000000000000001.wal"), [0, 1, 9]).unwrap();
    assert!(matches!(lost(&shard.error()), Lost::Objects { .. }));
    shard.segment(2, SegmentOptions::default(), &[]);
    assert!(matches!(lost(&shard.error()), Lost::Objects { .. }));
    // Everything was deleted: the tombstones are kept.
    shard.segment(3, SegmentOptions::default(), &[delete(1)]);
    assert_eq!(shard.rows(), []);

    let shard = shard_with_counter(&[1, 0, 0]);
    assert_eq!(*lost(&shard.error()), Lost::CounterCut { path: path.clone(), bytes: 3 });
    fs::remove_file(shard.file("../../indexcount")).unwrap();
    age(&shard.file(""));
    assert_eq!(*lost(&shard.error()), Lost::Counter { path });
    // With objects nobody asks it.
    shard.log(1, &[put(1, "{}")], WalVersion::V1);
    assert_eq!(shard.rows().len(), 1);
}

/// A server gives an id before it writes the object, and removes the folders of a tenant one by one.
#[test]
fn a_server_at_work_is_waited_for() {
    let pause = Duration::from_millis(300);
    let shard = Shard::new();
    fs::write(shard.file("../../indexcount"), 1_u64.to_le_bytes()).unwrap();
    thread::scope(|scope| {
        let written = scope.spawn(|| {
            thread::sleep(pause);
            shard.log(1, &[put(1, "{}")], WalVersion::V1);
        });
        assert_eq!(shard.rows().len(), 1);
        written.join().unwrap();
    });

    let root = tempfile::tempdir().unwrap();
    let mut writer = DirectoryWriter::create(root.path()).unwrap();
    let class = writer.class(CLASS, true).unwrap();
    for tenant in ["a", "b"] {
        let shard = class.shard(tenant).unwrap();
        let mut segment = shard.segment(1, NameStyle::Long, SegmentOptions::default()).unwrap();
        segment.append(&put(1, "{}")).unwrap();
        segment.finish().unwrap();
    }
    let directory = DataDirectory::open(root.path(), None).unwrap();
    let dropped = class.path().join("b");
    fs::remove_dir_all(dropped.join("lsm/objects")).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for path in ["lsm", ""] {
                thread::sleep(pause);
                fs::remove_dir_all(dropped.join(path)).unwrap();
            }
        });
        let class = rows::class(&directory, CLASS);
        let read = rows::read(&directory, class, 1 << 20, LIMITS).unwrap();
        assert_eq!(read.shards[1].skip_reason.as_deref(), Some("no data on disk"));
        assert_eq!(read.all().len(), 1);
    });
    // A tenant that is being made.
    fs::create_dir(class.path().join("c")).unwrap();
    let directory = DataDirectory::open(root.path(), None).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(pause);
            class.shard("c").unwrap();
        });
        let class = rows::class(&directory, CLASS);
        let read = rows::read(&directory, class, 1 << 20, LIMITS).unwrap();
        assert_eq!(read.shards[1].skip_reason.as_deref(), Some("no data"));
        assert_eq!(read.all().len(), 1);
    });
}
