//! A coordinator of an export, as a process of the model: the program's own claim, uploads, take-over and
//! commit, with two small classes in the place of data.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::path::Path;
use offloom_protocol::claim::Claim;
use offloom_protocol::gc;
use offloom_protocol::manifest::{ClassFile, Commit, FileFormat, Manifest, Outcome, Resumed};
use offloom_protocol::names::{Attempt, ExportId, ObjectKey};
use offloom_protocol::store::ExportFolder;
use offloom_protocol::take_over::{Owned, abort_others, carry_on, take_over};
use offloom_protocol::upload::Upload;
use offloom_protocol::upload_log::{ConfirmedPart, LogError, OpenUpload, UploadLog};

use crate::store::Connection;

/// The classes of the export.
pub const CLASSES: [&str; 2] = ["A", "B"];

/// Bytes of a part: so few that a file has three.
const PART_BYTES: u64 = 8;

/// What a coordinator has written down, which outlives it.
#[derive(Debug, Default, Clone)]
pub struct Notes {
    first: Option<Claim>,
    later: Vec<Claim>,
    classes: BTreeMap<String, ClassFile>,
    uploads: BTreeMap<String, OpenUpload>,
    names: Option<Attempt>,
}

/// The notes of uploads.
#[derive(Debug)]
struct Log {
    notes: Arc<Mutex<Notes>>,
    continued: Mutex<BTreeMap<String, OpenUpload>>,
}

#[async_trait]
impl UploadLog for Log {
    async fn intended(&self, key: &ObjectKey, part_bytes: u64) -> Result<(), LogError> {
        let open = OpenUpload { upload_id: None, part_bytes, parts: Vec::new() };
        self.notes.lock().unwrap().uploads.insert(key.to_string(), open);
        Ok(())
    }

    async fn begun(&self, key: &ObjectKey, id: &str, part_bytes: u64) -> Result<(), LogError> {
        let open = OpenUpload { upload_id: Some(id.to_owned()), part_bytes, parts: Vec::new() };
        self.notes.lock().unwrap().uploads.insert(key.to_string(), open);
        Ok(())
    }

    async fn confirmed(&self, key: &ObjectKey, part: ConfirmedPart) -> Result<(), LogError> {
        let mut notes = self.notes.lock().unwrap();
        if let Some(open) = notes.uploads.get_mut(key.as_str()) {
            open.parts.retain(|known| known.number != part.number);
            open.parts.push(part);
        }
        Ok(())
    }

    async fn ended(&self, key: &ObjectKey) -> Result<(), LogError> {
        self.notes.lock().unwrap().uploads.remove(key.as_str());
        Ok(())
    }

    fn part_bytes(&self, _key: &ObjectKey) -> Option<u64> {
        Some(PART_BYTES)
    }

    fn take_open(&self, key: &ObjectKey) -> Option<OpenUpload> {
        self.continued.lock().unwrap().remove(key.as_str())
    }

    fn kept(&self, _size_bytes: u64) {}
}

/// How a coordinator comes to the export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It takes the id.
    Begin,
    /// It has the notes of the one before.
    CarryOn,
    /// It has none.
    TakeOver,
    /// It is `gc`, and holds every export without an end for dead.
    Gc,
}

/// What a coordinator says at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It committed this outcome.
    Committed(Outcome),
    /// The export is another's, or has ended.
    NotOurs,
    /// It gave up without an outcome.
    Error(String),
}

/// A coordinator.
pub struct Process {
    pub connection: Connection,
    pub notes: Arc<Mutex<Notes>>,
    pub how: How,
    /// The version of the data that it reads.
    pub version: u8,
    pub cancel: Arc<AtomicBool>,
    pub bugs: Bugs,
}

/// Bugs that are put in on purpose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bugs {
    /// The manifest is written without its condition.
    pub unconditional_commit: bool,
    /// Who takes over leaves the other's uploads open.
    pub no_abort: bool,
    /// Who takes over writes under the same names.
    pub same_names: bool,
}

/// The rows of a class in one version of the data.
pub fn content(class: &str, version: u8) -> Vec<u8> {
    format!("{class}{version}------{class}{version}------{class}{version}--").into_bytes()
}

/// The folder of the export, as a process reaches it.
pub fn folder(connection: &Connection) -> ExportFolder {
    let store = Arc::new(connection.clone());
    let url = "model://bucket/export/".to_owned();
    ExportFolder::new(store.clone(), Path::from("export"), url).with_uploads(store)
}

pub fn id() -> ExportId {
    ExportId::parse("export").unwrap()
}

impl Process {
    pub async fn run(self) -> End {
        match self.try_to_run().await {
            Ok(end) => end,
            Err(error) => End::Error(error.to_string()),
        }
    }

    async fn try_to_run(&self) -> Result<End, Box<dyn std::error::Error + Send + Sync>> {
        if self.how == How::Gc {
            let url = "model://bucket/".to_owned();
            let store = Arc::new(self.connection.clone());
            let root = ExportFolder::new(store.clone(), Path::default(), url).with_uploads(store);
            let now = chrono::Utc::now();
            let found = gc::find(&root, Duration::ZERO, now).await?;
            gc::remove(&root, "model", &found, "gc", |_| ()).await?;
            return Ok(End::NotOurs);
        }
        let folder = folder(&self.connection);
        let owner = format!("process {}", self.connection.process);
        let claim = Claim::new(id(), owner, "model".to_owned());
        let begun = match self.how {
            How::Begin => {
                self.notes.lock().unwrap().first = Some(claim.clone());
                if claim.take(&folder).await.is_err() {
                    return Ok(End::NotOurs);
                }
                Ok(Owned { attempt: Attempt::FIRST, tombstone: None })
            }
            How::CarryOn => {
                let Notes { first, later, .. } = self.notes.lock().unwrap().clone();
                let Some(first) = first else { return Ok(End::NotOurs) };
                let notes = Arc::clone(&self.notes);
                let note = async move |_: Attempt, claim: Claim| {
                    notes.lock().unwrap().later.push(claim);
                    Ok(())
                };
                carry_on(&folder, &first, &later, claim, note).await
            }
            How::TakeOver | How::Gc => {
                let notes = Arc::clone(&self.notes);
                let note = async move |attempt: Attempt, claim: Claim| {
                    *notes.lock().unwrap() =
                        Notes { first: Some(claim), names: Some(attempt), ..Notes::default() };
                    Ok(())
                };
                if self.bugs.no_abort {
                    self.take_over_without_abort(&folder, claim).await
                } else {
                    take_over(&folder, claim, note).await.map(|(owned, _)| owned)
                }
            }
        };
        let Ok(Owned { attempt, tombstone }) = begun else { return Ok(End::NotOurs) };
        let names = match self.notes.lock().unwrap().names {
            Some(names) if !self.bugs.same_names => names,
            _ => Attempt::FIRST,
        };
        let log = Arc::new(Log { notes: Arc::clone(&self.notes), continued: Mutex::default() });
        let folder = folder.with_attempt(attempt, names);
        let done = self.notes.lock().unwrap().classes.clone();
        let rest = CLASSES.into_iter().filter(|class| !done.contains_key(*class));
        let mut keys = BTreeMap::new();
        for class in rest {
            let key = ObjectKey::class_file(class, 1, "bin", names)?;
            let is_there = self.how == How::CarryOn && folder.size_bytes(&key).await?.is_some();
            let key = if is_there { ObjectKey::class_file(class, 1, "bin", attempt)? } else { key };
            keys.insert(class, key);
        }
        if self.how == How::CarryOn {
            let known = self.notes.lock().unwrap().uploads.clone();
            let continuable: BTreeSet<String> = keys.values().map(ToString::to_string).collect();
            let continued = abort_others(&folder, &known, &continuable, &*log).await?;
            *log.continued.lock().unwrap() = continued;
        }
        let folder = folder.with_log(log);
        let mut files: Vec<ClassFile> = done.into_values().collect();
        let mut failed = None;
        for (class, key) in keys {
            if self.cancel.load(Ordering::SeqCst) {
                break;
            }
            match self.write(&folder, class, key).await {
                Ok(file) => {
                    self.notes.lock().unwrap().classes.insert(class.to_owned(), file.clone());
                    files.push(file);
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let outcome = match (&failed, self.cancel.load(Ordering::SeqCst)) {
            (Some(_), _) => Outcome::Failed,
            (None, true) => Outcome::Canceled,
            (None, false) => Outcome::Success,
        };
        let manifest = manifest(outcome, files, attempt);
        match manifest.commit(&folder, tombstone.as_ref()).await? {
            Commit::Won => Ok(End::Committed(outcome)),
            Commit::Lost(_) | Commit::TakenOver(_) => Ok(End::NotOurs),
        }
    }

    async fn write(
        &self,
        folder: &ExportFolder,
        class: &str,
        key: ObjectKey,
    ) -> Result<ClassFile, offloom_protocol::error::StoreError> {
        let mut upload = Upload::start(folder, key.clone(), 0);
        upload.append(Bytes::from(content(class, self.version))).await?;
        let written = upload.finish().await?;
        Ok(ClassFile {
            class: class.to_owned(),
            key: key.to_string(),
            format: FileFormat {
                name: "bin".to_owned(),
                extension: "bin".to_owned(),
                media_type: "application/octet-stream".to_owned(),
            },
            size_bytes: written.size_bytes,
            digest: written.digest,
            rows: 1,
            counters: BTreeMap::new(),
            blocks: Vec::new(),
        })
    }

    /// The planted bug: as `take_over`, without the uploads.
    async fn take_over_without_abort(
        &self,
        folder: &ExportFolder,
        claim: Claim,
    ) -> Result<Owned, offloom_protocol::take_over::OwnError> {
        let tombstone = Manifest::tombstone(folder).await?;
        let Some((newest, _)) = Claim::newest(folder).await? else {
            return Err(offloom_protocol::take_over::OwnError::TakenOver(String::new()));
        };
        let attempt = newest.next();
        *self.notes.lock().unwrap() =
            Notes { first: Some(claim.clone()), names: Some(attempt), ..Notes::default() };
        claim.take_over(folder, attempt).await?;
        Ok(Owned { attempt, tombstone })
    }
}

fn manifest(status: Outcome, files: Vec<ClassFile>, attempt: Attempt) -> Manifest {
    let at = "2026-11-28T12:00:00Z".parse().unwrap();
    let resumed = (attempt > Attempt::FIRST)
        .then(|| Resumed { attempt: attempt.number(), ..Resumed::default() });
    let of = Manifest::failed(id(), "model".to_owned(), at, "it failed".to_owned());
    Manifest {
        status,
        error: of.error.clone().filter(|_| status == Outcome::Failed),
        classes: CLASSES.map(str::to_owned).into(),
        // Two attempts do not write the same manifest.
        version: uuid::Uuid::new_v4().to_string(),
        files,
        resumed,
        ..of
    }
}
