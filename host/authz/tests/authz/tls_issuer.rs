//! An issuer over TLS, with a certificate of the tests' own authority.
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

/// The authority that signed the certificate; only for these tests.
pub const AUTHORITY: &str = include_str!("tls/ca.pem");

/// Starts an issuer whose thread ends with the tests. Its address, as the certificate has it.
pub fn start(keys: Vec<Value>) -> String {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server_key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let (issuer, keys) = (url.clone(), json!({ "keys": keys }));
    thread::spawn(move || {
        for stream in listener.incoming() {
            // A client that does not trust the certificate hangs up.
            let _ = answer(stream.unwrap(), &config, &issuer, &keys);
        }
    });
    url
}

fn answer(
    stream: TcpStream,
    config: &Arc<ServerConfig>,
    issuer: &str,
    keys: &Value,
) -> std::io::Result<()> {
    let connection = ServerConnection::new(Arc::clone(config)).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    let body = if request.starts_with(b"GET /keys ") {
        keys.to_string()
    } else {
        json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") }).to_string()
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )?;
    stream.flush()?;
    stream.conn.send_close_notify();
    stream.flush()
}
