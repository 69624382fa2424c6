//! A transform in Python, built by componentize-py, as a guest author would.
use std::path::{Path, PathBuf};
use std::process::Command;

use offloom_fixtures::unpack;
use sha2::{Digest, Sha256};

use crate::golden::export;
use crate::program::{python, root, said};
use crate::transforms::manifest;

/// The component. It is built once for its sources and the contract, as that takes twenty seconds.
fn component() -> PathBuf {
    let folder = root().join("tests/python_transform");
    let mut hasher = Sha256::new();
    let mut sources: Vec<PathBuf> = [&folder, &root().join("wit")]
        .into_iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    sources.sort();
    for source in sources {
        hasher.update(std::fs::read(source).unwrap());
    }
    let name = format!("python-transform-{}.wasm", &hex::encode(hasher.finalize())[..16]);
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if !built.exists() {
        let python = PathBuf::from(std::env::var("OFFLOOM_PYTHON").unwrap_or("python3".into()));
        let beside = built.with_extension("partial");
        let mut command = Command::new(python.with_file_name("componentize-py"));
        command.current_dir(&folder).arg("-d").arg(root().join("wit"));
        command.args(["-w", "transform-guest", "componentize", "--stub-wasi", "app", "-o"]);
        said(command.arg(&beside)).expect_success();
        std::fs::rename(beside, &built).unwrap();
    }
    built
}

/// Rows are compared with those of the whole export: the one property alone differs.
#[test]
fn a_transform_in_python_rewrites_rows() {
    let to = tempfile::tempdir().unwrap();
    let fixture = unpack("basic").unwrap();
    let run = |id: &str, more: &[&str]| {
        let more = [&["--id", id, "--include", "AllTypes"], more].concat();
        let exported = export(&fixture.data_dir(), &fixture.schema_file(), to.path(), &more);
        exported.expect_success().folder()
    };
    let whole = run("whole", &[]);
    let transform = format!("{}?property=txt", component().display());
    let capitals = run("capitals", &["--transform", &transform]);
    let file = |folder: &Path| folder.join("AllTypes.parquet");
    python("e2e/compare_capitals.py", [file(&whole), file(&capitals)]).expect_success();
    let applied = &manifest(&capitals)["transforms"][0];
    assert_eq!((applied["rowsIn"].as_u64(), applied["rowsKept"].as_u64()), (Some(111), Some(111)));
}
