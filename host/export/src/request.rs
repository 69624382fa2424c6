//! What is asked for, and the checks that come before anything is written: one order for every
//! caller.
use std::path::PathBuf;

use offloom_protocol::access::PassedChecks;
use offloom_protocol::digest::DigestAlgorithm;
use offloom_protocol::error::StoreError;
use offloom_protocol::names::ExportId;
use offloom_protocol::store::Destination;
use offloom_sandbox::{ExporterGuest, GuestOptions};
use offloom_weaviate_disk::DataDirectory;

use crate::authorize::Authorized;
use crate::plan::{PlanError, Planned, Readable, Selected, plan};
use crate::scope::Scope;
use crate::transfer::Workers;

/// What a principal asks for, besides what it was authorized for.
#[derive(Debug)]
pub struct Request {
    /// Id of the export, also the name of its folder.
    pub id: ExportId,
    /// Where the folder is created.
    pub destination: Destination,
    /// What the export covers of the classes that the principal may read. It is the one that was
    /// authorized.
    pub scope: Scope,
    /// Options of the guest.
    pub options: GuestOptions,
    /// How the files are digested.
    pub digest: DigestAlgorithm,
}

/// Why a request was refused. Nothing is left on the store.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The destination lies in a data directory, where nothing is written.
    #[error(
        "{destination} lies in the data directory {data_dir}, which is only read; choose a place \
         outside of it"
    )]
    InDataDirectory {
        /// The address of the destination.
        destination: String,
        /// The data directory.
        data_dir: PathBuf,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The request does not make an export.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

impl Request {
    /// Checks the store, then chooses the classes. The store is not touched before the principal is
    /// known to have the right to read. What `passed` remembers of the store is not tried again.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn plan(
        self,
        authorized: Authorized,
        guest: &ExporterGuest,
        passed: &PassedChecks,
        workers: &Workers,
    ) -> Result<Planned, RequestError> {
        let Authorized { principal, directory, readable, narrowed } = authorized;
        refuse_data_directory(&self.destination, &directory)?;
        self.destination.check_access_unless_passed(passed).await?;
        let guest = guest.for_export();
        let allow_partial = self.scope.allow_partial;
        let options = &self.options;
        let readable = Readable { classes: readable, narrowed };
        let selected = plan(&directory, readable, &guest, options, self.scope, workers).await?;
        let Selected { classes, missing, tenants } = selected;
        Ok(Planned {
            id: self.id,
            principal,
            destination: self.destination,
            digest: self.digest,
            directory,
            classes,
            missing,
            tenants,
            guest,
            options: self.options,
            allow_partial,
        })
    }
}

fn refuse_data_directory(
    destination: &Destination,
    directory: &DataDirectory,
) -> Result<(), RequestError> {
    // The folder may not exist yet; what holds it may be reached by a link.
    let nearest = destination
        .local_path()
        .and_then(|path| path.ancestors().find_map(|folder| std::fs::canonicalize(folder).ok()));
    let Some(nearest) = nearest else { return Ok(()) };
    for node in directory.nodes() {
        let data_dir = std::fs::canonicalize(node.path());
        if data_dir.is_ok_and(|data_dir| nearest.starts_with(data_dir)) {
            return Err(RequestError::InDataDirectory {
                destination: destination.url(),
                data_dir: node.path().to_owned(),
            });
        }
    }
    Ok(())
}
