//! Replays the kept inputs of the fuzz targets in `fuzz/`, and writes what fuzzing starts from.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a failed unwrap is a failed test"
)]
mod seeds;
mod targets;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The kept inputs of a target.
fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// Runs a target with its kept inputs, of which there must be some.
fn replay(target: &str) {
    let entries = fs::read_dir(corpus(target)).expect("the kept inputs are part of the sources");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 10, "{} kept inputs of {target}", files.len());
    for file in files {
        let input = fs::read(&file).unwrap();
        let replayed = std::panic::catch_unwind(|| targets::run(target, &input));
        assert!(replayed.is_ok(), "{}", file.display());
    }
}

macro_rules! replayed {
    ($($target:ident)*) => {
        $(#[test]
        fn $target() {
            replay(stringify!($target));
        })*

        #[test]
        fn every_target_is_replayed_and_has_a_program() {
            let replayed = [$(stringify!($target)),*];
            assert_eq!(targets::TARGETS.map(|target| target.0), replayed);
            for target in replayed {
                let program = format!("fuzz/fuzz_targets/{target}.rs");
                assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(program).exists(), "{target}");
            }
        }
    };
}

replayed! { bbolt key_tree object raft_log raft_snapshot schema_db segment wal }
