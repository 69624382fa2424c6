//! A running `offloom serve` with state of its own, and requests to it.
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::Agent;

use crate::program::program;

/// How long an export of a test may take; most take milliseconds.
const PATIENCE: Duration = Duration::from_secs(300);

/// A server on a port that the system chose. It is killed when this goes.
pub struct Server {
    process: Child,
    address: String,
    grpc: Option<String>,
    metrics: Option<String>,
    agent: Agent,
    /// What requests send as their credentials.
    key: Option<String>,
}

/// What a server said to a request.
#[derive(Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub content_type: Option<String>,
    /// Seconds.
    pub retry_after: Option<u32>,
    /// Where the thing that was created is.
    pub location: Option<String>,
    /// Null for an answer without a body.
    pub body: Value,
}

impl Answer {
    /// The body of a success.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{self:#?}");
        self.body
    }

    /// The message of an error of this status, whose body has the documented form.
    #[track_caller]
    pub fn error(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:#?}");
        assert_eq!(self.content_type.as_deref(), Some("application/json"), "{self:#?}");
        let message = self.body["error"][0]["message"].as_str().unwrap().to_owned();
        assert_eq!(self.body, json!({ "error": [{ "message": message }] }));
        message
    }
}

/// `offloom serve` on a free port, with what lies in `work` as its state.
pub fn serve(data_dir: &Path, work: &Path) -> Command {
    let mut command = program();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--workers", "2"])
        .env("OFFLOOM_SHUTDOWN_GRACE_SECONDS", "0")
        .args(["--data-dir".as_ref(), data_dir.as_os_str()])
        .args(["--state-dir".as_ref(), work.join("state").as_os_str()]);
    command
}

/// The same with the backend `filesystem` in `work/out`.
pub fn serve_filesystem(data_dir: &Path, work: &Path) -> Command {
    let mut command = serve(data_dir, work);
    command.args(["--filesystem-root".as_ref(), work.join("out").as_os_str()]);
    command
}

impl Server {
    /// Starts `command` and waits until it listens.
    pub fn start(command: &mut Command) -> Server {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut next = || lines.next().expect("the server did not start");
        let mut line = next();
        let grpc = line.strip_prefix("gRPC health checks on ").map(str::to_owned);
        if grpc.is_some() {
            line = next();
        }
        let metrics = line.strip_prefix("metrics on ").map(str::to_owned);
        if metrics.is_some() {
            line = next();
        }
        let address = line
            .strip_prefix("listening on ")
            .unwrap_or_else(|| panic!("the server did not start: {line:?}"))
            .to_owned();
        let agent = Agent::config_builder().http_status_as_error(false).build().new_agent();
        Server { process, address, grpc, metrics, agent, key: None }
    }

    /// The same over TLS. Requests go by a client that trusts the certificate, such as `curl`.
    pub fn start_over_tls(command: &mut Command) -> Server {
        let server = Server::start(command);
        assert!(server.address.starts_with("https://"), "{}", server.address);
        server
    }

    /// Sends this key with the following requests.
    pub fn log_in(&mut self, key: &str) {
        self.key = Some(key.to_owned());
    }

    /// Sends no key with the following requests.
    pub fn log_out(&mut self) {
        self.key = None;
    }

    fn with_key<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        }
    }

    /// `127.0.0.1:PORT` of its gRPC service, if it has one.
    pub fn grpc(&self) -> Option<&str> {
        self.grpc.as_deref()
    }

    /// What it measures.
    pub fn metrics(&self) -> String {
        let mut answer = self.agent.get(self.metrics.as_ref().unwrap()).call().unwrap();
        assert_eq!(answer.status(), 200);
        answer.body_mut().read_to_string().unwrap()
    }

    /// The type of an answer, and what reads its body while it comes.
    pub fn stream(&self, path: &str) -> (String, Box<dyn Read + Send>) {
        let request = self.with_key(self.agent.get(format!("{}{path}", self.address)));
        let (parts, body) = request.call().unwrap().into_parts();
        let content_type = parts.headers["content-type"].to_str().unwrap().to_owned();
        (content_type, Box::new(body.into_reader()))
    }

    /// What reads its log, if the command pipes it.
    pub fn take_stderr(&mut self) -> Option<std::process::ChildStderr> {
        self.process.stderr.take()
    }

    /// `127.0.0.1:PORT`.
    pub fn authority(&self) -> &str {
        self.address.split_once("://").unwrap().1
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    pub fn get(&self, path: &str) -> Answer {
        answer(self.with_key(self.agent.get(format!("{}{path}", self.address))).call().unwrap())
    }

    /// A request that takes the server for this host.
    pub fn get_as(&self, host: &str, path: &str) -> Answer {
        let request = self.agent.get(format!("{}{path}", self.address));
        answer(request.header("host", host).call().unwrap())
    }

    /// A request with this header `Accept`; a refusal may then have another form.
    pub fn get_accepting(&self, accept: &str, path: &str) -> Answer {
        let request = self.agent.get(format!("{}{path}", self.address));
        answer(request.header("accept", accept).call().unwrap())
    }

    pub fn delete(&self, path: &str) -> Answer {
        answer(self.with_key(self.agent.delete(format!("{}{path}", self.address))).call().unwrap())
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_text(path, &body.to_string())
    }

    /// A body that need not be JSON.
    pub fn post_text(&self, path: &str, body: &str) -> Answer {
        let request = self.with_key(self.agent.post(format!("{}{path}", self.address)));
        answer(request.header("content-type", "application/json").send(body).unwrap())
    }

    /// Sends a request to a server that may end before it answers.
    pub fn post_unanswered(&self, path: &str, body: &Value) {
        let request = self.agent.post(format!("{}{path}", self.address));
        let _ = request.header("content-type", "application/json").send(&body.to_string());
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    /// Polls until the export has ended, and returns its last status.
    #[track_caller]
    pub fn wait(&self, backend: &str, id: &str) -> Value {
        let begun = Instant::now();
        loop {
            let status = self.get(&format!("/v1/export/{backend}/{id}")).ok();
            if !matches!(status["status"].as_str().unwrap(), "STARTED" | "TRANSFERRING") {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "{status:#}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until blocks were appended: the export is at work.
    #[track_caller]
    pub fn wait_for_rows(&self, backend: &str, id: &str) {
        let begun = Instant::now();
        loop {
            let status = self.get(&format!("/v1/export/{backend}/{id}")).ok();
            let classes = status["progress"].as_object().unwrap();
            if classes.values().any(|class| class["objectsExported"].as_u64().unwrap() > 0) {
                assert_eq!(status["status"], "TRANSFERRING", "too fast for this test: {status:#}");
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{status:#}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal, such as `-TERM`.
    pub fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Waits until it has ended by itself.
    pub fn ended(mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended, as a test wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn answer(response: ureq::http::Response<ureq::Body>) -> Answer {
    let (parts, mut body) = response.into_parts();
    let text = body.read_to_string().unwrap();
    let header = |name| parts.headers.get(name).map(|value| value.to_str().unwrap());
    Answer {
        status: parts.status.as_u16(),
        content_type: header("content-type").map(str::to_owned),
        retry_after: header("retry-after").map(|seconds| seconds.parse().unwrap()),
        location: header("location").map(str::to_owned),
        body: if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
        },
    }
}
