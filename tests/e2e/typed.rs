//! The typed layout of real directories, read by other readers and compared with upstream's own export.
use offloom_fixtures::unpack;

use crate::golden::{compare, export};
use crate::program::{offloom, python};

#[track_caller]
fn gives_everything_back(fixture: &str, more: &[&str]) {
    let source = unpack(fixture).unwrap();
    let to = tempfile::tempdir().unwrap();
    let options = [&["--guest-option", "layout=typed"], more].concat();
    let said = export(&source.data_dir(), &source.schema_file(), to.path(), &options);
    let folder = said.expect_success().folder();
    let proved = offloom(["verify".as_ref(), folder.as_os_str()]).expect_success();
    assert!(proved.out.contains("digests (BLAKE3), rows and ids agree"), "{proved:#?}");
    let arguments = [folder.as_os_str(), source.folder().as_os_str()];
    python("e2e/typed_layout.py", arguments).expect_success();
}

#[test]
fn readers_find_every_property_and_vector() {
    for fixture in ["basic", "tenants", "segments", "v1.34.20"] {
        gives_everything_back(fixture, &[]);
    }
}

#[test]
fn readers_find_every_value_with_pages_of_version_1() {
    gives_everything_back("basic", &["--guest-option", "pages=v1"]);
}

/// Both layouts, in every codec, with small pages.
#[test]
fn readers_read_every_codec() {
    let source = unpack("basic").unwrap();
    for codec in ["snappy", "gzip", "lz4_raw", "brotli", "none"] {
        let codec = format!("compression={codec}");
        let options = ["--guest-option", &codec, "--guest-option", "page-bytes=4096"];
        gives_everything_back("basic", &options);
        let to = tempfile::tempdir().unwrap();
        let said = export(&source.data_dir(), &source.schema_file(), to.path(), &options);
        let folder = said.expect_success().folder();
        compare(&folder, &source);
        let proved = offloom(["verify".as_ref(), folder.as_os_str()]).expect_success();
        assert!(proved.out.contains("digests (BLAKE3), rows and ids agree"), "{proved:#?}");
        let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
        let files = files.filter(|file| file.extension().is_some_and(|each| each == "parquet"));
        python("e2e/read_back.py", files).expect_success();
    }
}
