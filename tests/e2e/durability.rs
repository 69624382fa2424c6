//! What an export has committed lasts when the machine fails: the order of the program's own system
//! calls shows it.
use std::path::{Path, PathBuf};

use offloom_encoder::{Workload, write_workload};
use offloom_test_syscalls::{Call, Event, watch};

use crate::golden::export;
use crate::program::offloom;

/// Every file below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] });
    files.collect()
}

/// The place in `events` at which `file` gets its name, which is once.
fn named(events: &[Event], file: &Path) -> usize {
    let names = |event: &Event| event.to.as_deref() == Some(file);
    let places: Vec<usize> = (0..events.len()).filter(|at| names(&events[*at])).collect();
    let [place] = places[..] else { panic!("{} is named at {places:?}", file.display()) };
    place
}

/// Whether `path` is synced in this part of the events.
fn is_synced(events: &[Event], path: &Path) -> bool {
    events.iter().any(|event| event.call == Call::Sync && event.path == path)
}

#[test]
fn files_are_synced_before_they_are_named_and_folders_before_the_commit() {
    let work = tempfile::tempdir().unwrap();
    let work = work.path().canonicalize().unwrap();
    let source = work.join("source");
    // A file of several parts; the others are written whole.
    write_workload(Workload::W1, 3_000, &source).unwrap();
    let lake = work.join("new/lake");
    let mut events = Vec::new();
    let said = watch(
        &[Call::Sync, Call::Rename, Call::Link],
        || export(&source.join("data"), &source.join("schema.json"), &lake, &["--id", "lasts"]),
        |event| events.push(event.clone()),
    );
    let folder = said.expect_success().folder();
    assert_eq!(folder, lake.join("lasts/"));
    let manifest = folder.join("export_metadata.json");
    let commit = named(&events, &manifest);
    let files = files(&folder);
    assert_eq!(files.len(), 4, "claim, rows, schema and manifest: {files:?}");
    for file in &files {
        let at = named(&events, file);
        let (before, after) = events.split_at(at);
        assert!(is_synced(before, &events[at].path), "{} was not synced", file.display());
        // All of the folder's names last before the commit is made, and that before it is reported.
        let after =
            if *file == manifest { after } else { &after[..commit.checked_sub(at).unwrap()] };
        assert!(is_synced(after, &folder), "the name of {} was not synced", file.display());
    }
    for created in [&folder, &lake, &work.join("new")] {
        let parent = created.parent().unwrap();
        assert!(is_synced(&events[..commit], parent), "{} was not synced", parent.display());
    }
    let size = std::fs::metadata(folder.join("W1Article.parquet")).unwrap().len();
    assert!(size > 2 * 8 * 1024 * 1024, "{size} bytes are one part");
    offloom(["verify".as_ref(), folder.as_os_str()]).expect_success();
}
