//! The stock clients of Weaviate, its Python client and its command line, do the same against Offloom and
//! against Weaviate itself, over copies of one directory. What differs is listed here, and nothing else
//! differs.
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use offloom_fixtures::{Fixture, unpack};
use offloom_test_parts::{WEAVIATE_VERSION, Weaviate, WeaviateSettings};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::bad_data::Damaged;
use crate::held::Held;
use crate::program::{Said, python, python_program, root, said};
use crate::server::{Server, serve_filesystem};
use crate::users::Users;

/// What Offloom says of an id that is none.
const ID_RULE: &str = "use 1 to 128 characters out of a-z, 0-9, '_' and '-'";

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

/// The steps of which the results differ: step, result of Offloom, result of Weaviate.
fn differences(
    offloom: &Map<String, Value>,
    weaviate: &Map<String, Value>,
) -> Vec<(String, Value, Value)> {
    let steps: BTreeSet<&String> = offloom.keys().chain(weaviate.keys()).collect();
    let of_step = |step: &String| (step.clone(), offloom[step].clone(), weaviate[step].clone());
    steps.into_iter().map(of_step).filter(|(_, offloom, weaviate)| offloom != weaviate).collect()
}

#[test]
fn the_python_client_sees_what_it_sees_at_weaviate_but_for_the_listed_differences() {
    let both = Both::start();
    let [offloom, weaviate] = both.ports().map(|ports| {
        let said = python("e2e/weaviate_client.py", ports).expect_success();
        serde_json::from_str::<Map<String, Value>>(&both.placeless(&said.out)).unwrap()
    });
    let refused = |status: u16, message: &str| json!({ "raises": "UnexpectedStatusCodeError", "status": status, "message": message });
    let classes = "AllTypes, Empty, NamedVectors, NoVector, Note, Note_Draft, Target";
    let unknown = |class: &str| {
        format!("class does not exist: class {class} does not exist; there is {classes}")
    };
    let [unknown, other_case] = ["NotThere", "TARGET"].map(unknown);
    let long = format!("'{}...' is not an export id: {ID_RULE}", "x".repeat(80));
    let blank = format!("'a b' is not an export id: {ID_RULE}");
    let none_left = "export validation error: no exportable classes";
    let no_backend = [
        "backend not available: s3 (this server has: filesystem)",
        "export validation error: EXPORT_DEFAULT_BUCKET is required for backend \"s3\"",
    ];
    let not_found = "export not found: export 'unknown' is not known on this backend";
    let mut expected: Vec<(String, Value, Value)> = [
        ("a backend that is not there", 422, no_backend[0], no_backend[1]),
        ("a cancel of that backend", 422, no_backend[0], no_backend[1]),
        ("a status of that backend", 422, no_backend[0], no_backend[1]),
        ("a class in the wrong case", 422, &*other_case, none_left),
        ("an unknown class", 422, &unknown, none_left),
        ("no class left", 422, "nothing to export: every class is excluded", none_left),
        (
            "a long id",
            422,
            &long,
            "export validation error: export id too long: 129 characters, max 128",
        ),
        (
            "an id with a blank",
            422,
            &blank,
            "export validation error: invalid export id: 'a b' allowed characters are lowercase, 0-9, _, -",
        ),
        (
            "an id once more",
            409,
            "export already in progress: export 'client-1' exists: choose another id",
            "export already exists: export \"client-1\" already exists at \"EXPORTS/client-1\"",
        ),
        ("an unknown id", 404, not_found, "export not found"),
        ("cancel an unknown id", 404, not_found, "export not found"),
    ]
    .map(|(step, status, ours, theirs)| {
        (step.to_owned(), refused(status, ours), refused(status, theirs))
    })
    .into();
    // The one difference that is not of words: Weaviate leaves the unknown class out.
    expected.push((
        "an unknown class and a known one".to_owned(),
        refused(422, &unknown),
        json!({
            "type": "ExportStatusReturn", "id": "half-known", "backend": "filesystem", "status": "SUCCESS",
            "collections": ["Target"], "rows": { "Target": [["SUCCESS", 6, null]] }, "error": null,
            "has path": true, "has start": true, "ends after start": true,
        }),
    ));
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(differences(&offloom, &weaviate), expected);
    // What is the same is what it should be.
    assert_eq!(weaviate["created"]["status"], "SUCCESS", "{weaviate:#?}");
    assert_eq!(
        (&weaviate["read"], &weaviate["cancel what has ended"]),
        (&json!(34), &json!(false))
    );
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
    let refused = |what: &str, status: u16, message: &str| {
        // Python quotes a text with the quotes that it does not have.
        let quote = if message.contains('\'') { '"' } else { '\'' };
        let body = format!("{{'error': [{{'message': {quote}{message}{quote}}}]}}");
        let text =
            format!("Error: {what}! Unexpected status code: {status}, with response body: {body}.");
        json!({ "exit": 1, "says": text })
    };
    let not_found = "export not found: export 'cli-3' is not known on this backend";
    let classes = "AllTypes, Empty, NamedVectors, NoVector, Note, Note_Draft, Target";
    let unknown =
        format!("class does not exist: class NotThere does not exist; there is {classes}");
    let expected = [
        (
            "cancel what is not there",
            "Export cancel failed due to connection error.",
            (404, not_found, "export not found"),
        ),
        (
            "create of an unknown class",
            "Export creation",
            (422, &*unknown, "export validation error: no exportable classes"),
        ),
        (
            "create once more",
            "Export creation",
            (
                409,
                "export already in progress: export 'cli-1' exists: choose another id",
                "export already exists: export \"cli-1\" already exists at \"EXPORTS/cli-1\"",
            ),
        ),
        ("get what is not there", "Export status check", (404, not_found, "export not found")),
    ]
    .map(|(step, what, (status, ours, theirs))| {
        (step.to_owned(), refused(what, status, ours), refused(what, status, theirs))
    });
    assert_eq!(differences(&offloom, &weaviate), expected);
    let created = &weaviate["create"];
    assert_eq!((&created["exit"], &created["answer"]["status"]), (&json!(0), &json!("SUCCESS")));
}

/// The error that the client raises: its name, its status, and its text.
fn raised([rest, grpc]: &[String; 2], key: &str, backend: &str, class: &str, mode: &str) -> String {
    let arguments = [rest, grpc, key, backend, class, mode];
    python("e2e/weaviate_errors.py", arguments).expect_success().out.trim_end().to_owned()
}

fn ports(server: &Server) -> [String; 2] {
    [server.authority(), server.grpc().unwrap()].map(port)
}

#[test]
fn the_python_client_knows_the_end_of_an_export_that_fails_or_is_canceled() {
    let damaged = Damaged::new("basic");
    damaged.break_object("note");
    let server = Server::start(&mut serve_filesystem(&damaged.data_dir(), damaged.to.path()));
    let error = raised(&ports(&server), "", "filesystem", "Note", "wait");
    assert!(error.starts_with("ExportFailedError - Export failed with error: "), "{error}");
    assert!(error.contains("class Note"), "{error}");

    let held = Held::new("client-canceled", |_| ());
    let error = raised(&ports(&held.server), "", "s3", "W1Article", "cancel");
    assert!(error.starts_with("ExportCanceledError - Export was canceled"), "{error}");

    // Nobody answers on that port.
    let [rest, _] = ports(&server);
    let error = raised(&[rest, "1".to_owned()], "", "filesystem", "Target", "wait");
    assert!(error.starts_with("WeaviateGRPCUnavailableError - "), "{error}");
}

#[test]
fn the_python_client_knows_who_may_not_export() {
    let users = Users::new();
    let offloom = users.start();
    let fixture = unpack("rbac").unwrap();
    let keys = users.keys();
    let keys: Vec<(&str, &str)> = keys
        .iter()
        .filter(|(user, _)| *user != "dynamic-user")
        .map(|(user, key)| (user.as_str(), key.as_str()))
        .collect();
    let weaviate =
        Weaviate::start(&fixture.data_dir(), &WeaviateSettings::with_users(&keys, "root"));
    let weaviate = [weaviate.rest_port(), weaviate.grpc_port()].map(|port| port.to_string());
    let offloom = ports(&offloom);
    for (key, class, ours, theirs) in [
        ("key-alice", "Public", "none", "UnexpectedStatusCodeError 422 "),
        (
            "key-alice",
            "Secret",
            "InsufficientPermissionsError 403 ",
            "UnexpectedStatusCodeError 422 ",
        ),
        ("key-root", "Secret", "none", "none"),
        ("wrong", "Public", "UnexpectedStatusCodeError 401 ", "UnexpectedStatusCodeError 401 "),
        ("", "Public", "UnexpectedStatusCodeError 401 ", "UnexpectedStatusCodeError 401 "),
    ] {
        for (ports, expected) in [(&offloom, ours), (&weaviate, theirs)] {
            let error = raised(ports, key, "filesystem", class, "wait");
            assert!(error.starts_with(expected), "{key} {class}: {expected}: {error}");
        }
    }
}

/// The versions in the documents are those that the tests use.
#[test]
fn the_documents_name_the_versions_that_are_compared() {
    let file = |name: &str| std::fs::read_to_string(root().join(name)).unwrap();
    let (docs, requirements) = (file("docs/rest-api.md"), file("tests/requirements.txt"));
    assert!(docs.contains(&format!("Weaviate {WEAVIATE_VERSION}")));
    assert!(file("dev").contains(&format!("local version=v{WEAVIATE_VERSION} ")));
    for client in ["weaviate-client", "weaviate-cli"] {
        let pinned =
            requirements.lines().find_map(|line| line.strip_prefix(client)?.strip_prefix("=="));
        let named = format!("{client} {}", pinned.unwrap());
        assert!(docs.contains(&named), "{named}");
    }
}
