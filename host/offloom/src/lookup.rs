//! What becomes of an export as a client is told it: from this server's memory, its index, or the
//! store.
use chrono::{DateTime, Utc};
use offloom_protocol::claim::Claim;
use offloom_protocol::manifest::{Manifest, ManifestError, Missing, Outcome};
use offloom_protocol::names::ExportId;
use offloom_protocol::store::{Destination, ExportFolder};

use crate::index::{Ended, Entry, IndexError};
use crate::status::ClassView;

/// An export that could not be looked up or canceled.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// Nobody knows it.
    #[error("export '{0}' is not known on this backend")]
    NotFound(ExportId),
    /// It has ended.
    #[error("export '{0}' ended as {1:?}")]
    Finished(ExportId, Outcome),
    /// The principal may not read all of its classes.
    #[error("not allowed to read every class of this export")]
    Forbidden,
    /// Its manifest cannot be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// How far an export is.
#[derive(Debug, Clone)]
pub struct ExportView {
    /// Its id.
    pub id: ExportId,
    /// Address of its folder.
    pub path: String,
    /// Its state.
    pub state: ExportState,
    /// When its id was taken.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// Why it failed.
    pub error: Option<String>,
    /// What an export that succeeded lacks.
    pub missing: Vec<Missing>,
    /// Its classes with their shards.
    pub classes: Vec<ClassView>,
}

/// A state of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportState {
    /// Waiting for its turn.
    Started,
    /// Running.
    Transferring,
    /// Ended.
    Ended(Outcome),
}

impl ExportState {
    /// The name that clients know.
    pub fn name(self) -> &'static str {
        match self {
            ExportState::Started => "STARTED",
            ExportState::Transferring => "TRANSFERRING",
            ExportState::Ended(Outcome::Success) => "SUCCESS",
            ExportState::Ended(Outcome::Failed) => "FAILED",
            ExportState::Ended(Outcome::Canceled) => "CANCELED",
        }
    }
}

/// What an export of the last process has come to: what its manifest says, or nothing.
pub async fn left_behind(entry: &Entry) -> Ended {
    let manifest = match entry.folder() {
        Ok(Some(folder)) => Manifest::read(&folder).await.ok(),
        Ok(None) | Err(_) => None,
    };
    manifest.map_or_else(
        || Ended {
            outcome: Outcome::Failed,
            error: Some(
                "the server stopped while the export was running: start it again under another id"
                    .to_owned(),
            ),
            completed_at: Utc::now(),
        },
        |manifest| Ended {
            outcome: manifest.status,
            error: manifest.error,
            completed_at: manifest.completed_at,
        },
    )
}

/// An export that this process does not run: as its manifest says, or, without one, as the index
/// does. One that has not ended is just being claimed.
pub async fn of_entry(entry: &Entry, all_shards: bool) -> ExportView {
    if let Ok(Some(folder)) = entry.folder()
        && let Ok(view) = of_manifest(&entry.id, &folder, all_shards).await
    {
        return view;
    }
    let ended = entry.ended.clone();
    ExportView {
        id: entry.id.clone(),
        path: format!("{}{}/", entry.destination, entry.id),
        state: ended
            .as_ref()
            .map_or(ExportState::Started, |ended| ExportState::Ended(ended.outcome)),
        started_at: entry.started_at,
        completed_at: ended.as_ref().map(|ended| ended.completed_at),
        error: ended.and_then(|ended| ended.error),
        missing: Vec::new(),
        classes: entry.classes.iter().map(|class| ClassView::unknown(class)).collect(),
    }
}

/// An export as the store has it. A claim without a manifest is another server's, which runs it.
pub async fn of_store(
    id: &ExportId,
    destination: &Destination,
    all_shards: bool,
) -> Result<ExportView, LookupError> {
    let folder = destination.existing_export_folder(id).map_err(ManifestError::from)?;
    let Some(folder) = folder else { return Err(LookupError::NotFound(id.clone())) };
    match of_manifest(id, &folder, all_shards).await {
        Err(LookupError::Manifest(ManifestError::Missing { .. })) => {}
        found => return found,
    }
    match Claim::read(&folder).await.map_err(ManifestError::from)? {
        Some(claim) => Ok(ExportView {
            id: id.clone(),
            path: folder.url().to_owned(),
            state: ExportState::Transferring,
            started_at: claim.started_at,
            completed_at: None,
            error: None,
            missing: Vec::new(),
            classes: Vec::new(),
        }),
        None => Err(LookupError::NotFound(id.clone())),
    }
}

async fn of_manifest(
    id: &ExportId,
    folder: &ExportFolder,
    all_shards: bool,
) -> Result<ExportView, LookupError> {
    let manifest = Manifest::read(folder).await?;
    // Many shards are an object of their own, of megabytes.
    let few = manifest.source.shards_key.is_none();
    let shards = if few || all_shards { manifest.shards(folder).await? } else { Vec::new() };
    Ok(ExportView {
        id: id.clone(),
        path: folder.url().to_owned(),
        state: ExportState::Ended(manifest.status),
        started_at: manifest.started_at,
        completed_at: Some(manifest.completed_at),
        error: manifest.error.clone(),
        classes: ClassView::of_manifest(&manifest, &shards),
        missing: manifest.missing,
    })
}
