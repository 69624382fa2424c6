//! `/v1/openapi.json` says what the service does: every answer to made-up requests is one that it describes.
use std::process::Command;

use offloom_encoder::scale;
use offloom_fixtures::unpack;
use serde_json::Value;

use crate::program::{python_program, root, said};
use crate::server::{Server, serve_filesystem};

/// The same requests in each run.
const SEED: &str = "20261127";

#[test]
fn the_served_description_is_the_one_in_the_documents() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let server = Server::start(&mut serve_filesystem(&fixture.data_dir(), work.path()));
    let documented = std::fs::read_to_string(root().join("docs/openapi.json")).unwrap();
    let documented: Value = serde_json::from_str(&documented).unwrap();
    let served = server.get("/v1/openapi.json");
    assert_eq!(served.content_type.as_deref(), Some("application/json"));
    assert_eq!(served.ok(), documented);
}

/// Requests that the description allows, requests that it does not allow, and chains of them.
#[test]
fn made_up_requests_get_no_answer_that_is_not_described() {
    let examples = scale(40, 2_000).to_string();
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let server = Server::start(&mut serve_filesystem(&fixture.data_dir(), work.path()));
    let url = format!("http://{}/v1/openapi.json", server.authority());
    let config = root().join("tests/e2e/schemathesis.toml");
    let mut command = Command::new(python_program("schemathesis"));
    command.arg("--config-file").arg(config).args(["run", &url, "--seed", SEED]);
    command.args(["--max-examples", &examples, "--generation-database", "none", "--no-color"]);
    let said = said(command.current_dir(work.path())).expect_success();
    let summary = said.out.lines().find_map(|line| line.trim().split_once(" generated,"));
    let count: u64 = summary.and_then(|(count, _)| count.parse().ok()).unwrap();
    assert!(count > 300, "{said:#?}");
    println!("soak: {count} requests of schemathesis, {examples} examples for each operation");
}
