//! Users and their rights: the settings besides Weaviate's own variables, and what follows from both.
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use offloom_authz::{AuthorizationAction, AuthzConfig, Opened, SettingSource};
use serde::{Deserialize, Serialize};

use crate::setting_sources::Setting;

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
    /// Which right an export needs: read (the objects of a class), or manage_backups, as Weaviate's own
    /// export [default: read]
    #[arg(
        id = "authorization.action",
        long = "authorization-action",
        env = "OFFLOOM_AUTHORIZATION__ACTION",
        value_name = "ACTION"
    )]
    pub action: AuthorizationAction,
    /// Roles and their users, in the form of Weaviate's policy.csv, in its place
    #[arg(
        id = "authorization.policy_file",
        long = "policy-file",
        env = "OFFLOOM_AUTHORIZATION__POLICY_FILE",
        value_name = "FILE"
    )]
    pub policy_file: Option<PathBuf>,
}

/// Who may use the service, and for what.
pub struct Users {
    /// What decides it.
    pub opened: Opened,
    /// Whether requests need credentials.
    pub has_users: bool,
    /// Weaviate's variables for the methods that are on.
    pub settings: Vec<Setting>,
}

impl UsersConfig {
    /// Reads Weaviate's variables and opens what they and these settings name, for a server that listens
    /// on `listen`. Blocking.
    ///
    /// # Errors
    /// What contradicts itself or cannot be read; an address that other machines reach, without users.
    pub fn open(&self, data_dirs: &[PathBuf], listen: SocketAddr) -> anyhow::Result<Users> {
        let variable = |name: &str| std::env::var(name).ok();
        let config = AuthzConfig::from_variables(&variable).context("users and rights")?;
        let settings = config.described().iter().map(|described| Setting {
            key: described.name.to_owned(),
            value: described.value.clone(),
            source: match described.source {
                SettingSource::Variable(name) => name.to_owned(),
                SettingSource::Default => "default".to_owned(),
            },
        });
        let settings = settings.collect();
        let config = AuthzConfig {
            api_keys_file: self.authentication.api_keys_file.clone(),
            policy_file: self.authorization.policy_file.clone(),
            action: self.authorization.action,
            ..config
        };
        let opened = offloom_authz::open(&config, data_dirs, listen).context("users and rights")?;
        Ok(Users { opened, has_users: config.has_users(), settings })
    }
}
