//! What is asked for, and the checks that come before anything is written: one order for every
//! caller.
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use offloom_protocol::access::PassedChecks;
use offloom_protocol::digest::DigestAlgorithm;
use offloom_protocol::error::StoreError;
use offloom_protocol::names::ExportId;
use offloom_protocol::store::Destination;
use offloom_sandbox::{ExporterGuest, GuestOptions};
use offloom_weaviate_disk::{Class, DataDirectory};
use tracing::Instrument;

use crate::authorize::Authorized;
use crate::lease::Lease;
use crate::plan::{AtLeast, Guests, PlanError, Planned, Readable, Selected, plan};
use crate::scope::Scope;
use crate::transforms::TransformStep;
use crate::workers::Workers;

/// What a principal asks for, besides what it was authorized for.
pub struct Request {
    /// Id of the export, also the name of its folder.
    pub id: ExportId,
    /// Where the folder is created.
    pub destination: Destination,
    /// What the export covers of the classes that the principal may read. It is the one that was
    /// authorized.
    pub scope: Scope,
    /// Options of the exporter.
    pub options: GuestOptions,
    /// What rows pass before they are encoded: the operator's transforms first, then these in order.
    pub transforms: Vec<TransformStep>,
    /// How the files are digested.
    pub digest: DigestAlgorithm,
    /// The name of the format that the files must have; any if it is absent.
    pub file_format: Option<String>,
}

/// An exporter under the name that the manifest has.
#[derive(Clone)]
pub struct NamedExporter {
    /// Its name.
    pub name: String,
    /// The guest.
    pub guest: ExporterGuest,
    /// What the export holds for as long as it uses the guest.
    pub lease: Option<Lease>,
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
        exporter: &NamedExporter,
        passed: &PassedChecks,
        workers: &Workers,
    ) -> Result<Planned, RequestError> {
        let planning =
            self.plan_classes(authorized, exporter, Some(passed), workers, AtLeast::OneClass);
        planning.instrument(tracing::info_span!("plan")).await
    }

    /// As [`Request::plan`], for an export that is not run: the store is not asked whether it takes files.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn plan_only(
        self,
        authorized: Authorized,
        exporter: &NamedExporter,
        workers: &Workers,
    ) -> Result<Planned, RequestError> {
        self.plan_classes(authorized, exporter, None, workers, AtLeast::OneClass).await
    }

    /// As [`Request::plan`], where there may be no class: those of an interrupted export are complete.
    /// The store is not asked without `passed`.
    pub(crate) async fn plan_classes(
        self,
        authorized: Authorized,
        exporter: &NamedExporter,
        passed: Option<&PassedChecks>,
        workers: &Workers,
        at_least: AtLeast,
    ) -> Result<Planned, RequestError> {
        let Authorized { principal, directory, readable, narrowed } = authorized;
        let narrowed_tenants = narrowed_tenants(&readable, &narrowed);
        refuse_data_directory(&self.destination, &directory)?;
        if let Some(passed) = passed {
            self.destination.check_access_unless_passed(passed).await?;
        }
        let guest = exporter.guest.for_export();
        let mut scope = self.scope;
        let allow_partial = scope.allow_partial;
        // Stored bytes would bypass every transform.
        scope.quarantine_raw &= self.transforms.is_empty();
        let options = &self.options;
        let readable = Readable { classes: readable, narrowed };
        let leases = self.transforms.iter().filter_map(|step| step.lease.clone());
        let leases: Vec<Lease> = leases.chain(exporter.lease.clone()).collect();
        let guests = Guests { exporter: &guest, options, transforms: self.transforms };
        let planned_scope = scope.clone();
        let selected = plan(&directory, readable, guests, scope, workers, at_least).await?;
        let Selected { classes, missing, tenants, steps, shown_options } = selected;
        let (describing, options) = (guest.clone(), self.options.clone());
        let format = workers.call(async move { describing.describe(&options).await });
        let format = format.await.map_err(PlanError::from)?.map_err(PlanError::from)?;
        if let Some(asked) = self.file_format.filter(|asked| *asked != format.name) {
            let (exporter, written) = (exporter.name.clone(), format.name);
            return Err(PlanError::FileFormat { asked, exporter, written }.into());
        }
        let directory_warnings =
            directory.warnings_for_export(classes.iter().map(|planned| &planned.class));
        Ok(Planned {
            format,
            directory_warnings,
            _leases: leases,
            id: self.id,
            principal,
            scope: planned_scope,
            narrowed: narrowed_tenants,
            destination: self.destination,
            digest: self.digest,
            directory,
            classes,
            missing,
            tenants,
            exporter: exporter.name.clone(),
            guest,
            options: self.options,
            shown_options,
            steps,
            allow_partial,
        })
    }
}

/// The tenants that may be read of each class of which not all may be.
fn narrowed_tenants(
    readable: &[Class],
    narrowed: &BTreeSet<String>,
) -> BTreeMap<String, BTreeSet<String>> {
    let classes = readable.iter().filter(|class| narrowed.contains(&*class.name));
    let tenants = |class: &Class| class.shards.iter().map(|shard| shard.name.to_string()).collect();
    classes.map(|class| (class.name.to_string(), tenants(class))).collect()
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
