//! `export_metadata.json`: the content and source of an export. Writing it is the commit.
use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Cause, StoreError};
use crate::names::{ExportId, ObjectKey};
use crate::store::{Created, ExportFolder};
use crate::timestamp;

/// Shards beyond this number are listed in `shards.jsonl`, so that the manifest stays short.
pub const MAX_SHARDS_IN_MANIFEST: usize = 1_000;

/// A manifest of a thousand full files has about 400 MB of blocks; more is refused.
const MAX_MANIFEST_BYTES: u64 = 512 * 1024 * 1024;

/// A million shards at 500 bytes a line.
const MAX_SHARDS_BYTES: u64 = 512 * 1024 * 1024;

/// How an export ended. A terminal state never changes.
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

/// The format of a file, as its guest describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileFormat {
    /// Such as `parquet`.
    pub name: String,
    /// File name extension without a dot.
    pub extension: String,
    /// Media type.
    pub media_type: String,
}

impl FileFormat {
    /// Whether a reader would take the file for Parquet: by the name of the format, by the end of its
    /// file name, or by its media type. Such a file is checked as one, whatever the other two say.
    pub fn claims_parquet(&self) -> bool {
        const PARQUET: &str = "parquet";
        let last = self.extension.rsplit('.').next().unwrap_or_default();
        self.name.trim().eq_ignore_ascii_case(PARQUET)
            || last.eq_ignore_ascii_case(PARQUET)
            || self.media_type.to_ascii_lowercase().contains(PARQUET)
    }
}

/// One block of a file: in Parquet, one row group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Block {
    /// Bytes of the file before it.
    pub offset: u64,
    /// Its bytes.
    pub length: u64,
    /// Its rows.
    pub rows: u64,
}

/// One file with rows of one class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassFile {
    /// Exact class name.
    pub class: String,
    /// Its key, relative to the folder of the export.
    pub key: String,
    /// What it is.
    pub format: FileFormat,
    /// Its size.
    pub size_bytes: u64,
    /// Digest of its bytes.
    #[serde(alias = "sha256")]
    pub digest: Digest,
    /// Its rows.
    pub rows: u64,
    /// What the guest counted, summed over the blocks.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
    /// Its blocks in the order of their offsets; none without rows.
    pub blocks: Vec<Block>,
}

/// An object of the export that holds no rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// Its key, relative to the folder of the export.
    pub key: String,
    /// Its size.
    pub size_bytes: u64,
    /// Digest of its bytes.
    #[serde(alias = "sha256")]
    pub digest: Digest,
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

/// A log of a shard at the moment of its snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogCutOff {
    /// File name.
    pub name: String,
    /// How many bytes of it were read.
    pub bytes: u64,
}

/// Up to where a shard was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CutOff {
    /// When the snapshot was taken, UTC.
    #[serde(with = "timestamp")]
    pub at: DateTime<Utc>,
    /// File name of the newest segment; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_segment: Option<String>,
    /// The logs that were read, oldest first.
    pub logs: Vec<LogCutOff>,
}

/// A shard (a tenant, in a multi-tenant class) and its run of rows in the files of its class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shard {
    /// Exact class name.
    pub class: String,
    /// Shard or tenant name.
    pub shard: String,
    /// Rows written.
    pub rows: u64,
    /// Id of its first row; absent without rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_id: Option<String>,
    /// Id of its last row; absent without rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_id: Option<String>,
    /// Up to where it was read; absent when it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_off: Option<CutOff>,
    /// Why it was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_reason: Option<String>,
    /// Why it could not be read, or not to its end: `rows` are then not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Objects that broke their format or were too large, and were left out; absent when there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects_left_out: Option<u64>,
    /// Where it lay and how its copies differed, when it was read from several directories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<ShardCopies>,
}

/// The copies of a shard in the directories of several nodes, read as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardCopies {
    /// Those that held it, with up to where each was read.
    pub directories: Vec<ShardCopy>,
    /// Objects that not all copies had in the same version.
    pub differing_objects: u64,
    /// Those of them that were exported although a copy had deleted them at a time that it had not
    /// kept.
    pub kept_against_deletes: u64,
}

/// The copy of a shard in one directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardCopy {
    /// The data directory.
    pub directory: String,
    /// Up to where it was read.
    pub cut_off: CutOff,
}

/// Where the rows came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Data directories.
    pub directories: Vec<String>,
    /// Where class names and multi-tenancy were taken from.
    pub schema_from: String,
    /// Class by class, in the order in which their rows stand in the class's files. Empty in a
    /// stored manifest that has `shards_key`.
    #[serde(default)]
    pub shards: Vec<Shard>,
    /// Key of the attachment with the shards, one a line, when there are more than
    /// [`MAX_SHARDS_IN_MANIFEST`]. Set by [`Manifest::commit`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards_key: Option<String>,
}

/// A part of the source that is not in the files of an export that was allowed to lack it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Missing {
    /// Exact class name.
    pub class: String,
    /// Shard or tenant; absent when the whole class is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// How many objects; absent when it is all of the shard, or from some place on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<u64>,
    /// Why.
    pub reason: String,
}

/// The tenants that an export covers of a class of which it does not cover all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CoveredTenants {
    /// Their names, sorted.
    Names(Vec<String>),
    /// Their number, where there are more than [`MAX_SHARDS_IN_MANIFEST`].
    Number(u64),
}

impl CoveredTenants {
    /// These tenants, which are sorted.
    pub fn of(tenants: Vec<String>) -> CoveredTenants {
        if tenants.len() <= MAX_SHARDS_IN_MANIFEST {
            CoveredTenants::Names(tenants)
        } else {
            CoveredTenants::Number(tenants.len() as u64)
        }
    }
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

/// Which outcome an export has, after [`Manifest::commit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commit {
    /// The one that was committed.
    Won,
    /// Another one, which was there before.
    Lost(Box<Manifest>),
}

impl Manifest {
    /// Ends the export: writes this manifest unless there is one already, so exactly one outcome
    /// wins. More than [`MAX_SHARDS_IN_MANIFEST`] shards go to `shards.jsonl` first; a tombstone
    /// then goes without them, so that it never competes for that object.
    ///
    /// # Errors
    /// [`ManifestError`]. After an error the outcome is open: commit again, or commit a tombstone.
    pub async fn commit(mut self, folder: &ExportFolder) -> Result<Commit, ManifestError> {
        if self.source.shards.len() > MAX_SHARDS_IN_MANIFEST {
            let shards = std::mem::take(&mut self.source.shards);
            if self.status == Outcome::Success {
                self.attachments.push(write_shards(folder, &shards).await?);
                self.source.shards_key = Some(ObjectKey::shards().as_str().to_owned());
            }
        }
        let content = serde_json::to_vec_pretty(&self).map_err(ManifestError::Encode)?;
        let size_bytes = content.len() as u64;
        if size_bytes > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge { size_bytes, max_bytes: MAX_MANIFEST_BYTES });
        }
        let key = ObjectKey::manifest();
        match folder.create(&key, content.into()).await? {
            Created::Ours => Ok(Commit::Won),
            Created::Theirs(content) => {
                Ok(Commit::Lost(Box::new(parse(folder.object_url(&key), &content)?)))
            }
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
    Attachment::write(folder, &ObjectKey::shards(), content).await
}

impl Attachment {
    /// Writes an object that the manifest will list.
    ///
    /// # Errors
    /// [`ManifestError::AttachmentTaken`] when it is there with other content, and
    /// [`ManifestError::Store`].
    pub async fn write(
        folder: &ExportFolder,
        key: &ObjectKey,
        content: Vec<u8>,
    ) -> Result<Attachment, ManifestError> {
        let attachment = Attachment {
            key: key.as_str().to_owned(),
            size_bytes: content.len() as u64,
            digest: Digest::of(folder.digest(), &content),
        };
        match folder.create(key, Bytes::from(content)).await? {
            Created::Ours => Ok(attachment),
            Created::Theirs(_) => {
                Err(ManifestError::AttachmentTaken { url: folder.object_url(key) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_a_thousand_tenants_are_counted() {
        let tenants =
            |count: usize| CoveredTenants::of((0..count).map(|n| n.to_string()).collect());
        let json = |count| serde_json::to_value(tenants(count)).unwrap();
        assert_eq!(json(1_000).as_array().unwrap().len(), 1_000);
        assert_eq!(json(1_001), 1_001);
        for count in [1, 1_001] {
            let back: CoveredTenants = serde_json::from_value(json(count)).unwrap();
            assert_eq!(back, tenants(count));
        }
    }

    #[test]
    fn name_extension_or_media_type_make_a_file_parquet() {
        let claims = |name: &str, extension: &str, media_type: &str| {
            let [name, extension, media_type] = [name, extension, media_type].map(str::to_owned);
            FileFormat { name, extension, media_type }.claims_parquet()
        };
        assert!(claims("parquet", "bin", "application/octet-stream"));
        assert!(claims(" Parquet", "bin", ""));
        assert!(claims("Par", "parquet", ""));
        assert!(claims("Par", "snappy.parquet", ""));
        assert!(claims("Par", "par", "application/vnd.apache.Parquet; version=2"));
        assert!(!claims("jsonl", "jsonl", "application/jsonl"));
        // A packed file is none before it is unpacked.
        assert!(!claims("packed", "parquet.zst", "application/zstd"));
    }
}
