//! A server over TLS: REST and gRPC, and a certificate that is renewed while it runs.
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use offloom_fixtures::{Fixture, unpack};
use tempfile::TempDir;

use crate::program::{program, python_program, root, said};
use crate::server::{Server, serve_filesystem};

/// Makes a certificate for localhost and its key, in the places of the settings.
fn make(folder: &Path, name: &str) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ])
        .args(["-keyout", "key.pem", "-out", "certificate.pem", "-days", "2"])
        .args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=DNS:localhost"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

fn start() -> (Server, TempDir, Fixture) {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    make(work.path(), "first");
    let mut command = serve_filesystem(&fixture.data_dir(), work.path());
    command.arg("--tls-certificate").arg(work.path().join("certificate.pem"));
    command.arg("--tls-key").arg(work.path().join("key.pem"));
    (Server::start_over_tls(&mut command), work, fixture)
}

/// The variables do what the flags do.
pub fn by_variables(certificate: &str, key: &str) {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    make(work.path(), "first");
    let mut command = serve_filesystem(&fixture.data_dir(), work.path());
    command
        .env(certificate, work.path().join("certificate.pem"))
        .env(key, work.path().join("key.pem"));
    assert_eq!(status(&Server::start_over_tls(&mut command), work.path()), "200");
}

/// The status of `/v1/meta` for a client that trusts the certificate in `folder`.
fn status(server: &Server, folder: &Path) -> String {
    let port = server.authority().rsplit(':').next().unwrap();
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--cacert"]);
    curl.arg(folder.join("certificate.pem")).arg(format!("https://localhost:{port}/v1/meta"));
    said(&mut curl).out
}

#[test]
fn rest_and_grpc_are_over_tls_and_nothing_is_without() {
    let (server, work, _fixture) = start();
    assert_eq!(status(&server, work.path()), "200");
    // Another client does not trust it.
    let other = tempfile::tempdir().unwrap();
    make(other.path(), "other");
    assert_eq!(status(&server, other.path()), "000");
    let plain =
        said(Command::new("curl").args(["--silent", &format!("http://{}/", server.authority())]));
    assert!(!plain.ok && plain.out.is_empty(), "{plain:?}");

    let port = server.grpc().unwrap().rsplit(':').next().unwrap();
    let mut call = Command::new(python_program("python"));
    call.arg(root().join("tests/e2e/call_grpc.py"))
        .args([&format!("localhost:{port}"), "/grpc.health.v1.Health/Check"])
        .env("OFFLOOM_TEST_ROOTS", work.path().join("certificate.pem"));
    assert_eq!(said(&mut call).expect_success().out.trim(), "SERVING");
}

#[test]
fn a_client_that_is_silent_in_its_handshake_is_let_go_and_holds_up_no_other() {
    let (server, work, _fixture) = start();
    let silent: Vec<_> =
        (0..8).map(|_| std::net::TcpStream::connect(server.authority()).unwrap()).collect();
    assert_eq!(status(&server, work.path()), "200");
    for stream in silent {
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        assert_eq!(std::io::Read::read(&mut { stream }, &mut [0]).unwrap(), 0);
    }
}

#[test]
fn a_renewed_certificate_is_used_and_one_that_does_not_fit_is_not() {
    let (server, work, _fixture) = start();
    let first = tempfile::tempdir().unwrap();
    for file in ["certificate.pem", "key.pem"] {
        std::fs::copy(work.path().join(file), first.path().join(file)).unwrap();
    }
    let used = |folder: &Path| {
        let begun = Instant::now();
        while status(&server, folder) != "200" {
            assert!(begun.elapsed() < Duration::from_secs(60), "{folder:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    used(first.path());
    // The key is still that of the first one.
    let second = tempfile::tempdir().unwrap();
    make(second.path(), "second");
    std::fs::copy(second.path().join("certificate.pem"), work.path().join("certificate.pem"))
        .unwrap();
    std::thread::sleep(Duration::from_secs(11));
    assert_eq!(status(&server, first.path()), "200");
    std::fs::copy(second.path().join("key.pem"), work.path().join("key.pem")).unwrap();
    used(second.path());
    assert_eq!(status(&server, first.path()), "000");
}

#[test]
fn half_a_setting_and_files_of_something_else_are_errors_with_their_place() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    make(work.path(), "first");
    std::fs::write(work.path().join("text"), "text").unwrap();
    let other = tempfile::tempdir().unwrap();
    make(other.path(), "other");
    let (certificate, key) = (work.path().join("certificate.pem"), work.path().join("key.pem"));
    let (text, missing, other) =
        (work.path().join("text"), work.path().join("missing"), other.path().join("key.pem"));
    for (certificate, key, error) in [
        (Some(&certificate), None, "tls_certificate and tls_key belong together"),
        (None, Some(&key), "tls_certificate and tls_key belong together"),
        (Some(&text), Some(&key), "text: it has no certificate (BEGIN CERTIFICATE)"),
        (Some(&certificate), Some(&text), "text: "),
        (Some(&missing), Some(&key), "missing: No such file"),
        (Some(&certificate), Some(&other), "does not fit the certificate"),
    ] {
        let mut command = program();
        command.args(["serve", "--data-dir"]).arg(fixture.data_dir());
        command.arg("--filesystem-root").arg(work.path().join("out"));
        command.arg("--state-dir").arg(work.path().join("state"));
        command.args(certificate.map(|path| format!("--tls-certificate={}", path.display())));
        command.args(key.map(|path| format!("--tls-key={}", path.display())));
        let found = said(&mut command).expect_error();
        assert!(found.contains(error), "{error}: {found}");
    }
}
