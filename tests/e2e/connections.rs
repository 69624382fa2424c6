//! Connections that send nothing, half of something, or read nothing: they hold up neither the service nor its
//! end.
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use offloom_fixtures::{Fixture, unpack};
use serde_json::json;
use tempfile::TempDir;

use crate::raw_http::{Came, PATIENCE, ask, connect, receive};
use crate::server::{Server, serve_filesystem};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a client may send before it is silent.
const BEGINNINGS: [&[u8]; 4] =
    [b"", b"GET /v1/meta HTTP/1.1\r\nHost: loc", b"PRI * HTTP/2.0\r\n\r\n", b"\r\n"];

/// A request whose body does not come.
fn without_body(authority: &str) -> String {
    let line = "POST /v1/export/filesystem HTTP/1.1";
    format!("{line}\r\nHost: {authority}\r\nContent-Length: 100\r\n\r\n{{")
}

fn directories() -> (Fixture, TempDir) {
    (unpack("basic").unwrap(), tempfile::tempdir().unwrap())
}

/// `command`, with so few files that it may have open.
fn limited(command: &Command, files: u32) -> Command {
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")]);
    shell.arg(command.get_program()).args(command.get_args());
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell
}

/// Sockets that a process has.
fn sockets(process: u32) -> usize {
    let files = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let targets = files.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

/// A head that is answered at the end of the connection.
fn meta(authority: &str) -> String {
    format!("GET /v1/meta HTTP/1.1\r\nHost: {authority}\r\n\r\n")
}

#[test]
fn many_silent_connections_leave_the_service_and_its_exports_alone() {
    let (fixture, work) = directories();
    let command = serve_filesystem(&fixture.data_dir(), work.path());
    let server = Server::start(&mut limited(&command, 256));
    let mut silent = Vec::new();
    for number in 0..300 {
        let mut stream = connect(server.authority());
        let body = without_body(server.authority());
        let sent = BEGINNINGS.get(number % 5).copied().unwrap_or(body.as_bytes());
        stream.write_all(sent).unwrap();
        silent.push(stream);
    }
    for id in ["a", "b"] {
        assert_eq!(server.get("/v1/.well-known/live").status, 200);
        // Half of the 128 files that exports leave to the rest, the listening socket, one that waits, and the
        // runtime's own.
        let count = sockets(server.process_id());
        assert!(count <= 64 + 6, "{count} sockets");
        server.post("/v1/export/filesystem", &json!({ "id": id })).ok();
        assert_eq!(server.wait("filesystem", id)["status"], "SUCCESS");
    }
    drop(silent);
}

/// Waits until the server closes the connection.
fn closed(mut stream: TcpStream, what: &str) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    match stream.read_to_end(&mut Vec::new()) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            panic!("{what} stayed open")
        }
        _ => {}
    }
}

#[test]
fn no_connection_stays_open_for_nothing() {
    let (fixture, work) = directories();
    let server = Server::start(&mut serve_filesystem(&fixture.data_dir(), work.path()));
    let authority = server.authority();
    std::thread::scope(|threads| {
        for beginning in BEGINNINGS {
            threads.spawn(move || {
                let mut stream = connect(authority);
                stream.write_all(beginning).unwrap();
                closed(stream, &String::from_utf8_lossy(beginning));
            });
        }
        threads.spawn(|| {
            // With settings, as a client of HTTP/2 sends them.
            let mut stream = connect(authority);
            stream.write_all(&[PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat()).unwrap();
            let mut answer = Vec::new();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let _ = stream.read_to_end(&mut answer);
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");
        });
        threads.spawn(|| {
            let mut stream = connect(authority);
            stream.write_all(meta(authority).as_bytes()).unwrap();
            assert!(matches!(receive(&mut stream, false, PATIENCE), Came::Answer(_)));
            closed(stream, "an idle connection");
        });
        threads.spawn(|| {
            let mut stream = connect(authority);
            stream.write_all(without_body(authority).as_bytes()).unwrap();
            let Came::Answer(answer) = receive(&mut stream, false, PATIENCE) else {
                panic!("no answer")
            };
            assert_eq!(
                (answer.status, &*answer.message()),
                (408, "the request body took longer than 30 s")
            );
        });
        threads.spawn(|| {
            // Requests whose answers are not read.
            let mut stream = connect(authority);
            stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
            let (begun, requests) = (Instant::now(), meta(authority).repeat(1_000));
            loop {
                match stream.write(requests.as_bytes()) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error)
                        if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Err(_closed) => break,
                }
                assert!(begun.elapsed() < PATIENCE, "an unread connection stayed open");
            }
        });
    });
    server.get("/v1/meta").ok();
}

#[test]
fn http_1_is_spoken_alone() {
    let (fixture, work) = directories();
    let server = Server::start(&mut serve_filesystem(&fixture.data_dir(), work.path()));
    let upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk";
    let authority = server.authority();
    let request = format!("GET /v1/meta HTTP/1.1\r\nHost: {authority}\r\n{upgrade}\r\n\r\n");
    assert_eq!(ask(authority, request).status, 200);
}

/// Sends SIGTERM, and waits for the end: less than a client may take for a body.
fn assert_ends(server: Server, what: &str) {
    let id = server.process_id();
    server.signal("-TERM");
    let ended = std::thread::spawn(move || server.ended());
    let begun = Instant::now();
    while !ended.is_finished() {
        if begun.elapsed() > Duration::from_secs(25) {
            let _ = Command::new("kill").args(["-KILL", &id.to_string()]).status();
            panic!("{what} keeps the server from ending");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(ended.join().unwrap().success(), "{what}");
}

#[test]
fn no_connection_holds_up_the_end() {
    let body = without_body("HOST");
    let all = BEGINNINGS.iter().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
    for beginning in all.chain([body]) {
        let (fixture, work) = directories();
        let server = Server::start(&mut serve_filesystem(&fixture.data_dir(), work.path()));
        let mut idle = connect(server.authority());
        idle.write_all(meta(server.authority()).as_bytes()).unwrap();
        assert!(matches!(receive(&mut idle, false, PATIENCE), Came::Answer(_)));
        let mut stream = connect(server.authority());
        let sent = beginning.replace("HOST", server.authority());
        stream.write_all(sent.as_bytes()).unwrap();
        server.get("/v1/meta").ok();
        assert_ends(server, &sent);
    }
}

fn mkfifo(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_pipe_in_the_place_of_a_manifest_holds_up_nothing() {
    let (fixture, work) = directories();
    let server = Server::start(&mut serve_filesystem(&fixture.data_dir(), work.path()));
    mkfifo(&work.path().join("out/piped/export_metadata.json"));
    mkfifo(&work.path().join("out/claimed/_claim.json"));
    for id in ["piped", "claimed"] {
        let message = server.get(&format!("/v1/export/filesystem/{id}")).error(500);
        assert!(message.contains("regular file"), "{message}");
        server.delete(&format!("/v1/export/filesystem/{id}")).error(500);
    }
    assert_eq!(server.get("/v1/.well-known/live").status, 200);
    assert_ends(server, "a pipe");
}
