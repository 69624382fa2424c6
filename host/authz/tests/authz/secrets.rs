//! A canary in every secret, which no output may have.
use std::fs;

use offloom_authz::{AuthzConfig, Secret, Unauthenticated};
use serde_json::json;

use crate::issuer::{Issuer, SigningKey};
use crate::{config, log, login, open_for};

const CANARY: &str = "canary-5f1d";

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_any_output() {
    log::text();
    let key = SigningKey::ecdsa("key");
    let issuer = Issuer::start(&[&key]).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys");
    fs::write(&file, format!("carol {CANARY}-file\n")).unwrap();
    let settings = AuthzConfig {
        api_keys_file: Some(file.clone()),
        ..config(&[
            ("AUTHENTICATION_APIKEY_ENABLED", "true"),
            ("AUTHENTICATION_APIKEY_ALLOWED_KEYS", &format!("{CANARY}-a,{CANARY}-b")),
            ("AUTHENTICATION_APIKEY_USERS", "alice,bob"),
            ("AUTHENTICATION_DB_USERS_ENABLED", "true"),
            ("AUTHENTICATION_OIDC_ENABLED", "true"),
            ("AUTHENTICATION_OIDC_ISSUER", &issuer.url),
            ("AUTHENTICATION_OIDC_CLIENT_ID", "offloom"),
            ("AUTHENTICATION_OIDC_USERNAME_CLAIM", "email"),
        ])
    };
    let mut output = format!("{settings:?} {:?} {:?}", settings.described(), Secret::new(CANARY));
    let opened = open_for(&settings, &[dir.path()]).unwrap();
    output += &format!("{:?} {:?}", opened.warnings, opened.oidc);
    let mut claims = issuer.claims();
    claims["jti"] = json!(CANARY);
    let token = key.sign(&claims);
    let forged = SigningKey::ecdsa("key").sign(&claims);
    for token in [
        &format!("{CANARY}-a"),
        &format!("{CANARY}-file"),
        &format!("{CANARY}-wrong"),
        &format!("{CANARY}.not.jwt"),
        &token,
        &forged,
    ] {
        match login(&opened, token).await {
            Ok(principal) => output += &format!("{principal:?} {principal}"),
            Err(error @ Unauthenticated::Refused(_)) => output += &format!("{error:?} {error}"),
            Err(error) => panic!("{error}"),
        }
    }
    fs::write(&file, format!("carol {CANARY} more\n")).unwrap();
    let Err(error) = open_for(&settings, &[dir.path()]) else { panic!("opened") };
    output += &format!("{error:?} {error}");
    let users = dir.path().join("raft/db_users");
    fs::create_dir_all(&users).unwrap();
    let text = format!(r#"{{"Data":{{"SecureKeyStorageById":{{"u":["{CANARY}"]}}}}}}"#);
    fs::write(users.join("users.json"), text).unwrap();
    fs::write(&file, format!("carol {CANARY}-file\n")).unwrap();
    let Err(error) = open_for(&settings, &[dir.path()]) else { panic!("opened") };
    output += &format!("{error:?} {error}");
    output += &log::text();
    assert!(output.contains("oidc:alice") && output.contains("db:carol"), "nothing was done");
    let secrets = [CANARY, token.rsplit('.').next().unwrap(), forged.rsplit('.').next().unwrap()];
    for secret in secrets {
        for line in output.lines() {
            assert!(!line.contains(secret), "{line}");
        }
    }
}
