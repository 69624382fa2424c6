//! What every handler uses.
use std::sync::Arc;
use std::time::Duration;

use offloom_authz::{Authenticator, Principal};
use offloom_export::{NamedExporter, Scope};

use super::client_text::ClientText;
use super::health::OpenIdConfiguration;
use super::watch::Watches;
use super::web_pages::OwnHosts;
use crate::backend::BackendConfig;
use crate::guests::Guests;
use crate::guests::ordered::{self, OrderError};
use crate::scheduler::Scheduler;

/// The exporter of requests that name none.
#[derive(Clone)]
pub enum DefaultExporter {
    /// A file of the settings, which is loaded.
    File(NamedExporter),
    /// A name, which is looked up for each request.
    Name(String),
}

/// Who may change guests.
#[derive(Clone)]
pub enum GuestAdmins {
    /// Everybody: the server has no users.
    Everybody,
    /// Users, as principals (`db:alice`) or by their names alone.
    Users(Arc<[String]>),
}

impl GuestAdmins {
    /// Whether a principal is one of them.
    pub fn has(&self, principal: &Principal) -> bool {
        match self {
            GuestAdmins::Everybody => true,
            GuestAdmins::Users(users) => {
                let whole = principal.to_string();
                users.iter().any(|user| *user == whole || *user == principal.name)
            }
        }
    }
}

impl ApiState {
    /// The exporter of a request.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn exporter(
        &self,
        reference: Option<&str>,
        scope: &Scope,
    ) -> Result<NamedExporter, OrderError> {
        match (reference, &self.default_exporter) {
            (Some(reference), _) => ordered::exporter(&self.guests, reference, scope).await,
            (None, DefaultExporter::File(exporter)) => Ok(exporter.clone()),
            (None, DefaultExporter::Name(name)) => {
                ordered::exporter(&self.guests, name, scope).await
            }
        }
    }
}

/// What every handler uses.
#[derive(Clone)]
pub struct ApiState {
    /// Runs exports.
    pub scheduler: Scheduler,
    /// The guests of the server.
    pub guests: Guests,
    /// The exporter of requests that name none: a file, or a name.
    pub default_exporter: DefaultExporter,
    /// Who may change guests.
    pub guest_admins: GuestAdmins,
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
    /// The places for watches.
    pub watches: Watches,
    /// Where clients get tokens, if there is an identity provider.
    pub open_id: Option<OpenIdConfiguration>,
}
