//! The data directories of the server, which are opened again only after something in them changed.
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use offloom_weaviate_disk::{DataDirectory, Descriptors, DiskError, Fingerprint};

use crate::schema_file;

/// Opens the same data directories for every export.
pub struct DirectoryCache {
    sources: Vec<PathBuf>,
    schema: Option<PathBuf>,
    descriptors: usize,
    opened: Mutex<Option<Opened>>,
}

struct Opened {
    state: State,
    directory: DataDirectory,
}

/// What opening depends on.
#[derive(PartialEq)]
struct State {
    directories: Fingerprint,
    schema: Option<Fingerprint>,
}

impl DirectoryCache {
    /// `max_exports` use open files at the same time; each gets its own budget of them. With a shared
    /// one, an export could wait for the files of another that waits for a worker.
    pub fn new(sources: Vec<PathBuf>, schema: Option<PathBuf>, max_exports: usize) -> Self {
        DirectoryCache { sources, schema, descriptors: max_exports, opened: Mutex::default() }
    }

    /// The data directories as they are now. Blocking; requests at the same time wait for one another,
    /// so that the directories are opened once for all of them.
    ///
    /// # Errors
    /// [`DiskError`], also for the schema file.
    pub fn open(&self) -> Result<DataDirectory, DiskError> {
        self.open_at(SystemTime::now())
    }

    fn open_at(&self, now: SystemTime) -> Result<DataDirectory, DiskError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.state();
        if let (Some(opened), Some(state)) = (&*opened, &before)
            && opened.state == *state
        {
            return Ok(self.with_descriptors(&opened.directory));
        }
        *opened = None;
        let schema = self.schema.as_deref().map(schema_file::read).transpose()?;
        let directory = DataDirectory::open_nodes(&self.sources, schema)?;
        // What changes while it is opened, or in the same step of the clock, may have been seen or not.
        if let Some(state) = before
            && state.is_settled(now)
            && directory.depends_on_entries_alone()
            && self.state().is_some_and(|after| after == state)
        {
            *opened = Some(Opened { state, directory: directory.clone() });
        }
        Ok(self.with_descriptors(&directory))
    }

    fn with_descriptors(&self, directory: &DataDirectory) -> DataDirectory {
        directory.clone().with_descriptors(Descriptors::of_process(self.descriptors))
    }

    /// `None` if something cannot be examined. Opening reports it, if it matters.
    fn state(&self) -> Option<State> {
        let directories = Fingerprint::take(&self.sources).ok()?;
        let schema = self.schema.as_deref().map(Fingerprint::of_file).transpose().ok()?;
        Some(State { directories, schema })
    }
}

impl State {
    fn is_settled(&self, taken: SystemTime) -> bool {
        let schema = self.schema.as_ref();
        self.directories.is_settled(taken) && schema.is_none_or(|schema| schema.is_settled(taken))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn is_same(left: &DataDirectory, right: &DataDirectory) -> bool {
        std::ptr::eq(left.classes(), right.classes())
    }

    #[test]
    fn directories_are_opened_again_after_a_change_of_them_or_of_the_schema_file() {
        let fixture = offloom_fixtures::unpack("basic").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (data, schema) = (fixture.data_dir(), folder.path().join("schema.json"));
        std::fs::copy(fixture.schema_file(), &schema).unwrap();
        let cache = DirectoryCache::new(vec![data.clone()], Some(schema.clone()), 4);
        let later = SystemTime::now() + Duration::from_secs(60);
        let open = || cache.open_at(later).unwrap();
        let first = open();
        assert!(is_same(&first, &open()));

        std::fs::create_dir(data.join("target/another0shard")).unwrap();
        let second = open();
        assert!(!is_same(&first, &second));
        assert!(is_same(&second, &open()));

        let text = std::fs::read_to_string(&schema).unwrap();
        std::fs::write(&schema, format!("{text} ")).unwrap();
        let third = open();
        assert!(!is_same(&second, &third));

        std::fs::write(&schema, "{").unwrap();
        cache.open_at(later).unwrap_err();
        std::fs::remove_file(&schema).unwrap();
        cache.open_at(later).unwrap_err();
    }

    #[test]
    fn what_has_just_changed_is_opened_again() {
        let fixture = offloom_fixtures::unpack("basic").unwrap();
        let cache = DirectoryCache::new(vec![fixture.data_dir()], None, 4);
        assert!(!is_same(&cache.open().unwrap(), &cache.open().unwrap()));
    }
}
