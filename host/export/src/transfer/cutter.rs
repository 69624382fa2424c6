//! Cuts classes into units, and queues them for the workers in the order of the files.
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use offloom_weaviate_disk::{DataDirectory, ShardSummary, UnitOptions};
use tokio::sync::mpsc;

use super::Carried;
use super::worker::{ClassTransfer, Job, Work};

/// Cuts one class after the other. Blocking.
pub(super) struct Cutter {
    /// What is cut.
    pub directory: DataDirectory,
    /// The classes in the order of the export.
    pub classes: Vec<Arc<ClassTransfer>>,
    /// Bytes of rows that one unit should hold.
    pub block_bytes: u64,
    /// The queue of the workers.
    pub jobs: mpsc::Sender<Job>,
    /// The journal, and the snapshots of an earlier attempt.
    pub carried: Carried,
}

impl Cutter {
    /// Each class gets the shards that were cut, in the order of their rows in the files. Stops early,
    /// without an error of its own, when no worker takes jobs any more.
    pub fn cut(self) {
        for transfer in &self.classes {
            let class = transfer.class.name.to_string();
            let pinned = self.carried.pinned.get(&class).cloned().unwrap_or_default();
            let options = UnitOptions { block_bytes: self.block_bytes, pinned };
            let mut units = self.directory.units(&transfer.class, options);
            let (mut ticket, mut noted) = (0, 0);
            let mut taken = true;
            while let Some(unit) = units.next() {
                // Before the unit is encoded, so that no part of a file comes before the notes of its shards.
                noted = self.note(&class, units.shards(), noted);
                let job = Job { class: Arc::clone(transfer), ticket, work: Work::Encode(unit) };
                taken = self.jobs.blocking_send(job).is_ok();
                if !taken {
                    break;
                }
                ticket += 1;
            }
            self.note(&class, units.shards(), noted);
            transfer.cut(units.into_shards());
            let finish = Job { class: Arc::clone(transfer), ticket, work: Work::Finish };
            if !taken || self.jobs.blocking_send(finish).is_err() {
                break;
            }
        }
    }

    /// Writes the snapshots of shards down that were taken since the first `noted`; returns how many there
    /// are now.
    fn note(&self, class: &str, shards: &[ShardSummary], noted: usize) -> usize {
        let Carried { journal, pinned, pins, .. } = &self.carried;
        let alone = self.directory.nodes().first().map(|node| node.path()).unwrap_or(Path::new(""));
        for summary in shards.iter().skip(noted) {
            if let Some(before) = pinned.get(class).and_then(|of| of.get(&summary.shard)) {
                let same = summary.is_as_in(before, alone);
                let count = if same { &pins.as_before } else { &pins.anew };
                count.fetch_add(1, Ordering::Relaxed);
            }
            if let Some(journal) = journal {
                journal.shard(class, summary, alone);
            }
        }
        shards.len()
    }
}
