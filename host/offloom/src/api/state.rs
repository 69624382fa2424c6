//! What every handler uses.
use std::sync::Arc;
use std::time::Duration;

use offloom_authz::Authenticator;

use super::client_text::ClientText;
use super::health::OpenIdConfiguration;
use super::web_pages::OwnHosts;
use crate::backend::BackendConfig;
use crate::scheduler::Scheduler;

/// What every handler uses.
#[derive(Clone)]
pub struct ApiState {
    /// Runs exports.
    pub scheduler: Scheduler,
    /// Where exports may be created.
    pub backend: Arc<BackendConfig>,
    /// Whether quarantined objects may keep their stored bytes.
    pub quarantine_raw: bool,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// Where clients may think that this server is.
    pub own_hosts: OwnHosts,
    /// Finds out who asks.
    pub authenticator: Arc<dyn Authenticator>,
    /// What clients may read of a text.
    pub client_text: ClientText,
    /// Where clients get tokens, if there is an identity provider.
    pub open_id: Option<OpenIdConfiguration>,
}
