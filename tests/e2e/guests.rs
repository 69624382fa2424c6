//! Guests on the command line: options of the default one, another one by `--guest`, refusals.
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::golden::export;
use crate::program::{Said, offloom, python, root};
use crate::server::{Server, serve_filesystem};

#[path = "../../guest/build_guest.rs"]
mod build_guest;

fn export_basic(to: &Path, more: &[&str]) -> Said {
    let fixture = offloom_fixtures::unpack("basic").unwrap();
    export(&fixture.data_dir(), &fixture.schema_file(), to, more)
}

#[test]
fn options_reach_the_guest_and_the_manifest() {
    let to = tempfile::tempdir().unwrap();
    let plain = ["--id", "plain", "--guest-option", "compression=none"];
    let plain = export_basic(to.path(), &plain).expect_success().folder();
    let packed = export_basic(to.path(), &["--id", "packed"]).expect_success().folder();
    let size = |folder: &Path| folder.join("AllTypes.parquet").metadata().unwrap().len();
    assert!(size(&plain) > 2 * size(&packed), "{} {}", size(&plain), size(&packed));
    let manifest = std::fs::read(plain.join("export_metadata.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["guest"]["options"]["compression"], "none");
}

/// What is written without options is what is written at the documented level, and at no other.
#[test]
fn the_default_level_is_the_documented_one() {
    let docs = std::fs::read_to_string(root().join("docs/guests.md")).unwrap();
    let row = docs.lines().find(|line| line.starts_with("| `compression-level` |")).unwrap();
    let (_, default) = row.split_once(", default ").unwrap();
    let default: u32 = default.split_once(' ').unwrap().0.parse().unwrap();
    let to = tempfile::tempdir().unwrap();
    let file = |id: &str, more: &[&str]| {
        let more = [&["--id", id, "--include", "AllTypes"], more].concat();
        let folder = export_basic(to.path(), &more).expect_success().folder();
        std::fs::read(folder.join("AllTypes.parquet")).unwrap()
    };
    let unset = file("unset", &[]);
    for level in [default - 1, default, default + 1] {
        let option = format!("compression-level={level}");
        let set = file(&level.to_string(), &["--guest-option", &option]);
        assert_eq!(set == unset, level == default, "level {level}");
    }
}

#[test]
fn an_unknown_option_is_refused_with_the_known_ones() {
    let to = tempfile::tempdir().unwrap();
    let error = export_basic(to.path(), &["--guest-option", "colour=red"]).expect_error();
    assert!(error.contains("colour") && error.contains("compression-level"), "{error}");
    assert_eq!(std::fs::read_dir(to.path()).unwrap().count(), 0);
}

#[test]
fn a_file_that_is_no_component_is_refused() {
    let to = tempfile::tempdir().unwrap();
    let file = to.path().join("guest.wasm");
    std::fs::write(&file, "(module)").unwrap();
    let error = export_basic(to.path(), &["--guest", &file.display().to_string()]).expect_error();
    assert!(error.contains("guest.wasm") && error.contains("WebAssembly component"), "{error}");
}

/// Builds a guest of the workspace `guest`, and answers where it lies.
pub fn guest(package: &str) -> PathBuf {
    let target_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let [file] = build_guest::build_guests(&root().join("guest"), target_dir, [package]).unwrap();
    file
}

/// The guest of the sandbox's tests: it writes only ids, or misbehaves as the option `do` says.
pub fn ids_guest() -> PathBuf {
    guest("offloom-guest-hostile")
}

#[test]
fn a_guest_of_ones_own_writes_files_of_its_own_format() {
    let to = tempfile::tempdir().unwrap();
    let guest = ids_guest().display().to_string();
    let more = ["--guest", &guest, "--include", "Target,Empty"];
    let folder = export_basic(to.path(), &more).expect_success().folder();
    let target = std::fs::read(folder.join("Target.ids")).unwrap();
    assert!(target.starts_with(b"ids:") && target.ends_with(b";1 blocks"), "{target:?}");
    assert_eq!(std::fs::read(folder.join("Empty.ids")).unwrap(), b"ids:;0 blocks");
    let said = offloom(["verify", &folder.display().to_string()]).expect_success();
    assert!(said.err.contains("Target.ids"), "what is not proved is reported: {said:?}");
    // Two files, of which nothing was read: the last line does not say otherwise.
    let last = said.out.lines().last().unwrap();
    let unchecked = "sizes and digests (BLAKE3) agree; not checked: rows and ids of Empty.ids, rows and ids of Target.ids";
    assert!(last.ends_with(unchecked), "{last}");
    let quick = offloom(["verify", "--quick", &folder.display().to_string()]).expect_success();
    assert!(quick.out.contains("; sizes agree; not checked: "), "{quick:?}");
}

/// Its files are no Parquet, whatever they are called.
#[test]
fn a_guest_cannot_call_its_files_parquet_past_the_check() {
    let guest = ids_guest().display().to_string();
    for claim in ["parquet-by-name", "parquet-by-extension", "parquet-by-media-type"] {
        let to = tempfile::tempdir().unwrap();
        let more = ["--id", "a", "--guest", &guest, "--guest-option", &format!("do={claim}")];
        let error = export_basic(to.path(), &more).expect_error();
        assert!(error.contains("other than PAR1"), "{claim}: {error}");
        let manifest = std::fs::read(to.path().join("a/export_metadata.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["status"], "FAILED", "{claim}");
    }
}

/// An export whose manifest calls them something else is not verified as if rows had been read.
#[test]
fn verify_checks_a_file_that_is_called_parquet_in_any_way() {
    let to = tempfile::tempdir().unwrap();
    let guest = ids_guest().display().to_string();
    let folder = export_basic(to.path(), &["--guest", &guest, "--include", "Target"])
        .expect_success()
        .folder();
    let manifest_file = folder.join("export_metadata.json");
    let whole: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&manifest_file).unwrap()).unwrap();
    for (key, value) in [("name", "PARQUET"), ("mediaType", "application/parquet")] {
        let mut manifest = whole.clone();
        manifest["files"][0]["format"][key] = value.into();
        std::fs::write(&manifest_file, manifest.to_string()).unwrap();
        let said = offloom(["verify", &folder.display().to_string()]);
        assert_eq!(said.status, Some(1), "{said:#?}");
        assert!(said.err.contains("Target.ids: it is no Parquet file"), "{said:#?}");
    }
    let mut manifest = whole;
    std::fs::rename(folder.join("Target.ids"), folder.join("Target.parquet")).unwrap();
    manifest["files"][0]["format"]["extension"] = "parquet".into();
    manifest["files"][0]["key"] = "Target.parquet".into();
    std::fs::write(&manifest_file, manifest.to_string()).unwrap();
    let said = offloom(["verify", &folder.display().to_string()]);
    assert_eq!(said.status, Some(1), "{said:#?}");
    assert!(said.err.contains("Target.parquet: it is no Parquet file"), "{said:#?}");
}

/// The exporter that guest authors copy, read back row by row and compared with what REST answered.
#[test]
fn the_minimal_guest_exports_every_row() {
    let wasm = guest("offloom-guest-minimal").display().to_string();
    for name in ["basic", "segments"] {
        let to = tempfile::tempdir().unwrap();
        let fixture = offloom_fixtures::unpack(name).unwrap();
        let more = ["--guest", &wasm];
        let exported = export(&fixture.data_dir(), &fixture.schema_file(), to.path(), &more);
        let folder = exported.expect_success().folder();
        let compared = [folder.as_os_str(), fixture.folder().as_os_str()];
        python("e2e/compare_json_lines.py", compared).expect_success();
    }
}

#[test]
fn a_guest_that_traps_fails_its_own_export() {
    let to = tempfile::tempdir().unwrap();
    let guest = ids_guest().display().to_string();
    let more = ["--id", "hostile", "--guest", &guest, "--guest-option", "do=panic"];
    let error = export_basic(to.path(), &more).expect_error();
    assert!(error.contains("the guest trapped: unreachable code or a panic"), "{error}");
    let manifest = std::fs::read(to.path().join("hostile/export_metadata.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["status"], "FAILED");
    assert_eq!(manifest["files"].as_array().unwrap().len(), 0);
}

/// A guest that never answers takes the time of guests alone, and only as much as it may.
#[test]
fn endless_calls_do_not_keep_the_server_from_answering() {
    let (fixture, work) =
        (offloom_fixtures::unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let mut command = serve_filesystem(&fixture.data_dir(), work.path());
    let server = Server::start(command.arg("--guest").arg(ids_guest()));
    let post = |id: &str, behaviour: &str| {
        let body = json!({ "id": id, "include": ["Target"], "guestOptions": { "do": behaviour } });
        server.post("/v1/export/filesystem", &body)
    };
    let ended = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (post, ended) = (&post, &ended);
            scope.spawn(move || {
                let call = if number == 0 { "plan-loop" } else { "describe-loop" };
                let answer = post(&format!("endless-{number}"), call);
                ended.fetch_add(1, Ordering::Relaxed);
                let error = answer.error(422);
                // The second on a machine that is busy with other things.
                let limits = ["10s of processor time without reading", "took more than 30s"];
                assert!(limits.iter().any(|limit| error.contains(limit)), "{error}");
            });
        }
        // Others are served meanwhile, and a guest that behaves finishes its export.
        while ended.load(Ordering::Relaxed) == 0 {
            assert_eq!(server.get("/v1/.well-known/live").status, 200);
            std::thread::sleep(Duration::from_millis(100));
        }
        post("good", "").ok();
        assert_eq!(server.wait("filesystem", "good")["status"], "SUCCESS");
    });
    assert!(work.path().join("out/good/Target.ids").exists());
    // Their ids are free.
    post("endless-1", "").ok();
    assert_eq!(server.wait("filesystem", "endless-1")["status"], "SUCCESS");
}
