//! Makes authentication and authorization from the settings, and refuses what would leave a server open.
use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use crate::admin_list::AdminList;
use crate::anonymous::{AllowAll, Anonymous};
use crate::api_keys::{ApiKeys, StaticKeys, UsersError, UsersFile, load_users};
use crate::authenticator::Authenticator;
use crate::authorizer::Authorizer;
use crate::config::{AuthzConfig, ConfigError};
use crate::failures::FailedLogins;
use crate::files;
use crate::key_file::{KeyFileError, read_key_file};
use crate::methods::Methods;
use crate::oidc::{Oidc, OidcClientError, OidcDiscovery};
use crate::rbac::{PolicyError, PolicySource, READ_ONLY, ROOT, Rbac};
use crate::secret::Secret;

/// Below a data directory (`docs/format/rbac.md` 1).
const POLICY: &str = "raft/rbac/policy.csv";
const POLICY_VERSION: &str = "raft/rbac/version";
const USERS: &str = "raft/db_users/users.json";
/// Of files that are only compared.
const MAX_COMPARED: u64 = 128 << 20;

/// Who comes in, and who may do what.
pub struct Opened {
    /// Finds out who asks.
    pub authenticator: Arc<dyn Authenticator>,
    /// Decides who may do what.
    pub authorizer: Arc<dyn Authorizer>,
    /// For the operator. No secret is in them.
    pub warnings: Vec<String>,
    /// For `GET /v1/.well-known/openid-configuration`. `None`: OIDC is off.
    pub oidc: Option<OidcDiscovery>,
    /// Counts logins that failed.
    pub failed_logins: Arc<FailedLogins>,
}

/// Why there is no service.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Settings that say nothing, or contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Everybody could export everything.
    #[error(
        "the address {listen} can be reached by other machines, and there are no users: listen on 127.0.0.1, or \
         turn on AUTHENTICATION_APIKEY_ENABLED, AUTHENTICATION_DB_USERS_ENABLED or \
         AUTHENTICATION_OIDC_ENABLED, or set api_keys_file"
    )]
    OpenToAll {
        /// Where the server would listen.
        listen: SocketAddr,
    },
    /// Roles or users are those of a data directory, and there is none.
    #[error("{setting} reads the first data directory, and there is none: set data_dir")]
    NoDirectory {
        /// The setting.
        setting: &'static str,
    },
    /// Users of the identity provider could read what is in other namespaces than theirs.
    #[error(
        "{dir} has namespaces, and nothing says which users of the identity provider are confined to one: set \
         NAMESPACES_ENABLED=true, AUTHENTICATION_OIDC_NAMESPACE_CLAIM and \
         AUTHENTICATION_OIDC_GLOBAL_PRINCIPAL_CLAIM as for Weaviate"
    )]
    Namespaces {
        /// The data directory.
        dir: PathBuf,
    },
    /// A data directory cannot be listed.
    #[error("cannot list {dir}: {source}")]
    List {
        /// The data directory.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The keys of our own file.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The dynamic users.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// The policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The client for the identity provider.
    #[error(transparent)]
    Oidc(#[from] OidcClientError),
    /// The system has no random numbers.
    #[error("the system has no random numbers: {0}")]
    Random(ring::error::Unspecified),
}

/// Makes what the settings say, for the data directories in the order of the settings: roles and users
/// are those of the first one. Blocks for some milliseconds. The identity provider is not asked yet.
///
/// # Errors
/// [`OpenError`].
pub fn open(
    config: &AuthzConfig,
    data_dirs: &[PathBuf],
    listen: SocketAddr,
) -> Result<Opened, OpenError> {
    config.check()?;
    if config.oidc.as_ref().is_some_and(|oidc| oidc.namespace_claims.is_none()) {
        refuse_namespaces(data_dirs)?;
    }
    let mut warnings = Vec::new();
    let failures = Arc::new(FailedLogins::new());
    let (static_keys, key_users) = static_keys(config, &mut warnings)?;
    let authorizer = authorizer(config, data_dirs, &key_users)?;
    let authenticator: Arc<dyn Authenticator> = if config.has_users() {
        if config.anonymous {
            warnings.push(
                "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED is set beside other methods: anonymous access is \
                 off"
                .to_owned(),
            );
        }
        Arc::new(methods(config, data_dirs, static_keys, &failures)?)
    } else {
        Arc::new(Anonymous::on(listen).ok_or(OpenError::OpenToAll { listen })?)
    };
    if config.has_users() && !config.has_roles() && config.admin_list.is_none() {
        warnings.push(
            "every user may export everything: set AUTHORIZATION_RBAC_ENABLED, \
             AUTHORIZATION_ADMINLIST_ENABLED or policy_file to have rules"
                .to_owned(),
        );
    }
    warn_of_files(config, data_dirs, &mut warnings);
    if let Some(oidc) = &config.oidc {
        warn_of_plain_http(oidc.discovery.as_str(), &mut warnings);
    }
    let oidc = config.oidc.as_ref().map(OidcDiscovery::new);
    Ok(Opened { authenticator, authorizer, warnings, oidc, failed_logins: failures })
}

/// The keys of the variables and of the file, and the names of their users.
fn static_keys(
    config: &AuthzConfig,
    warnings: &mut Vec<String>,
) -> Result<(StaticKeys, HashSet<String>), OpenError> {
    let file: Vec<(Secret, String)> = match &config.api_keys_file {
        Some(path) => read_key_file(path, warnings)?,
        None => Vec::new(),
    };
    let pairs = || {
        let variables = config.api_keys.iter().flat_map(|keys| keys.pairs());
        variables.chain(file.iter().map(|(key, user)| (key, user.clone())))
    };
    let users = pairs().map(|(_, user)| user).collect();
    Ok((StaticKeys::new(pairs()), users))
}

fn methods(
    config: &AuthzConfig,
    data_dirs: &[PathBuf],
    static_keys: StaticKeys,
    failures: &Arc<FailedLogins>,
) -> Result<Methods, OpenError> {
    let users = if config.db_users {
        let dir = first(data_dirs, "AUTHENTICATION_DB_USERS_ENABLED")?;
        Some(UsersFile::open(&dir.join(USERS))?)
    } else {
        None
    };
    let has_keys = config.db_users || config.api_keys.is_some() || config.api_keys_file.is_some();
    let api_keys = has_keys
        .then(|| ApiKeys::new(static_keys, users, Arc::clone(failures)))
        .transpose()
        .map_err(OpenError::Random)?;
    let oidc = config.oidc.clone().map(Oidc::new).transpose()?;
    Ok(Methods { api_keys, oidc, failures: Arc::clone(failures) })
}

fn authorizer(
    config: &AuthzConfig,
    data_dirs: &[PathBuf],
    key_users: &HashSet<String>,
) -> Result<Arc<dyn Authorizer>, OpenError> {
    if let Some(lists) = &config.admin_list {
        return Ok(Arc::new(AdminList::new(lists.clone(), config.action)));
    }
    if !config.has_roles() {
        return Ok(Arc::new(AllowAll));
    }
    let (path, version) = match &config.policy_file {
        Some(path) => (path.clone(), None),
        None => {
            let dir = first(data_dirs, "AUTHORIZATION_RBAC_ENABLED")?;
            (dir.join(POLICY), Some(dir.join(POLICY_VERSION)))
        }
    };
    let assignments = assignments(config, key_users);
    let source = PolicySource { path, version, assignments, action: config.action };
    Ok(Arc::new(Rbac::open(source)?))
}

/// The users and groups of the settings with their roles (`docs/format/rbac.md` 2).
fn assignments(config: &AuthzConfig, key_users: &HashSet<String>) -> Vec<(String, &'static str)> {
    let Some(rbac) = &config.rbac else { return Vec::new() };
    let mut assignments = Vec::new();
    for user in &rbac.root_users {
        if key_users.contains(user) {
            assignments.push((format!("db:{user}"), ROOT));
        }
        if config.oidc.is_some() {
            assignments.push((format!("oidc:{user}"), ROOT));
        }
    }
    for (groups, role) in [(&rbac.root_groups, ROOT), (&rbac.readonly_groups, READ_ONLY)] {
        assignments.extend(groups.iter().map(|group| (format!("group:{group}"), role)));
    }
    assignments
}

fn first<'a>(data_dirs: &'a [PathBuf], setting: &'static str) -> Result<&'a Path, OpenError> {
    data_dirs.first().map(PathBuf::as_path).ok_or(OpenError::NoDirectory { setting })
}

/// A class in a namespace has a folder with a colon in its name (`docs/format/data-directory.md` 1).
fn refuse_namespaces(data_dirs: &[PathBuf]) -> Result<(), OpenError> {
    for dir in data_dirs {
        let unlisted = |source| OpenError::List { dir: dir.clone(), source };
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(unlisted)?,
        };
        for entry in entries {
            if entry.map_err(unlisted)?.file_name().to_string_lossy().contains(':') {
                return Err(OpenError::Namespaces { dir: dir.clone() });
            }
        }
    }
    Ok(())
}

/// What the directories have that the settings do not use, and where they differ.
fn warn_of_files(config: &AuthzConfig, data_dirs: &[PathBuf], warnings: &mut Vec<String>) {
    let Some((first, others)) = data_dirs.split_first() else { return };
    let policy = first.join(POLICY);
    if !config.has_roles() && is_filled(&policy) {
        warnings.push(format!(
            "{} has roles that are not used: set AUTHORIZATION_RBAC_ENABLED=true to use them",
            policy.display()
        ));
    }
    let users = first.join(USERS);
    if !config.db_users && load_users(&users).is_ok_and(|(users, _)| !users.is_empty()) {
        warnings.push(format!(
            "{} has users that cannot come in: set AUTHENTICATION_DB_USERS_ENABLED=true to let them",
            users.display()
        ));
    }
    for other in others {
        if config.rbac.is_some() && config.policy_file.is_none() {
            let lines = |dir: &Path| sorted_lines(&dir.join(POLICY));
            warn_of_difference(lines(first), lines(other), &other.join(POLICY), warnings);
        }
        if config.db_users {
            let users = |dir: &Path| load_users(&dir.join(USERS)).map(|(users, _)| users);
            warn_of_difference(users(first), users(other), &other.join(USERS), warnings);
        }
    }
}

fn warn_of_difference<T: PartialEq, E: std::fmt::Display>(
    first: Result<T, E>,
    other: Result<T, E>,
    path: &Path,
    warnings: &mut Vec<String>,
) {
    match (first, other) {
        (Ok(first), Ok(other)) if first == other => {}
        (_, Err(error)) => warnings.push(format!("{} is not compared: {error}", path.display())),
        _ => warnings.push(format!(
            "{} differs from that of the first data directory, which is the one that counts",
            path.display()
        )),
    }
}

/// Servers write the lines of a policy in any order.
fn sorted_lines(path: &Path) -> io::Result<Vec<String>> {
    let bytes = files::read(path, MAX_COMPARED)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    lines.retain(|line| !line.is_empty());
    lines.sort();
    Ok(lines)
}

fn is_filled(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.len() > 0)
}

fn warn_of_plain_http(issuer: &str, warnings: &mut Vec<String>) {
    let Ok(url) = url::Url::parse(issuer) else { return };
    let is_here = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if url.scheme() == "http" && !is_here {
        warnings.push(format!(
            "the identity provider {issuer} is asked without TLS: who is on the way can let anybody in. \
             Use https"
        ));
    }
}
