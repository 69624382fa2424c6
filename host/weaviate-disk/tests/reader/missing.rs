//! Shards whose files are gone, in part or as a whole: an error, and never fewer rows without one.
use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::{Path, PathBuf},
    sync::Arc,
};

use offloom_encoder::{DirectoryWriter, WalVersion};
use offloom_fixtures::Fixture;
use offloom_weaviate_disk::{
    DataDirectory, DiskError, Lost, LsmError, ShardSummary, SkipReason, UnitOptions,
};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::{
    catalog::{Server, class},
    emptiness::age,
    log::Log,
    rows::{self, LIMITS},
    shard::{CLASS, SHARD, Shard, put},
};

/// The data directories of a fixture's nodes.
fn nodes(fixture: &Fixture) -> Vec<PathBuf> {
    let data = fixture.data_dir();
    if data.join("node1").exists() {
        ["node1", "node2", "node3"].map(|node| data.join(node)).into()
    } else {
        vec![data]
    }
}

/// The buckets of a data directory that hold a file with data, or also the others.
fn buckets(data: &Path, with_empty: bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            if !entry.file_type().unwrap().is_dir() {
                continue;
            }
            let parent = folder.file_name().unwrap().to_str().unwrap();
            if entry.file_name() != "objects" || !parent.ends_with("lsm") {
                folders.push(entry.path());
            } else if with_empty || !data_files(&entry.path()).is_empty() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

/// The segments, logs and results of compactions of a bucket.
fn data_files(bucket: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(bucket).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> = files
        .filter(|file| {
            let name = file.file_name().unwrap().to_str().unwrap();
            let is_result = name.ends_with(".db.tmp") && name.contains('_');
            is_result || name.ends_with(".db") || name.ends_with(".wal")
        })
        .collect();
    files.sort();
    files
}

/// The number of rows, or why not all of them can be read.
fn read(data_dirs: &[PathBuf]) -> Result<usize, Arc<DiskError>> {
    let directory = DataDirectory::open_nodes(data_dirs, None).map_err(Arc::new)?;
    let mut count = 0;
    for class in directory.classes() {
        if let Some(fault) = class.faults.first() {
            return Err(fault.clone());
        }
        count += rows::read(&directory, class, 1 << 20, LIMITS).map_err(Arc::new)?.all().len();
    }
    Ok(count)
}

/// What stands in the place of a file or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Put {
    Nothing,
    Pipe,
    Socket,
    Folder,
    LinkToNothing,
    LinkOutside,
    LinkToItself,
}

const ANYTHING: [Put; 6] =
    [Put::Pipe, Put::Socket, Put::Folder, Put::LinkToNothing, Put::LinkOutside, Put::LinkToItself];

impl Put {
    /// Does it while `look` looks, and puts everything back.
    fn in_place_of<T>(self, path: &Path, look: impl FnOnce() -> T) -> T {
        let aside = tempfile::tempdir_in(aside(path)).unwrap();
        let kept = aside.path().join("kept");
        fs::rename(path, &kept).unwrap();
        match self {
            Put::Nothing => {}
            Put::Pipe => mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).unwrap(),
            Put::Socket => mknodat(CWD, path, FileType::Socket, Mode::RUSR, 0).unwrap(),
            Put::Folder => fs::create_dir(path).unwrap(),
            Put::LinkToNothing => symlink("nothing", path).unwrap(),
            Put::LinkOutside => symlink("/dev/null", path).unwrap(),
            Put::LinkToItself => symlink(path.file_name().unwrap(), path).unwrap(),
        }
        age(path.parent().unwrap());
        if self == Put::Folder {
            age(path);
        }
        let seen = look();
        match self {
            Put::Nothing => {}
            Put::Folder => fs::remove_dir(path).unwrap(),
            _ => fs::remove_file(path).unwrap(),
        }
        fs::rename(kept, path).unwrap();
        seen
    }
}

/// A place on the same file system and outside of the data directory.
fn aside(path: &Path) -> PathBuf {
    let data = path.ancestors().find(|folder| folder.ends_with("data")).unwrap();
    data.parent().unwrap().to_owned()
}

/// How often reading failed, and how often it found every row all the same.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcomes {
    failed: usize,
    complete: usize,
}

impl Outcomes {
    #[track_caller]
    fn add(&mut self, all: usize, read: Result<usize, Arc<DiskError>>, changed: &str) {
        match read {
            Err(_) => self.failed += 1,
            Ok(count) => {
                assert_eq!(count, all, "{changed}: rows are missing without an error");
                self.complete += 1;
            }
        }
    }
}

/// Each shard of each real directory in turn loses something. No file of it is damaged, so that
/// nothing but the look at the shard can notice.
fn outcomes(fixture: &str) -> Outcomes {
    let fixture = offloom_fixtures::unpack(fixture).unwrap();
    let data_dirs = nodes(&fixture);
    let all = read(&data_dirs).unwrap();
    let mut outcomes = Outcomes::default();
    let mut number = 0;
    for bucket in data_dirs.iter().flat_map(|data| buckets(data, true)) {
        let lsm = bucket.parent().unwrap();
        let files = data_files(&bucket);
        for path in [lsm, &bucket] {
            number += 1;
            for put in [Put::Nothing, ANYTHING[number % ANYTHING.len()]] {
                // As it was.
                if put == Put::Folder && files.is_empty() && path == bucket {
                    continue;
                }
                let read = put.in_place_of(path, || read(&data_dirs));
                outcomes.add(all, read, &format!("{put:?} in place of {}", path.display()));
            }
        }
        for file in &files {
            number += 1;
            let put = ANYTHING[number % ANYTHING.len()];
            let read = put.in_place_of(file, || read(&data_dirs));
            outcomes.add(all, read, &format!("{put:?} in place of {}", file.display()));
        }
        // Empty logs stay: they hold nothing.
        let kept = tempfile::tempdir_in(aside(&bucket)).unwrap();
        let full = files.iter().filter(|file| file.metadata().unwrap().len() > 0);
        let full: Vec<&PathBuf> = full.collect();
        let moved = |file: &PathBuf| kept.path().join(file.file_name().unwrap());
        full.iter().for_each(|file| fs::rename(file, moved(file)).unwrap());
        let vanished = read(&data_dirs);
        full.iter().for_each(|file| fs::rename(moved(file), file).unwrap());
        if full.is_empty() {
            assert_eq!(vanished.unwrap(), all);
        } else {
            outcomes.add(all, vanished, &format!("no data in {}", bucket.display()));
        }
    }
    assert_eq!(read(&data_dirs).unwrap(), all, "everything was put back");
    outcomes
}

/// Whatever is lost of any shard of these is an error.
#[test]
fn nothing_is_lost_without_an_error() {
    for name in offloom_fixtures::SINGLE_NODES.into_iter().chain(["namespaces", "cluster"]) {
        let found = outcomes(name);
        assert_eq!(found.complete, 0, "{name}: {found:?}");
        assert!(found.failed > 25, "{name}: {found:?}");
    }
}

/// The files of an older life are not read, so that nothing of them can be missing.
#[test]
fn nothing_of_a_cluster_with_a_stale_node_is_lost_without_an_error() {
    let found = outcomes("stale-node");
    assert!(found.failed > 80 && found.complete > 20, "{found:?}");
}

#[test]
fn a_counter_that_cannot_be_read_is_an_error() {
    for put in ANYTHING {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        let mut writer = DirectoryWriter::create(&data).unwrap();
        writer.class(CLASS, false).unwrap().shard(SHARD).unwrap();
        let data_dirs = [data.clone()];
        assert_eq!(read(&data_dirs).unwrap(), 0);
        let counter = data.join("article").join(SHARD).join("indexcount");
        age(&data.join("article").join(SHARD).join("lsm/objects"));
        put.in_place_of(&counter, || {
            let error = read(&data_dirs).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("indexcount"), "{put:?}: {text}");
        });
    }
}

#[test]
fn what_has_the_name_of_a_file_with_data_is_named() {
    for (put, found) in [
        (Put::Pipe, "a pipe has it"),
        (Put::Socket, "a socket has it"),
        (Put::Folder, "a directory has it"),
        (Put::LinkToNothing, "a link to nothing has it"),
    ] {
        for name in ["segment-1.db", "segment-1.l0.s0.db", "segment-1.wal", "segment-1_2.db.tmp"] {
            let root = tempfile::tempdir().unwrap();
            let data = root.path().join("data");
            let mut writer = DirectoryWriter::create(&data).unwrap();
            let shard = writer.class(CLASS, false).unwrap().shard(SHARD).unwrap();
            fs::write(shard.path().join(name), b"").unwrap();
            put.in_place_of(&shard.path().join(name), || {
                let text = read(std::slice::from_ref(&data)).unwrap_err().to_string();
                let start = format!("class Article, shard {SHARD}, file {name}: the name is");
                assert!(text.starts_with(&start) && text.contains(found), "{put:?}: {text}");
            });
        }
    }
}

#[test]
fn what_no_reader_needs_may_be_anything() {
    let shard = Shard::new();
    shard.log(1, &[put(1, "{}")], WalVersion::V1);
    for (number, name) in [
        "segment-1.bloom",
        "segment-1.l0.s0.cna",
        "segment-2.db.tmp",
        "segment-3.db.1795407641874.deleteme",
        "cleanup.db.bolt",
    ]
    .iter()
    .enumerate()
    {
        symlink(["nothing", "/dev/null"][number % 2], shard.file(name)).unwrap();
    }
    fs::create_dir(shard.file("segment-4.scratch.d")).unwrap();
    fs::write(shard.file("").join(OsStr::from_bytes(b"note\xff.txt")), b"x").unwrap();
    assert_eq!(shard.rows().len(), 1);
    assert_eq!(shard.warnings(), []);
}

#[test]
fn a_name_that_is_not_utf8_and_ends_like_data_is_an_error() {
    for name in [&b"segment-1\xff.db"[..], b"segment-\xc3.wal", b"segment-1_2\xff.l1.s0.db.tmp"] {
        let shard = Shard::new();
        shard.log(9, &[put(1, "{}")], WalVersion::V1);
        fs::write(shard.file("").join(OsStr::from_bytes(name)), b"x").unwrap();
        let error = shard.error();
        assert!(matches!(&error, DiskError::Lsm(LsmError::NotUtf8 { .. })), "{error}");
        assert!(error.to_string().contains("\u{fffd}"), "{error}");
    }
}

/// Its other copies are read, and the shard counts as failed all the same.
#[test]
fn a_copy_that_lost_its_files_does_not_hide_behind_the_others() {
    let fixture = offloom_fixtures::unpack("cluster").unwrap();
    let data_dirs = nodes(&fixture);
    let all = read(&data_dirs).unwrap();
    let bucket = buckets(&data_dirs[0].join("copied"), false).swap_remove(0);
    let shard = bucket.ancestors().nth(2).unwrap().file_name().unwrap().to_str().unwrap();
    Put::Nothing.in_place_of(&bucket, || {
        let directory = DataDirectory::open_nodes(&data_dirs, None).unwrap();
        let mut count = 0;
        for class in directory.classes() {
            let mut units = directory.units(class, UnitOptions::new(1 << 20));
            for unit in units.by_ref() {
                count += rows::read_unit(&unit, LIMITS).unwrap().len();
            }
            let failed: Vec<&ShardSummary> =
                units.shards().iter().filter(|shard| shard.error.is_some()).collect();
            match (&*class.name, failed.as_slice()) {
                ("Copied", [summary]) => {
                    assert_eq!(summary.shard, shard);
                    let text = summary.error.as_ref().unwrap().to_string();
                    let node = data_dirs[0].display().to_string();
                    assert!(text.contains("no folder copied/") && text.contains(&node), "{text}");
                }
                (name, failed) => assert!(failed.is_empty(), "{name}: {failed:?}"),
            }
        }
        assert_eq!(count, all);
    });
}

/// Servers make the directories of a class and its shards with the class. Those of tenants only when
/// they are written to.
#[test]
fn a_shard_of_the_schema_without_a_directory_is_lost_unless_it_is_a_tenant() {
    let log = class(Log::new(), "Note", false, &[("s1", "n1"), ("s2", "n1")]);
    let log = class(log, "Shelf", true, &[]).add_tenants("Shelf", &["n1"], &[("a", ""), ("b", "")]);
    let node = Server::new(&log);
    for (class, shard) in [("Note", "s1"), ("Note", "s2"), ("Shelf", "a")] {
        node.add(class, shard);
    }
    let data_dirs = [node.root.path().to_owned()];
    assert_eq!(read(&data_dirs).unwrap(), 3);
    let directory = DataDirectory::open_nodes(&data_dirs, None).unwrap();
    let never = &rows::class(&directory, "Shelf").shards[1];
    assert_eq!(never.skip_reason, Some(SkipReason::TenantWithoutData));

    let lost_shards = |class: &str| -> Vec<String> {
        let directory = DataDirectory::open_nodes(&data_dirs, None).unwrap();
        let class = rows::class(&directory, class);
        let survey = directory.survey(class);
        let surveyed = survey.shards.iter().filter(|shard| shard.fault().is_some());
        let surveyed: Vec<&str> = surveyed.map(|shard| &*shard.shard).collect();
        let mut units = directory.units(class, UnitOptions::new(1 << 20));
        units.by_ref().for_each(drop);
        let mut lost = Vec::new();
        for ShardSummary { shard, error, skip_reason, .. } in units.shards() {
            if let Some(LsmError::Lost { lost: Lost::Directory, .. }) = error.as_deref() {
                assert_eq!(*skip_reason, None);
                lost.push(shard.clone());
            }
        }
        assert_eq!(surveyed, lost);
        lost
    };
    let note = node.root.path().join("note");
    fs::rename(note.join("s2"), node.root.path().join("kept")).unwrap();
    assert_eq!(lost_shards("Note"), ["s2"]);
    fs::remove_dir_all(&note).unwrap();
    assert_eq!(lost_shards("Note"), ["s1", "s2"]);
    fs::remove_dir_all(node.root.path().join("shelf/a")).unwrap();
    assert_eq!(lost_shards("Shelf"), [""; 0]);
    fs::remove_dir(node.root.path().join("shelf")).unwrap();
    assert_eq!(lost_shards("Shelf"), ["a", "b"]);
}

/// Without a schema, a class whose shards all lost their folders is still one.
#[test]
fn a_class_without_schema_does_not_vanish_with_its_folders() {
    for name in ["basic", "v1.20.6"] {
        let fixture = offloom_fixtures::unpack(name).unwrap();
        let data = fixture.data_dir();
        for file in ["raft", "schema.db"] {
            if data.join(file).exists() {
                fs::rename(data.join(file), data.parent().unwrap().join(file)).unwrap();
            }
        }
        let data_dirs = [data.clone()];
        let all = read(&data_dirs).unwrap();
        assert!(all > 100, "{name}");
        let mut classes = 0;
        for bucket in buckets(&data, false) {
            if !bucket.display().to_string().contains("/target") {
                continue;
            }
            for path in [bucket.parent().unwrap(), &bucket] {
                let read = Put::Nothing.in_place_of(path, || read(&data_dirs));
                assert!(read.is_err(), "{name}: {} and {read:?}", path.display());
                classes += 1;
            }
        }
        assert!(classes > 0, "{name}");
    }
}
