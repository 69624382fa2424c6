//! The guests of an interrupted export, as they are now.
use offloom_export::{JournalPlan, Lease, NamedExporter, PlannedGuest, TransformStep};
use offloom_sandbox::Guest;

use crate::guests::name::{BadName, GuestReference};
use crate::guests::{Guests, GuestsError};

/// Why a guest that an export began with cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum GoneError {
    /// It is not called so.
    #[error(transparent)]
    Name(#[from] BadName),
    /// It is gone.
    #[error("the export began with the guest {name} {digest}, which cannot be had: {source}")]
    Gone {
        /// Its name.
        name: String,
        /// Its digest.
        digest: String,
        /// Why.
        source: GuestsError,
    },
    /// It is of another kind now.
    #[error("the export began with the guest {0}, which is of another kind now")]
    OtherKind(String),
}

/// Finds the guests of plans.
#[derive(Clone)]
pub struct PlannedGuests {
    /// The registry.
    pub guests: Guests,
    /// The exporter of the settings, if it is a file.
    pub file: Option<NamedExporter>,
    /// The transforms that the operator requires.
    pub required: Vec<TransformStep>,
}

impl PlannedGuests {
    /// The exporter of a plan.
    ///
    /// # Errors
    /// [`GoneError`].
    pub async fn exporter(&self, plan: &JournalPlan) -> Result<NamedExporter, GoneError> {
        if let Some(file) = self.file.as_ref().filter(|file| file.name == plan.exporter.name) {
            return Ok(file.clone());
        }
        let (name, guest, lease) = self.resolve(&plan.exporter).await?;
        match guest {
            Guest::Exporter(guest) => Ok(NamedExporter { name, guest, lease }),
            Guest::Transform(_) => Err(GoneError::OtherKind(name)),
        }
    }

    /// The transforms of a plan: those that the operator requires as they are in the settings now.
    ///
    /// # Errors
    /// [`GoneError`].
    pub async fn transforms(&self, plan: &JournalPlan) -> Result<Vec<TransformStep>, GoneError> {
        let mut steps = self.required.clone();
        for planned in plan.transforms.iter().filter(|planned| !planned.required) {
            let (name, guest, lease) = self.resolve(planned).await?;
            let Guest::Transform(guest) = guest else { return Err(GoneError::OtherKind(name)) };
            let (options, reach) = (planned.options.clone(), planned.reach.clone());
            steps.push(TransformStep { name, guest, options, reach, required: false, lease });
        }
        Ok(steps)
    }

    async fn resolve(
        &self,
        planned: &PlannedGuest,
    ) -> Result<(String, Guest, Option<Lease>), GoneError> {
        let reference: GuestReference = planned.name.parse()?;
        let resolved = self.guests.resolve(reference).await;
        let resolved = resolved.map_err(|source| GoneError::Gone {
            name: planned.name.clone(),
            digest: planned.digest.clone(),
            source,
        })?;
        Ok((resolved.name, resolved.guest, resolved.lease))
    }
}
