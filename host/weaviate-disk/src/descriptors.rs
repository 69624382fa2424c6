//! How many files an export holds open at once: shards whose turn it is wait for earlier units.
use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the rest of the program may need: sockets, output files, directories that are being listed.
const RESERVED_FILES: usize = 256;
/// What is counted on where the system sets no limit.
const UNLIMITED_FILES: usize = 1 << 20;
/// Files of one unit, unless a single shard has more.
const MAX_UNIT_FILES: usize = 1024;

/// Raises this process's limit of open files as far as it may go, and tells the limit. For the
/// start of a program: budgets that were made before do not grow.
///
/// # Errors
/// When the system refuses.
pub fn raise_descriptor_limit() -> io::Result<Option<u64>> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    }
    Ok(maximum)
}

/// The open files that one export may hold at once. Cheap to clone: clones share it.
///
/// A shard's files are taken from it when its snapshot is taken, and come back when the last
/// [`crate::Unit`] of the shard is dropped; a snapshot for which too few are left waits. This
/// cannot wait for ever as long as units that were handed out are finished and dropped without
/// waiting for later ones: whoever waits has at most 1,024 files in the unit that it
/// makes, together with those that it waits for no more than there are, and all others belong to
/// units that were handed out. Two exports must not share one: each would count on the other's.
#[derive(Debug, Clone)]
pub struct Descriptors(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    total: usize,
    free: Mutex<usize>,
    returned: Condvar,
}

impl Descriptors {
    /// A budget of `total` files, but one at least.
    pub fn new(total: usize) -> Descriptors {
        let total = total.max(1);
        let shared = Shared { total, free: Mutex::new(total), returned: Condvar::new() };
        Descriptors(Arc::new(shared))
    }

    /// An equal part for each of `exports` that run at once, of what this process may open now
    /// less a reserve.
    pub fn of_process(exports: usize) -> Descriptors {
        let limit = getrlimit(Resource::Nofile).current;
        let limit = limit
            .map_or(UNLIMITED_FILES, |limit| usize::try_from(limit).unwrap_or(UNLIMITED_FILES));
        let usable = limit.saturating_sub(RESERVED_FILES).max(limit / 2);
        Descriptors::new(usable.checked_div(exports).unwrap_or(usable))
    }

    /// How many files it allows.
    pub fn total(&self) -> usize {
        self.0.total
    }

    /// How many files one unit may hold, unless a single shard has more. It depends on nothing
    /// that other exports or workers do, so that cuts do not either.
    pub(crate) fn unit_files(&self) -> usize {
        self.0.total.min(MAX_UNIT_FILES)
    }

    /// `count` files, at most the total, at once if so many are free.
    pub(crate) fn try_take(&self, count: usize) -> Option<Permits> {
        self.take_from(self.lock(), count)
    }

    /// Waits until `count` files, at most the total, are free.
    pub(crate) fn take(&self, count: usize) -> Permits {
        loop {
            let too_few = |free: &mut usize| *free < count.min(self.0.total);
            let waited = self.0.returned.wait_while(self.lock(), too_few);
            let free = waited.unwrap_or_else(PoisonError::into_inner);
            if let Some(permits) = self.take_from(free, count.min(self.0.total)) {
                return permits;
            }
        }
    }

    fn take_from(&self, mut free: MutexGuard<'_, usize>, count: usize) -> Option<Permits> {
        *free = free.checked_sub(count)?;
        Some(Permits { from: self.clone(), count })
    }

    /// A number is whole whatever happened to the thread that held it.
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.0.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Files that are or will be open; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permits {
    from: Descriptors,
    count: usize,
}

impl Permits {
    pub fn count(&self) -> usize {
        self.count
    }

    /// Gives back all but `count` of them.
    pub fn keep(&mut self, count: usize) {
        let count = count.min(self.count);
        self.give_back(self.count.saturating_sub(count));
        self.count = count;
    }

    fn give_back(&self, count: usize) {
        let mut free = self.from.lock();
        *free = free.saturating_add(count);
        self.from.0.returned.notify_all();
    }
}

impl Drop for Permits {
    fn drop(&mut self) {
        if self.count > 0 {
            self.give_back(self.count);
        }
    }
}
