//! `export_metadata.json`: the content and source of an export. Writing it is the commit.
use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::claim::Claim;
use crate::digest::Digest;
use crate::error::{Cause, StoreError};
pub use crate::listed_file::{Attachment, Block, ClassFile, FileFormat};
use crate::names::{Attempt, ExportId, ObjectKey};
pub use crate::source::{
    CoveredTenants, CutOff, Missing, Shard, ShardCopies, ShardCopy, Source, SourceCutOff,
};
use crate::store::{Created, ExportFolder};
use crate::timestamp;

pub use crate::source::MAX_SHARDS_IN_MANIFEST;

/// A manifest of a thousand full files has about 400 MB of blocks; more is refused.
const MAX_MANIFEST_BYTES: u64 = 512 * 1024 * 1024;

/// A million shards at 500 bytes a line.
const MAX_SHARDS_BYTES: u64 = 512 * 1024 * 1024;

/// How an export ended. SUCCESS and CANCELED never change; an export that failed may be carried on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Outcome {
    /// Every object of the snapshot is in the files, once.
    Success,
    /// A tombstone: the files must not be read as an export.
    Failed,
    /// A tombstone: as `Failed`, on request.
    Canceled,
}

impl Outcome {
    /// The word of manifests and of the API.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Success => "SUCCESS",
            Outcome::Failed => "FAILED",
            Outcome::Canceled => "CANCELED",
        }
    }
}

/// How far a class or a shard is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ProgressStatus {
    /// Not begun.
    Started,
    /// Under way.
    Transferring,
    /// All its objects are written.
    Success,
    /// Given up.
    Failed,
    /// Left out, for the reason that is given.
    Skipped,
}

/// How far a class is, or was when the export ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassProgress {
    /// Its state.
    pub status: ProgressStatus,
    /// Rows of blocks that were appended.
    pub objects_exported: u64,
    /// All objects: an estimate until the end, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects_total: Option<u64>,
    /// Size of its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_size_bytes: Option<u64>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why it was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_reason: Option<String>,
}

/// The guest that wrote the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Guest {
    /// The name under which it was asked for; empty in manifests of releases that had no names.
    #[serde(default)]
    pub name: String,
    /// SHA-256 of the component, 64 lower-case hex digits.
    pub digest: String,
    /// Its options; `(secret)` stands for the values of those that it keeps secret.
    pub options: BTreeMap<String, String>,
}

/// A transform that rows passed before they were written. Of the rows that it got, those that it neither
/// kept nor refused were dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppliedTransform {
    /// The name under which it was asked for.
    pub name: String,
    /// SHA-256 of the component, 64 lower-case hex digits.
    pub digest: String,
    /// Its options; `(secret)` stands for the values of those that it keeps secret.
    pub options: BTreeMap<String, String>,
    /// Whether the operator requires it.
    pub required: bool,
    /// The classes that it was applied to, all of their rows or those of single tenants.
    pub classes: Vec<String>,
    /// Rows that it got.
    pub rows_in: u64,
    /// Rows that stayed.
    pub rows_kept: u64,
    /// Rows that it refused.
    pub rows_refused: u64,
    /// What it counted, summed over all batches.
    pub counters: BTreeMap<String, u64>,
}

/// What an export that was interrupted and carried on has kept of its earlier attempts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resumed {
    /// The attempt that has ended it: 2 after one interruption.
    pub attempt: u32,
    /// Classes whose files were complete.
    pub classes_kept: u64,
    /// Bytes of those files.
    pub bytes_kept: u64,
    /// Parts of unfinished files that were on the store already.
    pub parts_kept: u64,
    /// Bytes of those parts.
    pub part_bytes_kept: u64,
    /// Units that were read and encoded again.
    pub units_again: u64,
    /// Shards that were read again as they were at first.
    pub shards_as_before: u64,
    /// Shards that were read again as they are now, because files of the first snapshot are gone.
    pub shards_anew: u64,
}

/// The content of `export_metadata.json`; `docs/export_metadata.schema.json` is its JSON Schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The export's id.
    pub id: ExportId,
    /// `filesystem`, `s3` ...
    pub backend: String,
    /// When the export began, UTC.
    #[serde(with = "timestamp")]
    pub started_at: DateTime<Utc>,
    /// When it ended, UTC.
    #[serde(with = "timestamp")]
    pub completed_at: DateTime<Utc>,
    /// How it ended.
    pub status: Outcome,
    /// Why it failed or who canceled it; absent after success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The exported classes, sorted.
    pub classes: Vec<String>,
    /// One entry a class.
    pub progress: BTreeMap<String, ClassProgress>,
    /// Version of Offloom.
    pub version: String,
    /// Files with rows: class by class, a class's files in the order of their rows.
    pub files: Vec<ClassFile>,
    /// Other objects.
    pub attachments: Vec<Attachment>,
    /// What wrote the files.
    pub guest: Guest,
    /// What the rows passed before, in this order; absent when there was none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transforms: Vec<AppliedTransform>,
    /// What they were made from.
    pub source: Source,
    /// Warnings for the reader of the export.
    pub warnings: Vec<String>,
    /// What was kept of earlier attempts; absent if the first one ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Resumed>,
    /// True when an export that was allowed to be partial is; absent otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// What a partial export lacks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
    /// The tenants of each class of which the export does not cover all, because the request names some
    /// or the one who asked may read no others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tenants: BTreeMap<String, CoveredTenants>,
}

/// A manifest that could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The folder holds no manifest.
    #[error(
        "{url} is no finished export: it has no export_metadata.json (give the export's own \
         folder; while an export runs, and after a crash, there is none)"
    )]
    Missing {
        /// The address of the folder.
        url: String,
    },
    /// It is not what Offloom writes.
    #[error("{url} is not a manifest of Offloom: {reason}")]
    Malformed {
        /// The address of the object.
        url: String,
        /// What is wrong, with the line and the column.
        reason: String,
    },
    /// It cannot be written as JSON.
    #[error("the manifest cannot be written as JSON: {0}")]
    Encode(serde_json::Error),
    /// It would be larger than what is read back.
    #[error(
        "the manifest would have {size_bytes} bytes, more than the {max_bytes} that it may have"
    )]
    TooLarge {
        /// Its size.
        size_bytes: u64,
        /// The bound.
        max_bytes: u64,
    },
    /// The export has ended, and not as FAILED.
    #[error("the export at {url} has ended as {}: there is nothing to resume", outcome.name())]
    Ended {
        /// The address of the folder.
        url: String,
        /// How.
        outcome: Outcome,
    },
    /// An attachment was written by somebody else.
    #[error("{url} exists already with other content: another coordinator writes to this export")]
    AttachmentTaken {
        /// The address of the object.
        url: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Manifest {
    /// A manifest of an export of `id` on this kind of store that began then, without files, classes or
    /// sources: FAILED for this reason.
    pub fn failed(
        id: ExportId,
        backend: String,
        started_at: DateTime<Utc>,
        error: String,
    ) -> Manifest {
        Manifest {
            id,
            backend,
            started_at,
            completed_at: Utc::now(),
            status: Outcome::Failed,
            error: Some(error),
            classes: Vec::new(),
            progress: BTreeMap::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            files: Vec::new(),
            attachments: Vec::new(),
            guest: Guest { name: String::new(), digest: "0".repeat(64), options: BTreeMap::new() },
            transforms: Vec::new(),
            source: Source::default(),
            warnings: Vec::new(),
            resumed: None,
            partial: false,
            missing: Vec::new(),
            tenants: BTreeMap::new(),
        }
    }
}

/// Which outcome an export has, after [`Manifest::commit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commit {
    /// The one that was committed.
    Won,
    /// Another one, which was there before.
    Lost(Box<Manifest>),
    /// None by this attempt: another process has taken the export over. It says who, and since when.
    TakenOver(String),
}

/// A manifest that says FAILED, as it is stored. A later attempt may write its outcome in its place.
#[derive(Debug, Clone)]
pub struct Tombstone(Bytes);

impl Manifest {
    /// Ends the export: writes this manifest unless there is one already, so exactly one outcome
    /// wins. More than [`MAX_SHARDS_IN_MANIFEST`] shards go to `shards.jsonl` first; a tombstone
    /// then goes without them, so that it never competes for that object.
    ///
    /// An attempt that was taken over by another process writes nothing. One that carries on after a
    /// tombstone writes in its place.
    ///
    /// # Errors
    /// [`ManifestError`]. After an error the outcome is open: commit again, or commit a tombstone.
    pub async fn commit(
        mut self,
        folder: &ExportFolder,
        in_place_of: Option<&Tombstone>,
    ) -> Result<Commit, ManifestError> {
        if let Some(successor) = Claim::successor(folder, folder.attempt()).await? {
            return Ok(Commit::TakenOver(successor));
        }
        if self.source.shards.len() > MAX_SHARDS_IN_MANIFEST {
            let shards = std::mem::take(&mut self.source.shards);
            if self.status == Outcome::Success {
                let written = write_shards(folder, &shards).await?;
                self.source.shards_key = Some(written.key.clone());
                self.attachments.push(written);
            }
        }
        let content = serde_json::to_vec_pretty(&self).map_err(ManifestError::Encode)?;
        let size_bytes = content.len() as u64;
        if size_bytes > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge { size_bytes, max_bytes: MAX_MANIFEST_BYTES });
        }
        let key = ObjectKey::manifest();
        let created = match in_place_of {
            Some(Tombstone(before)) => folder.replace(&key, before, content.into()).await?,
            None => folder.create(&key, content.into()).await?,
        };
        match created {
            Created::Ours => Ok(Commit::Won),
            Created::Theirs(content) => {
                Ok(Commit::Lost(Box::new(parse(folder.object_url(&key), &content)?)))
            }
        }
    }

    /// Reads the tombstone of an export that failed; `None` while it has no manifest.
    ///
    /// # Errors
    /// [`ManifestError::Ended`] if it ended otherwise, [`ManifestError::Malformed`] and
    /// [`ManifestError::Store`].
    pub async fn tombstone(folder: &ExportFolder) -> Result<Option<Tombstone>, ManifestError> {
        let key = ObjectKey::manifest();
        let content = match folder.read(&key, MAX_MANIFEST_BYTES).await {
            Ok(content) => content,
            Err(error) if error.cause() == Some(Cause::NotFound) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let manifest = parse(folder.object_url(&key), &content)?;
        match manifest.status {
            Outcome::Failed => Ok(Some(Tombstone(content))),
            outcome => Err(ManifestError::Ended { url: folder.url().to_owned(), outcome }),
        }
    }

    /// Reads the manifest of an export.
    ///
    /// # Errors
    /// [`ManifestError::Missing`], [`ManifestError::Malformed`], [`ManifestError::Store`].
    pub async fn read(folder: &ExportFolder) -> Result<Manifest, ManifestError> {
        let key = ObjectKey::manifest();
        match folder.read(&key, MAX_MANIFEST_BYTES).await {
            Ok(content) => parse(folder.object_url(&key), &content),
            Err(error) if error.cause() == Some(Cause::NotFound) => {
                Err(ManifestError::Missing { url: folder.url().to_owned() })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The shards of the export, from the manifest or from the object that it points to.
    ///
    /// # Errors
    /// [`ManifestError::Malformed`] with the line, [`ManifestError::Store`].
    pub async fn shards(&self, folder: &ExportFolder) -> Result<Vec<Shard>, ManifestError> {
        let Some(key) = &self.source.shards_key else {
            return Ok(self.source.shards.clone());
        };
        let malformed = |key: &str, reason: String| ManifestError::Malformed {
            url: format!("{}{key}", folder.url()),
            reason,
        };
        let key = ObjectKey::parse(key).map_err(|error| {
            malformed(ObjectKey::manifest().as_str(), format!("source.shardsKey: {error}"))
        })?;
        let content = folder.read(&key, MAX_SHARDS_BYTES).await?;
        let lines = content.split(|&byte| byte == b'\n').enumerate();
        lines
            .filter(|(_, line)| !line.is_empty())
            .map(|(number, line)| {
                serde_json::from_slice(line).map_err(|error| {
                    malformed(key.as_str(), format!("line {}: {error}", number.saturating_add(1)))
                })
            })
            .collect()
    }
}

fn parse(url: String, content: &[u8]) -> Result<Manifest, ManifestError> {
    serde_json::from_slice(content)
        .map_err(|error| ManifestError::Malformed { url, reason: error.to_string() })
}

async fn write_shards(
    folder: &ExportFolder,
    shards: &[Shard],
) -> Result<Attachment, ManifestError> {
    let mut content = Vec::new();
    for shard in shards {
        serde_json::to_writer(&mut content, shard).map_err(ManifestError::Encode)?;
        content.push(b'\n');
    }
    Attachment::write(folder, ObjectKey::shards, content).await
}

impl Attachment {
    /// Writes an object that the manifest will list. Where an earlier attempt has written its key with
    /// other content, it gets the mark of this one.
    ///
    /// # Errors
    /// [`ManifestError::AttachmentTaken`] when it is there with other content, and
    /// [`ManifestError::Store`].
    pub async fn write(
        folder: &ExportFolder,
        key_of: impl Fn(Attempt) -> ObjectKey,
        content: Vec<u8>,
    ) -> Result<Attachment, ManifestError> {
        let (size_bytes, digest) = (content.len() as u64, Digest::of(folder.digest(), &content));
        let content = Bytes::from(content);
        let mut names = folder.names();
        loop {
            let key = key_of(names);
            match folder.create(&key, content.clone()).await? {
                Created::Ours => {
                    return Ok(Attachment { key: key.to_string(), size_bytes, digest });
                }
                Created::Theirs(_) if names != folder.attempt() => names = folder.attempt(),
                Created::Theirs(_) => {
                    return Err(ManifestError::AttachmentTaken { url: folder.object_url(&key) });
                }
            }
        }
    }
}
