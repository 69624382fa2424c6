//! How far an export has come: written by scheduler and file, read by whoever shows it.
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use offloom_protocol::manifest::{ClassProgress, ProgressStatus};

/// The progress of one export, shared between those who make it and those who show it.
#[derive(Debug, Default)]
pub struct Status {
    classes: Mutex<BTreeMap<String, ClassStatus>>,
}

/// The progress of one class.
#[derive(Debug, Clone)]
pub struct ClassStatus {
    /// Where the class stands.
    pub state: ProgressStatus,
    /// Rows of the blocks that were appended to its files.
    pub objects_exported: u64,
    /// An estimate from the segments' counts; exact once the class has ended.
    pub objects_total: Option<u64>,
    /// Bytes appended to its files.
    pub file_size_bytes: u64,
    /// Upper bound of the bytes of the units that were read.
    pub raw_bytes_done: u64,
    /// Bytes of the class's segments and logs.
    pub raw_bytes_total: u64,
    /// Why it failed.
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
    pub fn announce(&self, class: &str, objects_estimate: u64, raw_bytes_total: u64) {
        self.lock().insert(
            class.to_owned(),
            ClassStatus {
                state: ProgressStatus::Started,
                objects_exported: 0,
                objects_total: Some(objects_estimate),
                file_size_bytes: 0,
                raw_bytes_done: 0,
                raw_bytes_total,
                error: None,
            },
        );
    }

    /// A unit of `raw_bytes` was appended as a block of `rows` rows and `file_bytes` bytes.
    pub fn appended(&self, class: &str, rows: u64, file_bytes: u64, raw_bytes: u64) {
        if let Some(status) = self.lock().get_mut(class) {
            status.state = ProgressStatus::Transferring;
            status.objects_exported = status.objects_exported.saturating_add(rows);
            status.file_size_bytes = status.file_size_bytes.saturating_add(file_bytes);
            status.raw_bytes_done = status.raw_bytes_done.saturating_add(raw_bytes);
        }
    }

    /// The class's files are complete and hold `file_bytes` together.
    pub fn succeeded(&self, class: &str, file_bytes: u64) {
        if let Some(status) = self.lock().get_mut(class) {
            status.state = ProgressStatus::Success;
            status.objects_total = Some(status.objects_exported);
            status.file_size_bytes = file_bytes;
            status.raw_bytes_done = status.raw_bytes_total;
        }
    }

    /// The export ends with `error`: classes that are not complete end with it.
    pub fn gave_up(&self, error: &str) {
        for status in self.lock().values_mut() {
            if status.state != ProgressStatus::Success {
                status.state = ProgressStatus::Failed;
                status.error = Some(error.to_owned());
            }
        }
    }

    /// Everything summed.
    pub fn totals(&self) -> Totals {
        let classes = self.lock();
        let mut totals = Totals { classes_total: classes.len(), ..Totals::default() };
        for status in classes.values() {
            totals.rows = totals.rows.saturating_add(status.objects_exported);
            totals.file_bytes = totals.file_bytes.saturating_add(status.file_size_bytes);
            totals.raw_bytes_total = totals.raw_bytes_total.saturating_add(status.raw_bytes_total);
            let done = status.raw_bytes_done.min(status.raw_bytes_total);
            totals.raw_bytes_done = totals.raw_bytes_done.saturating_add(done);
            totals.classes_done += usize::from(status.state == ProgressStatus::Success);
        }
        totals
    }

    /// The manifest's view.
    pub fn progress(&self) -> BTreeMap<String, ClassProgress> {
        self.lock()
            .iter()
            .map(|(class, status)| {
                let progress = ClassProgress {
                    status: status.state,
                    objects_exported: status.objects_exported,
                    objects_total: status.objects_total,
                    file_size_bytes: Some(status.file_size_bytes),
                    error: status.error.clone(),
                    skip_reason: None,
                };
                (class.clone(), progress)
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, ClassStatus>> {
        // Every update is a plain store, so a panic elsewhere leaves nothing half done.
        self.classes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
