//! Guests of tenants: who sees them, which rows they get, what they may use; and transforms that the operator
//! requires for single tenants.
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::guests::guest;
use crate::program::{program, python, said};
use crate::server::Server;
use crate::tenants::write_classes;
use crate::transforms::manifest;

/// Two tenants with a user each, and one who may read everything.
struct Shelf {
    work: tempfile::TempDir,
}

impl Shelf {
    fn new() -> Shelf {
        let work = tempfile::tempdir().unwrap();
        let classes: &[(&str, &[(&str, u32)])] = &[("Shelf", &[("north", 40), ("south", 50)])];
        write_classes(&work.path().join("data"), classes);
        let write = |name: &str, text: &str| {
            let file = work.path().join(name);
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        };
        write("keys", "alice alice-key\nbob bob-key\nroot root-key\n");
        write(
            "policy.csv",
            "p, role:north, data/collections/Shelf/shards/north/objects/.*, R, data\n\
             p, role:south, data/collections/Shelf/shards/south/objects/.*, R, data\n\
             p, role:all, data/collections/.*/shards/.*/objects/.*, R, data\n\
             g, db:alice, role:north\ng, db:bob, role:south\ng, db:root, role:all",
        );
        Shelf { work }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    fn start(&self, users: bool, more: &[&str]) -> Server {
        let mut command = crate::server::serve_filesystem(&self.path("data"), self.work.path());
        if users {
            command.arg("--api-keys-file").arg(self.path("keys"));
            command.arg("--policy-file").arg(self.path("policy.csv"));
        }
        Server::start(command.args(more))
    }

    fn push(&self, server: &Server, key: &str, tenant: &str) -> crate::program::Said {
        let file = guest("offloom-guest-minimal-transform");
        let mut command = program();
        command.args(["guest", "push", "mine"]).arg(file);
        command.arg(format!("--server=http://{}", server.authority()));
        if !tenant.is_empty() {
            command.args(["--tenant", tenant]);
        }
        said(command.env("OFFLOOM_API_KEY", key))
    }
}

fn of_tenant(id: &str, tenant: &str, guest: &str) -> Value {
    json!({
        "id": id, "include": ["Shelf"], "tenants": { "Shelf": [tenant] },
        "transforms": [{ "guest": guest }],
    })
}

#[test]
fn a_tenants_guest_is_known_to_those_who_may_read_the_tenant() {
    let shelf = Shelf::new();
    let mut server = shelf.start(true, &["--guests-admins", "root"]);
    // One's own tenant, somebody else's, and everybody's.
    shelf.push(&server, "alice-key", "Shelf/north").expect_success();
    let error = shelf.push(&server, "alice-key", "Shelf/south").expect_error();
    assert!(error.contains("there is no guest mine"), "{error}");
    let error = shelf.push(&server, "alice-key", "").expect_error();
    assert!(error.contains("not allowed to change guests"), "{error}");
    // A tenant that is not there is none that may be read.
    let error = shelf.push(&server, "root-key", "Shelf/nowhere").expect_error();
    assert!(error.contains("there is no guest mine"), "{error}");

    let names = |server: &Server| {
        let list = server.get("/v1/guests").ok();
        let names = list["guests"].as_array().unwrap().iter();
        names.filter(|guest| guest["name"] == "mine").count()
    };
    for (key, seen) in [("alice-key", true), ("bob-key", false), ("root-key", true)] {
        server.log_in(key);
        assert_eq!(names(&server), usize::from(seen), "{key}");
        let status = server.get("/v1/guests/mine?tenant=Shelf/north").status;
        assert_eq!(status, if seen { 200 } else { 404 }, "{key}");
        server.get("/v1/guests/mine").error(404);
    }
    server.log_in("bob-key");
    server.delete("/v1/guests/mine?tenant=Shelf/north").error(404);
    // To use it, the rows must be those of its tenant, which bob may not read.
    let body = of_tenant("bobs", "north", "Shelf/north/mine");
    server.post("/v1/export/filesystem", &body).error(403);
    // The same words whether it exists or not.
    let messages = ["Shelf/north/mine", "Shelf/north/none"].map(|guest| {
        let body = of_tenant("bobs", "south", guest);
        let message = server.post("/v1/export/filesystem", &body).error(422);
        message.replace(guest, "GUEST")
    });
    assert_eq!(messages[0], messages[1]);
    assert!(messages[0].contains("of one tenant"), "{}", messages[0]);

    server.log_in("alice-key");
    server.post("/v1/export/filesystem", &of_tenant("alices", "north", "Shelf/north/mine")).ok();
    assert_eq!(server.wait("filesystem", "alices")["status"], "SUCCESS");
    let applied = &manifest(&shelf.path("out/alices"))["transforms"][0];
    assert_eq!((applied["rowsIn"].as_u64(), applied["rowsKept"].as_u64()), (Some(40), Some(40)));
    assert!(applied["name"].as_str().unwrap().starts_with("Shelf/north/mine@sha256:"), "{applied}");
}

#[test]
fn a_tenants_guest_gets_no_rows_but_those_of_its_tenant() {
    let shelf = Shelf::new();
    let server = shelf.start(false, &[]);
    shelf.push(&server, "", "Shelf/north").expect_success();
    for body in [
        json!({ "id": "a", "transforms": [{ "guest": "Shelf/north/mine" }] }),
        json!({ "id": "a", "include": ["Shelf"], "transforms": [{ "guest": "Shelf/north/mine" }] }),
        of_tenant("a", "south", "Shelf/north/mine"),
        json!({
            "id": "a", "include": ["Shelf"], "tenants": { "Shelf": ["north", "south"] },
            "transforms": [{ "guest": "Shelf/north/mine" }],
        }),
        json!({ "id": "a", "include": ["Shelf"], "exporter": "Shelf/north/mine" }),
    ] {
        let message = server.post("/v1/export/filesystem", &body).error(422);
        assert!(message.contains("must be of that tenant alone"), "{body}: {message}");
    }
    let tried = json!({ "class": "Shelf", "rows": 100 });
    let tried = server.post("/v1/guests/mine/dry-run?tenant=Shelf/north", &tried).ok();
    assert_eq!(tried["rowsIn"], 40, "{tried:#}");
    let other = json!({ "class": "Shelf", "tenant": "south" });
    server.post("/v1/guests/mine/dry-run?tenant=Shelf/north", &other).error(422);
}

#[test]
fn a_tenants_guest_keeps_within_the_limits_of_tenants() {
    let shelf = Shelf::new();
    for (flags, words) in [
        (["--guests-tenant-memory", "64KiB"], "more than 65536 bytes of memory"),
        (["--guests-tenant-output", "100B"], "more than 100 bytes of output in one export"),
    ] {
        let server = shelf.start(false, &flags);
        shelf.push(&server, "", "Shelf/north").expect_success();
        let id = format!("limited{}", flags[1].to_lowercase());
        let answer =
            server.post("/v1/export/filesystem", &of_tenant(&id, "north", "Shelf/north/mine"));
        let error = if answer.status == 200 {
            server.wait("filesystem", &id)["error"].as_str().unwrap().to_owned()
        } else {
            answer.error(422)
        };
        assert!(error.contains(words), "{error}");
        // The operator's guests have no such limits.
        shelf.push(&server, "", "").expect_success();
        let id = format!("free{}", flags[1].to_lowercase());
        server.post("/v1/export/filesystem", &of_tenant(&id, "north", "mine")).ok();
        assert_eq!(server.wait("filesystem", &id)["status"], "SUCCESS");
    }
    let server = shelf.start(false, &["--guests-tenant-instances", "1"]);
    let mut body = of_tenant("two", "north", "Shelf/north/mine");
    body["transforms"] = json!([{ "guest": "Shelf/north/mine" }, { "guest": "Shelf/north/mine" }]);
    let message = server.post("/v1/export/filesystem", &body).error(422);
    assert!(message.contains("2 guests of the tenant, and it may have 1 instances"), "{message}");
    server.post("/v1/export/filesystem", &of_tenant("one", "north", "Shelf/north/mine")).ok();
    assert_eq!(server.wait("filesystem", "one")["status"], "SUCCESS");
}

/// Rows of the named tenants are masked, those of others are not, and no request changes that.
#[test]
fn a_transform_may_be_required_for_single_tenants() {
    let shelf = Shelf::new();
    let policy = "[[transform]]\nguest = 'redact'\noptions = { mask = 'tenant' , missing = 'ignore' }\n\
                  tenants = { shelf = ['south'] }\n";
    std::fs::write(shelf.path("required.toml"), policy).unwrap();
    let file = shelf.path("required.toml").display().to_string();
    let server = shelf.start(false, &["--guests-policy-file", &file]);
    let bodies = [
        json!({ "id": "all" }),
        json!({ "id": "south", "include": ["Shelf"], "tenants": { "Shelf": ["south"] } }),
        json!({ "id": "north", "include": ["Shelf"], "tenants": { "Shelf": ["north"] } }),
    ];
    for (body, masked, plain) in [(&bodies[0], 50, 40), (&bodies[1], 50, 0), (&bodies[2], 0, 40)] {
        server.post("/v1/export/filesystem", body).ok();
        let id = body["id"].as_str().unwrap();
        assert_eq!(server.wait("filesystem", id)["status"], "SUCCESS");
        let file = shelf.path("out").join(id).join("Shelf.parquet");
        let counted = python("e2e/count_masked.py", [file]).expect_success();
        assert_eq!(counted.out.trim(), format!("{masked} {plain}"), "{id}");
    }
    // A dry-run does not show what the policy hides.
    let body = json!({ "class": "Shelf", "tenant": "south", "options": { "where": "true" } });
    let tried = server.post("/v1/guests/filter/dry-run", &body).ok();
    let rows = tried["rows"].as_array().unwrap();
    assert!(
        rows.len() == 10 && rows.iter().all(|row| row["properties"]["tenant"] == "***"),
        "{tried:#}"
    );
    // Nor does a transform of the request see it.
    let mut body = of_tenant("seen", "south", "filter");
    body["transforms"][0]["options"] = json!({ "where": "properties.tenant == 'south'" });
    server.post("/v1/export/filesystem", &body).ok();
    assert_eq!(server.wait("filesystem", "seen")["progress"]["Shelf"]["objectsExported"], 0);
}
