//! How many instances the guests of one owner, such as a tenant, may have at once.
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many instances the guests of one owner may have at once, in all exports together. Clones share it.
///
/// An export reserves all that it needs before its first row: if each instance waited for a place of its
/// own, two exports could wait for each other.
#[derive(Debug, Clone)]
pub struct InstanceQuota {
    places: Arc<Semaphore>,
    total: u32,
}

/// Places for the instances of one export, free again when this is dropped.
#[derive(Debug)]
pub struct ReservedInstances {
    _places: OwnedSemaphorePermit,
}

impl InstanceQuota {
    /// A quota of `total` instances, at least one.
    pub fn new(total: u16) -> InstanceQuota {
        let total = total.max(1);
        InstanceQuota { places: Arc::new(Semaphore::new(total.into())), total: total.into() }
    }

    /// Instances that may be there at once.
    pub fn total(&self) -> u32 {
        self.total
    }

    /// Waits until so many are free, and takes them; never more than there are.
    pub async fn reserve(&self, instances: u32) -> Option<ReservedInstances> {
        let places = Arc::clone(&self.places).acquire_many_owned(instances.min(self.total));
        // Nobody closes them.
        places.await.ok().map(|places| ReservedInstances { _places: places })
    }
}
