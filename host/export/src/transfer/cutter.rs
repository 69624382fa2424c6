//! Cuts classes into units, and queues them for the workers in the order of the files.
use std::sync::Arc;

use offloom_weaviate_disk::{Class, DataDirectory, ShardSummary, UnitOptions};
use tokio::sync::mpsc;

use super::worker::{ClassTransfer, Job, Work};

/// Cuts one class after the other. Blocking.
pub(super) struct Cutter {
    /// What is cut.
    pub directory: DataDirectory,
    /// The classes in the order of the export.
    pub classes: Vec<(Class, Arc<ClassTransfer>)>,
    /// Bytes of rows that one unit should hold.
    pub block_bytes: u64,
    /// The queue of the workers.
    pub jobs: mpsc::Sender<Job>,
}

impl Cutter {
    /// Returns the shards that were cut, with their class, in the order of their rows in the files.
    /// Stops early, without an error of its own, when no worker takes jobs any more.
    pub fn cut(self) -> Vec<(String, ShardSummary)> {
        let mut cut = Vec::new();
        for (class, transfer) in self.classes {
            let options = UnitOptions { block_bytes: self.block_bytes };
            let mut units = self.directory.units(&class, options);
            let mut ticket = 0;
            let mut taken = true;
            for unit in units.by_ref() {
                let job = Job { class: Arc::clone(&transfer), ticket, work: Work::Encode(unit) };
                taken = self.jobs.blocking_send(job).is_ok();
                if !taken {
                    break;
                }
                ticket += 1;
            }
            let shards = units.into_shards().into_iter();
            cut.extend(shards.map(|shard| (class.name.to_string(), shard)));
            let finish = Job { class: transfer, ticket, work: Work::Finish };
            if !taken || self.jobs.blocking_send(finish).is_err() {
                break;
            }
        }
        cut
    }
}
