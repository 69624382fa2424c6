//! Distinguishes an empty shard from one whose files are gone (`data-directory.md` 3.1).
use std::{
    thread,
    time::{Duration, SystemTime},
};

use crate::{
    bucket::Bucket,
    error::{Lost, LsmError},
};

/// What a shard holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holding {
    /// Objects, or deletions of objects.
    Objects,
    /// Nothing: no object was ever written to it.
    Nothing,
    /// Its directory is gone: it was dropped after it was listed.
    Dropped,
    /// Less than it should.
    Lost(Lost),
}

/// A shard that changed within this time may be in the middle of it: a server gives a document id
/// before it writes the object, and makes and removes the folders of a shard one by one.
const GRACE: Duration = Duration::from_secs(2);
/// Between two looks at a shard.
const PAUSE: Duration = Duration::from_millis(10);

/// Reads a bucket with `read`, and says what the shard holds; `holds_objects` is whether what was read
/// does. Without objects, the shard is looked at as a whole, and read again while a server may be
/// changing it.
///
/// # Errors
/// Those of `read`; when a folder or the counter of the shard cannot be examined.
pub fn read_settled<T>(
    bucket: &Bucket,
    mut read: impl FnMut() -> Result<T, LsmError>,
    holds_objects: impl Fn(&T) -> bool,
) -> Result<(T, Holding), LsmError> {
    let mut waited = Duration::ZERO;
    loop {
        let found = read()?;
        if holds_objects(&found) {
            return Ok((found, Holding::Objects));
        }
        let (lost, changed) = match Look::at(bucket)? {
            Look::Empty => return Ok((found, Holding::Nothing)),
            Look::Dropped => return Ok((found, Holding::Dropped)),
            Look::Lost { lost, changed } => (lost, changed),
        };
        // A time in the future is that of another clock, and no reason to wait for longer.
        let age = SystemTime::now().duration_since(changed).unwrap_or_default();
        // What was read is older than this look, so that a second reading must confirm it.
        if !waited.is_zero() && age.max(waited) >= GRACE {
            return Ok((found, Holding::Lost(lost)));
        }
        thread::sleep(PAUSE);
        waited = waited.saturating_add(PAUSE);
    }
}

/// What a shard without objects looks like.
enum Look {
    Empty,
    Dropped,
    Lost {
        lost: Lost,
        /// When that which shows it changed last.
        changed: SystemTime,
    },
}

impl Look {
    fn at(bucket: &Bucket) -> Result<Look, LsmError> {
        let mut above = None;
        for path in bucket.folders() {
            let changed = bucket.directory_changed(&path)?;
            if changed.is_some() {
                above = changed;
                continue;
            }
            // In the flat layout, the counter does not lie in the shard's directory.
            let changed = match above {
                Some(changed) => changed,
                None => match bucket.counter()? {
                    Some(counter) => counter.changed,
                    None => return Ok(Look::Dropped),
                },
            };
            return Ok(Look::Lost { lost: Lost::Folder { path }, changed });
        }
        let path = bucket.counter_path();
        let Some(counter) = bucket.counter()? else {
            let changed = above.unwrap_or(SystemTime::UNIX_EPOCH);
            return Ok(Look::Lost { lost: Lost::Counter { path }, changed });
        };
        let lost = match counter.count {
            Ok(0) => return Ok(Look::Empty),
            Ok(count) => Lost::Objects { path, count },
            Err(bytes) => Lost::CounterCut { path, bytes },
        };
        Ok(Look::Lost { lost, changed: counter.changed })
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, sync::Arc};

    use cap_std::{ambient_authority, fs::Dir};

    use super::*;
    use crate::layout::Layout;

    /// The bucket of a shard with this counter, which was written a day ago.
    fn bucket(root: &Path, counter: u64) -> Bucket {
        fs::create_dir_all(root.join("note/s/lsm/objects")).unwrap();
        let path = root.join("note/s/indexcount");
        fs::write(&path, counter.to_le_bytes()).unwrap();
        let day = Duration::from_secs(24 * 3600);
        fs::File::open(path).unwrap().set_modified(SystemTime::now() - day).unwrap();
        Bucket {
            root: Arc::new(Dir::open_ambient_dir(root, ambient_authority()).unwrap()),
            directory: root.into(),
            one_of_several: false,
            class_directory: "note".into(),
            class: "Note".into(),
            shard: "s".into(),
            layout: Layout::Hierarchical,
        }
    }

    /// Readings that find nothing before one that finds an object.
    fn holding(counter: u64, empty_readings: u32) -> (u32, Holding) {
        let root = tempfile::tempdir().unwrap();
        let mut readings = 0_u32;
        let read = || {
            readings = readings.saturating_add(1);
            Ok(readings)
        };
        let holds_objects = |readings: &u32| *readings > empty_readings;
        read_settled(&bucket(root.path(), counter), read, holds_objects).unwrap()
    }

    #[test]
    fn what_was_read_before_the_counter_is_read_again() {
        // The first object was written between the two, and this process slept since.
        assert_eq!(holding(1, 1), (2, Holding::Objects));
        let path = "note/s/indexcount".to_owned();
        assert_eq!(holding(1, 9), (2, Holding::Lost(Lost::Objects { path, count: 1 })));
        assert_eq!(holding(0, 9), (1, Holding::Nothing));
        assert_eq!(holding(1, 0), (1, Holding::Objects));
    }
}
