//! What exports cost the machine: rates, quotas of users, the page cache, the priority of reading.
use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use offloom_encoder::{Workload, write_workload};
use offloom_fixtures::unpack;
use serde_json::json;

use crate::program::{program, said};
use crate::server::{Server, serve_filesystem};
use crate::users::Users;

/// Files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// For each page of a file, whether it is in the page cache.
fn cached_pages(path: &Path) -> Vec<bool> {
    let file = File::open(path).unwrap();
    let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
    if length == 0 {
        return Vec::new();
    }
    let mut flags = vec![0_u8; length.div_ceil(4096)];
    // SAFETY: a new mapping, which is not accessed; mincore writes one byte for each of its pages.
    #[allow(unsafe_code)]
    unsafe {
        let (none, shared) = (libc::PROT_NONE, libc::MAP_SHARED);
        let mapped = libc::mmap(std::ptr::null_mut(), length, none, shared, file.as_raw_fd(), 0);
        assert_ne!(mapped, libc::MAP_FAILED);
        assert_eq!(libc::mincore(mapped, length, flags.as_mut_ptr()), 0);
        libc::munmap(mapped, length);
    }
    flags.iter().map(|flag| flag & 1 == 1).collect()
}

/// Takes a file out of the page cache.
fn forget(path: &Path) {
    let file = File::open(path).unwrap();
    file.sync_all().unwrap();
    // SAFETY: it takes integers alone.
    #[allow(unsafe_code)]
    let refused = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    assert_eq!(refused, 0);
}

#[test]
fn the_page_cache_is_after_an_export_as_it_was_before() {
    // The folder of temporary files may be in memory, where pages cannot be dropped.
    let work = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    write_workload(Workload::W1, 6_000, work.path()).unwrap();
    let data_dir = work.path().join("data");
    let mut segments: Vec<PathBuf> = files(&data_dir)
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("/objects/"))
        .collect();
    segments.sort_by_key(|path| path.metadata().unwrap().len());
    let largest = segments.last().unwrap();
    assert!(largest.metadata().unwrap().len() > 16 << 20, "{largest:?}");
    segments.iter().for_each(|path| forget(path));
    // The server beside has read the begin of a file.
    let mut begin = vec![0; 1 << 20];
    File::open(largest).unwrap().read_exact(&mut begin).unwrap();
    // The system reads ahead of it.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let before: Vec<Vec<bool>> = segments.iter().map(|path| cached_pages(path)).collect();
    let count = |pages: &[Vec<bool>]| pages.iter().flatten().filter(|cached| **cached).count();
    assert!(count(&before) >= 256 && count(&before) < 4_096, "{}", count(&before));

    let mut export = program();
    export.args(["export", "--data-dir"]).arg(&data_dir).arg("--to").arg(work.path().join("lake"));
    said(&mut export).expect_success();
    let after: Vec<Vec<bool>> = segments.iter().map(|path| cached_pages(path)).collect();
    for ((path, before), after) in segments.iter().zip(&before).zip(&after) {
        let changed: Vec<usize> =
            (0..before.len()).filter(|page| before[*page] != after[*page]).collect();
        assert!(changed.is_empty(), "{} has {} pages: {changed:?}", path.display(), before.len());
    }
}

#[test]
fn reading_and_writing_keep_to_their_rates() {
    let source = tempfile::tempdir().unwrap();
    write_workload(Workload::W1, 2_000, source.path()).unwrap();
    let export = |id: &str, more: &[&str]| {
        let begun = std::time::Instant::now();
        let mut command = program();
        command.args(["export", "--id", id, "--data-dir"]).arg(source.path().join("data"));
        command.arg("--to").arg(source.path().join("lake")).args(more);
        said(&mut command).expect_success();
        begun.elapsed().as_secs_f64()
    };
    // About 13 MB are read, and 11 MB written; a second's worth is free.
    for rate in ["--max-read-rate", "--max-write-rate"] {
        let took = export(&rate[2..].replace('-', "_"), &[rate, "4MiB"]);
        assert!(took >= 1.5, "{rate}: {took} s");
    }
}

#[test]
fn idle_input_and_output_is_that_of_every_thread() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let classes = |idle: bool| {
        let mut command = serve_filesystem(&fixture.data_dir(), work.path());
        if idle {
            command.arg("--idle-io");
        }
        let server = Server::start(&mut command);
        let id = if idle { "idle" } else { "usual" };
        server.post("/v1/export/filesystem", &json!({ "id": id })).ok();
        server.wait("filesystem", id);
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.process_id())).unwrap();
        let tasks = tasks.map(|task| task.unwrap().file_name().into_string().unwrap());
        tasks
            .filter_map(|task| {
                let said = said(Command::new("ionice").args(["-p", &task]));
                // A thread may have ended meanwhile.
                said.ok.then(|| said.out.trim().to_owned())
            })
            .collect::<Vec<_>>()
    };
    let idle = classes(true);
    assert!(idle.len() > 4 && idle.iter().all(|class| class == "idle"), "{idle:?}");
    let usual = classes(false);
    assert!(usual.iter().all(|class| class != "idle"), "{usual:?}");
}

#[test]
fn a_quota_of_one_user_leaves_the_others_alone() {
    let users = Users::new();
    let mut server = users.start_with(|command| {
        command.env("OFFLOOM_QUOTAS__PER_DAY", "2");
    });
    let keys = users.keys();
    let creating =
        |server: &Server, id: &str| server.post("/v1/export/filesystem", &json!({ "id": id }));
    server.log_in(&keys["root"]);
    for id in ["one", "two"] {
        creating(&server, id).ok();
        server.wait("filesystem", id);
    }
    let refused = creating(&server, "three");
    assert!(refused.error(429).contains("2 exports within 24 hours"), "{refused:?}");
    let hours = refused.retry_after.unwrap() / 3_600;
    assert!((23..=24).contains(&hours), "{refused:?}");
    // What is refused for another reason, or starts nothing, counts for nothing; an id that was refused is free.
    assert_eq!(server.post("/v1/export/filesystem", &json!({ "dryRun": true })).status, 200);
    let other = keys.keys().find(|user| {
        *user != "root" && {
            server.log_in(&keys[*user]);
            server.post("/v1/export/filesystem", &json!({ "dryRun": true })).status == 200
        }
    });
    creating(&server, "three").ok();
    assert!(other.is_some());
}

#[test]
fn a_quota_outlives_the_server() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    for (id, status) in [("one", 200), ("two", 429)] {
        let mut command = serve_filesystem(&fixture.data_dir(), work.path());
        let server = Server::start(command.env("OFFLOOM_QUOTAS__PER_DAY", "1"));
        assert_eq!(
            server.post("/v1/export/filesystem", &json!({ "id": id })).status,
            status,
            "{id}"
        );
        if status == 200 {
            server.wait("filesystem", id);
        }
    }
}
