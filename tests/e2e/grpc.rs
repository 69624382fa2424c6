//! The gRPC health check: what it answers, where it listens, and what connections to it can do.
use std::io::Write;
use std::net::TcpListener;

use offloom_fixtures::unpack;
use serde_json::json;

use crate::held::Held;
use crate::program::{python, said};
use crate::raw_http::connect;
use crate::s3::eventually;
use crate::server::{Server, serve_filesystem};

pub const CHECK: &str = "/grpc.health.v1.Health/Check";

/// What a call is answered with.
pub fn call(address: &str, method: &str, service: &str) -> String {
    python("e2e/call_grpc.py", [address, method, service]).expect_success().out.trim().to_owned()
}

#[test]
fn the_server_is_healthy_by_the_names_that_clients_give_it_and_has_nothing_else() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let server = Server::start(&mut serve_filesystem(&fixture.data_dir(), work.path()));
    let address = server.grpc().unwrap();
    for (method, service, expected) in [
        (CHECK, "", "SERVING"),
        (CHECK, "weaviate", "SERVING"),
        (CHECK, "weaviate.v1.Weaviate", "NOT_FOUND"),
        ("/grpc.health.v1.Health/Watch", "", "UNIMPLEMENTED"),
        ("/grpc.health.v1.Health/List", "", "UNIMPLEMENTED"),
        ("/weaviate.v1.Weaviate/Search", "", "UNIMPLEMENTED"),
    ] {
        assert_eq!(call(address, method, service), expected, "{method} {service}");
    }
}

#[test]
fn a_server_that_stops_says_so() {
    let held = Held::new("grpc-stops", |command| {
        command.env("OFFLOOM_SHUTDOWN_GRACE_SECONDS", "120");
    });
    let (server, address) = (&held.server, held.server.grpc().unwrap());
    held.create("runs");
    eventually(|| server.get("/v1/export/s3/runs").ok()["status"] == "TRANSFERRING");
    assert_eq!(call(address, CHECK, ""), "SERVING");
    server.signal("-TERM");
    eventually(|| server.get("/v1/.well-known/ready").status == 503);
    assert_eq!(call(address, CHECK, ""), "NOT_SERVING");
    assert!(server.get("/v1/.well-known/ready").retry_after.is_some());
    let refused = server.post("/v1/export/s3", &json!({ "id": "late" }));
    assert!(refused.status == 503 && refused.retry_after.is_some(), "{refused:#?}");
}

#[test]
fn a_port_that_is_taken_is_an_error_if_it_was_configured_and_else_a_warning() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let command = || serve_filesystem(&fixture.data_dir(), work.path());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = said(command().args(["--grpc-listen", &address])).expect_error();
    assert!(error.contains(&address) && error.contains("--grpc-listen"), "{error}");

    // Whether this test takes the default port, or something else on this machine has it.
    let _default = TcpListener::bind("127.0.0.1:50051");
    let log = work.path().join("log");
    let mut command = command();
    command.env_remove("OFFLOOM_GRPC_LISTEN").stderr(std::fs::File::create(&log).unwrap());
    let server = Server::start(&mut command);
    assert_eq!(server.grpc(), None);
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("warning: ") && log.contains("127.0.0.1:50051"), "{log}");
    assert_eq!(server.get("/v1/.well-known/ready").status, 200);
}

#[test]
fn other_machines_reach_no_server_without_users() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let mut command = serve_filesystem(&fixture.data_dir(), work.path());
    let error = said(command.args(["--grpc-listen", "0.0.0.0:0"])).expect_error();
    assert!(error.contains("0.0.0.0:0"), "{error}");
}

/// Connections that are silent, or speak HTTP/1.1, leave both ports to others.
#[test]
fn silent_connections_leave_the_service_alone() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let server = Server::start(&mut serve_filesystem(&fixture.data_dir(), work.path()));
    let address = server.grpc().unwrap();
    let beginnings: [&[u8]; 4] = [
        b"",
        b"PRI * HTTP/2.0\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ];
    let silent: Vec<_> = (0..300)
        .map(|number| {
            let mut stream = connect(address);
            stream.write_all(beginnings[number % beginnings.len()]).unwrap();
            stream
        })
        .collect();
    assert_eq!(call(address, CHECK, ""), "SERVING");
    server.post("/v1/export/filesystem", &json!({ "id": "a", "include": ["Target"] })).ok();
    assert_eq!(server.wait("filesystem", "a")["status"], "SUCCESS");
    drop(silent);
}
