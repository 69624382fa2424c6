//! Users and their rights: the settings besides Weaviate's own variables, and what follows from both.
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use clap::{Args, ValueEnum};
use offloom_authz::{AllowAll, Anonymous, Authenticator, Authorizer};
use serde::{Deserialize, Serialize};

/// Settings of users and their rights.
#[derive(Debug, Clone, Default, Args, Deserialize, Serialize)]
#[serde(default)]
pub struct UsersConfig {
    /// Who may ask.
    #[command(flatten)]
    pub authentication: AuthenticationConfig,
    /// Who may do what.
    #[command(flatten)]
    pub authorization: AuthorizationConfig,
}

/// Settings of who may ask.
#[derive(Debug, Clone, Default, Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthenticationConfig {
    /// API keys of users: a file with `user key` in each line, beside those of Weaviate's variables
    #[arg(
        id = "authentication.api_keys_file",
        long = "api-keys-file",
        env = "OFFLOOM_AUTHENTICATION__API_KEYS_FILE",
        value_name = "FILE"
    )]
    pub api_keys_file: Option<PathBuf>,
}

/// Settings of who may do what.
#[derive(Debug, Clone, Default, Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthorizationConfig {
    /// Which right an export needs [default: read]
    #[arg(
        id = "authorization.action",
        long = "authorization-action",
        env = "OFFLOOM_AUTHORIZATION__ACTION",
        value_name = "ACTION"
    )]
    pub action: ActionSetting,
    /// Roles and their users, in the form of Weaviate's policy.csv, in its place
    #[arg(
        id = "authorization.policy_file",
        long = "policy-file",
        env = "OFFLOOM_AUTHORIZATION__POLICY_FILE",
        value_name = "FILE"
    )]
    pub policy_file: Option<PathBuf>,
}

/// Which right an export needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum ActionSetting {
    /// To read the objects of a class
    #[default]
    Read,
    /// To back the class up, as Weaviate's own export needs it
    ManageBackups,
}

/// Who may use the service, and for what.
pub struct Users {
    /// Finds out who asks.
    pub authenticator: Arc<dyn Authenticator>,
    /// Decides who may do what.
    pub authorizer: Arc<dyn Authorizer>,
    /// Whether there are users: requests of others are refused.
    pub has_users: bool,
}

impl UsersConfig {
    /// Opens what the settings name, for a server that listens on `listen`.
    ///
    /// # Errors
    /// An address that other machines reach, without users.
    pub fn open(&self, listen: SocketAddr) -> anyhow::Result<Users> {
        let Some(anonymous) = Anonymous::on(listen) else {
            bail!(
                "{listen} can be reached by other machines, and there are no users: listen on 127.0.0.1"
            );
        };
        let (authenticator, authorizer) = (Arc::new(anonymous), Arc::new(AllowAll));
        Ok(Users { authenticator, authorizer, has_users: false })
    }
}
