//! What a web page could make a browser send is refused, and what programs send is not.
use std::path::Path;

use offloom_fixtures::{Fixture, unpack};
use serde_json::json;
use tempfile::TempDir;

use crate::raw_http::{RawAnswer, ask};
use crate::server::{Server, serve_filesystem};

struct Over {
    _fixture: Fixture,
    work: TempDir,
    server: Server,
}

fn over(flags: &[&str]) -> Over {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let mut command = serve_filesystem(&fixture.data_dir(), work.path());
    let server = Server::start(command.args(flags));
    Over { _fixture: fixture, work, server }
}

impl Over {
    fn port(&self) -> &str {
        self.server.authority().rsplit_once(':').unwrap().1
    }

    /// `PORT` stands for the server's port.
    #[track_caller]
    fn ask(&self, line: &str, headers: &[&str], body: &str) -> RawAnswer {
        let mut request = format!("{line}\r\nConnection: close\r\n");
        for header in headers {
            request += &format!("{header}\r\n");
        }
        if !body.is_empty() {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        let request = request.replace("PORT", self.port());
        ask(self.server.authority(), format!("{request}\r\n{body}"))
    }
}

/// Every path, with a method that it takes.
const TARGETS: [&str; 5] = [
    "GET /v1/meta",
    "GET /v1/.well-known/live",
    "GET /v1/export/filesystem/of-page",
    "DELETE /v1/export/filesystem/of-page",
    "POST /v1/export/filesystem",
];

const BODY: &str = r#"{"id": "of-page", "include": ["Target"]}"#;

fn body_of(target: &str) -> &'static str {
    if target.starts_with("POST") { BODY } else { "" }
}

#[test]
fn a_page_of_another_origin_reaches_nothing() {
    let over = over(&[]);
    for target in TARGETS {
        for header in [
            "Origin: http://evil.example",
            "Origin: https://localhost:PORT.evil.example",
            "Origin: http://localhost:1",
            "Origin: null",
            "origin: HTTP://evil.example",
            "Sec-Fetch-Site: cross-site",
            "Sec-Fetch-Site: same-site",
        ] {
            let line = format!("{target} HTTP/1.1");
            let answer = over.ask(&line, &["Host: localhost:PORT", header], body_of(target));
            assert_eq!(answer.status, 403, "{target} {header}: {answer:#?}");
            let message = answer.message();
            assert!(message.starts_with("requests of other origins are not taken: "), "{message}");
        }
    }
    over.server.get("/v1/export/filesystem/of-page").error(404);
    // Its own origin, and an address that a user has typed, are something else.
    for header in ["Origin: http://localhost:PORT", "Sec-Fetch-Site: none"] {
        let answer = over.ask("GET /v1/meta HTTP/1.1", &["Host: localhost:PORT", header], "");
        assert_eq!(answer.status, 200, "{header}: {answer:#?}");
    }
}

#[test]
fn a_name_that_somebody_else_points_here_reaches_nothing() {
    let over = over(&[]);
    for target in TARGETS {
        for host in
            ["evil.example", "evil.example:PORT", "localhost", "localhost:1", "0.0.0.0:PORT"]
        {
            let line = format!("{target} HTTP/1.1");
            let answer = over.ask(&line, &[&format!("Host: {host}")], body_of(target));
            assert_eq!(answer.status, 421, "{target} {host}: {answer:#?}");
            let message = answer.message();
            assert!(message.contains("allowed_hosts"), "{message}");
            assert!(message.contains(&format!("localhost:{}", over.port())), "{message}");
        }
    }
    over.server.get("/v1/export/filesystem/of-page").error(404);
    for host in ["LOCALHOST:PORT", "localhost.:PORT", "127.7.7.7:PORT", "[::1]:PORT"] {
        let answer = over.ask("GET /v1/meta HTTP/1.1", &[&format!("Host: {host}")], "");
        assert_eq!(answer.status, 200, "{host}: {answer:#?}");
    }
    // The host of the target stands above the header, and none is one of this server.
    for (line, headers, status) in [
        ("GET http://localhost:PORT/v1/meta HTTP/1.1", &["Host: localhost:PORT"][..], 200),
        ("GET http://evil.example/v1/meta HTTP/1.1", &["Host: localhost:PORT"], 421),
        ("GET http://localhost:PORT/v1/meta HTTP/1.1", &["Host: evil.example"], 421),
        ("GET /v1/meta HTTP/1.1", &[], 400),
        ("GET /v1/meta HTTP/1.1", &["Host: localhost:PORT", "Host: localhost:PORT"], 400),
        ("GET /v1/meta HTTP/1.1", &["Host:"], 421),
        ("GET /v1/meta HTTP/1.0", &["Host: localhost:PORT"], 200),
        ("GET /v1/meta HTTP/1.0", &["Host: evil.example"], 421),
        ("GET /v1/meta HTTP/1.0", &[], 400),
    ] {
        let answer = over.ask(line, headers, "");
        assert_eq!(answer.status, status, "{line} {headers:?}: {answer:#?}");
        if status >= 400 {
            answer.message();
        }
    }
}

#[test]
fn the_operator_names_the_host_of_a_proxy() {
    let over = over(&["--allowed-hosts", "offloom.example, ten.example:443"]);
    for (host, status) in [
        ("offloom.example", 200),
        ("offloom.example:9000", 200),
        ("ten.example:443", 200),
        ("ten.example:9000", 421),
        ("evil.example", 421),
        ("localhost:PORT", 200),
    ] {
        let answer = over.ask("GET /v1/meta HTTP/1.1", &[&format!("Host: {host}")], "");
        assert_eq!(answer.status, status, "{host}: {answer:#?}");
    }
    let host = "Host: offloom.example";
    for (origin, status) in [("https://offloom.example", 200), ("https://evil.example", 403)] {
        let headers = [host, &format!("Origin: {origin}")];
        assert_eq!(over.ask("GET /v1/meta HTTP/1.1", &headers, "").status, status, "{origin}");
    }
    let mut refused = serve_filesystem(Path::new("/nowhere"), over.work.path());
    let refused = crate::program::said(refused.args(["--allowed-hosts", "http://a"]));
    assert_eq!(refused.status, Some(2), "{refused:#?}");
    assert!(refused.err.contains("'http://a' is not a host"), "{refused:#?}");
}

#[test]
fn bodies_of_web_forms_are_refused_and_those_of_programs_are_taken() {
    let over = over(&[]);
    let post = |kind: Option<&str>, body: &str| {
        let kind = kind.map(|kind| format!("Content-Type: {kind}"));
        let headers: Vec<&str> =
            ["Host: localhost:PORT"].into_iter().chain(kind.as_deref()).collect();
        over.ask("POST /v1/export/filesystem HTTP/1.1", &headers, body)
    };
    for kind in ["text/plain", "TEXT/plain;charset=UTF-8", "multipart/form-data; boundary=x"] {
        // A client that is still sending must read the answer too.
        let large = json!({ "id": "of-page", "padding": "x".repeat(9 << 20) }).to_string();
        for body in [BODY, &large] {
            let answer = post(Some(kind), body);
            assert_eq!(answer.status, 415, "{kind}: {answer:#?}");
            assert!(answer.message().contains("send application/json"), "{answer:#?}");
        }
    }
    over.server.get("/v1/export/filesystem/of-page").error(404);
    for (number, kind) in [
        None,
        Some("application/json"),
        Some("application/json; charset=utf-8"),
        Some("application/x-www-form-urlencoded"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("of-program-{number}");
        let answer = post(kind, &BODY.replace("of-page", &id));
        assert_eq!(answer.status, 200, "{kind:?}: {answer:#?}");
        over.server.wait("filesystem", &id);
    }
}
