//! Weaviate's own users and roles decide what a caller may export, see and cancel.
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use offloom_fixtures::{Fixture, unpack};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{offloom, said};
use crate::server::{Server, serve_filesystem};

/// The fixture whose server had users and roles, and that server's own decisions.
pub struct Users {
    fixture: Fixture,
    work: TempDir,
    decisions: Value,
}

impl Users {
    pub fn new() -> Users {
        let fixture = unpack("rbac").unwrap();
        let decisions = std::fs::read(fixture.folder().join("decisions.json")).unwrap();
        let decisions = serde_json::from_slice(&decisions).unwrap();
        Users { fixture, work: tempfile::tempdir().unwrap(), decisions }
    }

    /// A server with the variables that Weaviate's had.
    fn command(&self) -> Command {
        let mut command = serve_filesystem(&self.fixture.data_dir(), self.work.path());
        let (keys, users): (Vec<_>, Vec<_>) = self
            .keys()
            .into_iter()
            .filter(|(user, _)| user != "dynamic-user")
            .map(|(user, key)| (key, user))
            .unzip();
        command
            .env("AUTHENTICATION_APIKEY_ENABLED", "true")
            .env("AUTHENTICATION_APIKEY_ALLOWED_KEYS", keys.join(","))
            .env("AUTHENTICATION_APIKEY_USERS", users.join(","))
            .env("AUTHENTICATION_DB_USERS_ENABLED", "true")
            .env("AUTHORIZATION_RBAC_ENABLED", "true")
            .env("AUTHORIZATION_RBAC_ROOT_USERS", "root");
        command
    }

    pub fn start(&self) -> Server {
        self.start_with(|_| ())
    }

    /// A server with more settings.
    pub fn start_with(&self, configure: impl FnOnce(&mut Command)) -> Server {
        let mut command = self.command();
        configure(&mut command);
        Server::start(&mut command)
    }

    pub fn keys(&self) -> BTreeMap<String, String> {
        serde_json::from_value(self.decisions["keys"].clone()).unwrap()
    }

    fn key(&self, user: &str) -> String {
        self.keys()[user].clone()
    }

    /// User, class, tenant and status of the decisions about `action`.
    fn decided(&self, action: &str) -> Vec<(String, String, Option<String>, u64)> {
        let decisions = self.decisions["decisions"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        decisions
            .filter(|decision| decision["action"] == action)
            .map(|decision| {
                (
                    text(&decision["user"]).unwrap(),
                    text(&decision["class"]).unwrap(),
                    text(&decision["tenant"]),
                    decision["status"].as_u64().unwrap(),
                )
            })
            .collect()
    }

    fn policy(&self) -> std::path::PathBuf {
        self.fixture.data_dir().join("raft/rbac/policy.csv")
    }
}

fn message(answer: &crate::server::Answer) -> &str {
    answer.body["error"][0]["message"].as_str().unwrap()
}

#[test]
fn all_read_decisions_are_those_of_the_server() {
    let users = Users::new();
    let mut server = users.start();
    let decided = users.decided("read object");
    assert_eq!(decided.len(), 60);
    for (number, (user, class, tenant, status)) in decided.iter().enumerate() {
        server.log_in(&users.key(user));
        let mut body = json!({ "id": format!("d{number}"), "include": [class] });
        if let Some(tenant) = tenant {
            body["tenants"] = json!({ class: [tenant] });
        }
        let answer = server.post("/v1/export/filesystem", &body);
        assert_eq!(u64::from(answer.status), *status, "{user} {class} {tenant:?}: {answer:?}");
        if *status == 200 {
            assert_eq!(answer.body["classes"], json!([class]));
        }
    }
}

#[test]
fn with_manage_backups_all_exports_are_decided_as_the_servers_own() {
    let users = Users::new();
    let mut server =
        Server::start(users.command().env("OFFLOOM_AUTHORIZATION__ACTION", "manage_backups"));
    let decided = users.decided("upstream export");
    assert_eq!(decided.len(), 50);
    for (number, (user, class, _, status)) in decided.iter().enumerate() {
        server.log_in(&users.key(user));
        let body = json!({ "id": format!("d{number}"), "include": [class] });
        let answer = server.post("/v1/export/filesystem", &body);
        // Upstream refuses with 422, and never with 403.
        let expected = match (status, user.as_str(), class.as_str()) {
            (200, ..) => 200,
            // Who may export everything learns that there is no such class.
            (_, "root", "Missing") => 422,
            _ => 403,
        };
        assert_eq!(answer.status, expected, "{user} {class}: {answer:?}");
    }
}

#[test]
fn a_caller_exports_what_it_may_read_and_sees_its_own_exports() {
    let users = Users::new();
    let mut server = users.start();
    server.log_in(&users.key("dave"));
    let created = server.post("/v1/export/filesystem", &json!({ "id": "of-dave" })).ok();
    assert_eq!(created["classes"], json!(["Tenanted"]));
    assert_eq!(created["tenants"], json!({ "Tenanted": ["alpha"] }));
    let ended = server.wait("filesystem", "of-dave");
    assert_eq!(ended["status"], "SUCCESS", "{ended:#}");
    assert_eq!(ended["tenants"], created["tenants"]);
    let folder = users.work.path().join("out/of-dave");
    let claim = std::fs::read_to_string(folder.join("_claim.json")).unwrap();
    assert!(claim.contains("\"db:dave\""), "{claim}");
    let verified = offloom(["verify".as_ref(), folder.as_os_str()]).expect_success();
    assert!(verified.out.contains("of-dave"), "{verified:?}");

    // Who may read all of it sees it, and nobody else.
    for (user, status) in [("root", 200), ("carol", 200), ("viewer_user", 200), ("alice", 404)] {
        server.log_in(&users.key(user));
        let answer = server.get("/v1/export/filesystem/of-dave");
        assert_eq!(answer.status, status, "{user}: {answer:?}");
    }
    let hidden = server.get("/v1/export/filesystem/of-dave").error(404);
    let missing = server.get("/v1/export/filesystem/of-nobody").error(404);
    assert_eq!(hidden.replace("of-dave", "of-nobody"), missing);
    assert_eq!(server.delete("/v1/export/filesystem/of-dave").error(404), hidden);

    // The words for a class that may not be read are those for one that does not exist.
    let refused = |class: &str| {
        let body = json!({ "id": "a", "include": [class] });
        server.post("/v1/export/filesystem", &body).error(403).replace(class, "CLASS")
    };
    assert_eq!(refused("Secret"), refused("Nowhere"));

    // The one with the key that the server's database made, and a class that does not exist.
    server.log_in(&users.key("dynamic-user"));
    let created = server.post("/v1/export/filesystem", &json!({ "id": "dynamic" })).ok();
    assert_eq!(created["classes"], json!(["Reports_2025", "Reports_2026"]));
    let body = json!({ "id": "b", "include": ["Reports_1999"] });
    let unknown = server.post("/v1/export/filesystem", &body).error(422);
    assert!(unknown.starts_with("class does not exist: "), "{unknown}");
    assert!(!unknown.contains("Secret"), "{unknown}");
}

#[test]
fn requests_without_a_right_key_are_refused() {
    let users = Users::new();
    let mut server = users.start();
    let paths = ["/v1/export/filesystem/a", "/v1/export/nothing/a", "/v1/export/filesystem/A%20B"];
    for path in paths {
        server.log_out();
        let answer = server.get(path);
        assert_eq!(answer.status, 401, "{path}: {answer:?}");
        server.log_in("key-of-nobody");
        let answer = server.get(path);
        assert!(matches!(answer.status, 401 | 429), "{path}: {answer:?}");
        assert!(!message(&answer).contains("key-of-nobody"), "{answer:?}");
    }
    // What shows that the server is there needs no key.
    server.log_out();
    for path in ["/v1/.well-known/live", "/v1/.well-known/ready", "/v1/meta"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }

    // Failures are slowed down, and a key that was right before is not.
    server.log_in(&users.key("root"));
    assert_eq!(server.get("/v1/export/filesystem/a").status, 404);
    server.log_in("wrong");
    let slowed = (0..200).map(|_| server.get("/v1/export/filesystem/a"));
    let slowed = slowed.into_iter().find(|answer| answer.status == 429).unwrap();
    assert!(message(&slowed).starts_with("too many failed logins"), "{slowed:?}");
    assert!(slowed.retry_after.unwrap() > 0);
    server.log_in(&users.key("root"));
    assert_eq!(server.get("/v1/export/filesystem/a").status, 404);
}

#[test]
fn other_machines_need_users() {
    let fixture = unpack("rbac").unwrap();
    let work = tempfile::tempdir().unwrap();
    let mut open = crate::program::program();
    let (data_dir, out) = (fixture.data_dir(), work.path().join("out"));
    open.args(["serve", "--listen", "0.0.0.0:0"])
        .args(["--data-dir".as_ref(), data_dir.as_os_str()])
        .args(["--filesystem-root".as_ref(), out.as_os_str()]);
    let error = said(&mut open).expect_error();
    assert!(error.contains("0.0.0.0:0 can be reached by other machines"), "{error}");
    assert!(error.contains("AUTHENTICATION_APIKEY_ENABLED"), "{error}");

    let users = Users::new();
    let command = users.command();
    let variables = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    open.envs(variables);
    let mut server = Server::start(&mut open);
    server.log_in(&users.key("root"));
    // A service with users takes every host that leads to it.
    let answer = server.get_as("offloom.example", "/v1/meta");
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn a_changed_policy_counts_and_a_broken_one_leaves_the_old() {
    let users = Users::new();
    let mut command = users.command();
    let mut server = Server::start(command.env("OFFLOOM_LOG", "warn").stderr(Stdio::piped()));
    server.log_in(&users.key("alice"));
    let secret = |id: &str| json!({ "id": id, "include": ["Secret"] });
    assert_eq!(server.post("/v1/export/filesystem", &secret("a")).status, 403);
    let policy = std::fs::read_to_string(users.policy()).unwrap();
    let eventually = |id: &str, status: u16| {
        for attempt in 0..100 {
            let answer = server.post("/v1/export/filesystem", &secret(&format!("{id}{attempt}")));
            if answer.status == status {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("never {status}");
    };
    std::fs::write(users.policy(), format!("{policy}\ng, db:alice, role:read_all")).unwrap();
    eventually("b", 200);
    std::fs::write(users.policy(), format!("{policy}\nno policy")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(2500));
    eventually("c", 200);
    std::fs::write(users.policy(), &policy).unwrap();
    eventually("d", 403);
    let mut log = server.take_stderr().unwrap();
    drop(server);
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    assert!(text.contains("policy.csv"), "{text}");
}

#[test]
fn an_unreadable_policy_or_one_before_1_30_keeps_the_server_from_starting() {
    let users = Users::new();
    let refused = |users: &Users| said(&mut users.command()).expect_error();
    let policy = std::fs::read_to_string(users.policy()).unwrap();
    std::fs::write(users.policy(), format!("{policy}\np, role:x, (, R, data")).unwrap();
    let error = refused(&users);
    assert!(error.contains("policy.csv") && error.contains("line "), "{error}");
    std::fs::write(users.policy(), &policy).unwrap();
    let version = users.fixture.data_dir().join("raft/rbac/version");
    std::fs::write(&version, "1.29.3").unwrap();
    let error = refused(&users);
    assert!(error.contains("1.30"), "{error}");
    std::fs::remove_file(&version).unwrap();
    let error = refused(&users);
    assert!(error.contains("1.30"), "{error}");
}

#[test]
fn files_alone_switch_nothing_on() {
    let fixture = unpack("rbac").unwrap();
    let work = tempfile::tempdir().unwrap();
    let mut command = serve_filesystem(&fixture.data_dir(), work.path());
    let mut server = Server::start(command.stderr(Stdio::piped()));
    let created = server.post("/v1/export/filesystem", &json!({ "id": "all" })).ok();
    assert_eq!(created["classes"].as_array().unwrap().len(), 5, "{created}");
    let mut log = server.take_stderr().unwrap();
    drop(server);
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    for variable in ["AUTHORIZATION_RBAC_ENABLED", "AUTHENTICATION_DB_USERS_ENABLED"] {
        assert!(text.contains(variable), "{text}");
    }
}

/// Everything that the program writes, with the most detailed log.
#[test]
fn no_key_appears_anywhere() {
    let users = Users::new();
    let mut command = users.command();
    let canary = "canary-4f1b9c-secret";
    let of_others = |(user, key): (String, String)| (user != "dynamic-user").then_some(key);
    let keys: Vec<String> = users.keys().into_iter().filter_map(of_others).collect();
    let names: Vec<String> =
        users.keys().into_keys().filter(|user| user != "dynamic-user").collect();
    command
        .env("AUTHENTICATION_APIKEY_ALLOWED_KEYS", format!("{},{canary}", keys.join(",")))
        .env("AUTHENTICATION_APIKEY_USERS", format!("{},root", names.join(",")))
        .env("OFFLOOM_LOG", "trace")
        .stderr(Stdio::piped());
    let mut server = Server::start(&mut command);
    let mut log = server.take_stderr().unwrap();
    let reading = std::thread::spawn(move || {
        let mut text = Vec::new();
        log.read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    });
    let wrong = "wrong-canary-77aa-secret";
    let mut answers = Vec::new();
    for key in [canary, wrong] {
        server.log_in(key);
        answers.push(server.post("/v1/export/filesystem", &json!({ "id": "a" })));
        answers.push(server.get("/v1/export/filesystem/a"));
    }
    server.log_in(canary);
    assert_eq!(server.wait("filesystem", "a")["status"], "SUCCESS");
    drop(server);
    let log = reading.join().unwrap();
    assert!(log.contains("TRACE"), "the log has no detail");
    let mut texts = vec![log, format!("{answers:?}")];
    texts.extend(files(users.work.path()));
    for text in texts {
        assert!(!text.contains(canary) && !text.contains(wrong), "{text}");
    }
}

/// The content of every file below `folder`.
fn files(folder: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts.extend(files(&path));
        } else {
            texts.push(String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned());
        }
    }
    texts
}

#[test]
fn config_check_shows_settings_with_their_sources_and_what_works() {
    let users = Users::new();
    let keys = users.keys();
    let command = |check: &mut Command| {
        for (name, value) in users.command().get_envs() {
            check.env(name, value.unwrap_or_default());
        }
        said(check)
    };
    let data_dir = users.fixture.data_dir();
    let out = users.work.path().join("lake");
    let mut check = crate::program::program();
    check
        .args(["config", "check", "--workers", "3"])
        .args(["--data-dir".as_ref(), data_dir.as_os_str()])
        .env("OFFLOOM_FILESYSTEM_ROOT", &out);
    let shown = command(&mut check).expect_success().out;
    for line in [
        "workers = 3 (--workers)",
        &format!("filesystem_root = {} (OFFLOOM_FILESYSTEM_ROOT)", out.display()),
        "listen = 127.0.0.1:8080 (default)",
        "authorization.action = read (default)",
        "AUTHORIZATION_RBAC_ROOT_USERS = root (AUTHORIZATION_RBAC_ROOT_USERS)",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
    for what in ["data directories: 5 classes", "users: ", "backend filesystem: "] {
        assert!(shown.lines().any(|line| line.starts_with(what)), "{what}: {shown}");
    }
    assert!(keys.values().all(|key| !shown.contains(key.as_str())), "{shown}");

    // What fails is named, and the rest is tried.
    std::fs::write(users.policy(), "p, role:x").unwrap();
    let mut check = crate::program::program();
    check
        .args(["config", "check", "--filesystem-root", "/proc/none"])
        .args(["--data-dir".as_ref(), data_dir.as_os_str()]);
    let failed = command(&mut check);
    assert_eq!(failed.status, Some(1), "{failed:?}");
    for what in ["users: failed: ", "backend filesystem: failed: ", "data directories: 5 classes"] {
        assert!(failed.out.lines().any(|line| line.starts_with(what)), "{what}: {}", failed.out);
    }
}

#[test]
fn these_paths_alone_need_no_key() {
    let users = Users::new();
    let server = users.start();
    for path in
        ["/v1/meta", "/v1/.well-known/live", "/v1/.well-known/ready", "/v1/openapi.json", "/"]
    {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}"]);
        curl.arg(format!("http://{}{path}", server.authority()));
        assert_eq!(said(&mut curl).out, "200", "{path}");
    }
    for path in [
        "/v1/export/filesystem",
        "/v1/export/filesystem/x",
        "/v1/export/filesystem/x?watch",
        "/v1/guests",
        "/v1/guests/parquet",
    ] {
        server.get(path).error(401);
    }
    server.post("/v1/export/filesystem", &json!({ "dryRun": true })).error(401);
    server.delete("/v1/export/filesystem/x").error(401);
}
