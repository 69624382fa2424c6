//! Classes of namespaces, `<namespace>:<Class>`: they work everywhere where other classes do.
use std::path::{Path, PathBuf};

use offloom_fixtures::unpack;
use serde_json::{Value, json};

use crate::golden::{compare, export};
use crate::program::{Said, offloom, python};
use crate::server::{Server, serve_filesystem};

const ALL: [&str; 9] = [
    "acme-eu-1:Article",
    "acme-eu-1:Article_lsm",
    "acme-eu-1:Shelf",
    "customer1:Article",
    "customer1:Article_lsm",
    "customer1:Shelf",
    "sleeping:Article",
    "sleeping:Article_lsm",
    "sleeping:Shelf",
];

fn run(data_dir: &Path, to: &Path, id: &str, more: &[&str]) -> Said {
    let (data_dir, to) = (data_dir.display().to_string(), to.display().to_string());
    offloom(["export", "--data-dir", &data_dir, "--to", &to, "--id", id].iter().chain(more))
}

/// The files of an export, without its own two.
fn files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".parquet"));
    names.sort();
    names
}

fn manifest(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("export_metadata.json")).unwrap()).unwrap()
}

#[test]
fn the_schema_file_of_a_server_with_namespaces_describes_them() {
    let fixture = unpack("namespaces").unwrap();
    let to = tempfile::tempdir().unwrap();
    let said = export(&fixture.data_dir(), &fixture.schema_file(), to.path(), &[]);
    let folder = said.expect_success().folder();
    compare(&folder, &fixture);
    assert_eq!(manifest(&folder)["classes"], json!(ALL));
    offloom(["verify".as_ref(), folder.as_os_str()]).expect_success();
}

#[test]
fn they_are_included_and_excluded_by_their_whole_name() {
    let fixture = unpack("namespaces").unwrap();
    let (data, to) = (fixture.data_dir(), tempfile::tempdir().unwrap());
    // As for any class, the first letter may be small: it is that of the class, not of the namespace.
    let include = ["--include", "customer1:article,acme-eu-1:Shelf"];
    run(&data, to.path(), "include", &include).expect_success();
    let folder = to.path().join("include");
    assert_eq!(files(&folder), ["acme-eu-1.Shelf.parquet", "customer1.Article.parquet"]);
    assert_eq!(manifest(&folder)["classes"], json!(["acme-eu-1:Shelf", "customer1:Article"]));
    offloom(["verify".as_ref(), folder.as_os_str()]).expect_success();

    let exclude = ["--exclude", "customer1:article"];
    run(&data, to.path(), "exclude", &exclude).expect_success();
    let left: Vec<&str> = ALL.into_iter().filter(|name| *name != "customer1:Article").collect();
    assert_eq!(manifest(&to.path().join("exclude"))["classes"], json!(left));

    // Neither the class nor the namespace alone names one.
    for unknown in ["Article", "customer1", "Customer1:Article", "nowhere:Article"] {
        let error = run(&data, to.path(), "unknown", &["--include", unknown]).expect_error();
        assert!(error.contains("does not exist"), "{error}");
    }
    assert!(!to.path().join("unknown").exists());
}

#[test]
fn filters_name_them_too() {
    let fixture = unpack("namespaces").unwrap();
    let to = tempfile::tempdir().unwrap();
    let more = [
        "--include",
        "acme-eu-1:Shelf,customer1:Article",
        "--tenants",
        "acme-eu-1:shelf=t1",
        "--vectors",
        "customer1:Article=none",
        "--properties",
        "customer1:Article=-nothing",
    ];
    let error = run(&fixture.data_dir(), to.path(), "refused", &more).expect_error();
    assert!(error.contains("customer1:Article") && error.contains("no property"), "{error}");
    run(&fixture.data_dir(), to.path(), "some", &more[..6]).expect_success();
    let folder = to.path().join("some");
    let tenants = python("e2e/tenants_of.py", [folder.join("acme-eu-1.Shelf.parquet")]);
    assert_eq!(tenants.expect_success().out.trim(), "t1");
    let definition = python("e2e/class_definition.py", [folder.join("customer1.Article.parquet")]);
    let definition: Value = serde_json::from_str(&definition.expect_success().out).unwrap();
    assert_eq!(definition["class"], "customer1:Article");
    offloom(["verify".as_ref(), folder.as_os_str()]).expect_success();
}

#[test]
fn inspect_shows_them() {
    let fixture = unpack("namespaces").unwrap();
    let data_dir = fixture.data_dir().display().to_string();
    let arguments = ["inspect", "--data-dir", &data_dir, "--json", "--check"];
    let shown: Value = serde_json::from_str(&offloom(arguments).expect_success().out).unwrap();
    let names: Vec<&Value> =
        shown["classes"].as_array().unwrap().iter().map(|class| &class["name"]).collect();
    assert_eq!(names, ALL.map(|name| json!(name)).iter().collect::<Vec<_>>(), "{shown:#}");
}

#[test]
fn a_server_exports_them_by_request() {
    let fixture = unpack("namespaces").unwrap();
    let work = tempfile::tempdir().unwrap();
    let server = Server::start(&mut serve_filesystem(&fixture.data_dir(), work.path()));
    let create = |body: Value| server.post("/v1/export/filesystem", &body);
    create(json!({
        "id": "some",
        "include": ["customer1:article", "acme-eu-1:Shelf"],
        "tenants": { "acme-eu-1:Shelf": ["customer1"] },
    }))
    .ok();
    let ended = server.wait("filesystem", "some");
    assert_eq!(ended["status"], "SUCCESS", "{ended:#}");
    assert_eq!(ended["classes"], json!(["acme-eu-1:Shelf", "customer1:Article"]));
    let status = ended["shardStatus"].as_object().unwrap();
    let shards = |class: &str| status[class].as_object().unwrap().keys().collect::<Vec<_>>();
    assert_eq!(shards("acme-eu-1:Shelf"), ["customer1"]);
    assert_eq!(shards("customer1:Article"), ["CDVf1Q26AAax"]);
    let folder: PathBuf = work.path().join("out/some");
    assert_eq!(files(&folder), ["acme-eu-1.Shelf.parquet", "customer1.Article.parquet"]);

    create(json!({ "id": "rest", "exclude": ["customer1:article", "acme-eu-1:Shelf"] })).ok();
    let ended = server.wait("filesystem", "rest");
    let left = ALL.into_iter().filter(|name| !status.contains_key(*name));
    assert_eq!(ended["classes"], json!(left.collect::<Vec<_>>()), "{ended:#}");
}
