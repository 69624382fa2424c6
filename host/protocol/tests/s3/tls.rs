//! Certificates of a store.
use std::path::Path;
use std::process::{Child, Command, Stdio};

use offloom_protocol::cloud::Cloud;
use offloom_protocol::error::Cause;
use offloom_protocol::store::Destination;
use offloom_test_parts::{Keys, SeaweedFs};

use crate::{bucket, destination_at};

/// TLS before the store, with a certificate of a CA of its own. Ends with the test.
struct Terminator {
    process: Child,
    endpoint: String,
}

impl Terminator {
    /// Makes the CA (`ca.pem`) and the certificate in `folder`.
    fn start(folder: &Path) -> Terminator {
        let make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
                    -keyout ca.key -out ca.pem -subj /CN=ca -days 2 && \
                    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
                    -keyout key.pem -out cert.csr -subj /CN=store && \
                    printf 'subjectAltName=IP:127.0.0.1' >ext && \
                    openssl x509 -req -in cert.csr -CA ca.pem -CAkey ca.key -CAcreateserial \
                    -extfile ext -out cert.pem -days 2";
        let made = Command::new("sh").args(["-c", make]).current_dir(folder).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let mut process = Command::new("python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/s3/tls_terminator.py"))
            .arg(SeaweedFs::shared().endpoint().strip_prefix("http://").unwrap())
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        let mut out = std::io::BufReader::new(process.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut out, &mut port).unwrap();
        Terminator { process, endpoint: format!("https://127.0.0.1:{}", port.trim()) }
    }
}

impl Drop for Terminator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where a second process of this program finds the store: `SSL_CERT_FILE` is read once a process.
const ENDPOINT: &str = "OFFLOOM_TEST_TLS_ENDPOINT";

#[tokio::test]
async fn a_ca_of_the_system_is_trusted() {
    if let Ok(endpoint) = std::env::var(ENDPOINT) {
        let destination = destination_at(&endpoint, "behind-tls-too", Keys::ReadWrite);
        destination.check_access().await.unwrap();
        return;
    }
    bucket("behind-tls-too");
    let folder = tempfile::tempdir().unwrap();
    let store = Terminator::start(folder.path());
    for (ca, is_trusted) in [("ca.pem", true), ("cert.pem", false)] {
        let again = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tls::a_ca_of_the_system_is_trusted"])
            .env(ENDPOINT, &store.endpoint)
            .env("SSL_CERT_FILE", folder.path().join(ca))
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        assert_eq!(again.status.success(), is_trusted, "{ca}: {again:?}");
    }
}

#[tokio::test]
async fn a_ca_of_the_operator_is_trusted_and_an_unknown_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = Terminator::start(folder.path());
    let bucket = bucket("behind-tls");
    let error =
        destination_at(&store.endpoint, bucket, Keys::ReadWrite).check_access().await.unwrap_err();
    assert_eq!(error.cause(), Some(Cause::Unreachable), "{error}");
    assert!(error.to_string().contains("AWS_CA_BUNDLE"), "{error}");

    let mut variables = Keys::ReadWrite.environment(&store.endpoint);
    let ca = folder.path().join("ca.pem").display().to_string();
    variables.push(("AWS_CA_BUNDLE".to_owned(), ca));
    let trusting = Destination::bucket(Cloud::S3, bucket, "exports").unwrap();
    let trusting = trusting.with_options(variables.into_iter().collect());
    trusting.check_access().await.unwrap();
}
