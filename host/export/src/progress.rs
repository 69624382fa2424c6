//! The progress of an export: events in, and what a client, a progress bar and the manifest show.
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use offloom_protocol::manifest::{ClassProgress, Manifest, ProgressStatus, Shard};
use offloom_rows::ShardRun;

/// Something that happened to an export.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// The id is taken, and the class will be exported.
    ClassAnnounced {
        /// Exact name.
        class: &'a str,
        /// Its shards, in the order of their indices.
        shards: &'a [offloom_weaviate_disk::Shard],
        /// Estimated number of objects.
        objects_estimate: u64,
        /// Estimated bytes of its rows as they are stored.
        raw_bytes: u64,
    },
    /// An earlier attempt has completed the class.
    ClassKept {
        /// The class.
        class: &'a str,
        /// Its shards.
        shards: &'a [Shard],
        /// Bytes of its files together.
        file_bytes: u64,
    },
    /// The export has its turn.
    TransferStarted,
    /// A unit was appended to a file as one block.
    BlockAppended {
        /// The class.
        class: &'a str,
        /// Rows of each shard in the block.
        runs: &'a [ShardRun],
        /// Bytes of the block.
        file_bytes: u64,
        /// Bytes of the unit as it is stored.
        raw_bytes: u64,
    },
    /// The files of a class are complete.
    ClassCompleted {
        /// The class.
        class: &'a str,
        /// Bytes of its files together.
        file_bytes: u64,
    },
    /// A shard was left out, or has nothing to export.
    ShardSkipped {
        /// The class.
        class: &'a str,
        /// Index of the shard.
        shard: u32,
        /// Why.
        reason: &'a str,
    },
    /// Some or all of a shard could not be read.
    ShardFailed {
        /// The class.
        class: &'a str,
        /// Index of the shard.
        shard: u32,
        /// Why.
        error: &'a str,
    },
    /// A class lacks rows, and the export may not be partial.
    ClassFailed {
        /// The class.
        class: &'a str,
        /// Why.
        error: &'a str,
    },
    /// The export ends without success, and with it every class that is not complete.
    ExportFailed {
        /// Why.
        error: &'a str,
    },
}

/// The progress of one export, shared by the tasks that record events and those that show it.
#[derive(Debug, Default)]
pub struct Status {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    transferring: bool,
    classes: BTreeMap<String, ClassState>,
}

#[derive(Debug)]
struct ClassState {
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
    /// Its progress; absent if it is not known.
    pub progress: Option<ClassProgress>,
    /// Its shards (tenants), in byte order of their names.
    pub shards: Vec<ShardView>,
}

/// A shard as a client sees it.
#[derive(Debug, Clone)]
pub struct ShardView {
    /// Shard or tenant name.
    pub name: String,
    /// Its status.
    pub status: ProgressStatus,
    /// Its rows in the files so far.
    pub objects_exported: u64,
    /// Why it was left out.
    pub skip_reason: Option<String>,
    /// Why some or all of it could not be read.
    pub error: Option<String>,
}

/// What a progress bar shows: the sums over all classes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Rows appended.
    pub rows: u64,
    /// Bytes appended.
    pub file_bytes: u64,
    /// Raw bytes of the units that were read.
    pub raw_bytes_done: u64,
    /// Estimated raw bytes of all units.
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

    /// Percentage of the raw bytes that were read, 0 to 100.
    pub fn percent(self) -> u64 {
        if self.finished() {
            return 100;
        }
        let share = u128::from(self.raw_bytes_done) * 100 / u128::from(self.raw_bytes_total.max(1));
        u64::try_from(share).unwrap_or(100)
    }
}

impl Status {
    /// Applies an event.
    pub fn record(&self, event: Event<'_>) {
        let mut state = self.lock();
        match event {
            Event::ClassAnnounced { class, shards, objects_estimate, raw_bytes } => {
                let announced = ClassState::announced(shards, objects_estimate, raw_bytes);
                state.classes.insert(class.to_owned(), announced);
            }
            Event::ClassKept { class, shards, file_bytes } => {
                let mut kept = ClassState::announced(&[], 0, 0);
                kept.shards = shards.iter().map(ShardView::of).collect();
                kept.progress.objects_exported =
                    shards.iter().map(|shard| shard.rows).fold(0, u64::saturating_add);
                kept.progress.status = ProgressStatus::Success;
                kept.progress.objects_total = Some(kept.progress.objects_exported);
                kept.progress.file_size_bytes = Some(file_bytes);
                state.classes.insert(class.to_owned(), kept);
            }
            Event::TransferStarted => state.transferring = true,
            Event::BlockAppended { class, runs, file_bytes, raw_bytes } => {
                if let Some(class) = state.classes.get_mut(class) {
                    class.block_appended(runs, file_bytes, raw_bytes);
                }
            }
            Event::ClassCompleted { class, file_bytes } => {
                if let Some(class) = state.classes.get_mut(class) {
                    class.completed(file_bytes);
                }
            }
            Event::ShardSkipped { class, shard, reason } => {
                if let Some(shard) = state.shard(class, shard) {
                    shard.status = ProgressStatus::Skipped;
                    shard.skip_reason = Some(reason.to_owned());
                }
            }
            Event::ShardFailed { class, shard, error } => {
                if let Some(shard) = state.shard(class, shard) {
                    shard.status = ProgressStatus::Failed;
                    shard.error.get_or_insert_with(|| error.to_owned());
                }
            }
            Event::ClassFailed { class, error } => {
                if let Some(class) = state.classes.get_mut(class) {
                    class.failed(error);
                }
            }
            Event::ExportFailed { error } => {
                for class in state.classes.values_mut() {
                    class.export_failed(error);
                }
            }
        }
    }

    /// Whether the export has had its turn.
    pub fn is_transferring(&self) -> bool {
        self.lock().transferring
    }

    /// The sums over all classes.
    pub fn totals(&self) -> Totals {
        let classes = &self.lock().classes;
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

    /// What the manifest shows.
    pub fn progress(&self) -> BTreeMap<String, ClassProgress> {
        let classes = &self.lock().classes;
        classes.iter().map(|(class, status)| (class.clone(), status.progress.clone())).collect()
    }

    /// What a client sees, in byte order of the class names.
    pub fn classes(&self) -> Vec<ClassView> {
        let classes = &self.lock().classes;
        let view = |(name, status): (&String, &ClassState)| ClassView {
            name: name.clone(),
            progress: Some(status.progress.clone()),
            shards: status.shards.clone(),
        };
        classes.iter().map(view).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No event can panic halfway, so the state is consistent even if the mutex is poisoned.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn shard(&mut self, class: &str, index: u32) -> Option<&mut ShardView> {
        self.classes.get_mut(class)?.shards.get_mut(index as usize)
    }
}

impl ClassState {
    fn announced(
        shards: &[offloom_weaviate_disk::Shard],
        objects_estimate: u64,
        raw_bytes: u64,
    ) -> ClassState {
        // Clients know no status of a shard that has not begun, and refuse an answer with one
        // (`export-api.md` 1.3).
        let shard = |name: &str| ShardView {
            name: name.to_owned(),
            status: ProgressStatus::Transferring,
            objects_exported: 0,
            skip_reason: None,
            error: None,
        };
        ClassState {
            progress: ClassProgress {
                status: ProgressStatus::Started,
                objects_exported: 0,
                objects_total: Some(objects_estimate),
                file_size_bytes: Some(0),
                error: None,
                skip_reason: None,
            },
            raw_bytes_done: 0,
            raw_bytes_total: raw_bytes,
            shards: shards.iter().map(|each| shard(&each.name)).collect(),
        }
    }

    fn block_appended(&mut self, runs: &[ShardRun], file_bytes: u64, raw_bytes: u64) {
        let rows = runs.iter().map(|run| run.rows).fold(0, u64::saturating_add);
        let progress = &mut self.progress;
        progress.status = ProgressStatus::Transferring;
        progress.objects_exported = progress.objects_exported.saturating_add(rows);
        progress.file_size_bytes =
            Some(progress.file_size_bytes.unwrap_or_default().saturating_add(file_bytes));
        self.raw_bytes_done = self.raw_bytes_done.saturating_add(raw_bytes);
        for run in runs {
            let Some(shard) = self.shards.get_mut(run.shard as usize) else { continue };
            if shard.error.is_none() {
                shard.status = ProgressStatus::Transferring;
            }
            shard.objects_exported = shard.objects_exported.saturating_add(run.rows);
        }
    }

    fn completed(&mut self, file_bytes: u64) {
        self.progress.status = ProgressStatus::Success;
        self.progress.objects_total = Some(self.progress.objects_exported);
        self.progress.file_size_bytes = Some(file_bytes);
        self.raw_bytes_done = self.raw_bytes_total;
        for shard in &mut self.shards {
            if shard.error.is_none() {
                shard.status = ProgressStatus::Success;
            }
        }
    }

    fn failed(&mut self, error: &str) {
        self.progress.status = ProgressStatus::Failed;
        self.progress.error.get_or_insert_with(|| error.to_owned());
    }

    fn export_failed(&mut self, error: &str) {
        if self.progress.status == ProgressStatus::Success {
            return;
        }
        self.failed(error);
        let open = |shard: &&mut ShardView| shard.status != ProgressStatus::Skipped;
        for shard in self.shards.iter_mut().filter(open) {
            shard.status = ProgressStatus::Failed;
        }
    }
}

impl ClassView {
    /// A class of an export without a manifest.
    pub fn unknown(name: &str) -> ClassView {
        ClassView { name: name.to_owned(), progress: None, shards: Vec::new() }
    }

    /// The classes of a manifest, with those of their shards that are in `shards`.
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
