//! Random requests, whole, damaged and cut: every answer is a documented one, and the server lives.
//!
//! `OFFLOOM_FUZZ_SEED` repeats a run: its number is in every message, and each request depends on it and on
//! its own number alone.
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::time::Duration;

use offloom_encoder::scale;
use offloom_fixtures::unpack;
use serde_json::{Value, json};

use crate::random::Random;
use crate::raw_http::{Came, PATIENCE, RawAnswer, connect, finish, receive};
use crate::server::{Server, serve_filesystem};

/// Without the variable: the same requests every time.
const SEED: u64 = 0x6f66_666c_6f6f_6d31;

/// Clients that ask at the same time.
const CLIENTS: u64 = 4;

/// How long a client waits after a request that may be cut, before it says that no more comes.
const PAUSE: Duration = Duration::from_millis(30);

/// What `docs/rest-api.md` has for these requests. The data and the store are good, and the server does not
/// stop.
const DOCUMENTED: [u16; 14] =
    [200, 204, 400, 403, 404, 405, 409, 413, 414, 415, 421, 422, 429, 431];

/// What is answered without a body where the bytes are no request.
const NO_REQUEST: [u16; 3] = [400, 414, 431];

impl Random {
    /// A text that is odd somewhere.
    fn text(&mut self) -> String {
        match self.below(12) {
            0 => String::new(),
            1 => "x".repeat(self.below(100_000)),
            2 => "\u{0}\r\n\t\u{1b}[2J".to_owned(),
            3 => "\u{202e}\u{feff}\u{10ffff}\u{e4}".to_owned(),
            4 => "../".repeat(self.below(9)),
            5 => "%2e%2e%2f%00%".to_owned(),
            6 => "{}${}<script>'\"\\".to_owned(),
            7 => "note".to_owned(),
            _ => {
                let letter = |random: &mut Random| char::from(b' ' + random.below(95) as u8);
                (0..self.below(20)).map(|_| letter(self)).collect()
            }
        }
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 7 } else { 9 }) {
            0 => Value::Null,
            1 => json!(self.once_in(2)),
            2 => json!(self.next()),
            3 => json!(-(self.below(1_000) as i64)),
            4 => json!(f64::from_bits(self.next())),
            5 | 6 => json!(self.text()),
            7 => (0..self.below(4)).map(|_| self.value(depth - 1)).collect(),
            _ => (0..self.below(4)).map(|_| (self.text(), self.value(depth - 1))).collect(),
        }
    }

    fn class(&mut self) -> String {
        let class = ["Target", "Note", "AllTypes", "note", "NotThere", "A:B", ""];
        if self.once_in(8) { self.text() } else { self.one_of(&class).to_owned() }
    }
}

/// A request, and what its sender does.
struct Shot {
    bytes: Vec<u8>,
    /// An answer is certain to come.
    is_whole: bool,
    is_head: bool,
    /// The sender goes away after so many bytes.
    leaves_after: Option<usize>,
    /// The export that it may create.
    id: Option<String>,
}

impl Shot {
    fn new(random: &mut Random, authority: &str) -> Shot {
        let mut shot = Shot::whole(random, authority);
        match random.below(10) {
            0 | 1 => shot.damage(random),
            2 => shot.bytes = random.bytes(300),
            3 => shot.bytes.truncate(random.below(shot.bytes.len() + 1)),
            4 => shot.leaves_after = Some(random.below(shot.bytes.len() + 1)),
            _ => return shot,
        }
        shot.is_whole = false;
        shot
    }

    /// Flips, removes, doubles and inserts bytes.
    fn damage(&mut self, random: &mut Random) {
        for _ in 0..=random.below(4) {
            // Most of what is parsed by hand is in the first bytes.
            let reach = if random.once_in(2) { 200 } else { usize::MAX };
            let at = random.below(self.bytes.len().min(reach).max(1));
            if at >= self.bytes.len() {
                return;
            }
            match random.below(4) {
                0 => self.bytes[at] ^= 1 << random.below(8),
                1 => drop(self.bytes.remove(at)),
                2 => self.bytes.insert(at, random.one_of(b"\0\r\n :;,/\x7f\xff{")),
                _ => {
                    let end = (at + random.below(30)).min(self.bytes.len());
                    let twice = self.bytes[at..end].to_vec();
                    self.bytes.splice(at..at, twice);
                }
            }
        }
    }

    fn whole(random: &mut Random, authority: &str) -> Shot {
        let methods = ["GET", "POST", "POST", "POST", "DELETE", "HEAD", "PUT", "OPTIONS", "PATCH"];
        let odd = ["TRACE", "get", "FOO", "PRI", "CONNECT"];
        let method = if random.once_in(20) { random.one_of(&odd) } else { random.one_of(&methods) };
        let creates = method == "POST" && !random.once_in(5);
        let id = format!("z{}", random.below(400));
        let target = if creates {
            "/v1/export/filesystem".to_owned()
        } else {
            target(random, &id, authority)
        };
        let mut head = format!("{method} {target} HTTP/1.{}\r\n", u8::from(!random.once_in(20)));
        for header in headers(random, authority) {
            head += &format!("{header}\r\n");
        }
        let mut id = creates.then_some(id);
        let body = match &id {
            Some(known) => body(random, known),
            None if random.once_in(4) => random.bytes(2_000),
            None => Vec::new(),
        };
        let (framing, body, is_whole) = framed(random, body);
        head += &framing;
        // Otherwise the body may be taken for the next request.
        head += "Connection: close\r\n\r\n";
        if method == "CONNECT" {
            id = None;
        }
        let bytes = [head.as_bytes(), &body].concat();
        Shot { bytes, is_whole, is_head: method == "HEAD", leaves_after: None, id }
    }
}

fn target(random: &mut Random, id: &str, authority: &str) -> String {
    let path = match random.below(14) {
        0 => "/v1/meta".to_owned(),
        1 => "/v1/.well-known/live".to_owned(),
        2 => "/v1/.well-known/ready".to_owned(),
        3 => "/".to_owned(),
        4 => "*".to_owned(),
        5 => format!("/{}", "x".repeat(random.below(70_000))),
        6 => format!("/v1/export/{}/{id}", random.one_of(&["s3", "gcs", "%FF", "%00", "..", ""])),
        7 => format!("/v1/export/filesystem/{id}/{id}"),
        8 => "/v1/export/filesystem/%2e%2e%2fstate".to_owned(),
        9 => format!("http://{authority}/v1/export/filesystem/{id}"),
        10 => "/v1//export/./filesystem/../filesystem/a".to_owned(),
        _ => format!("/v1/export/filesystem/{id}"),
    };
    let query = match random.below(12) {
        0 => "?shards=true",
        1 => "?shards=perhaps",
        2 => "?shards=1&shards=2",
        3 => "?path=team/a",
        4 => "?path=../..",
        5 => "?path=%2Fetc&bucket=b",
        6 => "?bucket=",
        7 => "?%FF=%GG&&&=&a[0]=1",
        _ => "",
    };
    path + query
}

fn headers(random: &mut Random, authority: &str) -> Vec<String> {
    let mut headers = vec![format!("Host: {authority}")];
    if random.once_in(12) {
        let host =
            random.one_of(&["evil.example", "localhost", "", "a b", "[::1", "u@localhost:1"]);
        headers[0] = format!("Host: {host}");
    }
    if random.once_in(30) {
        headers.push(headers[0].clone());
    }
    if random.once_in(40) {
        headers.remove(0);
    }
    let odd = [
        format!("Origin: http://{authority}"),
        "Origin: http://evil.example".to_owned(),
        "Origin: null".to_owned(),
        "Sec-Fetch-Site: cross-site".to_owned(),
        "Sec-Fetch-Site: none".to_owned(),
        "Content-Type: text/plain".to_owned(),
        "Content-Type: multipart/form-data; boundary=--".to_owned(),
        "Content-Type: application/json".to_owned(),
        "Content-Type: \u{ff}".to_owned(),
        "Authorization: Bearer x".to_owned(),
        "Expect: 100-continue".to_owned(),
        "Upgrade: h2c".to_owned(),
        "Cookie: a=b".to_owned(),
        "Accept-Encoding: gzip, br".to_owned(),
        "Range: bytes=0-1".to_owned(),
        "If-None-Match: *".to_owned(),
        format!("X-Large: {}", "y".repeat(random.below(20_000))),
    ];
    for _ in 0..random.below(3) {
        if random.once_in(2) {
            headers.push(random.one_of(&odd));
        }
    }
    if random.once_in(200) {
        headers.extend((0..random.below(300)).map(|number| format!("X-{number}: z")));
    }
    headers
}

/// The body of a request that creates an export, mostly a small one, and often one that is refused.
fn body(random: &mut Random, id: &str) -> Vec<u8> {
    let mut body = json!({ "id": id, "include": ["Target"] });
    let fields = body.as_object_mut().unwrap();
    for _ in 0..random.below(3) {
        let class = random.class();
        let (field, value) = match random.below(12) {
            0 => ("include", json!([class, random.class()])),
            1 => ("exclude", json!([class])),
            2 => ("properties", json!({ class: { "include": [random.text()] } })),
            3 => ("properties", json!({ class: { "exclude": ["title"], "include": null } })),
            4 => ("vectors", json!({ class: random.one_of(&["all", "none", "some"]) })),
            5 => ("tenants", json!({ class: [random.text()] })),
            6 => {
                ("config", json!({ "path": random.one_of(&["team/a", "..", "/etc", "a//b", ""]) }))
            }
            7 => ("onBadObject", json!(random.one_of(&["fail", "skip", "quarantine", "keep"]))),
            8 => ("allowPartial", json!(random.once_in(2))),
            9 => ("guestOptions", json!({ random.text(): random.text() })),
            10 => ("file_format", json!(random.one_of(&["parquet", "csv"]))),
            _ => ("other", random.value(3)),
        };
        fields.insert(field.to_owned(), value);
    }
    if random.once_in(6) {
        let names: Vec<String> = fields.keys().cloned().collect();
        let name = random.one_of(&names);
        let value = random.value(4);
        if name != "id" {
            fields.insert(name, value);
        }
    }
    let mut text = body.to_string();
    match random.below(40) {
        0 => text.insert_str(1, r#""id":"twice","#),
        1 => text.insert_str(1, &format!(r#""deep":{}{},"#, "[".repeat(5_000), "]".repeat(5_000))),
        2 => text.insert_str(1, r#""a":1e99999,"b":-0.0,"c":184467440737095516160,"#),
        3 => text.insert_str(1, r#""a":"\ud800","#),
        4 => text.insert_str(
            1,
            &" ".repeat((1_usize << 20).saturating_sub(text.len()) + random.below(2)),
        ),
        5 => text += "{}",
        6 => return text.as_bytes()[..random.below(text.len())].to_vec(),
        7 => return [text.as_bytes(), &random.bytes(20)].concat(),
        8 => {
            let names = vec![random.class(); random.below(20_000)];
            text.insert_str(1, &format!(r#""exclude":{},"#, json!(names)));
        }
        _ => {}
    }
    text.into_bytes()
}

/// The headers that say where a body ends, the body in that form, and whether they say so.
fn framed(random: &mut Random, body: Vec<u8>) -> (String, Vec<u8>, bool) {
    let length = body.len();
    let sized = |length: usize| format!("Content-Length: {length}\r\n");
    match random.below(30) {
        0 => (sized(length + 1 + random.below(9)), body, false),
        1 => (sized(random.below(length + 1)), body, true),
        2 => (sized(length).repeat(2), body, true),
        3 => (sized(length) + sized(length + 1).as_str(), body, true),
        4 => ("Content-Length: -1\r\n".to_owned(), body, true),
        5 => ("Content-Length: 99999999999999999999999\r\n".to_owned(), body, true),
        6 => (sized(length) + "Transfer-Encoding: chunked\r\n", chunked(random, &body), false),
        7 | 8 => ("Transfer-Encoding: chunked\r\n".to_owned(), chunked(random, &body), false),
        9 => ("Transfer-Encoding: gzip, chunked\r\n".to_owned(), chunked(random, &body), false),
        10 => ("Transfer-Encoding: identity\r\n".to_owned(), body, false),
        11 => {
            let broken =
                random.one_of(&["zz\r\n", "ffffffffffffffff\r\n", "-1\r\n", "1\r\n", "\n"]);
            let body = [broken.as_bytes(), &body].concat();
            ("Transfer-Encoding: chunked\r\n".to_owned(), body, false)
        }
        _ if body.is_empty() => (String::new(), body, true),
        _ => (sized(length), body, true),
    }
}

fn chunked(random: &mut Random, body: &[u8]) -> Vec<u8> {
    let mut chunks = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(1 + random.below(rest.len()));
        chunks.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        chunks.extend_from_slice(chunk);
        chunks.extend_from_slice(b"\r\n");
        rest = after;
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    chunks
}

/// Sends one request, and returns what came of it.
fn fire(shot: &Shot, authority: &str) -> Option<Came> {
    let mut stream = connect(authority);
    let sent = &shot.bytes[..shot.leaves_after.unwrap_or(shot.bytes.len())];
    // The server may have answered and closed it before the end.
    let _ = stream.write_all(sent);
    if shot.leaves_after.is_some() {
        return None;
    }
    if shot.is_whole {
        return Some(receive(&mut stream, shot.is_head, PATIENCE));
    }
    match receive(&mut stream, shot.is_head, PAUSE) {
        // What it still waits for does not come.
        Came::Nothing(_) => {
            finish(&stream);
            Some(receive(&mut stream, shot.is_head, PATIENCE))
        }
        came => Some(came),
    }
}

/// Fails unless the answer is one that the documents have.
fn check(answer: &RawAnswer, is_head: bool, hidden: &[String]) -> Result<(), String> {
    if !DOCUMENTED.contains(&answer.status) {
        return Err("an undocumented status".to_owned());
    }
    if answer.status < 400 || is_head {
        return Ok(());
    }
    if answer.body.is_empty() && NO_REQUEST.contains(&answer.status) {
        return Ok(());
    }
    let message = answer.message();
    // What a request names may be a megabyte.
    if message.is_empty() || message.chars().count() > 17_000 {
        return Err(format!("a message of {} bytes", message.len()));
    }
    if hidden.iter().any(|path| message.contains(path)) {
        return Err(format!("a path of the host: {message}"));
    }
    if answer.status == 429 && answer.header("retry-after").is_none() {
        return Err("when to try again is missing".to_owned());
    }
    Ok(())
}

/// One client: asks, and checks each answer. Returns how often each status came.
fn client(
    server: &Server,
    hidden: &[String],
    seed: u64,
    numbers: impl Iterator<Item = u64>,
) -> (BTreeMap<u16, u64>, Vec<String>) {
    let (mut statuses, mut created) = (BTreeMap::new(), Vec::new());
    for number in numbers {
        let shot = Shot::new(&mut Random::of(seed, number), server.authority());
        let described = || {
            let text = String::from_utf8_lossy(&shot.bytes[..shot.bytes.len().min(4_000)]);
            format!("request {number} of OFFLOOM_FUZZ_SEED={seed}: {text}")
        };
        match fire(&shot, server.authority()) {
            Some(Came::Answer(answer)) => {
                *statuses.entry(answer.status).or_default() += 1;
                if let Err(wrong) = check(&answer, shot.is_head, hidden) {
                    panic!("{wrong}: {answer:#?} to {}", described());
                }
                if answer.status == 200
                    && let Ok(body) = serde_json::from_slice::<Value>(&answer.body)
                    && body["status"] == "STARTED"
                    && shot.id.is_some()
                {
                    created.push(body["id"].as_str().unwrap().to_owned());
                }
            }
            // A server that closes while bytes are under way loses its answer to a reset.
            Some(came @ (Came::Closed(_) | Came::Nothing(_)))
                if shot.is_whole && shot.bytes.len() < 8_000 =>
            {
                panic!("{came:?} to {}", described());
            }
            Some(Came::Nothing(_)) => panic!("neither answer nor end to {}", described()),
            Some(Came::Closed(_)) | None => *statuses.entry(0).or_default() += 1,
        }
        if number % 100 < CLIENTS {
            assert_eq!(server.get("/v1/.well-known/live").status, 200, "{}", described());
        }
    }
    (statuses, created)
}

#[test]
fn random_requests_have_documented_answers() {
    let seed = std::env::var("OFFLOOM_FUZZ_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let log = work.path().join("log");
    let mut command = serve_filesystem(&fixture.data_dir(), work.path());
    command.args(["--max-exports", "2", "--max-waiting", "1"]).stderr(File::create(&log).unwrap());
    let server = Server::start(&mut command);
    let hidden = [fixture.data_dir(), work.path().to_owned()];
    let hidden = hidden.map(|path| path.to_str().unwrap().to_owned());
    let count = scale(5_000, 100_000);

    let (mut statuses, mut created) = (BTreeMap::new(), Vec::new());
    std::thread::scope(|threads| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|first| {
                let (server, hidden) = (&server, &hidden);
                let numbers = (first..count).step_by(CLIENTS as usize);
                threads.spawn(move || client(server, hidden, seed, numbers))
            })
            .collect();
        for client in clients {
            let (found, ids) = client.join().unwrap();
            found
                .into_iter()
                .for_each(|(status, times)| *statuses.entry(status).or_insert(0) += times);
            created.extend(ids);
        }
    });
    // Each kind of refusal was reached, so none of the checks before it takes everything.
    for status in [200, 400, 403, 404, 405, 409, 413, 415, 421, 422] {
        assert!(statuses.contains_key(&status), "{status} is not among {statuses:?}");
    }
    for id in &created {
        let ended = server.wait("filesystem", id);
        assert!(ended["status"] == "SUCCESS" || ended["status"] == "CANCELED", "{ended:#}");
    }
    println!(
        "soak: {count} random requests (seed {seed}), {} exports, answers by status (0: none): {statuses:?}",
        created.len()
    );
    server.signal("-TERM");
    assert!(server.ended().success());
    let log = std::fs::read_to_string(log).unwrap();
    for sign in ["panicked", "request failed"] {
        assert!(!log.contains(sign), "{log}");
    }
}
