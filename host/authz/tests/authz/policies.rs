//! Policy files: what is refused, and what a change does.
use std::fs;
use std::path::Path;

use offloom_authz::{Action, AuthzConfig, Opened, Principal, PrincipalKind};
use tempfile::TempDir;

use crate::{config, log, open_for, refusal};

const POLICY: &str = "p, role:one, data/collections/One/shards/.*/objects/.*, R, data\n\
                      g, db:alice, role:one";

fn dir(policy: &str, version: Option<&str>) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let rbac = dir.path().join("raft/rbac");
    fs::create_dir_all(&rbac).unwrap();
    fs::write(rbac.join("policy.csv"), policy).unwrap();
    if let Some(version) = version {
        fs::write(rbac.join("version"), version).unwrap();
    }
    dir
}

fn with_keys(more: &[(&str, &str)]) -> AuthzConfig {
    let mut variables = vec![
        ("AUTHENTICATION_APIKEY_ENABLED", "true"),
        ("AUTHENTICATION_APIKEY_ALLOWED_KEYS", "key-alice,key-root"),
        ("AUTHENTICATION_APIKEY_USERS", "alice,root"),
    ];
    variables.extend(more);
    config(&variables)
}

fn rbac() -> AuthzConfig {
    with_keys(&[
        ("AUTHORIZATION_RBAC_ENABLED", "true"),
        ("AUTHORIZATION_RBAC_ROOT_USERS", "root,bob"),
    ])
}

fn may(opened: &Opened, user: &str, class: &str) -> bool {
    let principal = Principal::new(PrincipalKind::Db, user);
    opened.authorizer.policy().permits(&principal, Action::Export, class)
}

#[test]
fn only_policies_since_1_30_are_read() {
    for (version, expected) in [
        (Some("1.30.0"), None),
        (Some("1.40.0-dev"), None),
        (Some("2.0.0\n"), None),
        (Some("1.29.9"), Some("before 1.30")),
        (None, Some("1.29.0 (no such file), before 1.30")),
        (Some("new"), Some("'new' in place of a version")),
        (Some(""), Some("'' in place of a version")),
    ] {
        let dir = dir(POLICY, version);
        match expected {
            None => assert!(may(&open_for(&rbac(), &[dir.path()]).unwrap(), "alice", "One")),
            Some(expected) => {
                let refused = refusal(&rbac(), &[dir.path()]);
                assert!(refused.contains(expected), "{version:?}: {refused}");
                assert!(
                    refused.contains("raft/rbac/version") && refused.contains("set policy_file")
                );
            }
        }
    }
}

#[test]
fn a_policy_that_cannot_be_read_is_refused_with_file_and_line() {
    let broken = dir(&format!("{POLICY}\ng, role:one, role:root"), Some("1.39.0"));
    let refused = refusal(&rbac(), &[broken.path()]);
    assert!(refused.contains("policy.csv, line 3: 'role:one' is no user or group"), "{refused}");
    let missing = tempfile::tempdir().unwrap();
    let refused = refusal(&rbac(), &[missing.path()]);
    assert!(refused.contains("policy.csv is not there") || refused.contains("before 1.30"));
    // Not a file: what the system says is not read as "not there".
    let directory = dir(POLICY, Some("1.39.0"));
    fs::remove_file(directory.path().join("raft/rbac/policy.csv")).unwrap();
    fs::create_dir(directory.path().join("raft/rbac/policy.csv")).unwrap();
    let refused = refusal(&rbac(), &[directory.path()]);
    assert!(refused.contains("cannot read"), "{refused}");
}

#[test]
fn roles_of_the_settings_are_added() {
    let dir = dir(POLICY, Some("1.39.0"));
    let opened = open_for(&rbac(), &[dir.path()]).unwrap();
    assert!(may(&opened, "root", "Anything"));
    // Named, but not among the users of keys.
    assert!(!may(&opened, "bob", "Anything"));
    assert!(!may(&opened, "alice", "Other"));
    let anonymous = Principal::anonymous();
    assert!(!opened.authorizer.policy().permits(&anonymous, Action::Export, "One"));
    let nobody = Principal::new(PrincipalKind::Db, "wv_internal_empty");
    assert!(!opened.authorizer.policy().permits(&nobody, Action::Export, "One"));
}

/// A policy of our own has neither a version nor the lines of the built-in roles.
#[test]
fn a_policy_of_our_own_takes_the_place_of_the_directory_s() {
    let own = tempfile::tempdir().unwrap();
    let path = own.path().join("policy.csv");
    let text = "# ours\np, role:two, data/collections/Two/*, R, data\ng, db:alice, role:two\n\
                g, db:bob, role:viewer\n";
    fs::write(&path, text).unwrap();
    let dir = dir(POLICY, Some("1.39.0"));
    let config = AuthzConfig { policy_file: Some(path), ..with_keys(&[]) };
    let opened = open_for(&config, &[dir.path()]).unwrap();
    assert!(may(&opened, "alice", "Two") && !may(&opened, "alice", "One"));
    assert!(may(&opened, "bob", "One"));
    assert!(opened.warnings.is_empty(), "{:?}", opened.warnings);
}

/// A policy that was taken before stays as it was; a broken version is logged once.
#[test]
fn a_change_counts_soon_and_a_broken_one_never() {
    log::text();
    let dir = dir(POLICY, Some("1.39.0"));
    let file = dir.path().join("raft/rbac/policy.csv");
    let opened = open_for(&rbac(), &[dir.path()]).unwrap();
    let old = opened.authorizer.policy();

    fs::write(&file, POLICY.replace("One", "Two")).unwrap();
    log::wait_until(|| may(&opened, "alice", "Two"));
    assert!(!may(&opened, "alice", "One"));
    let alice = Principal::new(PrincipalKind::Db, "alice");
    assert!(old.permits(&alice, Action::Export, "One"));
    assert!(!old.permits(&alice, Action::Export, "Two"));

    let complaint = format!("{}, line 3: it has 2 fields and not 3", file.display());
    fs::write(&file, format!("{}\ng, db:alice", POLICY.replace("One", "Three"))).unwrap();
    log::wait_until(|| log::text().contains(&complaint));
    assert!(may(&opened, "alice", "Two") && !may(&opened, "alice", "Three"));

    // The server truncates the file before it writes it.
    fs::write(&file, "").unwrap();
    let empty = format!("{} is empty", file.display());
    log::wait_until(|| log::text().contains(&empty));
    assert!(may(&opened, "alice", "Two"));

    fs::remove_file(&file).unwrap();
    let gone = format!("{} is not there", file.display());
    log::wait_until(|| log::text().contains(&gone));
    assert!(may(&opened, "alice", "Two"));

    replace(&file, &POLICY.replace("One", "Four"));
    log::wait_until(|| may(&opened, "alice", "Four"));
    assert_eq!(log::text().matches(&complaint).count(), 1);
    assert!(log::text().contains("the policy before the change stays in force"));
}

/// Roles that were written by an older server after a downgrade are not taken over.
#[test]
fn a_change_of_the_version_counts_as_well() {
    log::text();
    let dir = dir(POLICY, Some("1.39.0"));
    let opened = open_for(&rbac(), &[dir.path()]).unwrap();
    let version = dir.path().join("raft/rbac/version");
    fs::write(&version, "1.29.0").unwrap();
    let complaint =
        format!("{} says that the policy was written by Weaviate 1.29.0", version.display());
    log::wait_until(|| log::text().contains(&complaint));
    assert!(may(&opened, "alice", "One"));
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("tmp");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}
