//! The claim of an export's id: `_claim.json`, written first and only if nothing is there. Who takes the
//! export over writes the claim of the next attempt, `_claim.a<N>.json`, in the same way.
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Cause, StoreError};
use crate::names::{Attempt, ExportId, ObjectKey};
use crate::store::{Created, ExportFolder};
use crate::timestamp;

/// A claim is a few hundred bytes; anything longer is not one.
const MAX_CLAIM_BYTES: u64 = 64 * 1024;

/// Who owns an id, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// The id.
    pub id: ExportId,
    /// The coordinator that took it, such as `host-1 (process 4711)`.
    pub owner: String,
    /// The one who asked for the export, such as `db:alice`; absent in claims of versions before users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// When it was taken, UTC.
    #[serde(with = "timestamp")]
    pub started_at: DateTime<Utc>,
    /// Version of the program that took it.
    pub version: String,
    /// Random, so that an owner knows its own claim when it reads it back.
    pub nonce: Uuid,
}

/// An id that could not be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// It belongs to another export.
    #[error("the export id '{id}' is in use: {evidence} at {url}; choose another id")]
    IdInUse {
        /// The id.
        id: ExportId,
        /// The address of its folder.
        url: String,
        /// What was found there: the claim's owner and time, or the first object.
        evidence: String,
    },
    /// Another process takes it over at the same time.
    #[error("{url} is taken over by another process just now: {evidence}")]
    TakenOver {
        /// The address of the folder.
        url: String,
        /// The owner of the next attempt, and since when.
        evidence: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The claim is no JSON.
    #[error("the claim cannot be written as JSON: {0}")]
    Encode(#[from] serde_json::Error),
}

impl Claim {
    /// A claim of `id` by `owner`, now, not yet taken.
    pub fn new(id: ExportId, owner: String, version: String) -> Claim {
        let nonce = Uuid::new_v4();
        Claim { id, owner, principal: None, started_at: Utc::now(), version, nonce }
    }

    /// The same for an export that `principal` has asked for, if that is known.
    pub fn for_principal(self, principal: Option<String>) -> Claim {
        Claim { principal, ..self }
    }

    /// Takes the id: nothing may lie in its folder, and of two that try at once the store lets one
    /// create the claim.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub async fn take(&self, folder: &ExportFolder) -> Result<(), ClaimError> {
        let in_use = |evidence: String| ClaimError::IdInUse {
            id: self.id.clone(),
            url: folder.url().to_owned(),
            evidence,
        };
        if let Some(found) = folder.list(1).await?.first() {
            return Err(in_use(match Claim::read(folder).await {
                Ok(Some(theirs)) => theirs.described(),
                _ => format!("'{}' lies", found.key),
            }));
        }
        let content = Bytes::from(serde_json::to_vec_pretty(self)?);
        match folder.create(&ObjectKey::claim(Attempt::FIRST), content).await? {
            Created::Ours => Ok(()),
            Created::Theirs(content) => Err(in_use(match serde_json::from_slice(&content) {
                Ok(theirs) => Claim::described(&theirs),
                Err(_) => "a claim that cannot be read lies".to_owned(),
            })),
        }
    }

    /// Takes the export over as `attempt`: of two that try at once the store lets one create its claim.
    ///
    /// # Errors
    /// [`ClaimError::TakenOver`], and those of the store.
    pub async fn take_over(
        &self,
        folder: &ExportFolder,
        attempt: Attempt,
    ) -> Result<(), ClaimError> {
        let content = Bytes::from(serde_json::to_vec_pretty(self)?);
        match folder.create(&ObjectKey::claim(attempt), content).await? {
            Created::Ours => Ok(()),
            Created::Theirs(content) => Err(ClaimError::TakenOver {
                url: folder.url().to_owned(),
                evidence: match serde_json::from_slice(&content) {
                    Ok(theirs) => Claim::described(&theirs),
                    Err(_) => "a claim that cannot be read lies there".to_owned(),
                },
            }),
        }
    }

    /// The newest attempt of a folder with its claim; `None` when it has no claim, or a first one that
    /// cannot be read. A later claim that cannot be read counts with what the first one says.
    ///
    /// # Errors
    /// [`StoreError`] other than one for an object that is not there.
    pub async fn newest(folder: &ExportFolder) -> Result<Option<(Attempt, Claim)>, StoreError> {
        let Some(claim) = Claim::read(folder).await? else { return Ok(None) };
        let (mut attempt, mut newest) = (Attempt::FIRST, claim);
        while folder.size_bytes(&ObjectKey::claim(attempt.next())).await?.is_some() {
            attempt = attempt.next();
            if let Some(claim) = Claim::read_of(folder, attempt).await? {
                newest = claim;
            }
        }
        Ok(Some((attempt, newest)))
    }

    /// Who has taken the export over from `attempt`; `None` while nobody has. Attempts are numbered
    /// without gaps.
    ///
    /// # Errors
    /// [`StoreError`] other than one for an object that is not there.
    pub async fn successor(
        folder: &ExportFolder,
        attempt: Attempt,
    ) -> Result<Option<String>, StoreError> {
        let key = ObjectKey::claim(attempt.next());
        if folder.size_bytes(&key).await?.is_none() {
            return Ok(None);
        }
        let claim = Claim::read_of(folder, attempt.next()).await?;
        Ok(Some(claim.map_or_else(|| "another process".to_owned(), |claim| claim.described())))
    }

    /// Reads the first claim of a folder; `None` when it has none, or one that cannot be read.
    ///
    /// # Errors
    /// [`StoreError`] other than one for an object that is not there.
    pub async fn read(folder: &ExportFolder) -> Result<Option<Claim>, StoreError> {
        Claim::read_of(folder, Attempt::FIRST).await
    }

    async fn read_of(folder: &ExportFolder, attempt: Attempt) -> Result<Option<Claim>, StoreError> {
        match folder.read(&ObjectKey::claim(attempt), MAX_CLAIM_BYTES).await {
            Ok(content) => Ok(serde_json::from_slice(&content).ok()),
            Err(StoreError::TooLarge { .. }) => Ok(None),
            Err(error) if error.cause() == Some(Cause::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Its owner and its time, for messages.
    pub fn described(&self) -> String {
        let since = self.started_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        format!("'{}' has it since {since},", self.owner.escape_debug())
    }
}
