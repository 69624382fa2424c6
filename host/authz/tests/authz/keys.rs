//! API keys: those of the fixture `rbac`, and changes of its users.
use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use offloom_authz::{
    Action, AuthorizationAction, AuthzConfig, Credentials, Opened, PrincipalKind, Unauthenticated,
};
use offloom_fixtures::Fixture;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{config, login, login_from, login_refused, open_for};

#[derive(Deserialize)]
struct Decisions {
    keys: HashMap<String, String>,
    decisions: Vec<Decision>,
}

#[derive(Deserialize)]
struct Decision {
    user: String,
    action: String,
    class: String,
    tenant: Option<String>,
    status: u16,
}

/// The fixture, its answers, and its settings.
fn fixture() -> (Fixture, Decisions, AuthzConfig) {
    let fixture = offloom_fixtures::unpack("rbac").unwrap();
    let text = fs::read(fixture.folder().join("decisions.json")).unwrap();
    let decisions: Decisions = serde_json::from_slice(&text).unwrap();
    let named = decisions.keys.iter().filter(|(user, _)| *user != "dynamic-user");
    let (users, keys): (Vec<_>, Vec<_>) = named.map(|(u, k)| (u.as_str(), k.as_str())).unzip();
    let config = config(&[
        ("AUTHENTICATION_APIKEY_ENABLED", "true"),
        ("AUTHENTICATION_APIKEY_ALLOWED_KEYS", &keys.join(",")),
        ("AUTHENTICATION_APIKEY_USERS", &users.join(",")),
        ("AUTHENTICATION_DB_USERS_ENABLED", "on"),
        ("AUTHORIZATION_RBAC_ENABLED", "Enabled"),
        ("AUTHORIZATION_RBAC_ROOT_USERS", "root"),
    ]);
    (fixture, decisions, config)
}

#[tokio::test]
async fn all_decisions_of_a_real_server_come_out_the_same() {
    let (fixture, Decisions { keys, decisions }, mut config) = fixture();
    let reading = open_for(&config, &[&fixture.data_dir()]).unwrap();
    config.action = AuthorizationAction::ManageBackups;
    let exporting = open_for(&config, &[&fixture.data_dir()]).unwrap();
    assert!(reading.warnings.is_empty(), "{:?}", reading.warnings);
    let mut compared = HashMap::new();
    for decision in &decisions {
        let Decision { user, class, .. } = decision;
        let opened = if decision.action == "read object" { &reading } else { &exporting };
        let principal = login(opened, &keys[user]).await.unwrap();
        assert_eq!(principal.to_string(), format!("db:{user}"));
        let policy = opened.authorizer.policy();
        let permitted = match &decision.tenant {
            None => policy.permits(&principal, Action::Export, class),
            Some(tenant) => {
                policy.permits_tenants(&principal, Action::Export, class, &[tenant]) == [true]
            }
        };
        // A class that is not there has no objects and no backups, whatever the policy says.
        let is_there = class != "Missing";
        assert_eq!(permitted && is_there, decision.status == 200, "{user} {class} {permitted}");
        *compared.entry(decision.action.as_str()).or_insert(0) += 1;
    }
    assert_eq!(compared, HashMap::from([("read object", 60), ("upstream export", 50)]));
}

#[tokio::test]
async fn whole_classes_and_every_class_follow_from_the_policy() {
    let (fixture, Decisions { keys, .. }, config) = fixture();
    let opened = open_for(&config, &[&fixture.data_dir()]).unwrap();
    let policy = opened.authorizer.policy();
    for (user, every, tenanted, beta) in [
        ("root", true, true, true),
        ("viewer_user", true, true, true),
        ("carol", true, true, true),
        ("dave", false, false, false),
        ("alice", false, false, false),
    ] {
        let principal = login(&opened, &keys[user]).await.unwrap();
        assert_eq!(policy.permits_every_class(&principal, Action::Export), every, "{user}");
        assert_eq!(policy.permits(&principal, Action::Export, "Tenanted"), tenanted, "{user}");
        let tenants = ["beta", "alpha", "beta"];
        let found = policy.permits_tenants(&principal, Action::Export, "Tenanted", &tenants);
        assert_eq!(found, [beta, beta || user == "dave", beta], "{user}");
    }
}

#[tokio::test]
async fn wrong_keys_are_refused_and_counted() {
    let (fixture, Decisions { keys, .. }, config) = fixture();
    let opened = open_for(&config, &[&fixture.data_dir()]).unwrap();
    let right = &keys["dynamic-user"];
    let wrong = forged(right, "identifierxxxxxx");
    for (token, expected) in [
        ("key-nobody", "unauthorized: invalid api key, please provide a valid api key"),
        (wrong.as_str(), "unauthorized: invalid token"),
        (other_secret(right).as_str(), "unauthorized: invalid token"),
    ] {
        assert_eq!(login_refused(&opened, token).await, expected);
    }
    assert_eq!(opened.failed_logins.count(), 3);
    for authorization in [None, Some("Basic eA=="), Some("Bearer "), Some("key-alice")] {
        let credentials = Credentials { authorization, client: "127.0.0.1".parse().unwrap() };
        let Err(Unauthenticated::Refused(text)) =
            opened.authenticator.authenticate(credentials).await
        else {
            panic!("{authorization:?} came in")
        };
        assert!(text.ends_with("available methods: [API-keys]"), "{text}");
    }
    let principal = login(&opened, right).await.unwrap();
    assert_eq!((principal.kind, principal.name.as_str()), (PrincipalKind::Db, "dynamic-user"));
}

/// A cached success must not outlive any of these changes.
#[tokio::test]
async fn changes_of_users_count_at_once() {
    let (fixture, Decisions { keys, .. }, config) = fixture();
    let opened = open_for(&config, &[&fixture.data_dir()]).unwrap();
    let key = &keys["dynamic-user"];
    let path = fixture.data_dir().join("raft/db_users/users.json");
    let original: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let user = |name: &'static str| format!("/Data/Users/dynamic-user/{name}");
    let changes: [(&str, Value, &str); 5] = [
        (&user("Active"), json!(false), "unauthorized: user deactivated"),
        ("/Data/UserKeyRevoked", json!({"dynamic-user": {}}), "unauthorized: key is revoked"),
        (&user("Namespace"), json!("one"), "confined to a namespace"),
        ("/Data/Users", json!({}), "unauthorized: invalid token"),
        ("/Data/IdentifierToId", json!({}), "unauthorized: invalid token"),
    ];
    for (place, value, expected) in changes {
        assert_eq!(login(&opened, key).await.unwrap().name, "dynamic-user");
        let mut changed = original.clone();
        *changed.pointer_mut(place).unwrap() = value;
        replace(&path, &changed);
        let refused = login_refused(&opened, key).await;
        assert!(refused.contains(expected), "{place}: {refused}");
        replace(&path, &original);
    }
    assert_eq!(login(&opened, key).await.unwrap().name, "dynamic-user");
    // A file that cannot be read leaves the users as they were, and no file means no users.
    fs::write(&path, "{").unwrap();
    assert_eq!(login(&opened, key).await.unwrap().name, "dynamic-user");
    fs::remove_file(&path).unwrap();
    assert_eq!(login_refused(&opened, key).await, "unauthorized: invalid token");
}

#[tokio::test]
async fn another_hash_of_the_same_user_makes_the_old_key_wrong() {
    let (fixture, Decisions { keys, .. }, config) = fixture();
    let opened = open_for(&config, &[&fixture.data_dir()]).unwrap();
    let key = &keys["dynamic-user"];
    login(&opened, key).await.unwrap();
    let path = fixture.data_dir().join("raft/db_users/users.json");
    let mut users: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let hash = users.pointer_mut("/Data/SecureKeyStorageById/dynamic-user").unwrap();
    *hash = json!(hash.as_str().unwrap().replace("$Vu5", "$Wu5"));
    replace(&path, &users);
    assert_eq!(login_refused(&opened, key).await, "unauthorized: invalid token");
}

#[tokio::test]
async fn imported_keys_are_known_by_their_digest() {
    let (fixture, _, config) = fixture();
    let path = fixture.data_dir().join("raft/db_users/users.json");
    let mut users: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let digest: Vec<u8> =
        ring::digest::digest(&ring::digest::SHA256, b"imported-key").as_ref().to_vec();
    users["Data"]["ImportedApiKeysWeakHash"] = json!({ "imported": digest });
    users["Data"]["Users"]["imported"] = json!({ "Id": "imported", "Active": true });
    replace(&path, &users);
    let opened = open_for(&config, &[&fixture.data_dir()]).unwrap();
    assert_eq!(login(&opened, "imported-key").await.unwrap().name, "imported");
    users["Data"]["Users"]["imported"]["Active"] = json!(false);
    replace(&path, &users);
    assert_eq!(login_refused(&opened, "imported-key").await, "unauthorized: user deactivated");
}

#[tokio::test]
async fn who_fails_often_is_slowed_down_but_not_who_came_in_from_there() {
    let (fixture, Decisions { keys, .. }, config) = fixture();
    let opened = open_for(&config, &[&fixture.data_dir()]).unwrap();
    let (here, elsewhere): (IpAddr, IpAddr) =
        ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
    login_from(&opened, &keys["alice"], here).await.unwrap();
    fail_until_slowed_down(&opened, here).await;
    for token in [&keys["bob"], &keys["dynamic-user"], "key-nobody"] {
        let slowed = login_from(&opened, token, here).await;
        assert!(matches!(slowed, Err(Unauthenticated::SlowedDown { seconds: 1.. })));
    }
    login_from(&opened, &keys["alice"], here).await.unwrap();
    login_from(&opened, &keys["bob"], elsewhere).await.unwrap();
    assert!(opened.failed_logins.count() > 20);
}

async fn fail_until_slowed_down(opened: &Opened, client: IpAddr) {
    for number in 0..100 {
        let token = format!("key-{number}");
        match login_from(opened, &token, client).await {
            Err(Unauthenticated::Refused(_)) => {}
            Err(Unauthenticated::SlowedDown { .. }) => return,
            other => panic!("{other:?}"),
        }
    }
    panic!("100 wrong keys were checked");
}

/// As Weaviate does it: a new file in place of the old one.
fn replace(path: &Path, users: &Value) {
    let new = path.with_extension("tmp");
    fs::write(&new, serde_json::to_vec(users).unwrap()).unwrap();
    fs::rename(new, path).unwrap();
}

fn parts(key: &str) -> (String, String) {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.decode(key).unwrap();
    let text = String::from_utf8(text).unwrap();
    let mut parts = text.split('_');
    (parts.next().unwrap().to_owned(), parts.next().unwrap().to_owned())
}

fn key_of(identifier: &str, secret: &str) -> String {
    use base64::Engine;
    let text = format!("{identifier}_{secret}_v200");
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// The key with another identifier.
fn forged(key: &str, identifier: &str) -> String {
    key_of(identifier, &parts(key).1)
}

/// The key with another secret.
fn other_secret(key: &str) -> String {
    let (identifier, secret) = parts(key);
    key_of(&identifier, &format!("x{}", &secret[1..]))
}
