//! Tokens: good ones, forged ones, and an issuer that changes its keys or is gone.
use offloom_authz::{Action, Opened, PrincipalKind, Unauthenticated};
use ring::hmac;
use serde_json::{Value, json};

use crate::issuer::{Issuer, SigningKey, encoded, message, now};
use crate::{config, log, login, login_refused, open_for, tls_issuer};

async fn start(keys: &[&SigningKey]) -> (Issuer, Opened) {
    let issuer = Issuer::start(keys).await;
    let opened = open_with(&issuer, &[]);
    (issuer, opened)
}

fn open_with(issuer: &Issuer, more: &[(&str, &str)]) -> Opened {
    let mut variables = vec![
        ("AUTHENTICATION_OIDC_ENABLED", "true"),
        ("AUTHENTICATION_OIDC_ISSUER", issuer.url.as_str()),
        ("AUTHENTICATION_OIDC_CLIENT_ID", "offloom"),
        ("AUTHENTICATION_OIDC_USERNAME_CLAIM", "email"),
        ("AUTHENTICATION_OIDC_GROUPS_CLAIM", "groups"),
    ];
    variables.extend(more);
    open_for(&config(&variables), &[]).unwrap()
}

/// The claims of a good token with one of them changed. `null` takes it out.
fn with(issuer: &Issuer, claim: &str, value: Value) -> Value {
    let mut claims = issuer.claims();
    match value {
        Value::Null => claims.as_object_mut().unwrap().remove(claim),
        value => claims.as_object_mut().unwrap().insert(claim.to_owned(), value),
    };
    claims
}

#[tokio::test]
async fn a_good_token_of_each_kind_comes_in_with_its_groups() {
    let keys = [SigningKey::ecdsa("ec"), SigningKey::ed25519("ed"), SigningKey::rsa("rsa")];
    let (issuer, opened) = start(&keys.each_ref()).await;
    let mut tokens: Vec<_> = keys.iter().map(|key| key.sign(&issuer.claims())).collect();
    tokens.push(keys[2].sign_as(&json!({ "alg": "PS256", "kid": "rsa" }), &issuer.claims()));
    // Without a key id, and for several audiences.
    tokens.push(keys[0].sign_as(&json!({ "alg": "ES256" }), &issuer.claims()));
    tokens.push(keys[0].sign(&with(&issuer, "aud", json!(["other", "offloom"]))));
    for token in tokens {
        let principal = login(&opened, &token).await.unwrap();
        assert_eq!(principal.to_string(), "oidc:alice");
        assert_eq!(principal.kind, PrincipalKind::Oidc);
        assert_eq!(principal.groups, ["readers", "/admins x"]);
    }
    assert_eq!(issuer.requests_for_keys(), 1);
    assert_eq!(opened.failed_logins.count(), 0);
    let discovery = serde_json::to_value(opened.oidc.unwrap()).unwrap();
    let href = format!("{}/.well-known/openid-configuration", issuer.url);
    assert_eq!(discovery, json!({ "href": href, "clientId": "offloom", "scopes": [] }));
}

#[tokio::test]
async fn claims_that_are_wrong_are_refused_with_the_reason() {
    let key = SigningKey::ecdsa("key");
    let (issuer, opened) = start(&[&key]).await;
    for (claim, value, expected) in [
        ("exp", json!(now() - 60), "the token has expired"),
        ("exp", Value::Null, "lacks a claim"),
        ("nbf", json!(now() + 60), "the token is not valid yet"),
        ("aud", json!("other"), "for another audience"),
        ("aud", Value::Null, "lacks a claim"),
        ("iss", json!("https://other.example"), "of another issuer"),
        ("iss", json!(format!("{}/", issuer.url)), "of another issuer"),
        ("iss", Value::Null, "lacks a claim"),
        ("email", Value::Null, "no usable name in its claim 'email'"),
        ("email", json!(""), "no usable name"),
        ("email", json!(7), "no usable name"),
        ("email", json!("wv_internal_empty"), "no usable name"),
    ] {
        let refused = login_refused(&opened, &key.sign(&with(&issuer, claim, value))).await;
        assert!(refused.starts_with("unauthorized: "), "{refused}");
        assert!(refused.contains(expected), "{claim}: {refused}");
    }
    assert_eq!(opened.failed_logins.count(), 12);
}

#[tokio::test]
async fn groups_are_an_array_or_a_text_or_none() {
    let key = SigningKey::ecdsa("key");
    let (issuer, opened) = start(&[&key]).await;
    for (groups, expected) in [
        (json!("one"), vec!["one"]),
        (json!(["one", 2, "three"]), vec!["one", "three"]),
        (json!({ "one": true }), vec![]),
        (Value::Null, vec![]),
    ] {
        let token = key.sign(&with(&issuer, "groups", groups));
        assert_eq!(login(&opened, &token).await.unwrap().groups, expected);
    }
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let keys = [SigningKey::ecdsa("ec"), SigningKey::rsa("rsa"), SigningKey::ed25519("ed")];
    let (issuer, opened) = start(&keys.each_ref()).await;
    let claims = issuer.claims();
    let other = SigningKey::ecdsa("ec");
    let none = message(&json!({ "alg": "none", "kid": "ec" }), &claims);
    let mut forged = vec![
        format!("{none}."),
        format!("{none}.{}", encoded(b"signature")),
        // Signed by a key of the same id that the issuer does not have.
        other.sign(&claims),
        // Another algorithm than the key is for.
        keys[0].sign_as(&json!({ "alg": "ES384", "kid": "ec" }), &claims),
        keys[0].sign_as(&json!({ "alg": "RS256", "kid": "ec" }), &claims),
        keys[0].sign_as(&json!({ "alg": "ES256", "kid": "rsa" }), &claims),
        keys[0].sign_as(&json!({ "alg": "ES256", "kid": "ec", "crit": ["b64"] }), &claims),
        // Not a token at all.
        "a.b.c".to_owned(),
        "key".to_owned(),
    ];
    // Signed with the public key as if it were a shared secret.
    for key in &keys {
        for secret in [key.public_bytes(), key.public().to_string().into_bytes()] {
            let message = message(&json!({ "alg": "HS256", "kid": key.id }), &claims);
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message.as_bytes());
            forged.push(format!("{message}.{}", encoded(tag.as_ref())));
        }
    }
    // A good token with other claims.
    let good = keys[0].sign(&claims);
    let (head, rest) = good.split_once('.').unwrap();
    let signature = rest.split_once('.').unwrap().1;
    let root = encoded(with(&issuer, "email", json!("root")).to_string().as_bytes());
    forged.push(format!("{head}.{root}.{signature}"));
    for token in forged {
        let refused = login_refused(&opened, &token).await;
        assert!(refused.starts_with("unauthorized: "), "{token}: {refused}");
    }
    login(&opened, &good).await.unwrap();
}

/// An issuer that publishes a symmetric key does not get tokens taken that are signed with it.
#[tokio::test]
async fn a_published_symmetric_key_and_unknown_kinds_count_for_nothing() {
    let key = SigningKey::ecdsa("key");
    let (issuer, opened) = start(&[&key]).await;
    issuer.publish_also(json!({ "kty": "oct", "kid": "shared", "k": encoded(b"secret") }));
    issuer.publish_also(json!({ "kty": "of the future", "kid": "new", "alg": "XX999" }));
    let mut encryption = key.public();
    encryption["use"] = json!("enc");
    encryption["kid"] = json!("enc");
    issuer.publish_also(encryption);
    let message = message(&json!({ "alg": "HS256", "kid": "shared" }), &issuer.claims());
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"secret"), message.as_bytes());
    login_refused(&opened, &format!("{message}.{}", encoded(tag.as_ref()))).await;
    login_refused(
        &opened,
        &key.sign_as(&json!({ "alg": "ES256", "kid": "enc" }), &issuer.claims()),
    )
    .await;
    login(&opened, &key.sign(&issuer.claims())).await.unwrap();
}

#[tokio::test]
async fn a_new_key_is_fetched_when_a_token_names_it() {
    let (old, new) = (SigningKey::ecdsa("old"), SigningKey::ed25519("new"));
    let (issuer, opened) = start(&[&old]).await;
    login(&opened, &old.sign(&issuer.claims())).await.unwrap();
    issuer.publish(&[&new]);
    login(&opened, &new.sign(&issuer.claims())).await.unwrap();
    assert_eq!(issuer.requests_for_keys(), 2);
    let refused = login_refused(&opened, &old.sign(&issuer.claims())).await;
    assert_eq!(refused, "unauthorized: the issuer has no such key for this algorithm");
}

/// Anybody can write tokens with unknown key ids. The issuer must not get a request for each.
#[tokio::test]
async fn unknown_key_ids_make_few_requests() {
    let key = SigningKey::ecdsa("key");
    let (issuer, opened) = start(&[&key]).await;
    for number in 0..15 {
        let header = json!({ "alg": "ES256", "kid": number.to_string() });
        login_refused(&opened, &key.sign_as(&header, &issuer.claims())).await;
    }
    assert_eq!(issuer.requests_for_keys(), 5);
    login(&opened, &key.sign(&issuer.claims())).await.unwrap();
}

#[tokio::test]
async fn an_issuer_that_cannot_be_asked_is_no_fault_of_the_client() {
    let key = SigningKey::ecdsa("key");
    for trouble in ["gone", "broken", "other", "elsewhere"] {
        let (issuer, opened) = start(&[&key]).await;
        let other = Issuer::start(&[&key]).await;
        let mut token = key.sign(&issuer.claims());
        let mut opened = opened;
        match trouble {
            "gone" => {
                // The port was free a moment ago.
                let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
                let url = format!("http://{}", free.local_addr().unwrap());
                drop(free);
                token = key.sign(&with(&issuer, "iss", json!(url)));
                opened = open_with(&issuer, &[("AUTHENTICATION_OIDC_JWKS_URL", &url)]);
            }
            "broken" => issuer.break_down(),
            "other" => issuer.claim_to_be("https://other.example"),
            _ => issuer.send_away(&format!("{}/keys", other.url)),
        }
        let found = login(&opened, &token).await;
        let Err(Unauthenticated::Unavailable(text)) = found else { panic!("{trouble}: {found:?}") };
        assert_eq!(text, "its keys cannot be fetched", "{trouble}");
        assert_eq!(other.requests_for_keys(), 0, "{trouble}: the redirect was followed");
        assert_eq!(opened.failed_logins.count(), 0, "{trouble}");
    }
}

#[tokio::test]
async fn kept_keys_count_while_the_issuer_is_broken() {
    let key = SigningKey::ecdsa("key");
    let (issuer, opened) = start(&[&key]).await;
    login(&opened, &key.sign(&issuer.claims())).await.unwrap();
    issuer.break_down();
    login(&opened, &key.sign(&issuer.claims())).await.unwrap();
    let unknown = key.sign_as(&json!({ "alg": "ES256", "kid": "unknown" }), &issuer.claims());
    let found = login(&opened, &unknown).await;
    assert!(matches!(found, Err(Unauthenticated::Unavailable(_))), "{found:?}");
}

#[tokio::test]
async fn only_algorithms_that_the_issuer_names_are_taken() {
    let key = SigningKey::ecdsa("key");
    let (issuer, opened) = start(&[&key]).await;
    issuer.sign_only_with(json!(["RS256"]));
    login_refused(&opened, &key.sign(&issuer.claims())).await;
}

#[tokio::test]
async fn other_audiences_come_in_only_when_the_check_is_off() {
    let key = SigningKey::ecdsa("key");
    let issuer = Issuer::start(&[&key]).await;
    let token = key.sign(&with(&issuer, "aud", json!("other")));
    login_refused(&open_with(&issuer, &[]), &token).await;
    let off = open_with(&issuer, &[("AUTHENTICATION_OIDC_SKIP_CLIENT_ID_CHECK", "true")]);
    login(&off, &token).await.unwrap();
    let expired = key.sign(&with(&issuer, "exp", json!(now() - 60)));
    login_refused(&off, &expired).await;
}

#[tokio::test]
async fn callers_of_one_namespace_are_refused() {
    let key = SigningKey::ecdsa("key");
    let issuer = Issuer::start(&[&key]).await;
    let opened = open_with(
        &issuer,
        &[
            ("NAMESPACES_ENABLED", "true"),
            ("AUTHENTICATION_OIDC_NAMESPACE_CLAIM", "ns"),
            ("AUTHENTICATION_OIDC_GLOBAL_PRINCIPAL_CLAIM", "global"),
        ],
    );
    let mut claims = issuer.claims();
    claims["ns"] = json!("one");
    let refused = login_refused(&opened, &key.sign(&claims)).await;
    assert!(refused.contains("confined to a namespace"), "{refused}");
    claims["global"] = json!(true);
    login_refused(&opened, &key.sign(&claims)).await;
    claims["ns"] = json!("");
    login(&opened, &key.sign(&claims)).await.unwrap();
    claims["global"] = json!("true");
    login_refused(&opened, &key.sign(&claims)).await;
    login_refused(&opened, &key.sign(&issuer.claims())).await;
}

/// As upstream: a token in the form of a JWT is for OIDC, anything else is a key.
#[tokio::test]
async fn keys_and_tokens_go_together_and_roles_come_from_groups() {
    let key = SigningKey::ecdsa("key");
    let issuer = Issuer::start(&[&key]).await;
    let fixture = offloom_fixtures::unpack("rbac").unwrap();
    let variables = [
        ("AUTHENTICATION_OIDC_ENABLED", "true"),
        ("AUTHENTICATION_OIDC_ISSUER", issuer.url.as_str()),
        ("AUTHENTICATION_OIDC_CLIENT_ID", "offloom"),
        ("AUTHENTICATION_OIDC_USERNAME_CLAIM", "email"),
        ("AUTHENTICATION_OIDC_GROUPS_CLAIM", "groups"),
        ("AUTHENTICATION_APIKEY_ENABLED", "true"),
        ("AUTHENTICATION_APIKEY_ALLOWED_KEYS", "key.with.dots"),
        ("AUTHENTICATION_APIKEY_USERS", "alice"),
        ("AUTHORIZATION_RBAC_ENABLED", "true"),
        ("AUTHORIZATION_RBAC_ROOT_GROUPS", "roots"),
        ("AUTHORIZATION_RBAC_READONLY_GROUPS", "readers of all"),
        ("AUTHORIZATION_RBAC_ROOT_USERS", "carol"),
    ];
    let opened = open_for(&config(&variables), &[&fixture.data_dir()]).unwrap();
    let policy = opened.authorizer.policy();
    let may = |principal: &_, class| policy.permits(principal, Action::Export, class);
    let by_key = login(&opened, "key.with.dots").await.unwrap();
    assert_eq!(by_key.to_string(), "db:alice");
    assert!(may(&by_key, "Public") && !may(&by_key, "Secret"));
    // The same name of another kind is somebody else, whose groups decide.
    for (groups, expected) in [
        (json!([]), false),
        (json!(["/admins x"]), true),
        (json!(["roots"]), true),
        (json!(["readers of all"]), true),
        (json!(["root", "role:root"]), false),
    ] {
        let token = key.sign(&with(&issuer, "groups", groups.clone()));
        let principal = login(&opened, &token).await.unwrap();
        assert_eq!(principal.to_string(), "oidc:alice");
        assert_eq!(may(&principal, "Secret"), expected, "{groups}");
    }
    let root = login(&opened, &key.sign(&with(&issuer, "email", json!("carol")))).await.unwrap();
    assert!(policy.permits_every_class(&root, Action::Cancel));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_over_tls_is_trusted_by_the_certificate_of_the_settings_only() {
    log::text();
    let key = SigningKey::ecdsa("key");
    let url = tls_issuer::start(vec![key.public()]);
    let variables = |certificate| {
        [
            ("AUTHENTICATION_OIDC_ENABLED", "true"),
            ("AUTHENTICATION_OIDC_ISSUER", url.as_str()),
            ("AUTHENTICATION_OIDC_SKIP_CLIENT_ID_CHECK", "true"),
            ("AUTHENTICATION_OIDC_USERNAME_CLAIM", "email"),
            ("AUTHENTICATION_OIDC_CERTIFICATE", certificate),
        ]
    };
    let token = key.sign(&json!({ "iss": url, "exp": now() + 300, "email": "alice" }));
    let trusting = open_for(&config(&variables(tls_issuer::AUTHORITY)), &[]).unwrap();
    assert_eq!(login(&trusting, &token).await.unwrap().to_string(), "oidc:alice");
    let other = open_for(&config(&variables("")), &[]).unwrap();
    let found = login(&other, &token).await;
    assert!(matches!(found, Err(Unauthenticated::Unavailable(_))), "{found:?}");
    // The operator learns why.
    assert!(log::text().contains("UnknownIssuer"));
}
