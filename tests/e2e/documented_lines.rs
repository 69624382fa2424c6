//! Runs the code of a page of the documentation, block by block, in a world of its own: a data
//! directory with the classes that the documents name, a folder, a bucket, a port.
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use offloom_encoder::{DirectoryWriter, Node, Object, ObjectOptions, WalVersion};
use offloom_test_parts::{AzureKeys, Azurite, Gcs, GcsKeys, Keys, SeaweedFs};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::documents::Block;
use crate::program::{Said, offloom, program, python, python_program, root, said};
use crate::server::Server;

/// Lines that are not run, and why. Each is checked to name something that exists.
const NOT_RUN: [(&str, &str); 6] = [
    ("./dev demo", "it builds the program again; it runs what the next pages run"),
    ("./dev check", "it runs this test"),
    ("./dev soak", "it runs for a quarter of an hour"),
    ("./dev bench", "it measures for half an hour"),
    ("./dev bench --quick exports", "it measures; ./dev check runs other tables of it"),
    ("cargo build --release", "it builds the program that runs here once more"),
];

/// Lines that begin like this are run by `tests/bench/generated.py`, with the program that `./dev check` builds
/// for it.
const GENERATE: &str = "target/release/offloom-bench generate ";

/// Where a guest of one's own is built: kept, so that only its first build takes long.
const GUEST_TARGET: &str = "target/wasm32-wasip2/";

/// What runs the code of one page.
pub struct Page {
    work: TempDir,
    /// Where the next line runs.
    current: PathBuf,
    bucket: String,
    has_bucket: bool,
    has_container: bool,
    server: Option<Server>,
    /// The folder of the last export on a file system.
    folder: Option<PathBuf>,
    /// What the last line of a `sh` block printed.
    printed: String,
    /// The variables that lines have set for those after them.
    exported: Vec<(String, String)>,
}

impl Page {
    /// A world for the page of this number.
    pub fn new(number: usize) -> Page {
        let work = tempfile::tempdir().unwrap();
        let current = work.path().join("here");
        std::fs::create_dir(&current).unwrap();
        std::os::unix::fs::symlink(root(), current.join("offloom")).unwrap();
        write_articles(work.path(), &current.join("schema.json"));
        // Without these a request that the server refuses would end with 0.
        std::fs::write(work.path().join(".curlrc"), "fail-with-body\nsilent\nshow-error\n")
            .unwrap();
        let bucket = format!("my-export-bucket-{number}");
        let (server, folder, printed) = (None, None, String::new());
        let (has_bucket, has_container) = (false, false);
        let exported = Vec::new();
        Page { work, current, bucket, has_bucket, has_container, server, folder, printed, exported }
    }

    /// Runs a block.
    ///
    /// # Errors
    /// The tag is unknown, or something in the block does not work.
    pub fn run(&mut self, block: &Block) -> Result<(), String> {
        match block.tag.as_str() {
            "sh" => logical_lines(&block.text).iter().try_for_each(|line| self.run_line(line)),
            "sql" | "python" => {
                let code = self.substituted(&block.text);
                let folder = self.reading_folder();
                let arguments = [&block.tag, folder.to_str().unwrap(), &code];
                expect_ok(&code, python("e2e/documented.py", arguments)).map(|_| ())
            }
            "json" => self.compare_answer(&block.text),
            "toml" => self.require(&block.text),
            // Diagrams and layouts of files.
            "text" => Ok(()),
            other => Err(format!("a block of the tag {other:?}, which nothing runs")),
        }
    }

    /// A server starts with this policy of guests.
    fn require(&mut self, policy: &str) -> Result<(), String> {
        let file = self.current.join("policy.toml");
        std::fs::write(&file, policy).map_err(|error| error.to_string())?;
        self.run_line(
            "offloom serve --data-dir /var/lib/weaviate --filesystem-root /lake --guests-policy-file policy.toml",
        )
    }

    fn run_line(&mut self, line: &str) -> Result<(), String> {
        let command = line.split(" #").next().unwrap_or_default().trim();
        if NOT_RUN.iter().any(|(skipped, _)| *skipped == command) || command.starts_with(GENERATE) {
            return exists(command);
        }
        if let Some(folder) = command.strip_prefix("cd ") {
            self.current = self.current.join(folder);
            return self.current.is_dir().then_some(()).ok_or(format!("{line}: no such folder"));
        }
        if let Some(variables) = command.strip_prefix("export ") {
            let variables = variables.split(' ').filter_map(|variable| variable.split_once('='));
            self.exported
                .extend(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
            if self.exported.iter().any(|(name, _)| name == "AUTHORIZATION_RBAC_ENABLED") {
                write_policy(self.work.path());
            }
            return Ok(());
        }
        let mut shell = self.shell(line);
        if command.starts_with("offloom serve ") {
            // The port and the state of the last one become free first.
            self.server = None;
            self.server = Some(Server::start(&mut shell));
            return Ok(());
        }
        self.printed = expect_ok(line, said(&mut shell))?;
        let last = self.printed.lines().last().unwrap_or_default();
        if let Some(folder) = last.strip_prefix("file://") {
            self.folder = Some(folder.into());
        }
        Ok(())
    }

    /// A shell that runs `line`, finds the program on its path, and has a store and a port.
    fn shell(&mut self, line: &str) -> Command {
        let line = self.substituted(line);
        // A server is the shell's own process, so that a signal reaches it.
        let line = if line.starts_with("offloom ") { format!("exec {line}") } else { line };
        let offloom = Path::new(env!("CARGO_BIN_EXE_offloom")).parent().unwrap();
        let clients = python_program("python").parent().unwrap().to_owned();
        let path = format!("{}:{}", clients.display(), std::env::var("PATH").unwrap());
        let plain = program();
        let environment = plain.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let mut shell = Command::new("bash");
        shell
            .args(["-euo", "pipefail", "-c", &line])
            .current_dir(&self.current)
            .envs(environment)
            .env("PATH", format!("{}:{path}", offloom.display()))
            .envs(self.exported.iter().map(|(name, value)| (name, value)))
            .env("CURL_HOME", self.work.path())
            .env("XDG_STATE_HOME", self.work.path().join("state"))
            .env("CARGO_TARGET_DIR", guest_target())
            .env("OFFLOOM_LISTEN", "127.0.0.1:0")
            .env("OFFLOOM_SHUTDOWN_GRACE_SECONDS", "0");
        if line.contains(&self.bucket) {
            if !self.has_bucket {
                SeaweedFs::shared().create_bucket(&self.bucket);
                self.has_bucket = true;
            }
            shell.envs(SeaweedFs::shared().environment(Keys::ReadWrite));
        }
        if line.contains("gs://") {
            shell.envs(Gcs::shared().environment(&GcsKeys::Token));
        }
        if line.contains("az://") {
            if !self.has_container {
                Azurite::shared().create_container(&self.bucket);
                self.has_container = true;
            }
            shell.envs(Azurite::shared().environment(&AzureKeys::Account));
        }
        shell
    }

    /// The text with this world's places for those of the documents.
    fn substituted(&self, text: &str) -> String {
        let work = self.work.path().display();
        let authority = self.server.as_ref().map_or("localhost:8080", Server::authority);
        let grpc = self.server.as_ref().and_then(Server::grpc).unwrap_or("localhost:50051");
        let [port, grpc] = [authority, grpc].map(|at| at.rsplit(':').next().unwrap_or_default());
        text.replace("/var/lib/weaviate", &format!("{work}/weaviate"))
            .replace("0.0.0.0:8080", "0.0.0.0:0")
            .replace("/lake", &format!("{work}/lake"))
            .replace("my-export-bucket", &self.bucket)
            .replace("localhost:8080", authority)
            .replace("http_port=8080", &format!("http_port={port}"))
            .replace("grpc_port=50051", &format!("grpc_port={grpc}"))
            .replace(r#""http_port": 8080"#, &format!(r#""http_port": {port}"#))
            .replace(r#""grpc_port": 50051"#, &format!(r#""grpc_port": {grpc}"#))
            .replace(GUEST_TARGET, &format!("{}/wasm32-wasip2/", guest_target().display()))
    }

    /// The folder of the page's last export, or of one with a schema where the page has none.
    fn reading_folder(&mut self) -> PathBuf {
        let (work, current) = (self.work.path(), &self.current);
        self.folder
            .get_or_insert_with(|| {
                let schema = current.join("schema.json");
                let arguments = [
                    "export".as_ref(),
                    "--data-dir".as_ref(),
                    work.join("weaviate").as_os_str(),
                    "--schema".as_ref(),
                    schema.as_os_str(),
                    "--to".as_ref(),
                    work.join("read").as_os_str(),
                ]
                .map(std::ffi::OsStr::to_owned);
                offloom(arguments).expect_success().folder()
            })
            .clone()
    }

    /// Compares a document with what the `sh` block before it printed: it has no field that the real
    /// one lacks, and none of another type.
    fn compare_answer(&self, documented: &str) -> Result<(), String> {
        let documented: Value =
            serde_json::from_str(documented).map_err(|error| error.to_string())?;
        let real = serde_json::from_str(&self.printed)
            .map_err(|error| format!("no answer to compare with: {error}: {:?}", self.printed))?;
        let mut differences = String::new();
        compare_fields("", &documented, &real, &mut differences);
        if differences.is_empty() { Ok(()) } else { Err(differences) }
    }
}

fn compare_fields(place: &str, documented: &Value, real: &Value, differences: &mut String) {
    match (documented, real) {
        (Value::Object(documented), Value::Object(real)) => {
            for (name, value) in documented {
                let place = format!("{place}.{name}");
                match real.get(name) {
                    Some(real) => compare_fields(&place, value, real, differences),
                    None => {
                        writeln!(differences, "{place}: a real answer has no such field").unwrap()
                    }
                }
            }
        }
        _ if std::mem::discriminant(documented) == std::mem::discriminant(real) => {}
        _ => writeln!(differences, "{place}: {documented}, and a real one has {real}").unwrap(),
    }
}

fn expect_ok(code: &str, said: Said) -> Result<String, String> {
    if said.ok { Ok(said.out) } else { Err(format!("{code}: {said:#?}")) }
}

/// The lines of a script, with a `\` at their end joined to the next; comments alone are left out.
fn logical_lines(script: &str) -> Vec<String> {
    let joined = script.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// A line that is not run names a task of `./dev`, a command of cargo, or what another check runs.
fn exists(command: &str) -> Result<(), String> {
    let dev = std::fs::read_to_string(root().join("dev")).unwrap();
    let known = match command.strip_prefix("./dev ").and_then(|rest| rest.split(' ').next()) {
        Some(task) => dev.lines().any(|line| line.starts_with(&format!("{task}() {{"))),
        None if command.starts_with(GENERATE) => {
            dev.contains("bench.py target/release --quick encode generated")
        }
        None => command == "cargo build --release",
    };
    known.then_some(()).ok_or(format!("{command}: there is no such task"))
}

/// What a server with roles leaves in its directory.
fn write_policy(work: &Path) {
    let folder = work.join("weaviate/raft/rbac");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("version"), "1.38.0").unwrap();
    std::fs::write(folder.join("policy.csv"), "p, role:viewer, *, R, *").unwrap();
}

fn guest_target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("documented-guest")
}

/// Writes the directory that the documents call `/var/lib/weaviate`: `Article`, and `Shelf` with the
/// tenants `a`, `b` and `c`. The schema goes to a file beside it.
fn write_articles(work: &Path, schema_file: &Path) {
    let mut directory = DirectoryWriter::create(&work.join("weaviate")).unwrap();
    let article = directory.class("Article", false).unwrap();
    let mut log = article.shard("aRt1cLe9x8y7").unwrap().wal(1_795_000_000_000_000_000).unwrap();
    for number in 0..30_u8 {
        let mut object = Object::new([number; 16], "Article");
        object.created_ms = 1_795_000_000_000;
        object.updated_ms = 1_795_000_000_000 + i64::from(number);
        object.vector = if number == 7 { vec![] } else { vec![f32::from(number), -0.5, 3.25] };
        object.named_vectors = vec![("title_vector".to_owned(), vec![0.25, f32::from(number)])];
        let properties = json!({
            "title": format!("Größe {number} — 東京"), "body": "a\nb", "secret": "x", "n": number,
        });
        object.properties = (number != 3).then(|| properties.to_string().into_bytes());
        let node = Node::live(&object, &ObjectOptions::default()).unwrap();
        log.append(&node, WalVersion::V1).unwrap();
    }
    log.finish().unwrap();
    let shelf = directory.class("Shelf", true).unwrap();
    for (number, tenant) in ["a", "b", "c"].into_iter().enumerate() {
        let mut log = shelf.shard(tenant).unwrap().wal(1_795_000_000_000_000_000).unwrap();
        let mut object = Object::new([200 + number as u8; 16], "Shelf");
        object.properties = Some(br#"{"title":"shelf"}"#.to_vec());
        let node = Node::live(&object, &ObjectOptions::default()).unwrap();
        log.append(&node, WalVersion::V1).unwrap();
        log.finish().unwrap();
    }
    let mut schema = directory.schema();
    for class in schema["classes"].as_array_mut().unwrap() {
        class["properties"] = ["title", "body", "secret", "n"]
            .map(|name| json!({ "name": name, "dataType": ["text"] }))
            .into();
    }
    schema["classes"][0]["vectorConfig"] = json!({ "title_vector": { "vectorizer": {} } });
    std::fs::write(schema_file, schema.to_string()).unwrap();
}
