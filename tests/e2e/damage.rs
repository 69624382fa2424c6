//! Broken files: the export fails with the place, says so in its manifest, and `verify` finds it.
use std::path::{Path, PathBuf};

use crate::golden::export;
use crate::program::{offloom, python, said};

struct Damaged {
    fixture: offloom_fixtures::Fixture,
    to: tempfile::TempDir,
}

impl Damaged {
    fn new(fixture: &str) -> Damaged {
        Damaged {
            fixture: offloom_fixtures::unpack(fixture).unwrap(),
            to: tempfile::tempdir().unwrap(),
        }
    }

    /// The largest file of the class with this ending, below `lsm/objects`.
    fn largest(&self, class: &str, ending: &str) -> PathBuf {
        let mut found = Vec::new();
        for shard in std::fs::read_dir(self.fixture.data_dir().join(class)).unwrap() {
            let objects = shard.unwrap().path().join("lsm/objects");
            for file in std::fs::read_dir(objects).into_iter().flatten() {
                let file = file.unwrap();
                if file.file_name().to_string_lossy().ends_with(ending) {
                    found.push((file.metadata().unwrap().len(), file.path()));
                }
            }
        }
        found.into_iter().max().unwrap().1
    }

    fn change(&self, file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(file).unwrap();
        change(&mut bytes);
        std::fs::write(file, bytes).unwrap();
    }

    fn fails(&self) -> String {
        let id = ["--id", "damaged"];
        let error =
            export(&self.fixture.data_dir(), &self.fixture.schema_file(), self.to.path(), &id)
                .expect_error();
        let manifest = self.to.path().join("damaged/export_metadata.json");
        let manifest: serde_json::Value =
            serde_json::from_slice(&std::fs::read(manifest).unwrap()).unwrap();
        assert_eq!(manifest["status"], "FAILED");
        assert_eq!(manifest["error"], error.trim_start_matches("error: "));
        let folder = self.to.path().join("damaged").display().to_string();
        let verified = offloom(["verify", &folder]);
        assert!(!verified.ok, "{verified:#?}");
        error
    }
}

fn name(file: &Path) -> String {
    file.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn a_torn_segment_is_named() {
    let damaged = Damaged::new("basic");
    let segment = damaged.largest("note", ".db");
    damaged.change(&segment, |bytes| bytes.truncate(bytes.len() / 2));
    let error = damaged.fails();
    assert!(error.contains("Note") && error.contains(&name(&segment)), "{error}");
}

#[test]
fn a_wrong_checksum_is_named() {
    let damaged = Damaged::new("options");
    let segment = damaged.largest("note", ".db");
    damaged.change(&segment, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    let error = damaged.fails();
    assert!(error.contains("checksum") && error.contains(&name(&segment)), "{error}");
}

#[test]
fn an_impossible_length_is_named_with_its_offset() {
    let damaged = Damaged::new("basic");
    let segment = damaged.largest("note", ".db");
    // The length of the first node's value: offset 16 holds its tombstone flag.
    damaged.change(&segment, |bytes| bytes[17..25].copy_from_slice(&u64::MAX.to_le_bytes()));
    let error = damaged.fails();
    assert!(error.contains("16") && error.contains(&name(&segment)), "{error}");
}

#[test]
fn a_broken_object_is_named_with_its_id() {
    let damaged = Damaged::new("basic");
    let segment = damaged.largest("note", ".db");
    // The marshaller version of the first object.
    damaged.change(&segment, |bytes| bytes[25] = 9);
    let error = damaged.fails();
    assert!(error.contains(&name(&segment)) && error.contains("version"), "{error}");
}

#[test]
fn a_torn_log_is_kept_up_to_its_first_bad_record_and_reported() {
    let damaged = Damaged::new("crashed");
    let said =
        export(&damaged.fixture.data_dir(), &damaged.fixture.schema_file(), damaged.to.path(), &[])
            .expect_success();
    assert!(said.err.contains("warning:") && said.err.contains(".wal"), "{}", said.err);
    let manifest = std::fs::read(said.folder().join("export_metadata.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let warnings = manifest["warnings"].to_string();
    assert!(
        warnings.contains(".wal") && warnings.contains("244 bytes at the end are left out"),
        "{warnings}"
    );
}

/// A page of some kilobytes that says that it unpacks to a gigabyte, with a manifest that fits: `verify`
/// says so and takes no such memory.
#[test]
fn a_parquet_bomb_ends_in_an_error_within_bounded_memory() {
    let whole = Damaged::new("basic");
    let schema = whole.fixture.schema_file();
    let exported = export(&whole.fixture.data_dir(), &schema, whole.to.path(), &[]);
    let folder = exported.expect_success().folder();
    let sizes = python("e2e/parquet_bomb.py", [folder.as_os_str(), "Note".as_ref()]);
    let sizes = sizes.expect_success().out;
    let sizes: Vec<u64> = sizes.split_whitespace().map(|size| size.parse().unwrap()).collect();
    assert!(sizes[0] < 200_000 && sizes[1] > 1_000_000_000, "{sizes:?}");
    // 600 MB of address space, threads and the program itself included.
    let script = "ulimit -v 600000 && exec \"$0\" verify \"$1\"";
    let mut command = std::process::Command::new("sh");
    let said = said(command.args(["-c", script, env!("CARGO_BIN_EXE_offloom")]).arg(&folder));
    assert_eq!(said.status, Some(1), "{said:#?}");
    let place =
        "difference: Note.parquet, row group 0, column id: the page at 4 says that it unpacks to";
    assert!(said.err.contains(place), "{said:#?}");
}
