//! Cuts classes into units, and queues them for the workers in the order of the files.
use std::sync::Arc;
use std::sync::atomic::Ordering;

use offloom_weaviate_disk::{DataDirectory, OnShard, ShardSummary, UnitOptions};
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
            let mut units = self.directory.units(&transfer.class, self.options(transfer));
            let mut ticket = 0;
            let mut taken = true;
            for unit in units.by_ref() {
                let job = Job { class: Arc::clone(transfer), ticket, work: Work::Encode(unit) };
                taken = self.jobs.blocking_send(job).is_ok();
                if !taken {
                    break;
                }
                ticket += 1;
            }
            transfer.cut(units.into_shards());
            let finish = Job { class: Arc::clone(transfer), ticket, work: Work::Finish };
            if !taken || self.jobs.blocking_send(finish).is_err() {
                break;
            }
        }
    }

    fn options(&self, transfer: &ClassTransfer) -> UnitOptions {
        let class = transfer.class.name.to_string();
        let pinned = self.carried.pinned.get(&class).cloned().unwrap_or_default();
        let first = self.directory.nodes().first().map(|node| node.path().to_owned());
        let (journal, pins) = (self.carried.journal.clone(), Arc::clone(&self.carried.pins));
        let (before, first) = (Arc::clone(&pinned), first.unwrap_or_default());
        let on_shard = move |summary: &ShardSummary| {
            if let Some(before) = before.get(&summary.shard) {
                let same = summary.is_as_in(before, &first);
                let count = if same { &pins.as_before } else { &pins.anew };
                count.fetch_add(1, Ordering::Relaxed);
            }
            if let Some(journal) = &journal {
                journal.shard(&class, summary, &first);
            }
        };
        let on_shard = Some(OnShard(Arc::new(on_shard)));
        UnitOptions { pinned, on_shard, ..UnitOptions::new(self.block_bytes) }
    }
}
