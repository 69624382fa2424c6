//! Requests with very many names: refused at once beyond a number, and taken up to it.
use std::time::{Duration, Instant};

use offloom_fixtures::{Fixture, unpack};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::{Server, serve_filesystem};

/// As `docs/rest-api.md` has it.
const MAX_NAMES: usize = 10_000;

/// What fits into the largest body.
const TOO_MANY: usize = 149_000;

fn over(fixture: &str) -> (Fixture, TempDir, Server) {
    let (fixture, work) = (unpack(fixture).unwrap(), tempfile::tempdir().unwrap());
    let server = Server::start(&mut serve_filesystem(&fixture.data_dir(), work.path()));
    (fixture, work, server)
}

/// So many short names, none of which is that of anything: `a`, `b`, .. in base 36, without a digit first.
fn names(count: usize) -> Vec<String> {
    let digits: Vec<char> = ('a'..='z').chain('0'..='9').collect();
    let name = |mut number: usize| {
        let mut name = String::from(digits[number % 26]);
        number /= 26;
        while number > 0 {
            name.push(digits[number % 36]);
            number /= 36;
        }
        name
    };
    (0..count).map(name).collect()
}

/// Requests that have `count` names each, every one in another list.
fn bodies(class: &str, count: usize) -> Vec<(&'static str, Value)> {
    let (all, below) = (names(count), names(count - 1));
    let classes = |value: Value| {
        let entries = all.iter().map(|name| (name.clone(), value.clone()));
        Value::Object(entries.collect())
    };
    vec![
        ("include", json!({ "include": all })),
        ("exclude", json!({ "exclude": all })),
        ("properties", json!({ "properties": { class: { "include": below } } })),
        ("properties", json!({ "properties": { class: { "exclude": below } } })),
        ("vectors", json!({ "vectors": { class: below } })),
        ("vectors", json!({ "vectors": classes(json!("all")) })),
        ("tenants", json!({ "tenants": { class: below } })),
        ("guestOptions", json!({ "guestOptions": classes(json!("")) })),
    ]
}

#[test]
fn too_many_names_are_refused_and_hold_nobody_up() {
    let (_fixture, work, server) = over("tenants");
    let refused: Vec<_> = bodies("Shelf", TOO_MANY)
        .into_iter()
        .map(|(list, mut body)| {
            body["id"] = "too-many".into();
            let mut text = body.to_string();
            // The names of the classes are keys with values, so fewer fit.
            if text.len() > 1024 * 1024 {
                let entries = body[list].as_object_mut().unwrap();
                *entries = std::mem::take(entries).into_iter().take(70_000).collect();
                text = body.to_string();
            }
            assert!((1 << 19..=1 << 20).contains(&text.len()), "{list}: {}", text.len());
            text
        })
        .collect();
    std::thread::scope(|threads| {
        let posting: Vec<_> = refused
            .iter()
            .map(|text| threads.spawn(|| server.post_text("/v1/export/filesystem", text)))
            .collect();
        while posting.iter().any(|thread| !thread.is_finished()) {
            let begun = Instant::now();
            assert_eq!(server.get("/v1/.well-known/live").status, 200);
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        }
        for thread in posting {
            let message = thread.join().unwrap().error(422);
            assert!(message.contains(&format!("at most {MAX_NAMES}")), "{message}");
            assert!(message.contains("several exports"), "{message}");
            assert!(message.contains("149000 names") || message.contains("70000 names"));
        }
    });
    assert!(!work.path().join("out/too-many").exists());
}

#[test]
fn ten_thousand_names_are_taken_and_one_more_is_not() {
    let (_fixture, _work, server) = over("tenants");
    for (number, (list, mut body)) in bodies("Shelf", MAX_NAMES).into_iter().enumerate() {
        let id = format!("many-{number}");
        body["id"] = id.as_str().into();
        let answer = server.post("/v1/export/filesystem", &body);
        if answer.status == 200 {
            server.wait("filesystem", &id);
        } else {
            // They are names of nothing.
            let message = answer.error(422);
            assert!(!message.contains(&MAX_NAMES.to_string()), "{list}: {message}");
        }
        match list {
            "exclude" => assert_eq!(answer.status, 200, "{answer:#?}"),
            "include" => assert!(answer.error(422).starts_with("class does not exist: ")),
            "tenants" => assert!(answer.error(422).contains("has no tenant"), "{answer:#?}"),
            _ => {}
        }
    }
    for (_, mut body) in bodies("Shelf", MAX_NAMES + 1) {
        body["id"] = "one-more".into();
        let message = server.post("/v1/export/filesystem", &body).error(422);
        assert!(message.starts_with("the request has 10001 names "), "{message}");
    }
    // The lists count together.
    let half = names(MAX_NAMES / 2);
    let body = json!({ "id": "together", "exclude": half, "tenants": { "Shelf": half } });
    server.post("/v1/export/filesystem", &body).error(422);
}
