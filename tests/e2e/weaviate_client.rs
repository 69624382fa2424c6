//! The stock clients of Weaviate, its Python client and its command line, do the same against Offloom and
//! against Weaviate itself, over copies of one directory. What differs is listed here, and nothing else
//! differs.
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use offloom_fixtures::{Fixture, unpack};
use offloom_test_parts::{Weaviate, WeaviateSettings};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::program::{Said, python, python_program, said};
use crate::server::{Server, serve_filesystem};

/// Both servers, each over a copy of its own.
struct Both {
    offloom: Server,
    weaviate: Weaviate,
    work: TempDir,
    _fixtures: [Fixture; 2],
}

impl Both {
    fn start() -> Both {
        let fixtures = [unpack("basic").unwrap(), unpack("basic").unwrap()];
        let work = tempfile::tempdir().unwrap();
        let mut command = serve_filesystem(&fixtures[0].data_dir(), work.path());
        let offloom = Server::start(&mut command);
        let weaviate = Weaviate::start(&fixtures[1].data_dir(), &WeaviateSettings::new());
        Both { offloom, weaviate, work, _fixtures: fixtures }
    }

    /// The text without the place of Weaviate's exports.
    fn placeless(&self, text: &str) -> String {
        text.replace(self.weaviate.exports().to_str().unwrap(), "EXPORTS")
    }

    /// The ports of REST and gRPC, of Offloom and of Weaviate.
    fn ports(&self) -> [[String; 2]; 2] {
        let offloom = [self.offloom.authority(), self.offloom.grpc().unwrap()];
        let weaviate = [self.weaviate.rest_port(), self.weaviate.grpc_port()];
        [offloom.map(port), weaviate.map(|port| port.to_string())]
    }
}

fn port(address: &str) -> String {
    address.rsplit(':').next().unwrap().to_owned()
}

/// Panics unless the steps have the same results, but for those of `expected`: step, result of Offloom, result
/// of Weaviate.
#[track_caller]
fn expect_differences(
    offloom: &Map<String, Value>,
    weaviate: &Map<String, Value>,
    expected: &[(&str, Value, Value)],
) {
    let steps: BTreeSet<&String> = offloom.keys().chain(weaviate.keys()).collect();
    let different: Vec<(&str, &Value, &Value)> = steps
        .into_iter()
        .map(|step| (step.as_str(), &offloom[step], &weaviate[step]))
        .filter(|(_, offloom, weaviate)| offloom != weaviate)
        .collect();
    let mut expected: Vec<_> = expected.iter().map(|(step, o, w)| (*step, o, w)).collect();
    expected.sort_by_key(|(step, ..)| *step);
    assert_eq!(different, expected);
}

#[test]
fn the_python_client_sees_what_it_sees_at_weaviate_but_for_the_listed_differences() {
    let both = Both::start();
    let [offloom, weaviate] = both.ports().map(|ports| {
        let said = python("e2e/weaviate_client.py", ports).expect_success();
        serde_json::from_str::<Map<String, Value>>(&both.placeless(&said.out)).unwrap()
    });
    println!("{offloom:#?}\n{weaviate:#?}");
}

/// `weaviate-cli` with a configuration file, as a user has one.
struct Cli {
    config: PathBuf,
}

impl Cli {
    fn new(work: &TempDir, name: &str, [rest, grpc]: &[String; 2]) -> Cli {
        let config = work.path().join(format!("{name}.json"));
        let number = |port: &String| port.parse::<u16>().unwrap();
        let settings = json!({
            "host": "127.0.0.1", "http_port": number(rest),
            "grpc_host": "127.0.0.1", "grpc_port": number(grpc),
        });
        std::fs::write(&config, settings.to_string()).unwrap();
        Cli { config }
    }

    /// `verb export-collection` with these arguments.
    fn export(&self, verb: &str, id: &str, arguments: &[&str]) -> Said {
        let mut command = Command::new(python_program("weaviate-cli"));
        command.arg("--config-file").arg(&self.config).args([verb, "export-collection"]);
        command.args(["--export_id", id, "--backend", "filesystem"]).args(arguments);
        said(command.env("HOME", self.config.parent().unwrap()))
    }
}

/// What a call printed, without what differs from server to server: places, times, names of shards.
fn shown(status: Option<i32>, printed: &str) -> Value {
    let Ok(mut answer) = serde_json::from_str::<Value>(printed) else {
        return json!({ "exit": status, "says": printed.trim_end() });
    };
    let members = answer.as_object_mut().unwrap();
    for varying in ["path", "started_at", "took_in_ms"] {
        members.remove(varying);
    }
    for list in members.values_mut().filter_map(Value::as_array_mut) {
        list.sort_by_key(Value::to_string);
    }
    for shards in members.get_mut("shard_status").iter_mut().flat_map(|s| s.as_object_mut()) {
        for of_class in shards.values_mut() {
            *of_class = of_class.as_object().unwrap().values().cloned().collect();
        }
    }
    json!({ "exit": status, "answer": answer })
}

#[test]
fn the_command_line_of_weaviate_does_what_it_does_at_weaviate_but_for_the_listed_differences() {
    let both = Both::start();
    let [offloom, weaviate] = both.ports();
    let [offloom, weaviate] =
        [("offloom", offloom), ("weaviate", weaviate)].map(|(name, ports)| {
            let cli = Cli::new(&both.work, name, &ports);
            let mut steps = Map::new();
            for (step, verb, id, arguments) in [
                (
                    "create",
                    "create",
                    "cli-1",
                    &["--include", "Note,Target", "--wait", "--json"][..],
                ),
                ("get", "get", "cli-1", &["--json"]),
                ("cancel", "cancel", "cli-1", &[]),
                ("create once more", "create", "cli-1", &["--include", "Note"]),
                ("create without waiting", "create", "cli-2", &["--include", "Target"]),
                ("get what is not there", "get", "cli-3", &[]),
                ("cancel what is not there", "cancel", "cli-3", &[]),
                ("create of an unknown class", "create", "cli-4", &["--include", "NotThere"]),
                ("create of both lists", "create", "cli-5", &["--include", "A", "--exclude", "B"]),
            ] {
                let said = cli.export(verb, id, arguments);
                steps.insert(step.to_owned(), shown(said.status, &both.placeless(&said.out)));
            }
            steps
        });
    println!("{offloom:#?}\n{weaviate:#?}");
}
