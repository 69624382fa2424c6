//! What is written down of a running export, so that another process can carry it on.
//!
//! The journal of an export is a set of records, each with a key. Every record is on disk before the
//! store is asked for what it announces.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use offloom_protocol::claim::Claim;
use offloom_protocol::digest::DigestAlgorithm;
use offloom_protocol::manifest::{CoveredTenants, Missing};
use offloom_protocol::names::{Attempt, ExportId, ObjectKey};
use offloom_protocol::upload_log::{ConfirmedPart, LogError, OpenUpload, UploadLog};
use offloom_sandbox::GuestOptions;
use offloom_weaviate_disk::{PinnedShard, ShardSummary};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ended_class::EndedClass;
use crate::scope::Scope;
use crate::transforms::StepReach;

/// The format of the records that this program writes.
pub const JOURNAL_FORMAT: u32 = 1;

/// Key of the record of the plan.
const PLAN: &str = "plan";
/// Prefix of the records of later attempts' claims.
const CLAIM: &str = "claim/";
/// Prefix of the records of classes that are complete.
const CLASS: &str = "class/";
/// Prefix of the records of shards: `shard/<Class>/<shard>`.
const SHARD: &str = "shard/";
/// Prefix of the records of units that are in a file: `unit/<Class>/<number>`.
const UNIT: &str = "unit/";
/// Prefix of the records of open uploads, by object key.
const UPLOAD: &str = "upload/";
/// Prefix of the records of their parts: `part/<number>/<object key>`.
const PART: &str = "part/";

/// A record to write, or to remove.
pub type Change = (String, Option<Vec<u8>>);

/// Keeps the records of one export.
#[async_trait]
pub trait JournalStore: Debug + Send + Sync {
    /// Writes records, all or none; they are on disk when this returns.
    ///
    /// # Errors
    /// [`LogError`].
    async fn write(&self, changes: Vec<Change>) -> Result<(), LogError>;

    /// Writes records with a later call. A crash before it loses them, and what they would have saved.
    fn write_later(&self, changes: Vec<Change>);

    /// Removes all records.
    ///
    /// # Errors
    /// [`LogError`].
    async fn remove_all(&self) -> Result<(), LogError>;
}

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A newer program has written it.
    #[error(
        "the journal of the export has format {found}, and this program knows {known}: use the newer \
         program that wrote it"
    )]
    Newer {
        /// Its format.
        found: u32,
        /// The newest format that is known.
        known: u32,
    },
    /// A record is not what this program writes.
    #[error("the journal's record {key} is damaged: {reason}")]
    Record {
        /// Its key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A guest of a plan, by its name and digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedGuest {
    /// The name under which it was asked for.
    pub name: String,
    /// SHA-256 of the component, 64 lower-case hex digits.
    pub digest: String,
    /// Its options, secret ones too: the journal belongs to its user alone.
    pub options: GuestOptions,
    /// What it is applied to.
    #[serde(default)]
    pub reach: StepReach,
    /// Whether the operator requires it.
    #[serde(default)]
    pub required: bool,
}

/// What was asked for, and what was decided before the id was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalPlan {
    /// [`JOURNAL_FORMAT`] of the program that wrote it.
    pub format: u32,
    /// The claim of the first attempt.
    pub claim: Claim,
    /// Id of the export.
    pub id: ExportId,
    /// The destination that holds its folder.
    pub destination: String,
    /// How its files are digested.
    pub digest: DigestAlgorithm,
    /// What it covers.
    pub scope: Scope,
    /// Its classes, in byte order of their names.
    pub classes: Vec<String>,
    /// Of those classes of which the one who asked may read some tenants alone, those tenants.
    pub narrowed: BTreeMap<String, BTreeSet<String>>,
    /// What a partial export leaves out.
    pub missing: Vec<Missing>,
    /// Which tenants it covers of the classes of which it does not cover all.
    pub tenants: BTreeMap<String, CoveredTenants>,
    /// The exporter.
    pub exporter: PlannedGuest,
    /// The exporter's options without secrets.
    pub shown_options: BTreeMap<String, String>,
    /// The transforms, in their order.
    pub transforms: Vec<PlannedGuest>,
    /// What is read.
    pub directories: Vec<PathBuf>,
    /// Where class names and multi-tenancy were taken from.
    pub schema_from: String,
    /// The mark in the keys of the files.
    pub names: Attempt,
}

/// One unit that is in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UnitRecord {
    /// Its shards with their key ranges, as hex digits; an absent bound is none.
    ranges: Vec<UnitRange>,
    /// Its rows.
    rows: u64,
    /// Bytes of its block.
    bytes: u64,
}

/// The part of a shard in a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct UnitRange {
    /// Index of the shard.
    shard: u32,
    /// The first key.
    from: Option<String>,
    /// The key after the last.
    to: Option<String>,
}

/// The journal of one running export.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<dyn JournalStore>,
    uploads: Mutex<Uploads>,
    parts_kept: AtomicU64,
    part_bytes_kept: AtomicU64,
}

#[derive(Debug, Default)]
struct Uploads {
    /// Of an earlier process, by object key.
    continued: BTreeMap<String, OpenUpload>,
    /// Parts of each upload that have a record.
    parts: BTreeMap<String, BTreeSet<usize>>,
}

impl Journal {
    /// The journal in `store`. `continued` are the uploads of an earlier process that go on, by object
    /// key.
    pub(crate) fn new(
        store: Arc<dyn JournalStore>,
        continued: BTreeMap<String, OpenUpload>,
    ) -> Journal {
        let numbers = |open: &OpenUpload| open.parts.iter().map(|part| part.number).collect();
        let parts = continued.iter().map(|(key, open)| (key.clone(), numbers(open))).collect();
        let uploads = Mutex::new(Uploads { continued, parts });
        let (parts_kept, part_bytes_kept) = (AtomicU64::new(0), AtomicU64::new(0));
        Journal(Arc::new(Inner { store, uploads, parts_kept, part_bytes_kept }))
    }

    /// Where notes of uploads are kept.
    pub(crate) fn upload_log(&self) -> Arc<dyn UploadLog> {
        Arc::clone(&self.0) as Arc<dyn UploadLog>
    }

    pub(crate) async fn plan(&self, plan: &JournalPlan) -> Result<(), LogError> {
        self.0.put(PLAN.to_owned(), plan).await
    }

    /// The claim of a later attempt, before it is taken.
    pub(crate) async fn claim(&self, attempt: Attempt, claim: &Claim) -> Result<(), LogError> {
        self.0.put(format!("{CLAIM}{}", attempt.number()), claim).await
    }

    /// A class whose files are complete.
    pub(crate) async fn class(&self, class: &EndedClass) -> Result<(), LogError> {
        self.0.put(format!("{CLASS}{}", class.name), class).await
    }

    /// The snapshot of a shard; `directory` is the data directory, where there is only one.
    pub(crate) fn shard(&self, class: &str, summary: &ShardSummary, directory: &Path) {
        let pinned = summary.pinned(directory);
        if !pinned.is_empty() {
            self.0.put_later(format!("{SHARD}{class}/{}", summary.shard), &pinned);
        }
    }

    /// A unit whose block is in a file.
    pub(crate) fn unit(
        &self,
        class: &str,
        number: u64,
        ranges: Vec<ShardKeys>,
        rows: u64,
        bytes: u64,
    ) {
        let ranges = ranges.into_iter().map(|(shard, keys)| UnitRange {
            shard,
            from: keys.start.map(|key| format!("{key:032x}")),
            to: keys.end.map(|key| format!("{key:032x}")),
        });
        let record = UnitRecord { ranges: ranges.collect(), rows, bytes };
        self.0.put_later(format!("{UNIT}{class}/{number:012}"), &record);
    }

    /// Parts of an earlier process that were not sent again, and their bytes.
    pub(crate) fn parts_kept(&self) -> (u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (of(&self.0.parts_kept), of(&self.0.part_bytes_kept))
    }
}

/// Index of a shard, and a range of its keys.
pub(crate) type ShardKeys = (u32, Range<Option<u128>>);

impl Inner {
    async fn put(&self, key: String, record: &impl Serialize) -> Result<(), LogError> {
        self.store.write(vec![(key, Some(encoded(record)?))]).await
    }

    fn put_later(&self, key: String, record: &impl Serialize) {
        match encoded(record) {
            Ok(value) => self.store.write_later(vec![(key, Some(value))]),
            Err(error) => tracing::warn!(%error, "a record of the journal is left out"),
        }
    }

    fn uploads(&self) -> MutexGuard<'_, Uploads> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn encoded(record: &impl Serialize) -> Result<Vec<u8>, LogError> {
    serde_json::to_vec(record).map_err(|error| LogError(error.to_string()))
}

#[async_trait]
impl UploadLog for Inner {
    async fn intended(&self, key: &ObjectKey, part_bytes: u64) -> Result<(), LogError> {
        let open = OpenUpload { upload_id: None, part_bytes, parts: Vec::new() };
        self.put(format!("{UPLOAD}{key}"), &open).await?;
        self.uploads().parts.insert(key.to_string(), BTreeSet::new());
        Ok(())
    }

    async fn begun(
        &self,
        key: &ObjectKey,
        upload_id: &str,
        part_bytes: u64,
    ) -> Result<(), LogError> {
        let upload_id = Some(upload_id.to_owned());
        let open = OpenUpload { upload_id, part_bytes, parts: Vec::new() };
        self.put(format!("{UPLOAD}{key}"), &open).await
    }

    async fn confirmed(&self, key: &ObjectKey, part: ConfirmedPart) -> Result<(), LogError> {
        self.put(part_key(key.as_str(), part.number), &part).await?;
        self.uploads().parts.entry(key.to_string()).or_default().insert(part.number);
        Ok(())
    }

    async fn ended(&self, key: &ObjectKey) -> Result<(), LogError> {
        let parts = self.uploads().parts.remove(key.as_str()).unwrap_or_default();
        let mut changes = vec![(format!("{UPLOAD}{key}"), None)];
        changes.extend(parts.into_iter().map(|number| (part_key(key.as_str(), number), None)));
        self.store.write(changes).await
    }

    fn part_bytes(&self, key: &ObjectKey) -> Option<u64> {
        self.uploads().continued.get(key.as_str()).map(|open| open.part_bytes)
    }

    fn take_open(&self, key: &ObjectKey) -> Option<OpenUpload> {
        self.uploads().continued.remove(key.as_str())
    }

    fn kept(&self, size_bytes: u64) {
        self.parts_kept.fetch_add(1, Ordering::Relaxed);
        self.part_bytes_kept.fetch_add(size_bytes, Ordering::Relaxed);
    }
}

fn part_key(key: &str, number: usize) -> String {
    format!("{PART}{number:06}/{key}")
}

/// The records of an export that was interrupted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Records {
    pub plan: JournalPlan,
    /// The claims of later attempts, by number.
    pub claims: BTreeMap<u32, Claim>,
    /// The classes that are complete, by name.
    pub classes: BTreeMap<String, EndedClass>,
    /// The snapshots of shards, by class and shard.
    pub shards: BTreeMap<String, BTreeMap<String, PinnedShard>>,
    /// Units that are in a file, by class.
    pub units: BTreeMap<String, u64>,
    /// Open uploads, by object key.
    pub uploads: BTreeMap<String, OpenUpload>,
}

impl Records {
    /// Reads the records; `None` without a plan: nothing was asked of the store yet.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn read(records: BTreeMap<String, Vec<u8>>) -> Result<Option<Records>, JournalError> {
        let Some(plan) = records.get(PLAN) else { return Ok(None) };
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = decoded(PLAN, plan)?;
        if format > JOURNAL_FORMAT {
            return Err(JournalError::Newer { found: format, known: JOURNAL_FORMAT });
        }
        let mut read = Records {
            plan: decoded(PLAN, plan)?,
            claims: BTreeMap::new(),
            classes: BTreeMap::new(),
            shards: BTreeMap::new(),
            units: BTreeMap::new(),
            uploads: BTreeMap::new(),
        };
        let damaged = |key: &str| JournalError::Record {
            key: key.to_owned(),
            reason: "its key is none of this program's".to_owned(),
        };
        for (key, value) in &records {
            if let Some(number) = key.strip_prefix(CLAIM) {
                let number = number.parse().map_err(|_| damaged(key))?;
                read.claims.insert(number, decoded(key, value)?);
            } else if let Some(class) = key.strip_prefix(CLASS) {
                read.classes.insert(class.to_owned(), decoded(key, value)?);
            } else if let Some(rest) = key.strip_prefix(SHARD) {
                let (class, shard) = rest.split_once('/').ok_or_else(|| damaged(key))?;
                let of_class = read.shards.entry(class.to_owned()).or_default();
                of_class.insert(shard.to_owned(), decoded(key, value)?);
            } else if let Some(rest) = key.strip_prefix(UNIT) {
                let (class, _) = rest.split_once('/').ok_or_else(|| damaged(key))?;
                let count = read.units.entry(class.to_owned()).or_default();
                *count = count.saturating_add(1);
            } else if let Some(object) = key.strip_prefix(UPLOAD) {
                read.uploads.insert(object.to_owned(), decoded(key, value)?);
            }
        }
        for (key, value) in &records {
            let Some(rest) = key.strip_prefix(PART) else { continue };
            let (_, object) = rest.split_once('/').ok_or_else(|| damaged(key))?;
            if let Some(open) = read.uploads.get_mut(object) {
                open.parts.push(decoded(key, value)?);
            }
        }
        Ok(Some(read))
    }
}

fn decoded<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, JournalError> {
    serde_json::from_slice(value)
        .map_err(|error| JournalError::Record { key: key.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The records of an export that was interrupted, as this program writes them today. A later program
    /// reads them too: change them only together with [`JOURNAL_FORMAT`] and what takes up the older form.
    fn records() -> BTreeMap<String, Vec<u8>> {
        let json = include_str!("../tests/journal-1.json");
        let records: BTreeMap<String, serde_json::Value> = serde_json::from_str(json).unwrap();
        let text =
            |(key, value): (String, serde_json::Value)| (key, value.to_string().into_bytes());
        records.into_iter().map(text).collect()
    }

    #[test]
    fn a_journal_of_format_1_is_read() {
        let read = Records::read(records()).unwrap().unwrap();
        assert_eq!((read.plan.format, &*read.plan.id.to_string()), (1, "nightly"));
        assert_eq!(read.plan.classes, ["Article", "Shelf"]);
        assert_eq!(read.claims.keys().collect::<Vec<_>>(), [&2]);
        assert_eq!(read.classes.keys().collect::<Vec<_>>(), ["Article"]);
        assert_eq!(read.shards["Shelf"].keys().collect::<Vec<_>>(), ["north"]);
        assert_eq!(read.units["Shelf"], 1);
        let open = &read.uploads["Shelf.parquet"];
        assert_eq!((open.upload_id.as_deref(), open.parts.len()), (Some("u-1"), 1));
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let read = Records::read(records()).unwrap().unwrap();
        let stored = |key: &str| serde_json::from_slice(&records()[key]).unwrap();
        let plan: serde_json::Value = stored("plan");
        assert_eq!(serde_json::to_value(&read.plan).unwrap(), plan);
        let class: serde_json::Value = stored("class/Article");
        assert_eq!(serde_json::to_value(&read.classes["Article"]).unwrap(), class);
    }

    #[test]
    fn what_is_newer_damaged_or_not_begun_is_distinguished() {
        assert_eq!(Records::read(BTreeMap::new()).unwrap(), None);
        let with = |key: &str, value: &str| {
            let mut records = records();
            records.insert(key.to_owned(), value.as_bytes().to_vec());
            Records::read(records).unwrap_err().to_string()
        };
        let newer = with("plan", r#"{"format": 2, "of": "the future"}"#);
        assert!(newer.contains("format 2") && newer.contains("newer"), "{newer}");
        for (key, value) in [
            ("plan", "{"),
            ("class/Shelf", "[]"),
            ("shard/Shelf", "{}"),
            ("upload/A.parquet", "1"),
            ("part/000001/Shelf.parquet", "{}"),
            ("claim/x", "{}"),
        ] {
            let damaged = with(key, value);
            assert!(damaged.contains(key) && damaged.contains("damaged"), "{key}: {damaged}");
        }
    }
}
