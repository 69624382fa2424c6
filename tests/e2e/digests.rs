//! What each fixture's export writes stays the same, byte for byte: SHA-256 of every file but the
//! claim and the manifest, which hold times.
//!
//! `OFFLOOM_RECORD_DIGESTS=1` writes the list anew. A change of it is a change of the product.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::program::{offloom, root};

/// The recorded list: `<fixture> <file> <SHA-256>`, sorted.
fn recorded() -> PathBuf {
    root().join("tests/e2e/digests.txt")
}

const FIXTURES: [&str; 12] = [
    "basic",
    "cluster",
    "crashed",
    "leftovers",
    "options",
    "rbac",
    "segments",
    "tenants",
    "v1.20.6",
    "v1.24.26",
    "v1.28.16",
    "v1.34.20",
];

/// `<file> -> <SHA-256>` of an export with `workers`.
fn export(fixture: &str, data_dirs: &[PathBuf], workers: &str) -> BTreeMap<String, String> {
    let to = tempfile::tempdir().unwrap();
    let mut arguments = vec!["export".to_owned(), "--workers".to_owned(), workers.to_owned()];
    for data_dir in data_dirs {
        arguments.extend(["--data-dir".to_owned(), data_dir.display().to_string()]);
    }
    arguments.extend(["--to".to_owned(), to.path().display().to_string()]);
    let folder = offloom(arguments).expect_success().folder();
    let mut digests = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name != "_claim.json" && name != "export_metadata.json" {
            digests.insert(name, sha256(&path));
        }
    }
    assert!(!digests.is_empty(), "{fixture}");
    digests
}

fn sha256(path: &Path) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(std::fs::read(path).unwrap()))
}

#[test]
fn every_fixture_gives_the_recorded_bytes() {
    let mut lines = Vec::new();
    for name in FIXTURES {
        let fixture = offloom_fixtures::unpack(name).unwrap();
        let data_dirs = match name {
            "cluster" => {
                ["node1", "node2", "node3"].map(|node| fixture.data_dir().join(node)).into()
            }
            _ => vec![fixture.data_dir()],
        };
        let alone = export(name, &data_dirs, "1");
        assert_eq!(alone, export(name, &data_dirs, "8"), "{name} with 1 and 8 workers");
        lines.extend(alone.into_iter().map(|(file, digest)| format!("{name} {file} {digest}\n")));
    }
    let found = lines.concat();
    if std::env::var_os("OFFLOOM_RECORD_DIGESTS").is_some() {
        std::fs::write(recorded(), &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(recorded()).unwrap());
}
