//! Guests that attack while they are loaded: what is wrong is named, the process that compiles has its
//! limits and its end, and the code that runs is that of the file that was read.
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use offloom_fixtures::{Fixture, unpack};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::guests::ids_guest;
use crate::program::{Said, program, said};
use crate::server::{Server, serve_filesystem};

#[path = "../../host/sandbox/tests/guests/bombs.rs"]
#[expect(dead_code)] // the sandbox's own tests use the others
mod bombs;

/// How long a process may take that has nothing to wait for.
const PATIENCE: Duration = Duration::from_secs(120);

/// An export of the fixture `basic` by the guest in `file`, with compiled guests of its own.
fn export(fixture: &Fixture, work: &Path, file: &Path) -> Command {
    let mut command = program();
    command
        .args(["export", "--include", "Target", "--progress", "none"])
        .args(["--data-dir".as_ref(), fixture.data_dir().as_os_str()])
        .args(["--to".as_ref(), work.join("out").as_os_str()])
        .args(["--guest".as_ref(), file.as_os_str()])
        .env("XDG_CACHE_HOME", work.join("cache"));
    command
}

#[test]
fn a_file_that_is_no_guest_is_refused_by_name() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let good = fs::read(ids_guest()).unwrap();
    said(&mut export(&fixture, work.path(), &ids_guest())).expect_success();
    let kept: Vec<_> = fs::read_dir(work.path().join("cache/offloom")).unwrap().collect();
    let entry = fs::read(kept[0].as_ref().unwrap().path()).unwrap();
    let native = entry.windows(4).position(|bytes| bytes == b"\x7fELF").unwrap();
    let mut damaged = good.clone();
    // The kind of the first section.
    damaged[8] = 0xff;
    let component = |items: &str| wat::parse_str(format!("(component {items})")).unwrap();
    let imports = |name: &str| component(&format!("(import \"{name}\" (instance))"));
    let nested = "(component ".repeat(20) + ")".repeat(20).as_str();
    let refused = |bytes: &[u8]| {
        let file = work.path().join("guest.wasm");
        fs::write(&file, bytes).unwrap();
        let error = said(&mut export(&fixture, work.path(), &file)).expect_error();
        assert!(error.contains("guest.wasm"), "{error}");
        error
    };
    for (name, bytes, words) in [
        ("text", b"(component)".to_vec(), "it is text"),
        ("core module", b"\0asm\x01\0\0\0".to_vec(), "build it for wasm32-wasip2"),
        (".cwasm", entry[native..].to_vec(), "it is native code"),
        ("cut", good[..good.len() / 2].to_vec(), "the component was refused: unexpected end"),
        ("damaged", damaged, "the component was refused: "),
        ("nested", component(&nested), "more than 16 levels"),
        ("empty instance", imports("x:y/z"), "imports `x:y/z`"),
        ("WASI 0.3", imports("wasi:cli/environment@0.3.0"), "not granted"),
        ("contract", imports("offloom:export/types@0.2.0"), "this host has version 0.1.0"),
        ("no exporter", component(""), "does not export offloom:export/exporter@0.1.0"),
    ] {
        let error = refused(&bytes);
        assert!(error.contains(words), "{name}: {error}");
    }
    let large = work.path().join("large.wasm");
    fs::File::create(&large).unwrap().set_len(300 << 20).unwrap();
    for (file, words) in
        [(large.as_path(), "more than 67108864 bytes"), (work.path(), "no regular file")]
    {
        let error = said(&mut export(&fixture, work.path(), file)).expect_error();
        assert!(error.contains(words), "{error}");
    }
    said(&mut export(&fixture, work.path(), &ids_guest())).expect_success();
}

/// Some ten seconds of processor time.
fn bomb(work: &Path) -> std::path::PathBuf {
    let file = work.join("bomb.wasm");
    fs::write(&file, bombs::many_values(5_000, 5_000)).unwrap();
    file
}

#[test]
fn a_guest_that_takes_gigabytes_to_compile_is_refused() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let error = said(&mut export(&fixture, work.path(), &bomb(work.path()))).expect_error();
    assert!(error.contains("more than 1024 MiB of memory"), "{error}");
    assert!(error.contains("bomb.wasm") && error.contains("build a smaller one"), "{error}");
    assert!(!work.path().join("out").exists(), "nothing is written");
}

#[test]
fn the_process_that_compiles_has_limits_and_ends_with_its_parent() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let bomb = bomb(work.path());
    for (signal, status) in [("-INT", Some(130)), ("-TERM", Some(143)), ("-KILL", None)] {
        let mut command = export(&fixture, work.path(), &bomb);
        command.env("OFFLOOM_LOG", "debug").stdout(Stdio::null()).stderr(Stdio::null());
        let mut export = command.spawn().unwrap();
        let compiler = compiler_of(&export);
        let limits = wait_for(|| {
            let limits = fs::read_to_string(format!("/proc/{compiler}/limits")).unwrap();
            limits.contains("1073741824").then_some(limits)
        });
        let limits: BTreeSet<String> = limits
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        for limit in [
            "Max cpu time 60 61 seconds",
            "Max file size 0 0 bytes",
            "Max core file size 0 0 bytes",
            "Max open files 16 16 files",
            "Max address space 1073741824 1073741824 bytes",
        ] {
            assert!(limits.contains(limit), "{limit}: {limits:#?}");
        }
        let environment = fs::read_to_string(format!("/proc/{compiler}/environ")).unwrap();
        let names: BTreeSet<&str> =
            environment.split_terminator('\0').filter_map(|v| Some(v.split_once('=')?.0)).collect();
        assert_eq!(names, BTreeSet::from(["MALLOC_ARENA_MAX", "RAYON_NUM_THREADS"]));
        let id = export.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        assert_eq!(export.wait().unwrap().code(), status, "{signal}");
        wait_for(|| has_ended(compiler).then_some(()));
    }
    assert!(!work.path().join("out").exists(), "nothing is written");
}

/// The child of an export that is compiling.
fn compiler_of(export: &Child) -> u32 {
    let parent = format!("PPid:\t{}", export.id());
    wait_for(|| {
        fs::read_dir("/proc").unwrap().find_map(|entry| {
            let id: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
            let arguments = fs::read_to_string(format!("/proc/{id}/cmdline")).ok()?;
            let started = arguments.starts_with("offloom\0compile-guest\0");
            (started && status.lines().any(|line| line == parent)).then_some(id)
        })
    })
}

/// Whether it is gone, or waits for somebody to ask for its status.
fn has_ended(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/status"))
        .map_or(true, |status| status.lines().any(|line| line.starts_with("State:\tZ")))
}

#[track_caller]
fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "it does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// As after an upgrade, while the old program still runs.
#[test]
fn a_program_whose_file_is_gone_compiles() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let copy = work.path().join("offloom");
    fs::copy(program().get_program(), &copy).unwrap();
    let export = export(&fixture, work.path(), &ids_guest());
    let mut shell = Command::new("bash");
    shell.args(["-c", "exec 9<\"$0\"; rm \"$0\"; exec /proc/self/fd/9 \"$@\""]).arg(&copy);
    shell.args(export.get_args()).env("XDG_CACHE_HOME", work.path().join("cache"));
    said(&mut shell).expect_success();
    assert!(!copy.exists());
}

/// The guest is read once: its digest is that of the code that runs.
#[test]
fn a_guest_file_that_changes_later_changes_nothing() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let file = work.path().join("guest.wasm");
    fs::copy(ids_guest(), &file).unwrap();
    let digest = hex::encode(Sha256::digest(fs::read(&file).unwrap()));
    let mut command = serve_filesystem(&fixture.data_dir(), work.path());
    let server = Server::start(command.arg("--guest").arg(&file));
    fs::write(&file, "another").unwrap();
    server.post("/v1/export/filesystem", &json!({ "id": "a", "include": ["Target"] })).ok();
    assert_eq!(server.wait("filesystem", "a")["status"], "SUCCESS");
    let folder = work.path().join("out/a");
    let manifest = fs::read(folder.join("export_metadata.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["guest"]["digest"], digest.as_str(), "{manifest:#}");
    assert!(fs::read(folder.join("Target.ids")).unwrap().starts_with(b"ids:"));
}

/// Everything that may be closed is closed.
#[test]
fn closed_standard_streams_do_not_keep_it_from_compiling() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let export = export(&fixture, work.path(), &ids_guest());
    let mut shell = Command::new("bash");
    shell.args(["-c", "exec \"$0\" \"$@\" <&- >&- 2>&-"]).arg(export.get_program());
    shell.args(export.get_args()).env("XDG_CACHE_HOME", work.path().join("cache"));
    let Said { ok, .. } = said(&mut shell);
    assert!(ok);
}
