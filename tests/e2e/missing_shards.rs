//! Shards whose files are gone or cannot be read: an error, or listed as missing, and never SUCCESS with
//! fewer rows. `host/weaviate-disk/tests/reader/missing.rs` tries it on every shard of every fixture.
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use offloom_fixtures::{Fixture, unpack};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Said, offloom, program, said};

/// The buckets of a class in a data directory of either layout.
fn buckets(data: &Path, class: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(data.join(class)).into_iter().flatten() {
        found.push(entry.unwrap().path().join("lsm/objects"));
    }
    for entry in std::fs::read_dir(data).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with(&format!("{class}_")) && name.ends_with("_lsm") {
            found.push(entry.path().join("objects"));
        }
    }
    found.sort();
    found
}

/// The files with data of a bucket.
fn data_files(bucket: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(bucket).unwrap().map(|file| file.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|end| end == "db" || end == "wal")).collect()
}

fn make_pipe(path: &Path) {
    said(Command::new("mkfifo").arg(path)).expect_success();
}

fn manifest(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("export_metadata.json")).unwrap()).unwrap()
}

fn rows(manifest: &Value) -> u64 {
    let files = manifest["files"].as_array().unwrap();
    files.iter().map(|file| file["rows"].as_u64().unwrap()).sum()
}

/// A fixture that something is done to before it is exported.
struct Changed {
    fixture: Fixture,
    to: TempDir,
}

impl Changed {
    fn new(name: &str) -> Changed {
        Changed { fixture: unpack(name).unwrap(), to: tempfile::tempdir().unwrap() }
    }

    fn data(&self) -> PathBuf {
        self.fixture.data_dir()
    }

    fn export(&self, more: &[&str]) -> Said {
        let data = self.data().display().to_string();
        let to = self.to.path().display().to_string();
        let start = ["export", "--data-dir", &data, "--to", &to, "--progress", "none"];
        offloom(start.iter().chain(more))
    }

    /// The export fails for this reason, which names the class; a partial one has everything but these
    /// shards of the class.
    #[track_caller]
    fn assert_lost(&self, whole: u64, class: &str, lost_rows: u64, reason: &str) {
        let failed = self.export(&[]);
        assert_eq!(failed.status, Some(1), "{failed:#?}");
        let error = failed.expect_error();
        assert!(error.contains(&format!("class {class}, shard ")), "{error}");
        assert!(error.contains(reason), "{error}");
        let partial = self.export(&["--allow-partial"]).expect_partial();
        let manifest = manifest(&partial.folder());
        assert_eq!((&manifest["status"], &manifest["partial"]), (&"SUCCESS".into(), &true.into()));
        let missing = manifest["missing"].as_array().unwrap();
        assert!(!missing.is_empty());
        for missing in missing {
            assert_eq!(missing["class"], class);
            assert!(missing["reason"].as_str().unwrap().contains(reason), "{missing}");
        }
        assert_eq!(rows(&manifest), whole - lost_rows, "{manifest:#}");
        // Without the class, nothing is missing.
        let without = self.export(&["--exclude", class]);
        assert_eq!(without.status, Some(0), "{without:#?}");
    }
}

/// Rows of the whole fixture, and of the class.
fn counts(name: &str, class: &str) -> (u64, u64) {
    let whole = Changed::new(name);
    let all = rows(&manifest(&whole.export(&[]).expect_success().folder()));
    let of_class = whole.export(&["--include", class]).expect_success().folder();
    (all, rows(&manifest(&of_class)))
}

#[test]
fn a_shard_that_lost_its_folders_or_files_is_missing() {
    let (whole, of_note) = counts("basic", "Note");
    type Change = fn(&Path);
    let changes: [(&str, Change, &str); 7] = [
        (
            "lsm",
            |bucket| std::fs::remove_dir_all(bucket.parent().unwrap()).unwrap(),
            "there is no folder note/",
        ),
        ("objects", |bucket| std::fs::remove_dir_all(bucket).unwrap(), "/lsm/objects: files"),
        (
            "the shard's directory",
            |bucket| std::fs::remove_dir_all(bucket.ancestors().nth(2).unwrap()).unwrap(),
            "it is in the schema and has no directory",
        ),
        (
            "the class's directory",
            |bucket| std::fs::remove_dir_all(bucket.ancestors().nth(3).unwrap()).unwrap(),
            "it is in the schema and has no directory",
        ),
        (
            "all segments",
            |bucket| {
                for file in data_files(bucket) {
                    std::fs::remove_file(file).unwrap();
                }
            },
            "no file holds an object, although note/",
        ),
        (
            "a segment that is a pipe",
            |bucket| {
                let file = data_files(bucket).swap_remove(0);
                std::fs::remove_file(&file).unwrap();
                make_pipe(&file);
            },
            "a pipe has it",
        ),
        (
            "a link to nothing",
            |bucket| {
                let file = data_files(bucket).swap_remove(0);
                std::fs::remove_file(&file).unwrap();
                symlink("../nothing", file).unwrap();
            },
            "a link to nothing has it",
        ),
    ];
    for (what, change, reason) in changes {
        let changed = Changed::new("basic");
        change(&buckets(&changed.data(), "note").swap_remove(0));
        println!("{what}");
        changed.assert_lost(whole, "Note", of_note, reason);
    }
}

#[test]
fn a_flat_shard_that_lost_its_folders_is_missing() {
    let (whole, of_target) = counts("v1.20.6", "Target");
    for (depth, folder) in [(0, "/objects: files"), (1, "there is no folder target_")] {
        let changed = Changed::new("v1.20.6");
        let bucket = buckets(&changed.data(), "target").swap_remove(0);
        std::fs::remove_dir_all(bucket.ancestors().nth(depth).unwrap()).unwrap();
        changed.assert_lost(whole, "Target", of_target, folder);
    }
}

/// Tenants with one object have it in a log only; inactive ones are exported like others; those that
/// were never written to are empty.
#[test]
fn a_tenant_that_lost_its_log_is_missing_and_the_others_are_not() {
    let whole = Changed::new("tenants");
    let all = rows(&manifest(&whole.export(&[]).expect_success().folder()));
    let statuses = std::fs::read_to_string(whole.fixture.tenants_file()).unwrap();
    let statuses: Value = serde_json::from_str(&statuses).unwrap();
    let statuses = statuses["Shelf"].as_array().unwrap();
    let mut tried = [0, 0];
    for tenant in statuses {
        let name = tenant["name"].as_str().unwrap();
        let bucket = whole.data().join("shelf").join(name).join("lsm/objects");
        let files = data_files(&bucket);
        if files.is_empty() || files.iter().any(|file| file.extension().unwrap() == "db") {
            continue;
        }
        let inactive = usize::from(tenant["activityStatus"] == "COLD");
        if tried[inactive] == 2 {
            continue;
        }
        tried[inactive] += 1;
        let only = whole.export(&["--tenants", &format!("Shelf={name}")]);
        let of_tenant = rows(&manifest(&only.expect_success().folder()));
        assert!(of_tenant > 0, "{name}");
        let changed = Changed::new("tenants");
        let bucket = changed.data().join("shelf").join(name).join("lsm/objects");
        for file in data_files(&bucket) {
            std::fs::remove_file(file).unwrap();
        }
        changed.assert_lost(all, "Shelf", of_tenant, &format!("shelf/{name}/indexcount counts"));
    }
    assert!(tried[0] > 0 && tried[1] > 0, "{tried:?}");
}

#[test]
fn inspect_shows_what_is_lost_beside_what_is_not() {
    let changed = Changed::new("basic");
    let note = buckets(&changed.data(), "note").swap_remove(0);
    std::fs::remove_dir_all(&note).unwrap();
    std::fs::write(&note, "a file").unwrap();
    let target = buckets(&changed.data(), "target").swap_remove(0);
    std::fs::remove_dir_all(target.parent().unwrap()).unwrap();
    std::fs::remove_dir_all(changed.data().join("novector")).unwrap();
    let data = changed.data().display().to_string();
    for more in [&[][..], &["--check"]] {
        let shown = offloom(["inspect", "--data-dir", &data].iter().chain(more));
        assert_eq!(shown.status, Some(1), "{shown:#?}");
        let broken: Vec<&str> =
            shown.out.lines().filter(|line| line.starts_with("    BROKEN: ")).collect();
        let [novector, note, target] =
            ["has no directory", "cannot list note/", "no folder target/"]
                .map(|reason| broken.iter().filter(|line| line.contains(reason)).count());
        assert_eq!((broken.len(), novector, note, target), (3, 1, 1, 1), "{shown:#?}");
        // Others are shown, with their files.
        assert!(shown.out.contains("AllTypes  (shards: 3; ") && shown.out.contains(".l0.s0.db"));
        assert!(shown.err.contains("cannot be exported") || shown.err.contains("damaged"));
        let json = offloom(["inspect", "--data-dir", &data, "--json"].iter().chain(more));
        assert_eq!(json.status, Some(1), "{json:#?}");
        let json: Value = serde_json::from_str(&json.out).unwrap();
        let classes = json["classes"].as_array().unwrap();
        let shards = classes.iter().flat_map(|class| class["shards"].as_array().unwrap());
        assert_eq!(shards.filter(|shard| !shard["fault"].is_null()).count(), 3, "{json:#}");
    }
}

/// Runs the program as another user than the one who owns the files.
fn as_another_user(arguments: &[&str], home: &Path) -> Said {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.arg(program().get_program()).args(arguments);
    said(command.env("HOME", home).env("XDG_CACHE_HOME", home).env("XDG_STATE_HOME", home))
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Lets everybody read what is in `folder`.
fn open_up(folder: &Path) {
    set_mode(folder, 0o755);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            open_up(&path);
        } else {
            set_mode(&path, 0o644);
        }
    }
}

#[test]
fn what_another_user_may_not_read_is_missing() {
    let (whole, of_note) = counts("basic", "Note");
    let changed = Changed::new("basic");
    // The temporary folders above are 0700 too.
    open_up(changed.data().parent().unwrap());
    let home = tempfile::tempdir().unwrap();
    set_mode(home.path(), 0o777);
    let data = changed.data().display().to_string();
    let to = home.path().join("out").display().to_string();
    let export = |more: &[&str]| {
        let start = ["export", "--data-dir", &data, "--to", &to, "--progress", "none"];
        let arguments: Vec<&str> = start.iter().chain(more).copied().collect();
        as_another_user(&arguments, home.path())
    };
    assert_eq!(rows(&manifest(&export(&[]).expect_success().folder())), whole);
    let bucket = buckets(&changed.data(), "note").swap_remove(0);
    let segment = data_files(&bucket).swap_remove(0);
    for (path, mode) in [(bucket.parent().unwrap(), 0o755), (&bucket, 0o755), (&segment, 0o644)] {
        set_mode(path, 0);
        let failed = export(&[]);
        assert_eq!(failed.status, Some(1), "{failed:#?}");
        assert!(failed.expect_error().contains("ermission denied"));
        let partial = export(&["--allow-partial"]).expect_partial();
        assert_eq!(rows(&manifest(&partial.folder())), whole - of_note, "{}", path.display());
        set_mode(path, mode);
    }
    // The counter of an empty shard is needed to know that it is one.
    let empty = buckets(&changed.data(), "empty").swap_remove(0);
    let counter = empty.ancestors().nth(2).unwrap().join("indexcount");
    set_mode(&counter, 0);
    let failed = export(&[]);
    assert!(failed.expect_error().contains("indexcount"));
}
