//! The service with an authorizer that denies: who may ask, and what answers do not show.
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use offloom_fixtures::{Fixture, unpack};
use offloom_authz::{Action, Authorizer, Principal, Unauthenticated};
use offloom_export::Workers;
use offloom_sandbox::ExporterGuest;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use super::client_text::ClientText;
use super::{ApiState, router};
use crate::backend::BackendConfig;
use crate::export_index::ExportIndex;
use crate::guest::{self, GuestConfig};
use crate::scheduler::{Scheduler, SchedulerConfig};

/// The token is the principal. `everybody` reads all, `notes` what begins with Note, and the class
/// NotThere, which does not exist; `nobody` reads nothing.
struct Tokens;

impl Authorizer for Tokens {
    fn authenticate(&self, credentials: Option<&str>) -> Result<Principal, Unauthenticated> {
        let token = credentials.and_then(|credentials| credentials.strip_prefix("Bearer "));
        match token {
            Some(name @ ("everybody" | "notes" | "nobody")) => {
                Ok(Principal { name: name.to_owned() })
            }
            Some(_) => Err(Unauthenticated { reason: "the token is not known".to_owned() }),
            None => Err(Unauthenticated { reason: "send a token".to_owned() }),
        }
    }

    fn permitted(&self, principal: &Principal, _: Action, classes: &[String]) -> Vec<String> {
        let may = |class: &&String| match principal.name.as_str() {
            "everybody" => true,
            "notes" => class.starts_with("Not"),
            _ => false,
        };
        classes.iter().filter(may).cloned().collect()
    }
}

/// A service over the fixture `basic`.
struct Service {
    router: Router,
    work: TempDir,
    fixture: Fixture,
}

impl Service {
    async fn start() -> Service {
        Service::over(unpack("basic").unwrap()).await
    }

    async fn over(fixture: Fixture) -> Service {
        let work = tempfile::tempdir().unwrap();
        let authorizer: Arc<dyn Authorizer> = Arc::new(Tokens);
        let config = SchedulerConfig {
            sources: vec![fixture.data_dir()],
            schema: Some(fixture.schema_file()),
            workers: 1,
            max_exports: 1,
            shutdown_grace_seconds: 0,
        };
        let named = vec![
            (work.path().join("out"), "the folder of the backend"),
            (work.path().to_owned(), "the state directory"),
        ];
        let client_text = ClientText::new(&config.sources, named);
        let workers = Workers::new(1, tokio::runtime::Handle::current());
        let index = ExportIndex::open(work.path()).unwrap();
        let scheduler =
            Scheduler::new(config, guest(&work).await, Arc::clone(&authorizer), index, workers)
                .await
                .unwrap();
        let backend = BackendConfig {
            filesystem_root: Some(work.path().join("out")),
            ..BackendConfig::default()
        };
        let router = router(ApiState {
            scheduler,
            backend: Arc::new(backend),
            quarantine_raw: false,
            authorizer,
            client_text,
        });
        Service { router, work, fixture }
    }

    async fn ask(&self, token: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(format!("/v1/export/filesystem{path}"))
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

async fn guest(work: &TempDir) -> ExporterGuest {
    let cache_dir = Some(work.path().join("cache"));
    guest::load(GuestConfig { guest: None, cache_dir }).await.unwrap()
}

fn message(body: &Value) -> &str {
    body["error"][0]["message"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_is_neither_exported_nor_told() {
    let service = Service::start().await;

    let request =
        Request::post("/v1/export/filesystem").body(Body::from("{\"id\":\"a\"}")).unwrap();
    let refused = service.router.clone().oneshot(request).await.unwrap();
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.headers()[header::WWW_AUTHENTICATE], "Bearer");
    let (status, body) = service.create("stranger", json!({ "id": "a" })).await;
    assert_eq!((status, message(&body)), (401, "authorization failed: the token is not known"));

    // A class that may not be read, and one that does not exist: the same words.
    let mut told = Vec::new();
    for class in ["Target", "Nowhere"] {
        let body = json!({ "id": "a", "include": ["Note", class] });
        let (status, body) = service.create("notes", body).await;
        assert_eq!(status, 403, "{body}");
        told.push(message(&body).replace(class, "CLASS"));
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0], "authorization failed: not allowed to read class CLASS");
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
    let told = message(&body);
    assert!(told.starts_with("class does not exist: "), "{told}");
    assert!(told.contains("Note") && !told.contains("Target"), "{told}");
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

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_shown_to_those_who_may_read_all_of_it() {
    let service = Service::start().await;
    let (status, body) = service.create("everybody", json!({ "id": "all" })).await;
    assert_eq!(status, 200, "{body}");
    let ended = service.ended("everybody", "all").await;
    assert_eq!(ended["classes"].as_array().unwrap().len(), 7);
    for method in ["GET", "DELETE"] {
        let (status, body) = service.ask("notes", method, "/all", &Value::Null).await;
        assert_eq!(status, 403, "{body}");
        assert!(message(&body).starts_with("authorization failed: "), "{body}");
        // Whether an id exists is no secret, as upstream has it (`export-api.md` 4).
        let (status, body) = service.ask("nobody", method, "/unknown", &Value::Null).await;
        assert_eq!(status, 404, "{body}");
    }
}
