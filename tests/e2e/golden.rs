//! Every named fixture, exported and compared row by row with what Weaviate itself made of it.
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use offloom_fixtures::Fixture;

use crate::program::{Said, offloom, python};

/// Exports a data directory into `to` with the fixture's schema.
pub fn export(data_dir: &Path, schema: &Path, to: &Path, more: &[&str]) -> Said {
    let mut arguments: Vec<String> = ["export", "--data-dir"].map(str::to_owned).to_vec();
    arguments.extend([data_dir.display().to_string(), "--schema".to_owned()]);
    arguments.extend([schema.display().to_string(), "--to".to_owned()]);
    arguments.extend([format!("file://{}", to.display())]);
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    offloom(arguments)
}

/// Exports the data directories of a cluster's nodes, or a single one, into `to`; what they hold
/// themselves tells the schema.
fn export_alone(data_dirs: &[PathBuf], to: &Path) -> Said {
    let mut arguments: Vec<&OsStr> = vec!["export".as_ref(), "--workers".as_ref(), "2".as_ref()];
    for data_dir in data_dirs {
        arguments.extend(["--data-dir".as_ref(), data_dir.as_os_str()]);
    }
    arguments.extend(["--to".as_ref(), to.as_os_str()]);
    offloom(arguments)
}

/// Compares an export row by row with upstream's own export, and with what REST answered.
#[track_caller]
pub fn compare(export: &Path, fixture: &Fixture) {
    let (export, fixture) = (export.as_os_str(), fixture.folder().as_os_str());
    python("e2e/compare.py", ["golden".as_ref(), export, fixture]).expect_success();
}

fn agrees(name: &str) {
    let fixture = offloom_fixtures::unpack(name).unwrap();
    let data_dirs = match name {
        "cluster" | "stale-node" => {
            ["node1", "node2", "node3"].map(|node| fixture.data_dir().join(node)).into()
        }
        _ => vec![fixture.data_dir()],
    };
    let to = tempfile::tempdir().unwrap();
    let before = listing(&fixture.data_dir());
    let folder = export_alone(&data_dirs, to.path()).expect_success().folder();
    assert_eq!(listing(&fixture.data_dir()), before, "the data directory was changed");
    compare(&folder, &fixture);

    let files: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "parquet"))
        .map(|path| path.display().to_string())
        .collect();
    assert!(!files.is_empty());
    for file in &files {
        reads_without_page_index(Path::new(file));
    }
    python("e2e/read_back.py", files).expect_success();
    offloom(["verify".as_ref(), folder.as_os_str()]).expect_success();
}

/// Every file and directory below `top` with its inode, size, and times of its last changes.
fn listing(top: &Path) -> BTreeMap<PathBuf, (u64, u64, i128, i128)> {
    let mut found = BTreeMap::new();
    let mut directories = vec![top.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            let nanos =
                |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
            let modified = nanos(meta.mtime(), meta.mtime_nsec());
            let changed = nanos(meta.ctime(), meta.ctime_nsec());
            found.insert(entry.path(), (meta.ino(), meta.len(), modified, changed));
            if meta.is_dir() {
                directories.push(entry.path());
            }
        }
    }
    found
}

/// parquet-rs, asked for page indexes where there are any, finds none and reads every row.
fn reads_without_page_index(file: &Path) {
    use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let bytes = bytes::Bytes::from(std::fs::read(file).unwrap());
    let metadata = ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Optional)
        .parse_and_finish(&bytes)
        .unwrap();
    assert!(metadata.page_index().is_none(), "{}", file.display());
    let reader = SerializedFileReader::new(bytes).unwrap();
    let rows = reader.get_row_iter(None).unwrap().map(Result::unwrap).count();
    assert_eq!(rows as i64, metadata.file_metadata().num_rows(), "{}", file.display());
}

macro_rules! fixtures {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(#[test]
        fn $test() {
            agrees($name);
        })*
    };
}

fixtures! {
    basic: "basic",
    segments: "segments",
    tenants: "tenants",
    options: "options",
    rbac: "rbac",
    crashed: "crashed",
    leftovers: "leftovers",
    cluster: "cluster",
    stale_node: "stale-node",
    namespaces: "namespaces",
    v1_20_6: "v1.20.6",
    v1_24_26: "v1.24.26",
    v1_28_16: "v1.28.16",
    v1_34_20: "v1.34.20",
}
