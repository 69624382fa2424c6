//! How far an export has come: written by scheduler and file, read by whoever shows it.
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use offloom_protocol::manifest::{ClassProgress, Manifest, ProgressStatus, Shard};
use offloom_rows::ShardRun;

use crate::plan::PlannedClass;

/// The progress of one export, shared between those who make it and those who show it.
#[derive(Debug, Default)]
pub struct Status {
    classes: Mutex<BTreeMap<String, ClassStatus>>,
}

/// The progress of one class.
#[derive(Debug, Clone)]
struct ClassStatus {
    progress: ClassProgress,
    raw_bytes_done: u64,
    raw_bytes_total: u64,
    shards: Vec<ShardView>,
}

/// A class as a client sees it.
#[derive(Debug, Clone)]
pub struct ClassView {
    /// Exact name.
    pub name: String,
    /// How far it is; absent when nobody knows any more.
    pub progress: Option<ClassProgress>,
    /// Its shards (tenants), in byte order of their names.
    pub shards: Vec<ShardView>,
}

/// A shard as a client sees it.
#[derive(Debug, Clone)]
pub struct ShardView {
    /// Shard or tenant name.
    pub name: String,
    /// Where it stands.
    pub status: ProgressStatus,
    /// Rows of it that were appended.
    pub objects_exported: u64,
    /// Why it was left out.
    pub skip_reason: Option<String>,
    /// Why it could not be read, or not to its end.
    pub error: Option<String>,
}

/// What a progress bar shows: everything summed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Rows appended.
    pub rows: u64,
    /// Bytes appended.
    pub file_bytes: u64,
    /// Raw bytes of the units that were read.
    pub raw_bytes_done: u64,
    /// Raw bytes of all that is to be read.
    pub raw_bytes_total: u64,
    /// Classes that have ended.
    pub classes_done: usize,
    /// Classes of the export.
    pub classes_total: usize,
}

impl Totals {
    /// Whether every class has ended.
    pub fn finished(self) -> bool {
        self.classes_total > 0 && self.classes_done == self.classes_total
    }

    /// Share of the raw bytes that were read, 0 to 100.
    pub fn percent(self) -> u64 {
        if self.finished() {
            return 100;
        }
        let share = u128::from(self.raw_bytes_done) * 100 / u128::from(self.raw_bytes_total.max(1));
        u64::try_from(share).unwrap_or(100)
    }
}

impl Status {
    /// Announces a class before its first unit.
    pub fn announce(&self, planned: &PlannedClass) {
        // Clients know no shard that has not begun (`export-api.md` 1.3), and refuse the answer.
        let shard = |name: &str| ShardView {
            name: name.to_owned(),
            status: ProgressStatus::Transferring,
            objects_exported: 0,
            skip_reason: None,
            error: None,
        };
        let status = ClassStatus {
            progress: ClassProgress {
                status: ProgressStatus::Started,
                objects_exported: 0,
                objects_total: Some(planned.objects_estimate),
                file_size_bytes: Some(0),
                error: None,
                skip_reason: None,
            },
            raw_bytes_done: 0,
            raw_bytes_total: planned.raw_bytes,
            shards: planned.class.shards.iter().map(|each| shard(&each.name)).collect(),
        };
        self.lock().insert(planned.class.name.to_string(), status);
    }

    /// A unit of `raw_bytes` was appended as a block of `file_bytes` bytes with the rows of `runs`.
    pub fn appended(&self, class: &str, runs: &[ShardRun], file_bytes: u64, raw_bytes: u64) {
        let mut classes = self.lock();
        let Some(status) = classes.get_mut(class) else { return };
        let rows = runs.iter().map(|run| run.rows).fold(0, u64::saturating_add);
        let progress = &mut status.progress;
        progress.status = ProgressStatus::Transferring;
        progress.objects_exported = progress.objects_exported.saturating_add(rows);
        progress.file_size_bytes =
            Some(progress.file_size_bytes.unwrap_or_default().saturating_add(file_bytes));
        status.raw_bytes_done = status.raw_bytes_done.saturating_add(raw_bytes);
        for run in runs {
            let Some(shard) = status.shards.get_mut(run.shard as usize) else { continue };
            if shard.error.is_none() {
                shard.status = ProgressStatus::Transferring;
            }
            shard.objects_exported = shard.objects_exported.saturating_add(run.rows);
        }
    }

    /// The class's files are complete and hold `file_bytes` together.
    pub fn succeeded(&self, class: &str, file_bytes: u64) {
        let mut classes = self.lock();
        let Some(status) = classes.get_mut(class) else { return };
        status.progress.status = ProgressStatus::Success;
        status.progress.objects_total = Some(status.progress.objects_exported);
        status.progress.file_size_bytes = Some(file_bytes);
        status.raw_bytes_done = status.raw_bytes_total;
        for shard in &mut status.shards {
            if shard.error.is_none() {
                shard.status = ProgressStatus::Success;
            }
        }
    }

    /// A shard was left out, or has nothing to export.
    pub fn skipped(&self, class: &str, shard: u32, reason: &str) {
        let mut classes = self.lock();
        let shards = classes.get_mut(class).map(|status| &mut status.shards);
        let Some(shard) = shards.and_then(|shards| shards.get_mut(shard as usize)) else { return };
        shard.status = ProgressStatus::Skipped;
        shard.skip_reason = Some(reason.to_owned());
    }

    /// A shard could not be read, or not to its end.
    pub fn shard_failed(&self, class: &str, shard: u32, error: &str) {
        let mut classes = self.lock();
        let shards = classes.get_mut(class).map(|status| &mut status.shards);
        let Some(shard) = shards.and_then(|shards| shards.get_mut(shard as usize)) else { return };
        shard.status = ProgressStatus::Failed;
        shard.error.get_or_insert_with(|| error.to_owned());
    }

    /// A class lacks rows that the export may not go without.
    pub fn class_failed(&self, class: &str, error: &str) {
        let mut classes = self.lock();
        let Some(status) = classes.get_mut(class) else { return };
        status.progress.status = ProgressStatus::Failed;
        status.progress.error.get_or_insert_with(|| error.to_owned());
    }

    /// The export ends with `error`: what is not complete ends with it.
    pub fn gave_up(&self, error: &str) {
        for status in self.lock().values_mut() {
            if status.progress.status != ProgressStatus::Success {
                status.progress.status = ProgressStatus::Failed;
                status.progress.error.get_or_insert_with(|| error.to_owned());
                let open = |shard: &&mut ShardView| shard.status != ProgressStatus::Skipped;
                for shard in status.shards.iter_mut().filter(open) {
                    shard.status = ProgressStatus::Failed;
                }
            }
        }
    }

    /// Everything summed.
    pub fn totals(&self) -> Totals {
        let classes = self.lock();
        let mut totals = Totals { classes_total: classes.len(), ..Totals::default() };
        for status in classes.values() {
            let add = u64::saturating_add;
            totals.rows = add(totals.rows, status.progress.objects_exported);
            totals.file_bytes =
                add(totals.file_bytes, status.progress.file_size_bytes.unwrap_or_default());
            totals.raw_bytes_total = add(totals.raw_bytes_total, status.raw_bytes_total);
            let done = status.raw_bytes_done.min(status.raw_bytes_total);
            totals.raw_bytes_done = add(totals.raw_bytes_done, done);
            totals.classes_done += usize::from(status.progress.status == ProgressStatus::Success);
        }
        totals
    }

    /// The manifest's view.
    pub fn progress(&self) -> BTreeMap<String, ClassProgress> {
        let classes = self.lock();
        classes.iter().map(|(class, status)| (class.clone(), status.progress.clone())).collect()
    }

    /// A client's view, sorted by class.
    pub fn classes(&self) -> Vec<ClassView> {
        let classes = self.lock();
        let view = |(name, status): (&String, &ClassStatus)| ClassView {
            name: name.clone(),
            progress: Some(status.progress.clone()),
            shards: status.shards.clone(),
        };
        classes.iter().map(view).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, ClassStatus>> {
        // Every update is a plain store, so a panic elsewhere leaves nothing half done.
        self.classes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClassView {
    /// A class of an export that left no manifest.
    pub fn unknown(name: &str) -> ClassView {
        ClassView { name: name.to_owned(), progress: None, shards: Vec::new() }
    }

    /// The classes of an export that has ended.
    pub fn of_manifest(manifest: &Manifest, shards: &[Shard]) -> Vec<ClassView> {
        let view = |name: &String| ClassView {
            name: name.clone(),
            progress: manifest.progress.get(name).cloned(),
            shards: shards.iter().filter(|shard| shard.class == *name).map(ShardView::of).collect(),
        };
        manifest.classes.iter().map(view).collect()
    }
}

impl ShardView {
    fn of(shard: &Shard) -> ShardView {
        ShardView {
            name: shard.shard.clone(),
            status: match (&shard.error, &shard.skip_reason) {
                (Some(_), _) => ProgressStatus::Failed,
                (None, Some(_)) => ProgressStatus::Skipped,
                (None, None) => ProgressStatus::Success,
            },
            objects_exported: shard.rows,
            skip_reason: shard.skip_reason.clone(),
            error: shard.error.clone(),
        }
    }
}
