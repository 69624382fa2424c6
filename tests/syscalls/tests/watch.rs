//! Calls are seen in their order, with their paths, before they are made; in other processes too.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is a failed test")]
use std::{
    fs::{self, File},
    path::Path,
    process::Command,
};

use offloom_test_syscalls::{Call, Event, watch, watch_and_fail};

fn event(call: Call, path: &Path, to: Option<&Path>) -> Event {
    Event { call, path: path.to_owned(), to: to.map(Path::to_owned) }
}

#[test]
fn syncs_links_and_renames_are_seen_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second, third] = ["first", "second", "third"].map(|name| folder.path().join(name));
    let mut seen = Vec::new();
    let answer = watch(
        &[Call::Sync, Call::Rename, Call::Link],
        || {
            let file = File::create(&first).unwrap();
            file.sync_all().unwrap();
            fs::hard_link(&first, &second).unwrap();
            fs::rename(&first, &third).unwrap();
            File::open(folder.path()).unwrap().sync_data().unwrap();
            42
        },
        |event| seen.push(event.clone()),
    );
    assert_eq!(answer, 42);
    let expected = [
        event(Call::Sync, &first, None),
        event(Call::Link, &first, Some(&second)),
        event(Call::Rename, &first, Some(&third)),
        event(Call::Sync, folder.path(), None),
    ];
    assert_eq!(seen, expected);
    assert!(second.exists() && third.exists());
}

#[test]
fn a_call_waits_until_it_was_seen() {
    let folder = tempfile::tempdir().unwrap();
    let [early, late] = ["early", "late"].map(|name| folder.path().join(name));
    fs::write(&early, "").unwrap();
    let found = watch(&[Call::Look], || late.exists(), |_| fs::rename(&early, &late).unwrap());
    assert!(found);
}

#[test]
fn processes_that_the_work_starts_are_watched() {
    let folder = tempfile::tempdir().unwrap();
    let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
    fs::write(&from, "").unwrap();
    let mut seen = Vec::new();
    let work = || Command::new("mv").arg(&from).arg(&to).status().unwrap().success();
    assert!(watch(&[Call::Rename], work, |event| seen.push(event.clone())));
    assert_eq!(seen, [event(Call::Rename, &from, Some(&to))]);
}

#[test]
fn a_failure_of_the_work_is_passed_on() {
    let panicked = std::panic::catch_unwind(|| {
        watch(&[Call::Sync], || panic!("of the work"), |_| ());
    });
    let panic = panicked.unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"of the work"));
}

#[test]
fn a_call_that_is_to_fail_is_not_made_and_the_others_are() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second, third] = ["first", "second", "third"].map(|name| folder.path().join(name));
    File::create(&first).unwrap();
    let error = watch_and_fail(
        &[Call::Link],
        || {
            fs::hard_link(&first, &third).unwrap();
            fs::hard_link(&first, &second).unwrap_err()
        },
        |event| (event.to.as_ref() == Some(&second)).then_some(5),
    );
    assert_eq!(error.raw_os_error(), Some(5));
    assert!(third.exists() && !second.exists());
}
