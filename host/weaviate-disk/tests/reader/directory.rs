//! Which classes, tenants and names a directory has, with and without a schema.
use std::{fs, os::unix::fs::symlink, path::PathBuf};

use offloom_encoder::{DirectoryWriter, NameStyle, SegmentOptions, WalVersion};
use offloom_weaviate_disk::{
    CopySurvey, DataDirectory, DiskError, IgnoredReason, LsmError, ShardWarning, Warning,
};

use crate::{
    rows::{self, LIMITS},
    shard::{CLASS, SHARD, Shard, add, delete, put, schema},
};

/// Name, multi-tenancy and number of shards of every class.
fn named(directory: &DataDirectory) -> Vec<(&str, bool, usize)> {
    let classes = directory.classes().iter();
    classes.map(|class| (&*class.name, class.multi_tenant, class.shards.len())).collect()
}

#[test]
fn without_a_schema_the_objects_tell_the_name_or_the_directory_does() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    add(&data, "MixedCase", SHARD, "MixedCase");
    // Stale or empty names are no evidence; one shard that has none does not end the search.
    add(&data, "restored", SHARD, "SomethingElse");
    add(&data, "unnamed", SHARD, "");
    add(&data, "SecondShard", "aaaaaaaaaaaa", "");
    add(&data, "SecondShard", "bbbbbbbbbbbb", "SecondShard");
    let directory = DataDirectory::open(&data, None).unwrap();
    assert_eq!(
        named(&directory),
        [
            ("MixedCase", false, 1),
            ("Restored", false, 1),
            ("SecondShard", false, 2),
            ("Unnamed", false, 1),
        ]
    );
    let guessed = |directory: &str, name: &str| Warning::ClassNameGuessed {
        directory: directory.to_owned(),
        name: name.to_owned(),
    };
    assert_eq!(
        directory.warnings(),
        [guessed("restored", "Restored"), guessed("unnamed", "Unnamed")]
    );
    assert!(directory.warnings()[0].to_string().contains("give a schema file"));
}

#[test]
fn without_a_schema_a_shard_that_weaviate_did_not_name_is_a_tenant() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    add(&data, "Single", SHARD, "Single");
    add(&data, "Shelf", SHARD, "Shelf");
    add(&data, "Shelf", "a_b", "Shelf");
    let directory = DataDirectory::open(&data, None).unwrap();
    assert_eq!(named(&directory), [("Shelf", true, 2), ("Single", false, 1)]);
    let warning =
        Warning::MultiTenancyGuessed { class: "Shelf".to_owned(), shard: "a_b".to_owned() };
    assert_eq!(directory.warnings(), [warning]);
    let shelf = rows::class(&directory, "Shelf");
    let rows = rows::read(&directory, shelf, 1 << 20, LIMITS).unwrap().all();
    let tenants: Vec<_> = rows.iter().map(|row| row.tenant.as_deref().unwrap()).collect();
    assert_eq!(tenants, ["aBcDeFgHiJkL", "a_b"]);
}

#[test]
fn a_schema_decides_names_tenancy_and_which_classes_there_are() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    add(&data, "Note", SHARD, "nOTE");
    add(&data, "Shelf", SHARD, "Shelf");
    add(&data, "Forgotten", SHARD, "Forgotten");
    fs::create_dir(data.join("emptymt")).unwrap();
    let schema = schema(
        root.path(),
        r#"{"classes": [
            {"class": "NOTE"},
            {"class": "Shelf", "multiTenancyConfig": {"enabled": true}},
            {"class": "EmptyMT", "multiTenancyConfig": {"enabled": true}},
            {"class": "Nowhere"}
        ]}"#,
    );
    let directory = DataDirectory::open(&data, Some(schema)).unwrap();
    assert_eq!(
        named(&directory),
        [
            ("EmptyMT", true, 0),
            ("Forgotten", false, 0),
            ("NOTE", false, 1),
            ("Nowhere", false, 0),
            ("Shelf", true, 1),
        ]
    );
    assert_eq!(directory.warnings(), []);
    let faults = |class: &offloom_weaviate_disk::Class| -> Vec<String> {
        let faults = class.faults.iter().map(|fault| format!("{}: {fault}", class.name));
        faults.collect()
    };
    let file = root.path().join("schema.json").display().to_string();
    assert_eq!(
        directory.classes().iter().flat_map(faults).collect::<Vec<_>>(),
        [
            format!(
                "Forgotten: schema file {file} does not fit the data directory: it lacks class \
                 Forgotten, whose directory is forgotten; save a fresh answer of GET /v1/schema"
            ),
            format!(
                "Nowhere: schema file {file} does not fit the data directory: it has class Nowhere, \
                 of which the directory holds nothing; save a fresh answer of GET /v1/schema"
            ),
        ]
    );
    let definition = rows::class(&directory, "NOTE").definition.as_deref();
    assert_eq!(definition, Some(r#"{"class": "NOTE"}"#));
    for name in ["EmptyMT", "Nowhere"] {
        let class = rows::class(&directory, name);
        let rows = rows::read(&directory, class, 1 << 20, LIMITS).unwrap();
        assert_eq!((rows.units.len(), rows.shards.len()), (0, 0));
    }
}

#[test]
fn what_is_not_data_is_left_out() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    add(&data, "Note", SHARD, "Note");
    for directory in [
        "raft/snapshots/x/lsm",
        ".backup.tmp/note/x/lsm/objects",
        ".backup-staging-1/x/lsm",
        "__DELETE_ME_AFTER_BACKUP__note/x/lsm",
        "note.1795407641874000000.0123abcd.deleteme/x/lsm",
        "lost+found/x/lsm",
        "Uppercase/x/lsm",
        "note/.snapshots/.snapshot-1/lsm",
        "note/shard.1795407641874000000.0123abcd.deleteme/lsm",
        "note/not a shard/lsm",
        "noshards",
    ] {
        fs::create_dir_all(data.join(directory)).unwrap();
    }
    fs::write(data.join("classfile"), b"").unwrap();
    fs::write(data.join("note/file"), b"").unwrap();
    let directory = DataDirectory::open(&data, None).unwrap();
    assert_eq!(named(&directory), [("Note", false, 1)]);
    assert_eq!(
        directory.warnings(),
        [
            Warning::UnknownDirectory { directory: "note/not a shard".to_owned() },
            Warning::NoShards { directory: "noshards".to_owned() },
        ]
    );
}

#[test]
fn directories_that_are_not_weaviates_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let missing = DataDirectory::open(&root.path().join("missing"), None).unwrap_err();
    assert!(matches!(missing, DiskError::OpenDirectory { .. }), "{missing}");
    let file = root.path().join("file");
    fs::write(&file, b"").unwrap();
    let file = DataDirectory::open(&file, None).unwrap_err();
    assert!(matches!(file, DiskError::OpenDirectory { .. }), "{file}");
    let other = DataDirectory::open(root.path(), None).unwrap_err();
    assert!(other.to_string().contains("PERSISTENCE_DATA_PATH"), "{other}");
    // A server without classes is one.
    fs::create_dir(root.path().join("raft")).unwrap();
    assert!(DataDirectory::open(root.path(), None).unwrap().classes().is_empty());
}

#[test]
fn links_out_of_the_directory_are_not_followed() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let outside = root.path().join("outside");
    let bucket = add(&data, "Note", SHARD, "Note");
    let elsewhere = add(&outside, "Other", SHARD, "Other");

    let read = || {
        let directory = DataDirectory::open(&data, None).unwrap();
        rows::read(&directory, rows::class(&directory, "Note"), 1 << 20, LIMITS)
    };
    symlink(outside.join("other"), data.join("other")).unwrap();
    let directory = DataDirectory::open(&data, None).unwrap();
    assert_eq!(named(&directory), [("Note", false, 1), ("Other", false, 0)]);
    let [fault] = &*rows::class(&directory, "Other").faults else { panic!("{directory:?}") };
    assert!(matches!(&**fault, DiskError::List { entry, .. } if entry == "other"), "{fault}");
    assert_eq!(read().unwrap().all().len(), 1);
    fs::remove_file(data.join("other")).unwrap();

    symlink(outside.join("other").join(SHARD), data.join("note/bbbbbbbbbbbb")).unwrap();
    let directory = DataDirectory::open(&data, None).unwrap();
    let note = rows::class(&directory, "Note");
    let faults: Vec<_> = note.shards.iter().map(|shard| shard.fault.is_some()).collect();
    assert_eq!(faults, [false, true]);
    let mut units = directory.units(note, offloom_weaviate_disk::UnitOptions::new(1 << 20));
    assert_eq!(units.by_ref().count(), 1);
    let error = units.shards()[1].error.as_ref().unwrap().to_string();
    assert!(error.contains("cannot list note/bbbbbbbbbbbb"), "{error}");
    fs::remove_file(data.join("note/bbbbbbbbbbbb")).unwrap();

    assert_eq!(read().unwrap().all().len(), 1);
    let name = "segment-0000000000000000002.wal";
    let log = elsewhere.join("segment-0000000000000000001.wal");
    for target in [log, PathBuf::from("/dev/zero"), PathBuf::from("../../../../../outside")] {
        symlink(&target, bucket.join(name)).unwrap();
        let error = read().unwrap_err();
        let DiskError::Lsm(LsmError::Read { place, .. }) = &error else { panic!("{error}") };
        assert_eq!(&*place.file, name);
        fs::remove_file(bucket.join(name)).unwrap();
    }
    // A link that stays inside is as good as a file.
    fs::rename(bucket.join("segment-0000000000000000001.wal"), data.join("note/moved")).unwrap();
    symlink("../../../moved", bucket.join(name)).unwrap();
    assert_eq!(read().unwrap().all().len(), 1);
}

#[test]
fn a_shard_without_data_is_reported_with_its_reason() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let mut writer = DirectoryWriter::create(&data).unwrap();
    let class = writer.class(CLASS, true).unwrap();
    class.shard("a").unwrap();
    class.shard("b").unwrap();
    let empty_log = class.shard("c").unwrap();
    empty_log.wal(1).unwrap().finish().unwrap();
    let mut log = class.shard("d").unwrap().wal(1).unwrap();
    log.append(&put(1, "{}"), WalVersion::V1).unwrap();
    log.finish().unwrap();
    let empty = class.shard("e").unwrap();
    empty.segment(1, NameStyle::Long, SegmentOptions::default()).unwrap().finish().unwrap();
    let directory = DataDirectory::open(&data, None).unwrap();
    // Dropped before it is read.
    fs::remove_dir_all(class.path().join("a")).unwrap();
    let class = rows::class(&directory, "Article");
    let read = rows::read(&directory, class, 1 << 20, LIMITS).unwrap();
    let shards: Vec<_> = read
        .shards
        .iter()
        .map(|shard| (shard.shard.as_str(), shard.index, shard.skip_reason.as_deref()))
        .collect();
    assert_eq!(
        shards,
        [
            ("a", 0, Some("no data on disk")),
            ("b", 1, Some("no data")),
            ("c", 2, Some("no data")),
            ("d", 3, None),
            ("e", 4, Some("no data")),
        ]
    );
    assert_eq!(read.all()[0].shard, 3);
}

#[test]
fn the_cut_off_of_a_shard_names_what_was_read() {
    let shard = Shard::new();
    let before = chrono::Utc::now();
    shard.segment(1, SegmentOptions::default(), &[put(1, "{}")]);
    shard.segment(2, SegmentOptions::default(), &[put(2, "{}")]);
    let log = shard.log(3, &[put(3, "{}")], WalVersion::V1);
    let whole = fs::metadata(&log).unwrap().len();
    fs::write(&log, [fs::read(&log).unwrap(), vec![9; 5]].concat()).unwrap();
    let read = shard.read().unwrap();
    let cut_off = read.shards[0].cut_off.as_ref().unwrap();
    assert!(cut_off.at >= before && cut_off.at <= chrono::Utc::now());
    assert_eq!(cut_off.newest_segment.as_deref(), Some("segment-0000000000000000002.db"));
    let logs: Vec<_> = cut_off.logs().map(|log| (log.name.as_str(), log.bytes_read)).collect();
    assert_eq!(logs, [("segment-0000000000000000003.wal", whole)]);
}

#[test]
fn oddities_of_a_shard_are_reported_and_its_rows_read() {
    let shard = Shard::new();
    shard.segment(1, SegmentOptions::default(), &[put(1, "{}")]);
    fs::write(shard.file("segment-1_2.db"), b"whatever").unwrap();
    fs::write(shard.file("../../version"), 3_u16.to_le_bytes()).unwrap();
    assert_eq!(shard.rows().len(), 1);
    let texts: Vec<String> = shard.warnings().iter().map(ShardWarning::to_string).collect();
    assert_eq!(
        texts,
        [
            "class Article, shard aBcDeFgHiJkL: shard version 3 is newer than the newest known one (2)",
            "class Article, shard aBcDeFgHiJkL, file segment-1_2.db is left out: its name is not \
             one that Weaviate gives to data",
        ]
    );
}

#[test]
fn a_survey_shows_files_counts_and_what_was_decided() {
    let shard = Shard::new();
    let options = SegmentOptions { version: 1, level: 2, secondary_keys: 2, ..Default::default() };
    shard.segment(1, options, &[put(1, "{}"), put(2, "{}")]);
    shard.segment(3, SegmentOptions::default(), &[put(2, "{}")]);
    shard.log(4, &[put(3, "{}"), delete(1), put(3, "{}")], WalVersion::V1);
    fs::write(shard.file("segment-0000000000000000005.wal"), b"").unwrap();
    fs::write(shard.file("segment-0000000000000000006.db.tmp"), b"x").unwrap();
    let directory = shard.open();
    let class = rows::class(&directory, CLASS);
    let survey = directory.survey(class);
    let [shard_survey] = survey.shards.as_slice() else { panic!("{survey:?}") };
    let [CopySurvey { objects_estimate, raw_bytes, segments, logs, ignored, fault, .. }] =
        shard_survey.copies.as_slice()
    else {
        panic!("{survey:?}")
    };
    assert!(fault.is_none());
    // Keys of the segments and live keys of the log.
    assert_eq!(*objects_estimate, 2 + 1 + 1);
    assert!(*raw_bytes > 0);
    let segments: Vec<_> = segments
        .iter()
        .map(|segment| (segment.level, segment.version, segment.secondary_indices, segment.keys))
        .collect();
    assert_eq!(segments, [(2, 1, 2, 2), (0, 0, 1, 1)]);
    assert_eq!((logs.len(), logs[0].records, logs[0].dropped_bytes), (1, 3, 0));
    let ignored: Vec<_> = ignored.iter().map(|file| (file.name.as_str(), file.reason)).collect();
    assert_eq!(
        ignored,
        [
            ("segment-0000000000000000005.wal", IgnoredReason::EmptyLog),
            ("segment-0000000000000000006.db.tmp", IgnoredReason::UnfinishedWrite),
        ]
    );
    // The estimate does not read the logs: their number of records is derived from their length.
    let estimate = directory.estimate(class);
    assert_eq!(estimate.objects, 2 + 1 + 3);
    assert!(estimate.raw_bytes >= *raw_bytes);
    // Damage is part of the survey, and does not end it.
    fs::write(shard.file("segment-0000000000000000007.db"), b"too short").unwrap();
    let survey = directory.survey(class);
    assert_eq!(survey.shards[0].copies[0].segments.len(), 2);
    let fault = survey.shards[0].fault().unwrap().to_string();
    assert!(fault.contains("segment-0000000000000000007.db"), "{fault}");
}

#[test]
fn a_file_that_is_replaced_while_it_is_exported_is_read_as_it_was() {
    let shard = Shard::new();
    let path = shard.segment(1, SegmentOptions::default(), &[put(1, "{}")]);
    let directory = shard.open();
    let class = rows::class(&directory, CLASS);
    let options = offloom_weaviate_disk::UnitOptions::new(1 << 20);
    let unit = directory.units(class, options).next().unwrap();
    let before = rows::read_unit(&unit, LIMITS).unwrap();
    assert_eq!(before.len(), 1);
    // A compaction puts another file under its name.
    fs::rename(&path, path.with_extension("kept")).unwrap();
    fs::write(&path, b"something else").unwrap();
    assert_eq!(rows::read_unit(&unit, LIMITS).unwrap(), before);
}
