//! What a caller sees of many exports and of one that goes on: the list, `?watch`, and `dryRun` before.
use std::io::{BufRead, BufReader, Lines, Read};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use offloom_fixtures::unpack;
use serde_json::{Value, json};

use crate::held::Held;
use crate::program::{offloom, program, said};
use crate::server::{Server, serve_filesystem};
use crate::users::Users;

/// An event of a watch: its name and content; a comment has neither.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub name: String,
    pub data: Value,
}

/// Reads the events of a watch, with comments.
pub struct Events(Lines<BufReader<Box<dyn Read + Send>>>);

impl Events {
    pub fn of(server: &Server, path: &str) -> Events {
        let (content_type, body) = server.stream(path);
        assert_eq!(content_type, "text/event-stream");
        Events(BufReader::new(body).lines())
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let mut event = Event { name: String::new(), data: Value::Null };
        loop {
            let line = self.0.next()?.unwrap();
            if let Some(name) = line.strip_prefix("event: ") {
                event.name = name.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                event.data = serde_json::from_str(data).unwrap();
            } else if line.is_empty() {
                return Some(event);
            } else {
                assert!(line.starts_with(':'), "{line}");
            }
        }
    }
}

/// RFC 7396, as a client does it.
pub fn patch(value: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    let object = value.as_object_mut().unwrap();
    for (key, change) in patch {
        if change.is_null() {
            object.remove(key);
        } else {
            self::patch(object.entry(key).or_insert(Value::Null), change);
        }
    }
}

fn ids(page: &Value) -> Vec<&str> {
    page["exports"].as_array().unwrap().iter().map(|each| each["id"].as_str().unwrap()).collect()
}

#[test]
fn a_list_has_the_newest_first_page_by_page_and_by_status() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let server = Server::start(&mut serve_filesystem(&fixture.data_dir(), work.path()));
    assert_eq!(server.get("/v1/export/filesystem").ok(), json!({ "exports": [] }));
    for number in 0..5 {
        let id = format!("e{number}");
        let body = json!({ "id": id, "include": ["Note"] });
        server.post("/v1/export/filesystem", &body).ok();
        server.wait("filesystem", &id);
    }
    let all = server.get("/v1/export/filesystem").ok();
    assert_eq!(ids(&all), ["e4", "e3", "e2", "e1", "e0"]);
    assert_eq!(all["next"], Value::Null);
    let status = server.get("/v1/export/filesystem/e4").ok();
    let mut summary = json!({ "classes": ["Note"] });
    for field in ["id", "backend", "path", "status", "startedAt", "completedAt"] {
        summary[field] = status[field].clone();
    }
    assert_eq!(all["exports"][0], summary);
    let page = server.get("/v1/export/filesystem?limit=2").ok();
    assert_eq!((ids(&page), &page["next"]), (vec!["e4", "e3"], &json!("e3")));
    let page = server.get("/v1/export/filesystem?limit=2&after=e3").ok();
    assert_eq!((ids(&page), &page["next"]), (vec!["e2", "e1"], &json!("e1")));
    let page = server.get("/v1/export/filesystem?limit=2&after=e1").ok();
    assert_eq!((ids(&page), &page["next"]), (vec!["e0"], &Value::Null));
    let failed = server.get("/v1/export/filesystem?status=FAILED").ok();
    assert_eq!(ids(&failed), [""; 0]);
    let page = server.get("/v1/export/filesystem?status=SUCCESS&after=e1").ok();
    assert_eq!(ids(&page), ["e0"]);
    for (query, status, message) in [
        ("status=DONE", 422, "status 'DONE' is not one of: STARTED,"),
        ("limit=0", 422, "limit 0 is not 1 to 1000"),
        ("limit=1001", 422, "limit 1001 is not 1 to 1000"),
        ("limit=x", 400, "the query is not what is expected"),
        ("after=A", 422, "'A' is not an export id"),
        ("after=other", 404, "export not found"),
    ] {
        let answer = server.get(&format!("/v1/export/filesystem?{query}"));
        assert!(answer.error(status).starts_with(message), "{query}: {answer:?}");
    }
    server.get("/v1/export/ftp").error(422);
}

#[test]
fn a_list_has_what_the_caller_may_see() {
    let users = Users::new();
    let mut server = users.start();
    let keys = users.keys();
    server.log_in(&keys["root"]);
    let classes =
        server.post("/v1/export/filesystem", &json!({ "id": "all" })).ok()["classes"].clone();
    assert!(classes.as_array().unwrap().len() > 1);
    server.wait("filesystem", "all");
    let mut seen = Vec::new();
    for (user, key) in &keys {
        server.log_in(key);
        let list = server.get("/v1/export/filesystem").ok();
        let sees = server.get("/v1/export/filesystem/all").status == 200;
        assert_eq!(ids(&list), if sees { vec!["all"] } else { vec![] }, "{user}");
        let after = server.get("/v1/export/filesystem?after=all").status;
        assert_eq!(after, if sees { 200 } else { 404 }, "{user}");
        seen.push(sees);
    }
    assert!(seen.contains(&true) && seen.contains(&false), "{seen:?}");
    server.log_out();
    server.get("/v1/export/filesystem").error(401);
}

#[test]
fn a_watch_begins_with_a_snapshot_has_every_change_and_ends_with_the_export() {
    let held = Held::new("watch-held", |_| ());
    held.create("watched");
    let path = "/v1/export/s3/watched";
    let mut events = Events::of(&held.server, &format!("{path}?watch"));
    let first = events.next().unwrap();
    assert_eq!(first.name, "snapshot");
    let mut body = first.data;
    held.server.wait_for_rows("s3", "watched");
    let listed = held.server.get("/v1/export/s3?status=TRANSFERRING").ok();
    let progress = &listed["exports"][0]["progress"];
    assert!(progress["objectsExported"].as_u64().unwrap() > 0, "{listed:#}");
    assert!(progress["objectsTotal"].as_u64().unwrap() >= 2_000, "{listed:#}");
    // A change within seconds has rows.
    let rows = |body: &Value| body["progress"]["W1Article"]["objectsExported"].as_u64().unwrap();
    while rows(&body) == 0 {
        let change = events.next().unwrap();
        assert_eq!(change.name, "change");
        patch(&mut body, &change.data);
    }
    held.pass();
    let changes: Vec<Event> = events.collect();
    let (last, before) = changes.split_last().unwrap();
    for change in before.iter().chain([last]).filter(|change| !change.data.is_null()) {
        assert_eq!(change.name, "change");
        // What has not changed is not repeated.
        assert_eq!(change.data.get("id"), None, "{change:?}");
        patch(&mut body, &change.data);
    }
    assert_eq!(last.data["status"], "SUCCESS");
    assert_eq!(body, held.server.get(path).ok());
    // One that has ended is shown and that is all; so is a value.
    for query in ["watch", "watch=true", "watch="] {
        let events: Vec<Event> = Events::of(&held.server, &format!("{path}?{query}")).collect();
        assert_eq!(events.len(), 1, "{query}");
        assert_eq!((&*events[0].name, &events[0].data), ("snapshot", &body));
    }
    assert_eq!(held.server.get(&format!("{path}?watch=false")).ok(), body);
    held.server.get(&format!("{path}?watch=yes")).error(400);
    held.server.get("/v1/export/s3/other?watch").error(404);
}

#[test]
fn a_watch_has_a_comment_each_fifteen_seconds_and_outlives_the_limit_of_requests_that_read_nothing()
{
    let held = Held::new("watch-comments", |_| ());
    held.throttle(64 << 10);
    held.create("held");
    let mut events = Events::of(&held.server, "/v1/export/s3/held?watch");
    let begun = Instant::now();
    let (mut comments, mut last) = (0, begun);
    while comments < 3 {
        let event = events.next().unwrap();
        if event.name.is_empty() {
            let pause = last.elapsed();
            assert!((13..=17).contains(&pause.as_secs()), "{pause:?}");
            (comments, last) = (comments + 1, Instant::now());
        }
    }
    // A body that is not read, and an answer, have 30 s.
    assert!(begun.elapsed() > Duration::from_secs(40));
    assert_eq!(held.server.delete("/v1/export/s3/held").status, 204);
    let changes: Vec<Event> = events.collect();
    assert_eq!(changes.last().unwrap().data["status"], "CANCELED");
}

#[test]
fn there_are_sixty_four_watches_at_once_and_a_client_that_goes_makes_room() {
    let held = Held::new("watch-many", |_| ());
    held.create("held");
    let watch = || Events::of(&held.server, "/v1/export/s3/held?watch");
    let mut watches: Vec<Events> = (0..64).map(|_| watch()).collect();
    for events in &mut watches {
        assert_eq!(events.next().unwrap().name, "snapshot");
    }
    let refused = held.server.get("/v1/export/s3/held?watch");
    assert!(refused.error(429).starts_with("64 exports are being watched already"), "{refused:?}");
    assert!(refused.retry_after.unwrap() > 0);
    // Others are served all the same.
    held.server.get("/v1/export/s3/held").ok();
    watches.pop();
    crate::s3::eventually(|| {
        let (content_type, _body) = held.server.stream("/v1/export/s3/held?watch");
        content_type == "text/event-stream"
    });
}

#[test]
fn a_watch_does_not_hold_up_the_end_of_the_server() {
    let held = Held::new("watch-end", |command| {
        command.env("OFFLOOM_SHUTDOWN_GRACE_SECONDS", "1");
    });
    held.create("held");
    let mut events = Events::of(&held.server, "/v1/export/s3/held?watch");
    assert_eq!(events.next().unwrap().name, "snapshot");
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || sender.send(events.count()));
    let begun = Instant::now();
    held.server.signal("-TERM");
    let took = held.ended();
    assert!(took.success() && begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    ended.recv_timeout(Duration::from_secs(10)).unwrap();
}

#[test]
fn a_dry_run_says_what_an_export_would_be_and_does_nothing() {
    let (fixture, work) = (unpack("tenants").unwrap(), tempfile::tempdir().unwrap());
    let out = work.path().join("out");
    let server = Server::start(&mut serve_filesystem(&fixture.data_dir(), work.path()));
    let before: Vec<_> = walk(work.path());
    let dry = server.post("/v1/export/filesystem", &json!({ "dryRun": true })).ok();
    // With an id, which stays free.
    let named = json!({ "id": "x", "dryRun": true });
    assert_eq!(server.post("/v1/export/filesystem", &named).ok(), dry);
    assert!(!out.join("x").exists());
    let after: Vec<_> = walk(work.path());
    assert_eq!(before, after, "something was written");
    server.get("/v1/export/filesystem/x").error(404);
    assert_eq!(server.get("/v1/export/filesystem").ok(), json!({ "exports": [] }));

    server.post("/v1/export/filesystem", &json!({ "id": "x" })).ok();
    let status = server.wait("filesystem", "x");
    let names: Vec<&Value> =
        dry["classes"].as_array().unwrap().iter().map(|c| &c["name"]).collect();
    assert_eq!(json!(names), status["classes"]);
    let (mut shards, mut objects, mut bytes) = (0, 0, 0);
    for class in dry["classes"].as_array().unwrap() {
        let name = class["name"].as_str().unwrap();
        let progress = &status["progress"][name];
        let number = |field: &str| class[field].as_u64().unwrap();
        let of_class =
            status["shardStatus"][name].as_object().map_or(0, |shards| shards.len() as u64);
        assert_eq!(number("shards"), of_class, "{name}");
        assert!(number("tenants") == 0 || number("tenants") == of_class, "{name}");
        assert!(number("objects") >= progress["objectsExported"].as_u64().unwrap(), "{name}");
        shards += number("shards");
        objects += number("objects");
        bytes += number("estimatedBytes");
    }
    assert_eq!(dry["shards"], shards);
    assert_eq!(dry["objects"], objects);
    assert_eq!(dry["estimatedBytes"], bytes);
    assert!(dry["tenants"].as_u64().unwrap() > 0, "{dry:#}");
    // Small files are one request each, with the claim, schema.json and the manifest.
    assert_eq!(dry["storeRequests"], names.len() + 3);

    // It is refused like an export, but for an id that is in use, which it does not take.
    let refused = |body: Value, status| server.post("/v1/export/filesystem", &body).error(status);
    refused(json!({ "dryRun": true, "include": ["NotThere"] }), 422);
    refused(json!({ "dryRun": true, "id": "NOT" }), 422);
    refused(json!({ "dryRun": "yes" }), 400);
    refused(json!({ "dryRun": false }), 422);
}

#[test]
fn a_dry_run_does_not_touch_the_store() {
    let held = Held::new("dry-run", |_| ());
    // One that was checked within the last minute would not be checked again.
    held.server
        .post("/v1/export/s3", &json!({ "id": "x", "dryRun": true, "config": { "path": "other" } }))
        .ok();
    let before = held.requests();
    let dry = json!({ "dryRun": true, "config": { "path": "another" } });
    let dry = held.server.post("/v1/export/s3", &dry).ok();
    assert_eq!(held.requests(), before);
    // 2,000 vectors are some parts; begin and end, claim, schema and manifest are five more.
    let bytes = dry["estimatedBytes"].as_u64().unwrap();
    assert_eq!(dry["storeRequests"], bytes.div_ceil(8 << 20) + 5, "{dry:#}");
    held.refuse_connections();
    held.server.post("/v1/export/s3", &json!({ "dryRun": true })).ok();
}

/// All files below a folder, with their sizes and times of change.
fn walk(folder: &std::path::Path) -> Vec<(std::path::PathBuf, u64, std::time::SystemTime)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let (path, metadata) = {
            let entry = entry.unwrap();
            (entry.path(), entry.metadata().unwrap())
        };
        if metadata.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push((path, metadata.len(), metadata.modified().unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn a_dry_run_of_the_command_line_says_the_same_and_leaves_no_folder() {
    let (fixture, work) = (unpack("tenants").unwrap(), tempfile::tempdir().unwrap());
    let to = work.path().join("lake");
    let dry = offloom([
        "export".as_ref(),
        "--dry-run".as_ref(),
        "--data-dir".as_ref(),
        fixture.data_dir().as_os_str(),
        "--to".as_ref(),
        to.as_os_str(),
    ])
    .expect_success();
    assert!(!to.exists());
    let lines: Vec<&str> = dry.out.lines().collect();
    let (last, classes) = lines.split_last().unwrap();
    assert_eq!(*last, "nothing was written (--dry-run)");
    assert!(classes.iter().any(|line| line.contains(" tenants")), "{}", dry.out);
    assert!(classes.last().unwrap().contains(" requests that write to file://"), "{}", dry.out);
    // An export that is interrupted has its journal; a dry run has none to go on with.
    let both = ["export", "--dry-run", "--resume", "file:///x/y/"];
    assert_eq!(said(program().args(both)).status, Some(2));
}
