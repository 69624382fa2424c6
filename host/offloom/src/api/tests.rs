//! The service with an authorizer that denies: who may ask, and what answers do not show.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use offloom_authz::{
    Action, Authenticator, Authorizer, Credentials, Policy, Principal, PrincipalKind,
    Unauthenticated,
};
use offloom_export::Workers;
use offloom_fixtures::{Fixture, unpack};
use offloom_sandbox::Sandbox;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use super::body::BODY_TIMEOUT;
use super::client_text::ClientText;
use super::error::ApiError;
use super::health::OpenIdConfiguration;
use super::server::REQUEST_TIMEOUT;
use super::web_pages::OwnHosts;
use super::{ApiState, router};
use super::{DefaultExporter, GuestAdmins, Watches};
use crate::backend::BackendConfig;
use crate::export_index::ExportIndex;
use crate::guest::{self, GuestConfig};
use crate::guests::Guests;
use crate::guests::config::TenantLimits;
use crate::guests::signature::TrustedKeys;
use crate::guests::store::GuestStore;
use crate::journal_database::JournalDatabase;
use crate::metrics::ExportMetrics;
use crate::planned_guests::PlannedGuests;
use crate::quotas::QuotaConfig;
use crate::scheduler::{Rooms, Scheduler};
use crate::scheduler_config::SchedulerConfig;
use crate::state_database::StateDatabase;

/// The token is the principal. `everybody` and `another` read all, `notes` what begins with Not, also the
/// class NotThere, which does not exist; `tenants` the tenants t1 and t2 of Shelf, and one that does not
/// exist; `canceler` cancels alone; `nobody` does nothing.
struct Tokens;

#[async_trait]
impl Authenticator for Tokens {
    async fn authenticate(
        &self,
        credentials: Credentials<'_>,
    ) -> Result<Principal, Unauthenticated> {
        let token = credentials.authorization.and_then(|value| value.strip_prefix("Bearer "));
        match token {
            Some(
                name @ ("everybody" | "another" | "notes" | "tenants" | "canceler" | "nobody"),
            ) => Ok(Principal::new(PrincipalKind::Db, name)),
            Some(_) => Err(Unauthenticated::Refused("the token is not known".to_owned())),
            None => Err(Unauthenticated::Refused("send a token".to_owned())),
        }
    }
}

impl Authorizer for Tokens {
    fn policy(&self) -> Arc<dyn Policy> {
        Arc::new(Tokens)
    }
}

impl Policy for Tokens {
    fn permits(&self, principal: &Principal, action: Action, class: &str) -> bool {
        match principal.name.as_str() {
            "canceler" => action == Action::Cancel,
            "everybody" | "another" => true,
            "notes" => class.starts_with("Not"),
            _ => false,
        }
    }

    fn permits_every_class(&self, principal: &Principal, _: Action) -> bool {
        matches!(principal.name.as_str(), "everybody" | "another")
    }

    fn permits_tenants(
        &self,
        principal: &Principal,
        _: Action,
        class: &str,
        tenants: &[&str],
    ) -> Vec<bool> {
        let may = |tenant: &&str| {
            principal.name == "tenants" && class == "Shelf" && ["t1", "t2", "gone"].contains(tenant)
        };
        tenants.iter().map(may).collect()
    }
}

/// A service over a fixture. Its state directory is `work`, and its backend writes to `work/out`.
struct Service {
    router: Router,
    work: TempDir,
    fixture: Fixture,
}

impl Service {
    async fn start() -> Service {
        let fixture = unpack("basic").unwrap();
        let (sources, schema) = (vec![fixture.data_dir()], Some(fixture.schema_file()));
        Service::over(fixture, sources, schema).await
    }

    /// A service over the three nodes of the fixture `cluster`.
    async fn of_nodes() -> Service {
        let fixture = unpack("cluster").unwrap();
        let nodes = ["node1", "node2", "node3"].map(|node| fixture.data_dir().join(node));
        Service::over(fixture, nodes.into(), None).await
    }

    async fn over(fixture: Fixture, sources: Vec<PathBuf>, schema: Option<PathBuf>) -> Service {
        Service::within(REQUEST_TIMEOUT, fixture, sources, schema).await
    }

    async fn within(
        request_timeout: Duration,
        fixture: Fixture,
        sources: Vec<PathBuf>,
        schema: Option<PathBuf>,
    ) -> Service {
        let work = tempfile::tempdir().unwrap();
        let authorizer: Arc<dyn Authorizer> = Arc::new(Tokens);
        let config = SchedulerConfig {
            sources,
            schema,
            workers: 1,
            max_exports: 1,
            max_waiting: 1,
            shutdown_grace_seconds: 0,
            digest: Default::default(),
        };
        let named = vec![
            (work.path().join("out"), "the folder of the backend"),
            (work.path().to_owned(), "the state directory"),
        ];
        let client_text = ClientText::new(&config.sources, named);
        let workers = Workers::new(1, tokio::runtime::Handle::current());
        let database = StateDatabase::open(work.path()).unwrap();
        let index = ExportIndex::new(database.clone()).unwrap();
        let directories = Arc::new(config.directories());
        let journals = JournalDatabase::new(database.clone()).unwrap();
        let store = GuestStore::open(work.path(), database).unwrap();
        let (keys, limits) = (TrustedKeys::default(), TenantLimits::default());
        let guests = Guests::new(sandbox(&work), store, keys, limits);
        let planned = PlannedGuests { guests: guests.clone(), file: None, required: Vec::new() };
        let rooms = Rooms {
            directories,
            guests: planned,
            authorizer,
            index,
            journals,
            workers,
            quotas: QuotaConfig::default(),
            metrics: ExportMetrics::default(),
        };
        let scheduler = Scheduler::new(config, rooms).await.unwrap();
        let backend = BackendConfig {
            filesystem_root: Some(work.path().join("out")),
            ..BackendConfig::default()
        };
        let state = ApiState {
            scheduler,
            guests,
            default_exporter: DefaultExporter::Name("parquet".to_owned()),
            guest_admins: GuestAdmins::Users([].into()),
            backend: Arc::new(backend),
            quarantine_raw: false,
            request_timeout,
            own_hosts: OwnHosts::new("127.0.0.1:80".parse().unwrap(), Vec::new(), false),
            authenticator: Arc::new(Tokens),
            client_text,
            watches: Watches::default(),
            open_id: Some(OpenIdConfiguration {
                href: "https://issuer.example/.well-known/openid-configuration".to_owned(),
                client_id: "offloom".to_owned(),
                scopes: vec!["openid".to_owned(), "email".to_owned()],
            }),
        };
        let router = router(state).unwrap();
        Service { router, work, fixture }
    }

    async fn ask(&self, token: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(format!("/v1/export/filesystem{path}"))
            .header(header::HOST, "localhost")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Body::from(body.to_string()))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn create(&self, token: &str, body: Value) -> (u16, Value) {
        self.ask(token, "POST", "", &body).await
    }

    async fn ended(&self, token: &str, id: &str) -> Value {
        loop {
            let (status, body) = self.ask(token, "GET", &format!("/{id}"), &Value::Null).await;
            assert_eq!(status, 200, "{body}");
            if !matches!(body["status"].as_str(), Some("STARTED" | "TRANSFERRING")) {
                return body;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Service {
    fn out(&self) -> PathBuf {
        self.work.path().join("out")
    }

    /// Fails if `text` shows where the data, the state or the backend are. Both are below the
    /// directory for temporary files, as given and without links.
    fn assert_no_host_path(&self, text: &str) {
        for path in [self.fixture.data_dir(), self.work.path().to_owned(), self.out()] {
            for path in [path.clone(), path.canonicalize().unwrap_or(path)] {
                assert!(!text.contains(path.to_str().unwrap()), "{}: {text}", path.display());
            }
        }
    }

    /// A status without its `path`, which is the address of the export's folder by its contract.
    fn assert_no_host_path_in_status(&self, status: &Value) {
        let mut status = status.clone();
        status.as_object_mut().unwrap().remove("path").unwrap();
        self.assert_no_host_path(&status.to_string());
    }
}

fn sandbox(work: &TempDir) -> Sandbox {
    let cache_dir = Some(work.path().join("cache"));
    guest::sandbox(&GuestConfig { cache_dir, ..GuestConfig::default() }).unwrap()
}

fn message(body: &Value) -> &str {
    body["error"][0]["message"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_is_neither_exported_nor_shown() {
    let service = Service::start().await;

    let request = Request::post("/v1/export/filesystem").header(header::HOST, "localhost");
    let request = request.body(Body::from("{\"id\":\"a\"}")).unwrap();
    let refused = service.router.clone().oneshot(request).await.unwrap();
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.headers()[header::WWW_AUTHENTICATE], "Bearer");
    let (status, body) = service.create("stranger", json!({ "id": "a" })).await;
    assert_eq!((status, message(&body)), (401, "authorization failed: the token is not known"));

    // A class that may not be read, and one that does not exist: the same words.
    let mut messages = Vec::new();
    for class in ["Target", "Nowhere"] {
        let body = json!({ "id": "a", "include": ["Note", class] });
        let (status, body) = service.create("notes", body).await;
        assert_eq!(status, 403, "{body}");
        messages.push(message(&body).replace(class, "CLASS"));
    }
    assert_eq!(messages[0], messages[1]);
    assert_eq!(messages[0], "authorization failed: not allowed to read class CLASS");
    for (token, body) in [
        ("nobody", json!({ "id": "a" })),
        ("nobody", json!({ "id": "a", "exclude": ["Note"] })),
        ("nobody", json!({ "id": "a", "include": ["Note"] })),
    ] {
        let (status, body) = service.create(token, body).await;
        assert_eq!(status, 403, "{body}");
    }
    let (status, body) =
        service.create("notes", json!({ "id": "a", "include": ["NotThere"] })).await;
    assert_eq!(status, 422, "{body}");
    let unknown = message(&body);
    assert!(unknown.starts_with("class does not exist: "), "{unknown}");
    assert!(unknown.contains("Note") && !unknown.contains("Target"), "{unknown}");
    let (status, body) =
        service.create("notes", json!({ "id": "a", "exclude": ["Note", "Note_Draft"] })).await;
    assert_eq!(status, 422, "{body}");

    let (status, body) = service.create("notes", json!({ "id": "narrowed" })).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["classes"], json!(["Note", "Note_Draft"]));
    let ended = service.ended("notes", "narrowed").await;
    assert_eq!(ended["status"], "SUCCESS", "{ended}");
    let out = service.work.path().join("out/narrowed");
    assert!(out.join("Note.parquet").exists() && !out.join("Target.parquet").exists());
}

/// Warnings on a class of the export, on one that may not be read, and on a directory without shards.
#[tokio::test(flavor = "multi_thread")]
async fn the_manifest_does_not_name_classes_that_may_not_be_read() {
    let service = Service::start().await;
    for directory in ["note/not a shard", "target/not a shard", "secret"] {
        std::fs::create_dir(service.fixture.data_dir().join(directory)).unwrap();
    }
    let warnings = async |token: &str| -> Vec<String> {
        let id = format!("by-{token}");
        let (status, body) = service.create(token, json!({ "id": id })).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(service.ended(token, &id).await["status"], "SUCCESS");
        let manifest = service.out().join(id).join("export_metadata.json");
        let manifest = std::fs::read_to_string(manifest).unwrap();
        assert!(!manifest.contains("secret"), "{manifest}");
        assert_eq!(manifest.to_lowercase().contains("target"), token == "everybody", "{manifest}");
        let manifest: Value = serde_json::from_str(&manifest).unwrap();
        serde_json::from_value(manifest["warnings"].clone()).unwrap()
    };
    let left_out = |directory: &str| {
        format!(
            "directory {directory}/not a shard is left out: its name is not one that Weaviate gives"
        )
    };
    assert_eq!(warnings("notes").await, [left_out("note")]);
    assert_eq!(warnings("everybody").await, [left_out("note"), left_out("target")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_shown_to_those_who_may_read_all_of_it() {
    let service = Service::start().await;
    let (status, body) = service.create("everybody", json!({ "id": "all" })).await;
    assert_eq!(status, 200, "{body}");
    let ended = service.ended("everybody", "all").await;
    assert_eq!(ended["classes"].as_array().unwrap().len(), 7);
    for method in ["GET", "DELETE"] {
        let (status, body) = service.ask("notes", method, "/all", &Value::Null).await;
        assert_eq!(status, 404, "{body}");
        let (status, missing) = service.ask("notes", method, "/unknown", &Value::Null).await;
        assert_eq!(status, 404, "{missing}");
        // The words are those of an id that does not exist.
        assert_eq!(message(&body).replace("'all'", "'unknown'"), message(&missing));
    }
    assert_eq!(service.ask("another", "GET", "/all", &Value::Null).await.0, 200);
    for token in ["another", "canceler"] {
        let (status, body) = service.ask(token, "DELETE", "/all", &Value::Null).await;
        assert_eq!(status, 409, "{token}: {body}");
    }
    // Each of the two has its own right.
    assert_eq!(service.ask("canceler", "GET", "/all", &Value::Null).await.0, 404);
}

/// The creator of an export may read some tenants; who may read the class sees it too, and nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn some_tenants_are_exported_for_who_may_read_them_and_named() {
    let service = Service::of_nodes().await;
    let (status, body) = service.create("tenants", json!({ "id": "some" })).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["classes"], json!(["Shelf"]));
    assert_eq!(body["tenants"], json!({ "Shelf": ["t1", "t2"] }));
    let ended = service.ended("tenants", "some").await;
    assert_eq!(ended["status"], "SUCCESS", "{ended}");
    assert_eq!(ended["tenants"], body["tenants"]);
    let shards: Vec<_> = ended["shardStatus"]["Shelf"].as_object().unwrap().keys().collect();
    assert_eq!(shards, ["t1", "t2"]);
    let folder = service.out().join("some");
    let read = |file: &str| {
        serde_json::from_slice::<Value>(&std::fs::read(folder.join(file)).unwrap()).unwrap()
    };
    let manifest = read("export_metadata.json");
    assert_eq!(manifest["tenants"], body["tenants"]);
    assert_eq!(manifest["source"]["shards"].as_array().unwrap().len(), 2);
    assert_eq!(read("_claim.json")["principal"], "db:tenants");
    let schema = read("schema.json");
    assert_eq!(schema["tenants"]["Shelf"].as_array().unwrap().len(), 2, "{schema}");

    assert_eq!(service.ask("notes", "GET", "/some", &Value::Null).await.0, 404);
    assert_eq!(service.ask("everybody", "GET", "/some", &Value::Null).await.0, 200);

    // A tenant that may not be read has one text, whether it exists or not.
    let mut messages = Vec::new();
    for tenant in ["t3", "nowhere"] {
        let body = json!({ "id": "a", "tenants": { "Shelf": ["t1", tenant] } });
        let (status, body) = service.create("tenants", body).await;
        assert_eq!(status, 403, "{body}");
        messages.push(message(&body).replace(tenant, "TENANT"));
    }
    assert_eq!(messages[0], messages[1]);
    let body = json!({ "id": "a", "tenants": { "Shelf": ["gone"] } });
    let (status, body) = service.create("tenants", body).await;
    assert_eq!((status, message(&body)), (422, "class Shelf has no tenant 'gone'"));
    let body = json!({ "id": "one", "tenants": { "Shelf": ["t2"] } });
    let (status, body) = service.create("tenants", body).await;
    assert_eq!((status, &body["tenants"]), (200, &json!({ "Shelf": ["t2"] })), "{body}");
}

/// A request that finds no place is refused before anything is done for it, but not before it is known
/// who asks.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_shown_to_callers_alone() {
    let service = Service::start().await;
    let mut statuses = Vec::new();
    for number in 0..50 {
        let body = json!({ "id": format!("export-{number}") });
        statuses.push(service.create("everybody", body).await.0);
        if statuses.last() == Some(&429) {
            break;
        }
    }
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    assert_eq!(service.create("stranger", json!({ "id": "a" })).await.0, 401);
}

/// Its classes are not known, so that only its creator and who may read every class see it.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_another_server_runs_is_shown_to_its_creator() {
    let service = Service::start().await;
    let folder = service.out().join("theirs");
    std::fs::create_dir_all(&folder).unwrap();
    let claim = json!({
        "id": "theirs", "owner": "host-2", "principal": "db:notes", "version": "0.1.0",
        "startedAt": "2026-11-27T10:00:00.000Z", "nonce": "00000000-0000-4000-8000-000000000000",
    });
    std::fs::write(folder.join("_claim.json"), claim.to_string()).unwrap();
    for (token, expected) in [("notes", 200), ("everybody", 200), ("tenants", 404), ("nobody", 404)]
    {
        let (status, body) = service.ask(token, "GET", "/theirs", &Value::Null).await;
        assert_eq!(status, expected, "{token}: {body}");
        let canceled = service.ask(token, "DELETE", "/theirs", &Value::Null).await.0;
        assert_eq!(canceled, if expected == 200 { 409 } else { 404 }, "{token}");
    }
}

/// Also where another answer would show something of the server.
#[tokio::test(flavor = "multi_thread")]
async fn the_right_to_read_is_checked_before_anything_else() {
    let service = Service::start().await;
    assert_eq!(service.create("everybody", json!({ "id": "taken" })).await.0, 200);
    for body in [
        json!({ "id": "taken" }),
        json!({ "id": "No Id" }),
        json!({ "id": "a", "config": { "bucket": "b" } }),
        json!({ "id": "a", "config": { "path": "../up" } }),
        json!({ "id": "a", "file_format": "csv" }),
        json!({ "id": "a", "guestOptions": { "nothing": "1" } }),
    ] {
        let (status, answer) = service.create("nobody", body.clone()).await;
        assert_eq!(status, 403, "{body}: {answer}");
    }
    let (status, body) = service.create("everybody", json!({ "id": "taken" })).await;
    assert_eq!(status, 409, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_caller_leaves_nothing_on_the_store() {
    let service = Service::start().await;
    for (token, status, body) in [
        ("stranger", 401, json!({ "id": "a" })),
        ("nobody", 403, json!({ "id": "a" })),
        ("nobody", 403, json!({ "id": "a", "exclude": ["Note"] })),
        ("notes", 403, json!({ "id": "a", "include": ["Note", "Target"] })),
        ("notes", 403, json!({ "id": "a", "vectors": { "Target": "none" } })),
    ] {
        let (found, answer) = service.create(token, body).await;
        assert_eq!(found, status, "{answer}");
        assert!(!service.out().exists(), "{token}: the store was written to");
    }
    // Nor does a request that is refused later: the check of the store leaves no folder.
    let (status, body) =
        service.create("notes", json!({ "id": "a", "include": ["NotThere"] })).await;
    assert_eq!(status, 422, "{body}");
    assert!(!service.out().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_the_documented_time() {
    let fixture = unpack("basic").unwrap();
    let sources = vec![fixture.data_dir()];
    let service = Service::within(Duration::ZERO, fixture, sources, None).await;
    let (status, body) = service.create("everybody", json!({ "id": "a" })).await;
    assert_eq!((status, message(&body)), (504, "the request took longer than 0 s"));
    let documented = ApiError::Timeout(REQUEST_TIMEOUT.as_secs()).to_string();
    let docs = include_str!("../../../../docs/rest-api.md");
    assert!(docs.contains(&format!("| 504 | `{documented}` |")), "{documented}");
    let documented = ApiError::SlowBody(BODY_TIMEOUT.as_secs()).to_string();
    assert!(docs.contains(&format!("| 408 | `{documented}` |")), "{documented}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_checked_before_the_body_is_read() {
    let service = Service::start().await;
    let (status, body) = service.ask("stranger", "POST", "", &json!("no object")).await;
    assert_eq!(status, 401, "{body}");
    let (status, body) = service.ask("nobody", "POST", "", &json!("no object")).await;
    assert_eq!(status, 400, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_data_directory_is_reported_without_its_path() {
    let service = Service::start().await;
    let data = service.fixture.data_dir();
    std::fs::rename(&data, data.with_extension("away")).unwrap();
    let (status, body) = service.create("everybody", json!({ "id": "a" })).await;
    assert_eq!(status, 500, "{body}");
    assert!(message(&body).contains("cannot open the data directory: No such file"), "{body}");
    service.assert_no_host_path(&body.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_store_is_reported_without_its_path() {
    let service = Service::start().await;
    std::fs::write(service.out(), "a file where the folder should be").unwrap();
    let (status, body) = service.create("everybody", json!({ "id": "a" })).await;
    assert_eq!(status, 500, "{body}");
    assert!(message(&body).starts_with("write to backend failed: "), "{body}");
    assert!(message(&body).contains("choose a folder"), "{body}");
    service.assert_no_host_path(&body.to_string());

    std::fs::remove_file(service.out()).unwrap();
    std::fs::create_dir_all(service.out().join("broken")).unwrap();
    std::fs::write(service.out().join("broken/export_metadata.json"), "no JSON").unwrap();
    let (status, body) = service.ask("everybody", "GET", "/broken", &Value::Null).await;
    assert_eq!(status, 500, "{body}");
    assert!(message(&body).contains("broken/export_metadata.json is not a manifest"), "{body}");
    service.assert_no_host_path(&body.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_shard_is_reported_without_the_path_of_its_directory() {
    let service = Service::of_nodes().await;
    let objects = service.fixture.data_dir().join("node2/shelf/t2/lsm/objects");
    let files = std::fs::read_dir(objects).unwrap().map(|file| file.unwrap().path());
    let segment = files.into_iter().find(|file| file.extension().unwrap() == "db").unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes.truncate(bytes.len() - 7);
    std::fs::write(&segment, bytes).unwrap();
    let file = segment.file_name().unwrap().to_str().unwrap();

    let failed = json!({ "id": "failed", "include": ["Shelf"] });
    let partial = json!({ "id": "partial", "include": ["Shelf"], "allowPartial": true });
    for (body, status) in [(failed, "FAILED"), (partial, "SUCCESS")] {
        let id = body["id"].as_str().unwrap().to_owned();
        assert_eq!(service.create("everybody", body).await.0, 200);
        let ended = service.ended("everybody", &id).await;
        assert_eq!(ended["status"], status, "{ended:#}");
        service.assert_no_host_path_in_status(&ended);
        let shard = ended["shardStatus"]["Shelf"]["t2"]["error"].as_str().unwrap();
        let texts = match status {
            "FAILED" => {
                let class = ended["progress"]["Shelf"]["error"].as_str().unwrap();
                vec![shard, class, ended["error"].as_str().unwrap()]
            }
            _ => vec![shard, ended["missing"][0]["reason"].as_str().unwrap()],
        };
        for text in texts {
            for part in ["class Shelf", "shard t2", file, "data directory 2", "offset "] {
                assert!(text.contains(part), "{part}: {text}");
            }
        }
        // The operator's manifest has the path.
        let manifest = service.out().join(&id).join("export_metadata.json");
        let manifest = std::fs::read_to_string(manifest).unwrap();
        assert!(manifest.contains(service.fixture.data_dir().to_str().unwrap()));
    }
}

/// As Weaviate's clients read it (`docs/format/rbac.md` 4.3). They need no credentials for it.
#[tokio::test(flavor = "multi_thread")]
async fn clients_learn_where_tokens_come_from() {
    let service = Service::start().await;
    let request = Request::get("/v1/.well-known/openid-configuration");
    let request = request.header(header::HOST, "localhost").body(Body::empty()).unwrap();
    let response = service.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let expected = json!({
        "href": "https://issuer.example/.well-known/openid-configuration",
        "clientId": "offloom",
        "scopes": ["openid", "email"],
    });
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
}
