//! Writes the manifest, the last object of an export: with it the outcome counts.
use offloom_protocol::manifest::{Commit, Manifest, ManifestError, Outcome, Tombstone};
use offloom_protocol::store::ExportFolder;

/// Why an outcome could not be committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another outcome was committed before.
    #[error("the export was already ended as {outcome:?} by another process")]
    Lost {
        /// The outcome that counts.
        outcome: Outcome,
    },
    /// Another process has taken the export over. Nothing of it was changed.
    #[error("the export was taken over: {0} nothing was committed here")]
    TakenOver(String),
    /// The manifest could not be written.
    #[error("write to backend failed: {0}")]
    Manifest(#[from] ManifestError),
}

/// Writes the manifest, unless there is one already that is not `in_place_of`.
///
/// # Errors
/// [`CommitError::Lost`] if another outcome was committed before.
pub(crate) async fn commit(
    folder: &ExportFolder,
    manifest: Manifest,
    in_place_of: Option<&Tombstone>,
) -> Result<Manifest, CommitError> {
    match manifest.clone().commit(folder, in_place_of).await? {
        Commit::TakenOver(successor) => Err(CommitError::TakenOver(successor)),
        Commit::Won => Ok(manifest),
        Commit::Lost(theirs) => Err(CommitError::Lost { outcome: theirs.status }),
    }
}
