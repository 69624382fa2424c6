//! Requests as bytes, and what comes back: what no HTTP client would send.
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long an answer may take; nearly all take milliseconds.
pub const PATIENCE: Duration = Duration::from_secs(150);

/// One answer.
#[derive(Debug)]
pub struct RawAnswer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl RawAnswer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The message of an error, whose body has the documented form.
    #[track_caller]
    pub fn message(&self) -> String {
        let body: Value =
            serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:#?}"));
        let message = body["error"][0]["message"].as_str().unwrap_or_else(|| panic!("{self:#?}"));
        assert_eq!(body, json!({ "error": [{ "message": message }] }));
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:#?}");
        message.to_owned()
    }
}

/// What came of bytes that were sent.
#[derive(Debug)]
pub enum Came {
    Answer(RawAnswer),
    /// The server closed the connection, after these bytes, which are no whole answer.
    Closed(Vec<u8>),
    /// Nothing more came in time, after these bytes.
    Nothing(Vec<u8>),
}

pub fn connect(authority: &str) -> TcpStream {
    let stream = TcpStream::connect(authority).unwrap();
    // A server that has closed the connection must not hold up the test.
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends a request that is whole, and returns its answer.
#[track_caller]
pub fn ask(authority: &str, request: impl AsRef<[u8]>) -> RawAnswer {
    let mut stream = connect(authority);
    stream.write_all(request.as_ref()).unwrap();
    match receive(&mut stream, false, PATIENCE) {
        Came::Answer(answer) => answer,
        Came::Closed(bytes) | Came::Nothing(bytes) => {
            let [request, bytes] = [request.as_ref(), &bytes].map(String::from_utf8_lossy);
            panic!("{bytes:?} is no answer to {request}")
        }
    }
}

/// Reads until there is a whole answer, one of a HEAD request if `to_head`.
pub fn receive(stream: &mut TcpStream, to_head: bool, patience: Duration) -> Came {
    let (begun, mut bytes, mut part) = (Instant::now(), Vec::new(), [0; 16 * 1024]);
    loop {
        if let Some(answer) = parse(&bytes, to_head) {
            return Came::Answer(answer);
        }
        let left = patience.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Came::Nothing(bytes);
        }
        stream.set_read_timeout(Some(left)).unwrap();
        match stream.read(&mut part) {
            Ok(0) => return Came::Closed(bytes),
            Ok(count) => bytes.extend_from_slice(&part[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // What the server did not read makes its system end the connection so.
            Err(_reset) => return Came::Closed(bytes),
        }
    }
}

/// Says that no more is sent.
pub fn finish(stream: &TcpStream) {
    // It may be closed already.
    let _ = stream.shutdown(Shutdown::Write);
}

/// The first answer that is not preliminary, if it is whole.
fn parse(mut bytes: &[u8], to_head: bool) -> Option<RawAnswer> {
    loop {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).expect("the head of an answer is text");
        bytes = &bytes[end + 4..];
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap();
        let status = status.strip_prefix("HTTP/1.").unwrap_or_else(|| panic!("{head}"));
        let status: u16 = status[2..5].parse().unwrap_or_else(|error| panic!("{error}: {head}"));
        if (100..200).contains(&status) {
            continue;
        }
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("{head}"));
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        let mut answer = RawAnswer { status, headers: headers.collect(), body: Vec::new() };
        let is_chunked = answer.header("transfer-encoding").is_some();
        assert!(!is_chunked, "answers have their length: {head}");
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        if !to_head && status != 204 {
            answer.body = bytes.get(..length)?.to_vec();
        }
        return Some(answer);
    }
}
