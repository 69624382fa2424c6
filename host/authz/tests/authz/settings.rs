//! Settings: what contradicts itself, what would leave a server open, and what is only warned of.
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use offloom_authz::{
    Action, AuthorizationAction, AuthzConfig, DescribedSetting, Principal, PrincipalKind,
    SettingSource, open,
};

use crate::{config, login, login_refused, open_for, refusal, try_config};

const KEYS: [(&str, &str); 3] = [
    ("AUTHENTICATION_APIKEY_ENABLED", "1"),
    ("AUTHENTICATION_APIKEY_ALLOWED_KEYS", "key-a,key-b"),
    ("AUTHENTICATION_APIKEY_USERS", "alice,bob"),
];
const OIDC: [(&str, &str); 4] = [
    ("AUTHENTICATION_OIDC_ENABLED", "true"),
    ("AUTHENTICATION_OIDC_ISSUER", "https://issuer.example/realm/"),
    ("AUTHENTICATION_OIDC_CLIENT_ID", "offloom"),
    ("AUTHENTICATION_OIDC_USERNAME_CLAIM", "email"),
];
const RBAC: (&str, &str) = ("AUTHORIZATION_RBAC_ENABLED", "true");
const ADMIN_LIST: (&str, &str) = ("AUTHORIZATION_ADMINLIST_ENABLED", "true");

/// The variables with some of them replaced or added; an empty value stays one.
fn but<'a>(base: &[(&'a str, &'a str)], changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all = base.to_vec();
    all.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    all.extend(changes);
    all
}

#[test]
fn a_switch_is_on_as_upstream_has_it() {
    for value in ["on", "ON", "enabled", "Enabled", "1", "true", "True"] {
        assert!(config(&[("AUTHENTICATION_DB_USERS_ENABLED", value)]).db_users, "{value}");
    }
    for value in ["off", "yes", "2", "", "t", " true"] {
        assert!(!config(&[("AUTHENTICATION_DB_USERS_ENABLED", value)]).db_users, "{value}");
    }
}

#[test]
fn settings_that_say_nothing_are_errors_with_a_remedy() {
    let long = "-----BEGIN CERTIFICATE-----";
    for (variables, expected) in [
        (vec![KEYS[0]], "set AUTHENTICATION_APIKEY_ALLOWED_KEYS"),
        (KEYS[..2].to_vec(), "set AUTHENTICATION_APIKEY_USERS"),
        (but(&KEYS, &[("AUTHENTICATION_APIKEY_ALLOWED_KEYS", "key-a,")]), "empty key"),
        (but(&KEYS, &[("AUTHENTICATION_APIKEY_USERS", ",bob")]), "empty user"),
        (but(&KEYS, &[("AUTHENTICATION_APIKEY_USERS", "a,b,c")]), "3 users in"),
        (but(&KEYS, &[("AUTHENTICATION_APIKEY_USERS", "a,wv_internal_empty")]), "placeholder"),
        (but(&OIDC, &[("AUTHENTICATION_OIDC_ISSUER", "")]), "without AUTHENTICATION_OIDC_ISSUER"),
        (but(&OIDC, &[("AUTHENTICATION_OIDC_ISSUER", "issuer")]), "no http or https URL"),
        (but(&OIDC, &[("AUTHENTICATION_OIDC_JWKS_URL", "file:///keys")]), "no http or https URL"),
        (but(&OIDC, &[("AUTHENTICATION_OIDC_CLIENT_ID", "")]), "SKIP_CLIENT_ID_CHECK"),
        (but(&OIDC, &[("AUTHENTICATION_OIDC_USERNAME_CLAIM", "")]), "USERNAME_CLAIM: set it"),
        (but(&OIDC, &[("AUTHENTICATION_OIDC_CERTIFICATE", "https://c")]), "not fetched here"),
        (but(&OIDC, &[("AUTHENTICATION_OIDC_CERTIFICATE", "s3://b/c")]), "not fetched here"),
        (but(&OIDC, &[("AUTHENTICATION_OIDC_CERTIFICATE", "text")]), "PEM"),
        (but(&OIDC, &[("AUTHENTICATION_OIDC_INSECURE_SKIP_TLS_VERIFY", "1")]), "not supported"),
        (but(&OIDC, &[("NAMESPACES_ENABLED", "true")]), "NAMESPACE_CLAIM"),
        (but(&OIDC, &[("AUTHENTICATION_OIDC_NAMESPACE_CLAIM", "ns")]), "NAMESPACE_CLAIM"),
        (
            vec![
                ADMIN_LIST,
                ("AUTHORIZATION_ADMINLIST_USERS", "a,b"),
                ("AUTHORIZATION_ADMINLIST_READONLY_USERS", "c,b"),
            ],
            "'b' is on both",
        ),
        (
            vec![
                ADMIN_LIST,
                ("AUTHORIZATION_ADMINLIST_GROUPS", "g"),
                ("AUTHORIZATION_ADMINLIST_READONLY_GROUPS", "g"),
            ],
            "'g' is on both",
        ),
    ] {
        let error = try_config(&variables).unwrap_err().to_string();
        assert!(error.contains(expected), "{variables:?}: {error}");
        assert!(!error.contains("key-a"), "{error}");
    }
    let unusable = config(&but(&OIDC, &[("AUTHENTICATION_OIDC_CERTIFICATE", long)]));
    let refused = refusal(&unusable, &[]);
    assert!(refused.contains("AUTHENTICATION_OIDC_CERTIFICATE"), "{refused}");
}

#[test]
fn settings_that_contradict_each_other_do_not_open() {
    let both = config(&but(&KEYS, &[RBAC, ADMIN_LIST]));
    assert!(refusal(&both, &[]).contains("adminlist and rbac at the same time"));
    let file = AuthzConfig { policy_file: Some("policy.csv".into()), ..AuthzConfig::default() };
    assert!(refusal(&file, &[]).contains("roles but no users"));
    assert!(refusal(&config(&[RBAC]), &[]).contains("roles but no users"));
    let no_dir = config(&but(&KEYS, &[RBAC]));
    assert!(refusal(&no_dir, &[]).contains("AUTHORIZATION_RBAC_ENABLED reads the first data"));
    let no_dir = config(&[("AUTHENTICATION_DB_USERS_ENABLED", "true")]);
    assert!(refusal(&no_dir, &[]).contains("AUTHENTICATION_DB_USERS_ENABLED reads the first data"));
}

#[tokio::test]
async fn without_settings_everybody_comes_in_on_loopback_only() {
    let nothing = config(&[("AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED", "true")]);
    let opened = open_for(&nothing, &[]).unwrap();
    assert!(opened.warnings.is_empty(), "{:?}", opened.warnings);
    let principal = login(&opened, "anything").await.unwrap();
    assert_eq!(principal.kind, PrincipalKind::Anonymous);
    assert!(opened.authorizer.policy().permits(&principal, Action::Export, "A"));

    let everywhere: SocketAddr = "0.0.0.0:8080".parse().unwrap();
    let Err(refused) = open(&nothing, &[], everywhere) else { panic!("open to all") };
    assert!(refused.to_string().contains("listen on 127.0.0.1"), "{refused}");
    open(&config(&KEYS), &[], everywhere).unwrap();
}

#[tokio::test]
async fn anonymous_access_is_off_beside_users() {
    let settings = but(&KEYS, &[("AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED", "true")]);
    let opened = open_for(&config(&settings), &[]).unwrap();
    assert!(opened.warnings[0].contains("anonymous access is off"), "{:?}", opened.warnings);
    assert!(opened.warnings[1].contains("every user may export everything"));
    login_refused(&opened, "anything").await;
    assert_eq!(login(&opened, "key-b").await.unwrap().name, "bob");
}

#[tokio::test]
async fn one_user_can_have_all_keys() {
    let settings = but(&KEYS, &[("AUTHENTICATION_APIKEY_USERS", "alice")]);
    let opened = open_for(&config(&settings), &[]).unwrap();
    for key in ["key-a", "key-b"] {
        assert_eq!(login(&opened, key).await.unwrap().name, "alice");
    }
    login_refused(&opened, "key-a,key-b").await;
}

#[tokio::test]
async fn keys_of_a_file_are_taken_and_a_readable_one_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    fs::write(&path, "# ours\ncarol key-c\n").unwrap();
    let config = AuthzConfig {
        api_keys_file: Some(path.clone()),
        ..config(&but(&KEYS, &[ADMIN_LIST, ("AUTHORIZATION_ADMINLIST_USERS", "carol")]))
    };
    for (mode, warned) in [(0o644, true), (0o600, false)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let opened = open_for(&config, &[]).unwrap();
        let is_warned = opened.warnings.iter().any(|warning| warning.contains("chmod 600"));
        assert_eq!(is_warned, warned, "{mode:o}");
        let carol = login(&opened, "key-c").await.unwrap();
        assert!(opened.authorizer.policy().permits(&carol, Action::Export, "A"));
        let bob = login(&opened, "key-b").await.unwrap();
        assert!(!opened.authorizer.policy().permits(&bob, Action::Export, "A"));
    }
    fs::remove_file(&path).unwrap();
    assert!(refusal(&config, &[]).contains("cannot read api_keys_file"));
}

#[test]
fn files_that_the_settings_do_not_use_are_warned_of() {
    let fixture = offloom_fixtures::unpack("rbac").unwrap();
    let warnings = open_for(&config(&KEYS), &[&fixture.data_dir()]).unwrap().warnings;
    let named = |name: &str| warnings.iter().filter(|warning| warning.contains(name)).count();
    assert_eq!(named("set AUTHORIZATION_RBAC_ENABLED=true"), 1, "{warnings:?}");
    assert_eq!(named("set AUTHENTICATION_DB_USERS_ENABLED=true"), 1, "{warnings:?}");
    let plain = offloom_fixtures::unpack("basic").unwrap();
    let warnings = open_for(&AuthzConfig::default(), &[&plain.data_dir()]).unwrap().warnings;
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn directories_that_differ_are_warned_of() {
    let (one, other) = (roles(), roles());
    let settings = but(&KEYS, &[RBAC, ("AUTHENTICATION_DB_USERS_ENABLED", "true")]);
    let warnings = || open_for(&config(&settings), &[&one.1, &other.1]).unwrap().warnings;
    // Each node has its own times of last use, and its own order of lines.
    edit(&other.1.join("raft/db_users/users.json"), "14.436522356Z", "15.436522356Z");
    let policy = other.1.join("raft/rbac/policy.csv");
    let mut lines: Vec<_> =
        fs::read_to_string(&policy).unwrap().lines().map(str::to_owned).collect();
    lines.reverse();
    fs::write(&policy, lines.join("\n")).unwrap();
    assert!(warnings().is_empty(), "{:?}", warnings());
    edit(&other.1.join("raft/db_users/users.json"), "\"Active\":true", "\"Active\":false");
    edit(&policy, "g, db:alice, role:read_public", "g, db:alice, role:read_all");
    let warnings = warnings();
    assert!(warnings[0].starts_with(&*policy.to_string_lossy()), "{warnings:?}");
    assert!(warnings[1].contains("users.json differs"), "{warnings:?}");
}

fn roles() -> (offloom_fixtures::Fixture, PathBuf) {
    let fixture = offloom_fixtures::unpack("rbac").unwrap();
    let dir = fixture.data_dir();
    (fixture, dir)
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn an_issuer_without_tls_is_warned_of_unless_it_is_here() {
    for (issuer, warned) in [
        ("https://issuer.example", false),
        ("http://issuer.example", true),
        ("http://127.0.0.1:9", false),
        ("http://localhost:9", false),
    ] {
        let settings = but(&OIDC, &[("AUTHENTICATION_OIDC_ISSUER", issuer)]);
        let warnings = open_for(&config(&settings), &[]).unwrap().warnings;
        assert_eq!(warnings.iter().any(|w| w.contains("without TLS")), warned, "{issuer}");
    }
}

#[test]
fn settings_are_described_with_their_source_and_without_secrets() {
    let settings = but(
        &KEYS,
        &[RBAC, ("AUTHORIZATION_ADMIN_USERS", "alice"), ("AUTHORIZATION_RBAC_ROOT_GROUPS", " ,g")],
    );
    let config = config(&settings);
    let rbac = config.rbac.as_ref().unwrap();
    assert_eq!(
        (rbac.root_users.as_slice(), rbac.root_groups.as_slice()),
        (["alice".to_owned()].as_slice(), ["g".to_owned()].as_slice())
    );
    let described = |name: &str| {
        let mut found = config.described().iter().filter(|setting| setting.name == name);
        let one = found.next().cloned();
        assert!(found.next().is_none(), "{name} is there twice");
        one
    };
    for (name, value, source) in [
        ("AUTHENTICATION_APIKEY_ENABLED", "true", Some("AUTHENTICATION_APIKEY_ENABLED")),
        (
            "AUTHENTICATION_APIKEY_ALLOWED_KEYS",
            "2 hidden",
            Some("AUTHENTICATION_APIKEY_ALLOWED_KEYS"),
        ),
        ("AUTHENTICATION_APIKEY_USERS", "alice,bob", Some("AUTHENTICATION_APIKEY_USERS")),
        ("AUTHORIZATION_RBAC_ROOT_USERS", "alice", Some("AUTHORIZATION_ADMIN_USERS")),
        ("AUTHENTICATION_DB_USERS_ENABLED", "false", None),
    ] {
        let source = source.map_or(SettingSource::Default, SettingSource::Variable);
        let expected = DescribedSetting {
            name: described(name).unwrap().name,
            value: value.to_owned(),
            source,
        };
        assert_eq!(described(name), Some(expected));
    }
    assert_eq!(described("AUTHENTICATION_OIDC_ISSUER"), None);
}

#[test]
fn the_action_is_one_of_two() {
    assert_eq!("manage_backups".parse(), Ok(AuthorizationAction::ManageBackups));
    assert_eq!("read".parse(), Ok(AuthorizationAction::Read));
    assert_eq!(AuthorizationAction::default().to_string(), "read");
    let error = "write".parse::<AuthorizationAction>().unwrap_err().to_string();
    assert!(error.contains("read or manage_backups"), "{error}");
}

/// Of a real directory. Without the claims every user of the provider would count as global.
#[test]
fn namespaces_need_claims_and_their_roles_are_read() {
    let fixture = offloom_fixtures::unpack("namespaces").unwrap();
    let refused = refusal(&config(&OIDC), &[&fixture.data_dir()]);
    assert!(refused.contains("has namespaces") && refused.contains("NAMESPACE_CLAIM"), "{refused}");
    let settings = but(
        &OIDC,
        &[
            ("NAMESPACES_ENABLED", "true"),
            ("AUTHENTICATION_OIDC_NAMESPACE_CLAIM", "ns"),
            ("AUTHENTICATION_OIDC_GLOBAL_PRINCIPAL_CLAIM", "global"),
            RBAC,
            ("AUTHORIZATION_RBAC_ROOT_USERS", "operator"),
        ],
    );
    let opened = open_for(&config(&settings), &[&fixture.data_dir()]).unwrap();
    let policy = opened.authorizer.policy();
    for (name, expected) in [("operator", true), ("other", false)] {
        let user = Principal::new(PrincipalKind::Oidc, name);
        assert_eq!(policy.permits(&user, Action::Export, "customer1:Movies"), expected, "{name}");
        let tenants = policy.permits_tenants(&user, Action::Export, "customer1:Movies", &["a"]);
        assert_eq!(tenants, [expected], "{name}");
    }
}
