//! Lets a request in: there is a place for its export, and its principal may read what it asks for.
use std::sync::Arc;

use offloom_authz::Principal;
use offloom_export::{Authorized, ClassSelection, Scope, authorize};
use tokio::sync::OwnedSemaphorePermit;

use super::{Scheduler, StartError};
use crate::metrics::Refused;

/// A request that was let in. Its place is held until the export has ended, or is refused; a dry run has
/// none.
pub struct Admitted {
    pub(super) place: Option<OwnedSemaphorePermit>,
    pub(super) authorized: Authorized,
    pub(super) scope: Scope,
}

impl Admitted {
    /// What the export covers.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }
}

impl Scheduler {
    /// Lets a request in: there is a place for its export, and its principal may read what `scope`
    /// names of the data directories as they are now. The store is not touched.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn admit(&self, principal: &Principal, scope: Scope) -> Result<Admitted, StartError> {
        let inner = &self.inner;
        if inner.stopping.is_cancelled() {
            return Err(StartError::ShuttingDown);
        }
        let place = Arc::clone(&inner.places).try_acquire_owned();
        let place = place.map_err(|_full| {
            inner.metrics.refused(Refused::Queue);
            StartError::QueueFull(inner.config.max_waiting)
        })?;
        self.authorized(principal, scope, Some(place)).await
    }

    /// As [`Scheduler::admit`], for a request that starts nothing.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn admit_dry_run(
        &self,
        principal: &Principal,
        scope: Scope,
    ) -> Result<Admitted, StartError> {
        self.authorized(principal, scope, None).await
    }

    async fn authorized(
        &self,
        principal: &Principal,
        scope: Scope,
        place: Option<OwnedSemaphorePermit>,
    ) -> Result<Admitted, StartError> {
        let inner = &self.inner;
        let directories = Arc::clone(&inner.directories);
        let (principal, policy) = (principal.clone(), inner.authorizer.policy());
        let admitting = move || {
            let directory = directories.open()?;
            let authorized = authorize(&*policy, &principal, directory, &scope);
            if let Err(refused) = &authorized {
                tracing::info!(%principal, %refused, "an export is refused");
            }
            Ok::<_, StartError>(Admitted { place, authorized: authorized?, scope })
        };
        tokio::task::spawn_blocking(admitting).await?
    }

    /// Whether a principal may read a tenant of a class, both of which exist.
    ///
    /// # Errors
    /// The data directory cannot be read.
    pub async fn may_read_tenant(
        &self,
        principal: &Principal,
        class: &str,
        tenant: &str,
    ) -> Result<bool, StartError> {
        let (directories, policy) =
            (Arc::clone(&self.inner.directories), self.inner.authorizer.policy());
        let (principal, class, tenant) = (principal.clone(), class.to_owned(), tenant.to_owned());
        let deciding = move || {
            let directory = directories.open()?;
            let scope = Scope {
                classes: ClassSelection::Include([class.clone()].into()),
                tenants: [(class.clone(), [tenant.clone()].into())].into(),
                ..Scope::default()
            };
            let Ok(authorized) = authorize(&*policy, &principal, directory, &scope) else {
                return Ok(false);
            };
            let classes = authorized.readable().iter();
            let mut shards =
                classes.filter(|found| *found.name == *class).flat_map(|c| c.shards.iter());
            Ok(shards.any(|shard| *shard.name == *tenant))
        };
        tokio::task::spawn_blocking(deciding).await?
    }
}
