//! What users may come in, and by which rules, as the operator says it.
mod described;
mod variables;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

pub use described::{DescribedSetting, SettingSource};

use crate::principal::NOBODY;
use crate::secret::Secret;

/// Users and rules. Settings decide what is on, never the presence of a file.
#[derive(Debug, Clone, Default)]
pub struct AuthzConfig {
    /// Anonymous access was asked for. Without any other method it is on anyway, on loopback addresses.
    pub anonymous: bool,
    /// Keys of the variables.
    pub api_keys: Option<ApiKeysConfig>,
    /// Keys of a file of our own: lines of a user, a space and a key; `#` begins a comment.
    pub api_keys_file: Option<PathBuf>,
    /// The dynamic users of the data directory, with their keys.
    pub db_users: bool,
    /// An identity provider.
    pub oidc: Option<OidcConfig>,
    /// Roles, of the data directory or of `policy_file`.
    pub rbac: Option<RbacConfig>,
    /// Lists of users in place of roles.
    pub admin_list: Option<AdminListConfig>,
    /// A policy of our own in place of the data directory's. It turns roles on.
    pub policy_file: Option<PathBuf>,
    /// What a caller needs for an export.
    pub action: AuthorizationAction,
    /// What the variables said, for [`AuthzConfig::described`].
    pub variables: Vec<DescribedSetting>,
}

/// What a caller needs for an export (`docs/format/rbac.md` 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthorizationAction {
    /// Reading the objects.
    #[default]
    Read,
    /// Managing backups, as upstream's own export.
    ManageBackups,
}

impl FromStr for AuthorizationAction {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "read" => Ok(AuthorizationAction::Read),
            "manage_backups" => Ok(AuthorizationAction::ManageBackups),
            _ => Err(ConfigError::Action(text.to_owned())),
        }
    }
}

impl fmt::Display for AuthorizationAction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            AuthorizationAction::Read => "read",
            AuthorizationAction::ManageBackups => "manage_backups",
        })
    }
}

/// Static keys (`docs/format/rbac.md` 4.1).
#[derive(Debug, Clone)]
pub struct ApiKeysConfig {
    /// All keys that are taken.
    pub keys: Vec<Secret>,
    /// One user for all keys, or one for each.
    pub users: Vec<String>,
}

impl ApiKeysConfig {
    /// Each key with its user.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&Secret, String)> {
        let user = |index| self.users.get(index).or_else(|| self.users.first());
        let pair = move |(index, key)| (key, user(index).cloned().unwrap_or_default());
        self.keys.iter().enumerate().map(pair)
    }
}

/// An identity provider (`docs/format/rbac.md` 4.3).
#[derive(Debug, Clone)]
pub struct OidcConfig {
    /// As in the tokens' claim `iss`.
    pub issuer: String,
    /// The issuer's discovery document.
    pub discovery: Url,
    /// As in the tokens' claim `aud`.
    pub client_id: Option<String>,
    /// Tokens for others are taken too.
    pub skip_client_id_check: bool,
    /// The claim that has the user's name.
    pub username_claim: String,
    /// The claim that has the user's groups.
    pub groups_claim: Option<String>,
    /// For clients, which ask for them.
    pub scopes: Vec<String>,
    /// PEM text. Only it is trusted then.
    pub certificate: Option<String>,
    /// Where the keys are, in place of what discovery says.
    pub jwks_url: Option<Url>,
    /// Claims of a cluster with namespaces.
    pub namespace_claims: Option<NamespaceClaims>,
}

/// Claims that say which namespace a user is confined to (`docs/format/rbac.md` 3.1).
#[derive(Debug, Clone)]
pub struct NamespaceClaims {
    /// Its value is the namespace.
    pub namespace: String,
    /// It is `true` for users of all namespaces.
    pub global_principal: String,
}

/// Roles (`docs/format/rbac.md` 2).
#[derive(Debug, Clone, Default)]
pub struct RbacConfig {
    /// Users who may do everything.
    pub root_users: Vec<String>,
    /// Groups who may do everything.
    pub root_groups: Vec<String>,
    /// Groups who may read everything.
    pub readonly_groups: Vec<String>,
}

/// The admin list (`docs/format/rbac.md` 3.4).
#[derive(Debug, Clone, Default)]
pub struct AdminListConfig {
    /// Users who may do everything.
    pub users: Vec<String>,
    /// Users who may read everything.
    pub readonly_users: Vec<String>,
    /// Groups who may do everything.
    pub groups: Vec<String>,
    /// Groups who may read everything.
    pub readonly_groups: Vec<String>,
}

/// Settings that say nothing, or contradict each other. Keys are in no text.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum ConfigError {
    #[error("authorization.action is '{0}': set it to read or manage_backups")]
    Action(String),
    #[error(
        "AUTHENTICATION_APIKEY_ENABLED is set without keys: set AUTHENTICATION_APIKEY_ALLOWED_KEYS"
    )]
    NoKeys,
    #[error("AUTHENTICATION_APIKEY_ENABLED is set without users: set AUTHENTICATION_APIKEY_USERS")]
    NoUsers,
    #[error("AUTHENTICATION_APIKEY_ALLOWED_KEYS has an empty key: remove the comma too many")]
    EmptyKey,
    #[error("AUTHENTICATION_APIKEY_USERS has an empty user: remove the comma too many")]
    EmptyUser,
    #[error(
        "{users} users in AUTHENTICATION_APIKEY_USERS and {keys} keys in \
         AUTHENTICATION_APIKEY_ALLOWED_KEYS: set one user for all keys, or one for each"
    )]
    UsersAndKeys { users: usize, keys: usize },
    #[error("the user '{NOBODY}' is Weaviate's placeholder for nobody: give the user another name")]
    Nobody,
    #[error("AUTHENTICATION_OIDC_ENABLED is set without {0}: set it")]
    OidcMissing(&'static str),
    #[error(
        "AUTHENTICATION_OIDC_ENABLED is set without AUTHENTICATION_OIDC_CLIENT_ID: set it, or set \
         AUTHENTICATION_OIDC_SKIP_CLIENT_ID_CHECK=true to take tokens for other clients too"
    )]
    OidcClientId,
    #[error("{variable} is '{value}', which is no http or https URL: correct it")]
    OidcUrl { variable: &'static str, value: String },
    #[error(
        "AUTHENTICATION_OIDC_CERTIFICATE is an address, which is not fetched here: set it to the text of the \
         certificate (PEM)"
    )]
    OidcCertificateAddress,
    #[error(
        "AUTHENTICATION_OIDC_CERTIFICATE is no certificate in PEM form: set it to the text of one"
    )]
    OidcCertificate,
    #[error(
        "AUTHENTICATION_OIDC_INSECURE_SKIP_TLS_VERIFY is not supported: set AUTHENTICATION_OIDC_CERTIFICATE \
         to the text of the provider's certificate"
    )]
    OidcSkipTlsVerify,
    #[error(
        "NAMESPACES_ENABLED and AUTHENTICATION_OIDC_ENABLED are set: set AUTHENTICATION_OIDC_NAMESPACE_CLAIM \
         and AUTHENTICATION_OIDC_GLOBAL_PRINCIPAL_CLAIM as well, so that callers of one namespace are known"
    )]
    OidcNamespaces,
    #[error("'{0}' is on both of the admin list's lists: remove it from one")]
    AdminListBoth(String),
    #[error(
        "cannot enable adminlist and rbac at the same time: turn off AUTHORIZATION_ADMINLIST_ENABLED or {0}"
    )]
    RbacAndAdminList(&'static str),
    #[error(
        "there are roles but no users, so that nobody could do anything: turn on \
         AUTHENTICATION_APIKEY_ENABLED, AUTHENTICATION_DB_USERS_ENABLED or AUTHENTICATION_OIDC_ENABLED, \
         or set api_keys_file"
    )]
    RbacWithoutUsers,
}

impl AuthzConfig {
    /// Users come with keys or tokens.
    pub fn has_users(&self) -> bool {
        self.api_keys.is_some()
            || self.api_keys_file.is_some()
            || self.db_users
            || self.oidc.is_some()
    }

    /// Roles are on.
    pub fn has_roles(&self) -> bool {
        self.rbac.is_some() || self.policy_file.is_some()
    }

    /// Whether the settings go together.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.admin_list.is_some() && self.has_roles() {
            let other =
                if self.rbac.is_some() { "AUTHORIZATION_RBAC_ENABLED" } else { "policy_file" };
            return Err(ConfigError::RbacAndAdminList(other));
        }
        if self.has_roles() && !self.has_users() {
            return Err(ConfigError::RbacWithoutUsers);
        }
        Ok(())
    }
}
