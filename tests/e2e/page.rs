//! The page at `/` in a real browser: what a person does with it, and what is seen. Chromium and what drives it
//! come from `./dev setup`.
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use offloom_fixtures::unpack;
use serde_json::{Value, json};

use crate::bad_data::Damaged;
use crate::held::Held;
use crate::program::{python, python_program, root};
use crate::server::{Server, serve_filesystem};
use crate::users::Users;

/// A browser that plays a scenario of `tests/page/page.mjs`.
struct Browser {
    process: Child,
    input: ChildStdin,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    log: tempfile::NamedTempFile,
}

impl Browser {
    fn start(scenario: &str, server: &Server, key: Option<&str>) -> Browser {
        let modules = python_program("python").parent().unwrap().join("../browser");
        assert!(modules.join("node_modules").is_dir(), "there is no browser: run ./dev setup");
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut process = Command::new(python_program("node"))
            .arg(root().join("tests/page/page.mjs"))
            .arg(modules.canonicalize().unwrap())
            .args([&chromium(), Path::new(scenario)])
            .arg(format!("http://{}/", server.authority()))
            .arg(screenshots())
            .args(key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.reopen().unwrap())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Browser { process, input, lines, log }
    }

    /// The next line that it says.
    #[track_caller]
    fn says(&mut self) -> String {
        self.lines.next().map(Result::unwrap).unwrap_or_else(|| {
            panic!("{}", std::fs::read_to_string(self.log.path()).unwrap());
        })
    }

    fn go_on(&mut self) {
        writeln!(self.input).unwrap();
    }

    #[track_caller]
    fn done(mut self) {
        assert_eq!(self.says(), "done");
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It has ended, unless the test failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn chromium() -> PathBuf {
    let path = PathBuf::from("/usr/bin/chromium");
    assert!(path.exists(), "{} is missing: run ./dev setup", path.display());
    path
}

/// Where the pictures are that a test makes.
pub fn screenshots() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn an_export_is_ordered_watched_and_its_lines_read_it() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let server = Server::start(&mut serve_filesystem(&fixture.data_dir(), work.path()));
    let mut browser = Browser::start("whole", &server, None);
    let shown: Value = serde_json::from_str(&browser.says()).unwrap();
    let status = server.get("/v1/export/filesystem/first").ok();
    let files = status["files"].as_array().unwrap();
    let summaries: Vec<&str> =
        shown["summaries"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
    assert_eq!(summaries.len(), files.len());
    for (summary, file) in summaries.iter().zip(files) {
        let begin = format!("{}: {} objects, ", file["key"].as_str().unwrap(), file["rows"]);
        assert!(summary.replace(',', "").starts_with(&begin.replace(',', "")), "{summary}: {file}");
    }
    // One of DuckDB and one of pyarrow for each file: all of them work, and see the rows.
    let lines = shown["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 2 * files.len());
    for (pair, file) in lines.chunks(2).zip(files) {
        let code: Vec<&str> = pair.iter().map(|line| line.as_str().unwrap()).collect();
        let said = python("e2e/page_lines.py", code).expect_success();
        let rows = file["rows"].as_u64().unwrap();
        assert_eq!(said.out.trim(), format!("{} {rows}", rows.min(10)), "{file}");
    }
    assert_eq!(browser.says(), "start another");
    server.post("/v1/export/filesystem", &json!({ "id": "second", "include": ["Note"] })).ok();
    browser.go_on();
    browser.done();
}

#[test]
fn a_running_export_has_a_rate_and_a_time_that_is_left() {
    let held = Held::new("page-running", |_| ());
    let mut browser = Browser::start("running", &held.server, None);
    assert_eq!(browser.says(), "let it pass");
    held.pass();
    browser.go_on();
    browser.done();
}

#[test]
fn an_export_is_canceled_when_that_is_confirmed() {
    let held = Held::new("page-cancel", |_| ());
    Browser::start("cancel", &held.server, None).done();
    assert_eq!(held.server.get("/v1/export/s3/unwanted").ok()["status"], "CANCELED");
}

#[test]
fn a_failure_and_what_a_partial_export_lacks_are_shown() {
    let (damaged, work) = (Damaged::new("tenants"), tempfile::tempdir().unwrap());
    let segment = damaged.segments("shelf").pop().unwrap();
    damaged.change(&segment, |bytes| bytes.truncate(bytes.len() - 7));
    let server = Server::start(&mut serve_filesystem(&damaged.data_dir(), work.path()));
    Browser::start("missing", &server, None).done();
}

#[test]
fn a_key_is_entered_once_and_kept_for_the_tab() {
    let users = Users::new();
    let server = users.start();
    Browser::start("keys", &server, Some(&users.keys()["root"])).done();
}
