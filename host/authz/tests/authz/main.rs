//! Users, tokens and roles from outside: a real directory, and an issuer of the tests' own.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod issuer;
mod keys;
mod log;
mod policies;
mod secrets;
mod settings;
mod tls_issuer;
mod tokens;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use offloom_authz::{
    AuthzConfig, Credentials, OpenError, Opened, Principal, Unauthenticated, open,
};

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The settings of these variables.
fn config(variables: &[(&str, &str)]) -> AuthzConfig {
    try_config(variables).unwrap()
}

fn try_config(variables: &[(&str, &str)]) -> Result<AuthzConfig, offloom_authz::ConfigError> {
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    AuthzConfig::from_variables(&|name| variables.get(name).map(|value| (*value).to_owned()))
}

fn open_for(config: &AuthzConfig, dirs: &[&Path]) -> Result<Opened, OpenError> {
    let dirs: Vec<PathBuf> = dirs.iter().map(|dir| (*dir).to_owned()).collect();
    open(config, &dirs, LOOPBACK)
}

/// The error of what must not open.
fn refusal(config: &AuthzConfig, dirs: &[&Path]) -> String {
    match open_for(config, dirs) {
        Ok(_) => panic!("opened"),
        Err(error) => error.to_string(),
    }
}

async fn login(opened: &Opened, token: &str) -> Result<Principal, Unauthenticated> {
    login_from(opened, token, Ipv4Addr::LOCALHOST.into()).await
}

async fn login_from(
    opened: &Opened,
    token: &str,
    client: IpAddr,
) -> Result<Principal, Unauthenticated> {
    let header = format!("Bearer {token}");
    opened.authenticator.authenticate(Credentials { authorization: Some(&header), client }).await
}

/// The text for a client that is refused.
async fn login_refused(opened: &Opened, token: &str) -> String {
    match login(opened, token).await {
        Err(Unauthenticated::Refused(text)) => text,
        other => panic!("not refused: {other:?}"),
    }
}
