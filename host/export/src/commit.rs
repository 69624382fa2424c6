//! Writes the manifest, the last object of an export: with it the outcome counts.
use offloom_protocol::manifest::{Commit, Manifest, ManifestError, Outcome};
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
    /// The manifest could not be written.
    #[error("write to backend failed: {0}")]
    Manifest(#[from] ManifestError),
}

/// Writes the manifest, unless there is one already.
///
/// # Errors
/// [`CommitError::Lost`] if another outcome was committed before.
pub(crate) async fn commit(
    folder: &ExportFolder,
    manifest: Manifest,
) -> Result<Manifest, CommitError> {
    match manifest.clone().commit(folder).await? {
        Commit::Won => Ok(manifest),
        Commit::Lost(theirs) => Err(CommitError::Lost { outcome: theirs.status }),
    }
}
