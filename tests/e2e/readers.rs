//! The reading lines of README.md read every class of real directories, whatever is in it, and README
//! names the readers that were tried.
use std::path::Path;

use offloom_fixtures::unpack;

use crate::documents::{Block, documents};
use crate::golden::{compare, export};
use crate::program::{offloom, python, root};

/// README's blocks that read files with fastparquet alone, or with the other readers.
fn reading_blocks(with_fastparquet: bool) -> Vec<Block> {
    let readme = documents().remove(0);
    assert_eq!(readme.path, Path::new("README.md"));
    let mut blocks = readme.blocks;
    blocks.retain(|block| ["sql", "python"].contains(&block.tag.as_str()));
    blocks.retain(|block| block.text.contains("fastparquet") == with_fastparquet);
    assert!(!blocks.is_empty());
    blocks
}

/// Runs the blocks on every class of an export, and reads `property` where they read `title`.
#[track_caller]
fn read_every_class(folder: &Path, blocks: &[Block], property: &str) {
    let names = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name());
    let names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    let classes: Vec<&str> =
        names.iter().filter_map(|name| name.strip_suffix(".parquet")).collect();
    assert!(classes.len() > 1, "{names:?}");
    for block in blocks {
        // What follows the tables looks at one row, which an empty class does not have.
        let code = block.text.split("\n\nrow = ").next().unwrap();
        let arguments = [&block.tag, folder.to_str().unwrap(), code, property];
        let said = python("e2e/documented.py", arguments.iter().chain(&classes)).expect_success();
        assert!(said.out.lines().count() >= classes.len(), "{said:#?}");
    }
}

#[test]
fn every_reader_reads_every_class() {
    for (fixture, property) in [("basic", "t"), ("v1.34.20", "txt"), ("namespaces", "later")] {
        let source = unpack(fixture).unwrap();
        let to = tempfile::tempdir().unwrap();
        let said = export(&source.data_dir(), &source.schema_file(), to.path(), &[]);
        read_every_class(&said.expect_success().folder(), &reading_blocks(false), property);
    }
}

/// fastparquet reads no others, and the other readers still read these.
#[test]
fn every_reader_reads_every_class_with_pages_of_version_1() {
    for fixture in ["basic", "tenants"] {
        let source = unpack(fixture).unwrap();
        let to = tempfile::tempdir().unwrap();
        let options = ["--guest-option", "pages=v1"];
        let said = export(&source.data_dir(), &source.schema_file(), to.path(), &options);
        let folder = said.expect_success().folder();
        compare(&folder, &source);
        let proved = offloom(["verify".as_ref(), folder.as_os_str()]).expect_success();
        assert!(proved.out.contains("digests (BLAKE3), rows and ids agree"), "{proved:#?}");
        read_every_class(&folder, &reading_blocks(false), "t");
        read_every_class(&folder, &reading_blocks(true), "t");
    }
}

/// README says so; when fastparquet learns the encoding, README can say that.
#[test]
fn fastparquet_does_not_read_the_default_pages() {
    let source = unpack("basic").unwrap();
    let to = tempfile::tempdir().unwrap();
    let said = export(&source.data_dir(), &source.schema_file(), to.path(), &[]);
    let folder = said.expect_success().folder();
    for block in reading_blocks(true) {
        let arguments = [&block.tag, folder.to_str().unwrap(), &block.text, "t", "Target"];
        let said = python("e2e/documented.py", arguments);
        assert!(!said.ok && said.err.contains("NotImplementedError"), "{said:#?}");
    }
}

#[test]
fn the_readme_names_the_versions_that_are_tried() {
    let requirements = std::fs::read_to_string(root().join("tests/readers.txt")).unwrap();
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    for (package, reader) in [
        ("duckdb", "DuckDB"),
        ("pyarrow", "pyarrow"),
        ("polars", "Polars"),
        ("pandas", "pandas"),
        ("fastparquet", "fastparquet"),
    ] {
        let pinned =
            requirements.lines().find_map(|line| line.strip_prefix(&format!("{package}==")));
        let row = format!("| {reader} {} |", pinned.unwrap());
        assert!(readme.contains(&row), "README.md has no row {row}");
    }
}
