//! The REST service over a folder: what it answers, what it refuses, and in which words.
use std::path::{Path, PathBuf};

use offloom_encoder::write_tenants;
use offloom_fixtures::{Fixture, unpack};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::golden::compare;
use crate::program::{offloom, program};
use crate::raw_http::ask;
use crate::server::{Server, serve_filesystem};
use crate::tenants::write_classes;

/// A server over a fixture, with the backend `filesystem`.
struct Over {
    fixture: Fixture,
    work: TempDir,
    server: Server,
}

fn over(fixture: &str) -> Over {
    let fixture = unpack(fixture).unwrap();
    let work = tempfile::tempdir().unwrap();
    let mut command = serve_filesystem(&fixture.data_dir(), work.path());
    command.args(["--schema".as_ref(), fixture.schema_file().as_os_str()]);
    let server = Server::start(&mut command);
    Over { fixture, work, server }
}

fn folder_of(status: &Value) -> PathBuf {
    let path = status["path"].as_str().unwrap();
    PathBuf::from(path.strip_prefix("file://").unwrap_or_else(|| panic!("{status:#}")))
}

fn time(value: &Value) -> chrono::DateTime<chrono::Utc> {
    let text = value.as_str().unwrap_or_else(|| panic!("no time: {value}"));
    assert!(text.ends_with('Z'), "{text} is not in UTC");
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn an_export_is_created_followed_and_read() {
    let over = over("basic");
    let body = json!({ "id": "first", "file_format": "parquet", "unknown": { "fields": "pass" } });
    let created = over.server.post("/v1/export/filesystem", &body);
    let location = created.location.clone().unwrap();
    let created = created.ok();
    assert_eq!(created["id"], "first");
    assert_eq!(created["backend"], "filesystem");
    let classes = ["AllTypes", "Empty", "NamedVectors", "NoVector", "Note", "Note_Draft", "Target"];
    assert_eq!(created["classes"], json!(classes));
    assert!(created["status"] == "STARTED" || created["status"] == "TRANSFERRING", "{created:#}");
    assert_eq!(created["progress"]["Note"]["objectsExported"].as_u64().unwrap_or(99), 0);
    assert!(created.get("completedAt").is_none() && created.get("error").is_none(), "{created:#}");
    assert!(created.get("shardStatus").is_none(), "{created:#}");

    let ended = over.server.wait("filesystem", "first");
    assert_eq!(ended["status"], "SUCCESS", "{ended:#}");
    assert_eq!(over.server.get(&location).ok(), ended);
    assert_eq!(ended["path"], created["path"]);
    assert_eq!(ended["classes"], json!(classes));
    assert_eq!(ended["startedAt"], created["startedAt"]);
    let took = time(&ended["completedAt"]) - time(&ended["startedAt"]);
    assert_eq!(ended["tookInMs"], took.num_milliseconds());
    let folder = folder_of(&ended);
    assert_eq!(folder, over.work.path().join("out/first/"));
    compare(&folder, &over.fixture);
    for class in classes {
        let progress = &ended["progress"][class];
        assert_eq!(progress["status"], "SUCCESS", "{class}");
        assert_eq!(progress["objectsTotal"], progress["objectsExported"], "{class}");
        let size = std::fs::metadata(folder.join(format!("{class}.parquet"))).unwrap().len();
        assert_eq!(progress["fileSizeBytes"], size, "{class}");
        let shards = ended["shardStatus"][class].as_object().unwrap();
        let rows: u64 =
            shards.values().map(|shard| shard["objectsExported"].as_u64().unwrap()).sum();
        assert_eq!(progress["objectsExported"], rows, "{class}");
        for shard in shards.values() {
            if rows == 0 {
                assert_eq!(shard["status"], "SKIPPED", "{class}: {shard}");
                assert_eq!(shard["skipReason"], "no data");
            } else {
                assert_eq!(shard["status"], "SUCCESS", "{class}: {shard}");
            }
        }
    }
    offloom(["verify".as_ref(), folder.as_os_str()]).expect_success();
}

#[test]
fn a_selection_is_followed_and_a_folder_of_the_request_is_found_again() {
    let over = over("basic");
    let create = |body: Value| over.server.post("/v1/export/filesystem", &body).ok();
    let created = create(json!({ "id": "in", "include": ["note", "Target"], "exclude": [] }));
    assert_eq!(created["classes"], json!(["Note", "Target"]));
    let created = create(json!({
        "id": "out", "include": null, "exclude": ["Note", "NotThere"], "config": { "path": "team/a" }
    }));
    assert_eq!(
        created["classes"],
        json!(["AllTypes", "Empty", "NamedVectors", "NoVector", "Note_Draft", "Target"])
    );
    for id in ["in", "out"] {
        assert_eq!(over.server.wait("filesystem", id)["status"], "SUCCESS");
    }
    let ended = over.server.get("/v1/export/filesystem/out").ok();
    assert_eq!(folder_of(&ended), over.work.path().join("out/team/a/out/"));

    // Another server finds it in the place that the request names, and nowhere else.
    let other = tempfile::tempdir().unwrap();
    let mut command = crate::server::serve(&over.fixture.data_dir(), other.path());
    let root = over.work.path().join("out");
    let stranger = Server::start(command.args(["--filesystem-root".as_ref(), root.as_os_str()]));
    stranger.get("/v1/export/filesystem/out").error(404);
    assert_eq!(stranger.get("/v1/export/filesystem/out?path=team/a").ok(), ended);
    assert_eq!(stranger.get("/v1/export/filesystem/in").ok()["status"], "SUCCESS");
    let again = stranger.post("/v1/export/filesystem", &json!({ "id": "in" })).error(409);
    assert!(again.starts_with("export already in progress: "), "{again}");
}

#[test]
fn what_is_wrong_with_a_request_is_reported() {
    let over = over("basic");
    let server = &over.server;
    let refused =
        |body: Value, status: u16| server.post("/v1/export/filesystem", &body).error(status);
    assert_eq!(refused(json!({}), 422), "export ID is required");
    assert_eq!(refused(json!({ "id": "" }), 422), "export ID is required");
    for id in ["Upper", "a b", "a/b", "..", "ä", &"x".repeat(129)] {
        let message = refused(json!({ "id": id }), 422);
        assert!(message.contains("id"), "{id}: {message}");
    }
    let message = refused(json!({ "id": "x", "include": ["Note"], "exclude": ["Target"] }), 422);
    assert!(message.contains("include and exclude cannot be given together"), "{message}");
    let message = refused(json!({ "id": "x", "include": ["Note", "NotThere"] }), 422);
    assert!(message.starts_with("class does not exist: "), "{message}");
    assert!(message.contains("NotThere") && message.contains("Note_Draft"), "{message}");
    let all = ["AllTypes", "Empty", "NamedVectors", "NoVector", "Note", "Note_Draft", "Target"];
    let message = refused(json!({ "id": "x", "exclude": all }), 422);
    assert!(message.starts_with("nothing to export: "), "{message}");
    let message = refused(json!({ "id": "x", "file_format": "csv" }), 422);
    assert!(message.contains("file_format 'csv'"), "{message}");
    for path in ["../up", "/etc", "a//b", ".hidden", "a\\b"] {
        let message = refused(json!({ "id": "x", "config": { "path": path } }), 422);
        assert!(message.contains("is not allowed"), "{path}: {message}");
    }
    let message = refused(json!({ "id": "x", "config": { "bucket": "b" } }), 422);
    assert!(message.contains("no buckets"), "{message}");
    let message = refused(json!({ "id": "x", "guestOptions": { "compresion": "zstd" } }), 422);
    assert!(message.contains("compresion"), "{message}");

    for wrong in [
        "",
        "{",
        "[]",
        "\"x\"",
        r#"{"id": 7}"#,
        r#"{"id": "x", "include": "Note"}"#,
        r#"{"id": "x", "config": [null, null]}"#,
        r#"{"id": "x", "properties": {"Note": [["txt"], null]}}"#,
    ] {
        let message = server.post_text("/v1/export/filesystem", wrong).error(400);
        assert!(message.starts_with("the request body is not what is expected: "), "{message}");
    }
    for backend in ["s3", "gcs", "tape"] {
        let message =
            server.post(&format!("/v1/export/{backend}"), &json!({ "id": "x" })).error(422);
        assert!(message.starts_with("backend not available: "), "{message}");
        assert!(message.contains("filesystem"), "{message}");
    }
    server.get("/v1/export/s3/x").error(422);
    let message = server.get("/v1/export/filesystem/x").error(404);
    assert!(message.starts_with("export not found: "), "{message}");
    server.delete("/v1/export/filesystem/x").error(404);
    server.get("/v1/export/filesystem/Upper").error(422);
    server.get("/v1/export/filesystem/x?shards=perhaps").error(400);
    server.get("/v1/export/%FF/x").error(404);
    server.get("/nowhere").error(404);
    server.get("/v1/guests/parquet/activate").error(405);
    assert!(!over.work.path().join("out/x").exists(), "a refused request left something");
}

#[test]
fn refusals_have_the_form_that_the_client_asks_for() {
    let over = over("basic");
    let refused = over.server.get("/v1/export/filesystem/unknown");
    let message = refused.error(404);
    let problem =
        json!({ "type": "about:blank", "title": "Not Found", "status": 404, "detail": message });
    let asked = |accept, path| over.server.get_accepting(accept, path);
    for accept in ["application/problem+json", "application/json, application/problem+json;q=1.0"] {
        let answer = asked(accept, "/v1/export/filesystem/unknown");
        assert_eq!(answer.status, 404);
        assert_eq!(answer.content_type.as_deref(), Some("application/problem+json"));
        assert_eq!(answer.body, problem);
    }
    for accept in ["*/*", "application/json", "application/json, application/problem+json;q=0.9"] {
        assert_eq!(asked(accept, "/v1/export/filesystem/unknown"), refused, "{accept}");
    }
    // Refusals of every layer, and no successes.
    for (path, status, title) in [
        ("/nowhere", 404, "Not Found"),
        ("/v1/guests/parquet/activate", 405, "Method Not Allowed"),
        ("/v1/export/s3/x", 422, "Unprocessable Entity"),
        ("/v1/export/filesystem/x?shards=perhaps", 400, "Bad Request"),
    ] {
        let answer = asked("application/problem+json", path);
        assert_eq!((answer.status, &answer.body["title"]), (status, &json!(title)), "{path}");
        assert_eq!(answer.content_type.as_deref(), Some("application/problem+json"), "{path}");
    }
    let answer = asked("application/problem+json", "/v1/meta");
    assert_eq!(answer.content_type.as_deref(), Some("application/json"));
}

/// The headers of a refusal are those of its status, and none is that of the empty answer it was made from.
#[test]
fn refusals_have_the_headers_of_their_status() {
    let over = over("basic");
    let authority = over.server.authority();
    let asked =
        |line: &str| ask(authority, format!("{line} HTTP/1.1\r\nHost: {authority}\r\n\r\n"));
    let refused = asked("PUT /v1/export/filesystem/x");
    assert_eq!(refused.status, 405);
    let mut methods: Vec<&str> = refused.header("allow").unwrap().split(',').collect();
    methods.sort_unstable();
    assert_eq!(methods, ["DELETE", "GET", "HEAD"]);
    assert_eq!(refused.header("vary"), Some("accept"));
    let length = refused.header("content-length").unwrap();
    assert_eq!(length, refused.body.len().to_string());
    assert_eq!(asked("PUT /nowhere").header("allow"), None);
}

#[test]
fn a_body_may_have_one_mebibyte() {
    let over = over("basic");
    let body = |bytes: usize| {
        let rest = json!({ "id": "large", "include": ["Target"], "padding": "" }).to_string();
        json!({ "id": "large", "include": ["Target"], "padding": "x".repeat(bytes - rest.len()) })
    };
    for bytes in [1024 * 1024 + 1, 9 * 1024 * 1024] {
        // A client that is still sending must read the answer too.
        for _ in 0..5 {
            let message = over.server.post("/v1/export/filesystem", &body(bytes)).error(413);
            assert!(message.contains("larger than 1048576 bytes"), "{message}");
        }
    }
    over.server.post("/v1/export/filesystem", &body(1024 * 1024)).ok();
}

#[test]
fn health_is_reported_and_the_version_is_one_that_clients_take() {
    let over = over("basic");
    for path in ["/v1/.well-known/live", "/v1/.well-known/ready"] {
        let answer = over.server.get(path);
        assert_eq!((answer.status, answer.body), (200, Value::Null), "{path}");
    }
    let meta = over.server.get("/v1/meta").ok();
    let version: Vec<u32> =
        meta["version"].as_str().unwrap().split('.').map(|n| n.parse().unwrap()).collect();
    assert!(version >= vec![1, 37, 0], "{meta}");
    let refused = over.server.get("/v1/.well-known/openid-configuration").error(404);
    assert_eq!(refused, "this server has no OpenID Connect");
}

#[test]
fn tenants_are_distinguished_and_left_out_of_a_long_answer() {
    let over = over("tenants");
    over.server.post("/v1/export/filesystem", &json!({ "id": "tenants" })).ok();
    let ended = over.server.wait("filesystem", "tenants");
    assert_eq!(ended["status"], "SUCCESS", "{ended:#}");
    compare(&folder_of(&ended), &over.fixture);
    let shards = ended["shardStatus"].as_object().unwrap();
    assert!(shards.values().any(|class| class.as_object().unwrap().len() > 5), "{ended:#}");

    let source = tempfile::tempdir().unwrap();
    write_tenants(1_001, source.path()).unwrap();
    let work = tempfile::tempdir().unwrap();
    let server = Server::start(&mut serve_filesystem(&source.path().join("data"), work.path()));
    server.post("/v1/export/filesystem", &json!({ "id": "many" })).ok();
    let ended = server.wait("filesystem", "many");
    assert_eq!(ended["progress"]["Shelf"]["objectsExported"], 1_001, "{ended:#}");
    assert!(ended.get("shardStatus").is_none());
    let all = server.get("/v1/export/filesystem/many?shards=true").ok();
    assert_eq!(all["shardStatus"]["Shelf"].as_object().unwrap().len(), 1_001);
}

#[test]
fn names_that_upstream_confuses_become_two_files() {
    // Upstream writes both to A_b_c_0000.parquet (`export-api.md` 9).
    let source = tempfile::tempdir().unwrap();
    write_classes(source.path(), &[("A", &[("b_c", 1)]), ("A_b", &[("c", 2)])]);
    let work = tempfile::tempdir().unwrap();
    let server = Server::start(&mut serve_filesystem(source.path(), work.path()));
    server.post("/v1/export/filesystem", &json!({ "id": "both" })).ok();
    let ended = server.wait("filesystem", "both");
    assert_eq!(ended["status"], "SUCCESS", "{ended:#}");
    assert_eq!(ended["shardStatus"]["A"]["b_c"]["objectsExported"], 1);
    assert_eq!(ended["shardStatus"]["A_b"]["c"]["objectsExported"], 2);
    let rows = crate::program::python(
        "e2e/rows_by_tenant.py",
        ["A.parquet", "A_b.parquet"].map(|file| folder_of(&ended).join(file)),
    )
    .expect_success();
    assert_eq!(rows.out, "A b_c 1\nA_b c 2\n");
}

#[test]
fn settings_come_from_flags_variables_and_a_file() {
    let fixture = unpack("basic").unwrap();
    let work = tempfile::tempdir().unwrap();
    let file = work.path().join("offloom.toml");
    let path = |name: &str| work.path().join(name).display().to_string();
    let text = format!(
        "data_dir = {:?}\nlisten = '127.0.0.1:0'\nfilesystem_root = {:?}\nstate_dir = {:?}\n",
        fixture.data_dir(),
        path("from-file"),
        path("state"),
    );
    std::fs::write(&file, &text).unwrap();
    let start = |variable: Option<&Path>, flag: Option<&Path>| {
        let mut command = program();
        command.args(["serve".as_ref(), "--config".as_ref(), file.as_os_str()]);
        if let Some(root) = variable {
            command.env("OFFLOOM_FILESYSTEM_ROOT", root);
        }
        if let Some(root) = flag {
            command.args(["--filesystem-root".as_ref(), root.as_os_str()]);
        }
        Server::start(&mut command)
    };
    let (variable, flag) = (work.path().join("from-variable"), work.path().join("from-flag"));
    for (id, variable, flag, expected) in [
        ("a", None, None, "from-file/a/"),
        ("b", Some(&*variable), None, "from-variable/b/"),
        ("c", Some(&*variable), Some(&*flag), "from-flag/c/"),
    ] {
        let server = start(variable, flag);
        let body = json!({ "id": id, "include": ["Target"] });
        let created = server.post("/v1/export/filesystem", &body).ok();
        assert_eq!(folder_of(&created), work.path().join(expected));
        server.wait("filesystem", id);
    }
    let refused = |text: &str| {
        std::fs::write(&file, text).unwrap();
        offloom(["serve".as_ref(), "--config".as_ref(), file.as_os_str()]).expect_error()
    };
    let error = refused(&format!("{text}listne = '127.0.0.1:1'\n"));
    assert!(error.contains("unknown field `listne`") && error.contains("offloom.toml"), "{error}");
    let error = refused(&text.replace("127.0.0.1:0", "0.0.0.0:0"));
    assert!(error.contains("127.0.0.1"), "{error}");
    let error = refused("listen = '127.0.0.1:0'");
    assert!(error.contains("--data-dir"), "{error}");
}

#[test]
fn the_server_does_not_start_over_what_is_no_data_directory() {
    let work = tempfile::tempdir().unwrap();
    let mut command = serve_filesystem(work.path(), work.path());
    let said = command.output().unwrap();
    assert!(!said.status.success());
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.starts_with("error: ") && said.contains("data directory"), "{said}");
}

#[test]
fn two_servers_do_not_share_their_state() {
    let over = over("basic");
    let mut second = serve_filesystem(&over.fixture.data_dir(), over.work.path());
    let said = second.output().unwrap();
    assert!(!said.status.success());
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("--state-dir"), "{said}");
}
