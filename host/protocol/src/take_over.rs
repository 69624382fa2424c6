//! A later attempt at an export: how a process makes it its own, and what it finds of earlier ones.
use std::collections::{BTreeMap, BTreeSet};

use crate::claim::{Claim, ClaimError};
use crate::error::StoreError;
use crate::manifest::{Manifest, ManifestError, Tombstone};
use crate::names::{Attempt, NameError, ObjectKey};
use crate::store::ExportFolder;
use crate::upload_log::{LogError, OpenUpload, UploadLog};

/// Why an export could not be made this process's own.
#[derive(Debug, thiserror::Error)]
pub enum OwnError {
    /// It has ended, or its manifest cannot be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Another process has it.
    #[error("the export was taken over: {0} it is not carried on here")]
    TakenOver(String),
    /// There is no claim to take over.
    #[error("{url} holds no export: it has no claim")]
    NoClaim {
        /// The address of the folder.
        url: String,
    },
    /// The claim could not be taken.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The claim could not be written down.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key that was written down is none.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl OwnError {
    /// Whether it may go when it is tried again later: the store or the state directory is away.
    pub fn may_recover(&self) -> bool {
        match self {
            OwnError::Store(_) | OwnError::Log(_) => true,
            OwnError::Manifest(error) => matches!(error, ManifestError::Store(_)),
            OwnError::Claim(error) => matches!(error, ClaimError::Store(_)),
            OwnError::TakenOver(_) | OwnError::NoClaim { .. } | OwnError::Name(_) => false,
        }
    }
}

/// What the owner of an export knows of it.
#[derive(Debug, Clone)]
pub struct Owned {
    /// The attempt that it is.
    pub attempt: Attempt,
    /// The tombstone that its outcome takes the place of.
    pub tombstone: Option<Tombstone>,
}

/// Makes an export the process's own that carries it on with the notes of the one before: `first` is the
/// claim of the first attempt, `later` are those of later ones. It writes `next` as the claim of the
/// next attempt, or the first one, if the process before it did not come so far. `note` writes a claim
/// down before it is taken.
///
/// # Errors
/// [`OwnError`].
pub async fn carry_on<N: Future<Output = Result<(), LogError>>>(
    folder: &ExportFolder,
    first: &Claim,
    later: impl IntoIterator<Item = &Claim>,
    next: Claim,
    note: impl FnOnce(Attempt, Claim) -> N,
) -> Result<Owned, OwnError> {
    let tombstone = Manifest::tombstone(folder).await?;
    let Some((newest, theirs)) = Claim::newest(folder).await? else {
        first.take(folder).await?;
        return Ok(Owned { attempt: Attempt::FIRST, tombstone });
    };
    let is_theirs = |claim: &Claim| claim.nonce == theirs.nonce;
    if !is_theirs(first) && !later.into_iter().any(is_theirs) {
        return Err(OwnError::TakenOver(theirs.described()));
    }
    let attempt = newest.next();
    note(attempt, next.clone()).await?;
    next.take_over(folder, attempt).await?;
    // An end that came meanwhile counts.
    let tombstone = Manifest::tombstone(folder).await?;
    Ok(Owned { attempt, tombstone })
}

/// Takes an export from the process that has it, and aborts all of its uploads, so that none makes a file
/// later. Returns the claim that was the newest too.
///
/// # Errors
/// [`OwnError`].
pub async fn take_over<N: Future<Output = Result<(), LogError>>>(
    folder: &ExportFolder,
    next: Claim,
    note: impl FnOnce(Attempt, Claim) -> N,
) -> Result<(Owned, Claim), OwnError> {
    Manifest::tombstone(folder).await?;
    let Some((newest, theirs)) = Claim::newest(folder).await? else {
        return Err(OwnError::NoClaim { url: folder.url().to_owned() });
    };
    let attempt = newest.next();
    let next = next.for_principal(theirs.principal.clone());
    note(attempt, next.clone()).await?;
    next.take_over(folder, attempt).await?;
    // An end that came meanwhile counts.
    let tombstone = Manifest::tombstone(folder).await?;
    for upload in folder.list_uploads().await?.into_iter().flatten() {
        folder.abort_upload(&upload.path, &upload.upload_id).await?;
    }
    Ok((Owned { attempt, tombstone }, theirs))
}

/// Aborts the uploads of earlier attempts, and removes their leftovers on a file system; returns those
/// that are continued instead: they are on the store, and make one of `continuable`. `known` are the
/// uploads that were written down, by object key.
///
/// # Errors
/// [`OwnError`].
pub async fn abort_others(
    folder: &ExportFolder,
    known: &BTreeMap<String, OpenUpload>,
    continuable: &BTreeSet<String>,
    log: &dyn UploadLog,
) -> Result<BTreeMap<String, OpenUpload>, OwnError> {
    let listed = folder.list_uploads().await?;
    let mut continued = BTreeMap::new();
    let mut kept_ids = BTreeSet::new();
    for (key, open) in known {
        let path = folder.store_path(&ObjectKey::parse(key)?);
        let Some(id) = &open.upload_id else { continue };
        let is_listed = listed.as_ref().is_some_and(|listed| {
            listed.iter().any(|upload| upload.path == path && upload.upload_id == *id)
        });
        if is_listed && continuable.contains(key) {
            kept_ids.insert(id.clone());
            continued.insert(key.clone(), open.clone());
        } else {
            folder.abort_upload(&path, id).await?;
        }
    }
    for upload in listed.into_iter().flatten() {
        if !kept_ids.contains(&upload.upload_id) {
            folder.abort_upload(&upload.path, &upload.upload_id).await?;
        }
    }
    remove_leftovers(folder).await?;
    for key in known.keys().filter(|key| !continued.contains_key(*key)) {
        log.ended(&ObjectKey::parse(key)?).await?;
    }
    Ok(continued)
}

/// Removes what uploads that were never completed have left on a file system. Only the owner of an export
/// may, or who knows that it has ended and its process too.
///
/// # Errors
/// [`StoreError`].
pub async fn remove_leftovers(folder: &ExportFolder) -> Result<(), StoreError> {
    for name in folder.list_leftovers().await? {
        folder.remove_leftover(&name).await?;
    }
    Ok(())
}
