//! The budget of open files of an export: a shard waits until earlier units return theirs.
use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A reserve for the rest of the program: sockets, output files, directories that are listed.
const RESERVED_FILES: usize = 256;
/// The limit that is assumed if the system sets none.
const UNLIMITED_FILES: usize = 1 << 20;
/// Most files of one unit, unless a single shard has more.
const MAX_UNIT_FILES: usize = 1024;

/// Raises this process's soft limit of open files to the hard limit, and returns that; `None` is
/// unlimited. Call it when the program starts: budgets made before do not grow.
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

/// Files that exports leave to the rest of the program, of those that this process may open now.
pub fn reserved_files() -> usize {
    let limit = file_limit();
    RESERVED_FILES.min(limit.saturating_sub(limit / 2))
}

fn file_limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(UNLIMITED_FILES, |limit| usize::try_from(limit).unwrap_or(UNLIMITED_FILES))
}

/// The open files that one export may hold at once. Cheap to clone: clones share it.
///
/// A shard takes permits for its files from the budget when its snapshot is taken, and returns them
/// when the last unit of the shard is dropped; a snapshot waits if too few are free. This cannot
/// deadlock as long as every unit is finished and dropped without waiting for a later one: the
/// iterator that waits holds at most 1,024 files for the unit that it is building, these and the
/// files that it waits for fit into the budget together, and all other files belong to units that it
/// has returned. Two exports must not share a budget: each would wait for the other's units.
#[derive(Debug, Clone)]
pub struct Descriptors(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    total: usize,
    free: Mutex<usize>,
    returned: Condvar,
}

impl Descriptors {
    /// A budget of `total` files, at least one.
    pub fn new(total: usize) -> Descriptors {
        let total = total.max(1);
        let shared = Shared { total, free: Mutex::new(total), returned: Condvar::new() };
        Descriptors(Arc::new(shared))
    }

    /// The share of one of `exports` that run at once: an equal part of the files that this process
    /// may open now, less [`reserved_files`].
    pub fn of_process(exports: usize) -> Descriptors {
        let usable = file_limit().saturating_sub(reserved_files());
        Descriptors::new(usable.checked_div(exports).unwrap_or(usable))
    }

    /// Number of files in the budget.
    pub fn total(&self) -> usize {
        self.0.total
    }

    /// Number of files that one unit may hold, unless a single shard has more. It does not depend
    /// on other exports or workers, so that the cuts between units do not either.
    pub fn unit_files(&self) -> usize {
        self.0.total.min(MAX_UNIT_FILES)
    }

    /// Permits for `count` files, if that many are free now.
    pub(crate) fn try_take(&self, count: usize) -> Option<Permits> {
        self.take_from(self.lock(), count)
    }

    /// Permits for `count` files, but at most the total; waits until that many are free.
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

    /// A poisoned lock still holds a valid number.
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.0.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Permission to hold files open; returned to the budget when dropped.
#[derive(Debug)]
pub struct Permits {
    from: Descriptors,
    count: usize,
}

impl Permits {
    /// Number of files.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns all but `count` of them.
    pub(crate) fn keep(&mut self, count: usize) {
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
