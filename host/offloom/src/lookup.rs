//! Answers status requests from memory, the index or the store.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use offloom_export::ClassView;
use offloom_protocol::claim::Claim;
use offloom_protocol::manifest::{
    ClassFile, CoveredTenants, Manifest, ManifestError, Missing, Outcome,
};
use offloom_protocol::names::ExportId;
use offloom_protocol::store::{Destination, ExportFolder};

use crate::export_index::{ExportEnd, IndexEntry};
use crate::state_database::StateError;

/// How long a status waits for a manifest, where the index knows the end. A store that cannot be
/// reached is tried for a minute.
const MANIFEST_PATIENCE: Duration = Duration::from_secs(10);

/// Why an export could not be looked up or canceled.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// There is no export with this id, or the principal may not see it.
    #[error("export '{0}' is not known on this backend")]
    NotFound(ExportId),
    /// It has ended.
    #[error("export '{0}' ended as {1:?}")]
    Finished(ExportId, Outcome),
    /// It is carried on after the end of the last process, and that is not possible yet.
    #[error("{0}")]
    HeldUp(String),
    /// It is being canceled, and its store does not answer.
    #[error("export '{0}' is being canceled; its store does not answer yet: ask for its status")]
    Canceling(ExportId),
    /// Another process runs it.
    #[error("export '{0}' is not run by this server: cancel it where it was started")]
    OfAnotherServer(ExportId),
    /// Its manifest cannot be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] StateError),
    /// A task panicked or its runtime stopped.
    #[error("interrupted")]
    Stopped(#[from] tokio::task::JoinError),
}

/// What is known of an export.
#[derive(Debug, Clone)]
pub struct ExportView {
    /// Kind of store.
    pub backend: String,
    /// Its id.
    pub id: ExportId,
    /// Address of its folder.
    pub path: String,
    /// Its state.
    pub state: ExportState,
    /// When its id was taken.
    pub started_at: DateTime<Utc>,
    /// The one who asked for it, if that is known.
    pub principal: Option<String>,
    /// Its classes with their shards; `None` while another server runs it.
    pub classes: Option<Vec<ClassView>>,
    /// Which tenants it covers of the classes of which it does not cover all.
    pub tenants: BTreeMap<String, CoveredTenants>,
    /// Its files, once its manifest can be read.
    pub files: Vec<ClassFile>,
    /// The data directories in its manifest, which may be those of another host.
    pub source_directories: Vec<String>,
}

impl ExportView {
    /// What every source of a view knows.
    pub fn new(
        backend: &str,
        id: &ExportId,
        path: String,
        started_at: DateTime<Utc>,
        state: ExportState,
    ) -> ExportView {
        ExportView {
            backend: backend.to_owned(),
            id: id.clone(),
            path,
            state,
            started_at,
            principal: None,
            classes: None,
            tenants: BTreeMap::new(),
            files: Vec::new(),
            source_directories: Vec::new(),
        }
    }

    /// The exact names of its classes, also of those that it lacks as a whole; `None` while another
    /// server runs it.
    pub fn class_names(&self) -> Option<Vec<String>> {
        let classes = self.classes.as_ref()?.iter().map(|class| class.name.clone());
        let missing = match &self.state {
            ExportState::Ended { missing, .. } => missing.as_slice(),
            ExportState::Started | ExportState::Transferring => &[],
        };
        let names: BTreeSet<String> =
            classes.chain(missing.iter().map(|missing| missing.class.clone())).collect();
        Some(names.into_iter().collect())
    }
}

/// A state of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportState {
    /// Waiting for its turn.
    Started,
    /// Running.
    Transferring,
    /// Ended.
    Ended {
        /// How and when.
        end: ExportEnd,
        /// What a partial export lacks.
        missing: Vec<Missing>,
    },
}

impl ExportState {
    /// The name that clients know.
    pub fn name(&self) -> &'static str {
        match self {
            ExportState::Started => "STARTED",
            ExportState::Transferring => "TRANSFERRING",
            ExportState::Ended { end, .. } => match end.outcome {
                Outcome::Success => "SUCCESS",
                Outcome::Failed => "FAILED",
                Outcome::Canceled => "CANCELED",
            },
        }
    }

    /// An end that is known without the manifest. Exports without a manifest are not partial.
    pub fn ended(end: ExportEnd) -> ExportState {
        ExportState::Ended { end, missing: Vec::new() }
    }
}

/// An export that this process does not run: what its manifest states, or what the index does if the
/// manifest cannot be read soon. An entry without an end belongs to an export that is being claimed.
pub async fn view_of_entry(entry: &IndexEntry, all_shards: bool) -> ExportView {
    if let Ok(Some(folder)) = entry.folder() {
        let view = view_of_manifest(&entry.backend, &entry.id, &folder, all_shards);
        if let Ok(Ok(view)) = tokio::time::timeout(MANIFEST_PATIENCE, view).await {
            return ExportView { principal: entry.principal.clone(), ..view };
        }
    }
    view_of_index(entry)
}

/// What the index alone knows of an export that this process does not run.
pub fn view_of_index(entry: &IndexEntry) -> ExportView {
    let path = format!("{}{}/", entry.destination, entry.id);
    let state = entry.ended.clone().map_or(ExportState::Started, ExportState::ended);
    ExportView {
        principal: entry.principal.clone(),
        classes: Some(entry.classes.iter().map(|class| ClassView::unknown(class)).collect()),
        tenants: entry.tenants.clone(),
        ..ExportView::new(&entry.backend, &entry.id, path, entry.started_at, state)
    }
}

/// An export as the store shows it. One with a claim and no manifest is run by another server.
///
/// # Errors
/// [`LookupError::NotFound`], [`LookupError::Manifest`].
pub async fn view_of_store(
    id: &ExportId,
    destination: &Destination,
    all_shards: bool,
) -> Result<ExportView, LookupError> {
    let folder = destination.existing_export_folder(id).map_err(ManifestError::from)?;
    let Some(folder) = folder else { return Err(LookupError::NotFound(id.clone())) };
    let manifest = view_of_manifest(destination.backend(), id, &folder, all_shards).await;
    let claim = Claim::read(&folder).await.map_err(ManifestError::from);
    let principal = |claim: Option<Claim>| claim.and_then(|claim| claim.principal);
    match manifest {
        Err(LookupError::Manifest(ManifestError::Missing { .. })) => {}
        // The manifest alone shows it, if its claim is gone.
        Ok(view) => {
            return Ok(ExportView { principal: principal(claim.ok().flatten()), ..view });
        }
        Err(error) => return Err(error),
    }
    let Some(claim) = claim? else { return Err(LookupError::NotFound(id.clone())) };
    let (path, state) = (folder.url().to_owned(), ExportState::Transferring);
    let view = ExportView::new(destination.backend(), id, path, claim.started_at, state);
    Ok(ExportView { principal: principal(Some(claim)), ..view })
}

async fn view_of_manifest(
    backend: &str,
    id: &ExportId,
    folder: &ExportFolder,
    all_shards: bool,
) -> Result<ExportView, LookupError> {
    let manifest = Manifest::read(folder).await?;
    // Many shards are in an object of their own, of megabytes.
    let few = manifest.source.shards_key.is_none();
    let shards = if few || all_shards { manifest.shards(folder).await? } else { Vec::new() };
    let classes = ClassView::of_manifest(&manifest, &shards);
    let end = ExportEnd::of_manifest(&manifest);
    let state = ExportState::Ended { end, missing: manifest.missing };
    let path = folder.url().to_owned();
    Ok(ExportView {
        source_directories: manifest.source.directories,
        classes: Some(classes),
        tenants: manifest.tenants,
        files: manifest.files,
        ..ExportView::new(backend, id, path, manifest.started_at, state)
    })
}
