//! The stock Python client of Weaviate creates, follows, reads and cancels exports unchanged.
use offloom_fixtures::unpack;

use crate::program::python;
use crate::server::{Server, serve_filesystem};

#[test]
fn the_python_client_works_unchanged() {
    let fixture = unpack("basic").unwrap();
    let work = tempfile::tempdir().unwrap();
    let mut command = serve_filesystem(&fixture.data_dir(), work.path());
    command.args(["--schema".as_ref(), fixture.schema_file().as_os_str()]);
    let server = Server::start(&mut command);
    let (host, port) = server.authority().split_once(':').unwrap();
    let said = python("e2e/weaviate_client.py", [host, port, "filesystem"]).expect_success();
    let manifest = std::fs::read(work.path().join("out/client-1/export_metadata.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let rows = |class: &str| manifest["progress"][class]["objectsExported"].as_u64().unwrap();
    assert_eq!(said.out.trim(), (rows("Note") + rows("Target")).to_string());
}
