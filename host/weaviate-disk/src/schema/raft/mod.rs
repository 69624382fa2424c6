//! The schema of servers since 1.25: RAFT's newest snapshot and the log behind it
//! (`data-directory.md` 5.1 and 5.2).
mod class;
mod command;
mod entry;
mod placement;
mod replay;
mod snapshot;
mod tenants;

use std::{io, ops::RangeInclusive};

use cap_std::fs::Dir;

use self::{entry::LogEntry, replay::Replay, snapshot::Snapshot};
use super::{
    bbolt::Database,
    cluster::{ClusterSchema, ReadFrom},
    error::SchemaReadError,
    retry,
};

const DIRECTORY: &str = "raft";
const LOG: &str = "raft.db";
const LOG_PATH: &str = "raft/raft.db";
/// The bucket of the log, and not of votes and terms.
const LOG_BUCKET: &[u8] = b"logs";

/// Reads `raft/` of a data directory; `None` when it is not there or holds neither log nor
/// snapshot.
///
/// # Errors
/// See [`SchemaReadError`]. A snapshot that cannot be used is a warning, unless the log alone is
/// not whole.
pub fn read(data_directory: &Dir) -> Result<Option<ClusterSchema>, SchemaReadError> {
    retry::while_it_changes(|| {
        let raft = match data_directory.open_dir(DIRECTORY) {
            Ok(raft) => raft,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(SchemaReadError::Read { file: DIRECTORY.to_owned(), source });
            }
        };
        let mut warnings = Vec::new();
        // Before the log: what a newer snapshot takes from the log is missed and read again.
        let snapshot = snapshot::newest(&raft, &mut warnings)?;
        let log = Database::open(&raft, LOG, LOG_PATH)?;
        if log.is_none() && snapshot.is_none() && warnings.is_empty() {
            return Ok(None);
        }
        let mut schema = replay(snapshot, log.as_ref())?;
        warnings.append(&mut schema.warnings);
        schema.warnings = warnings;
        Ok(Some(schema))
    })
}

/// The schema in an open `raft.db` whose log is whole.
///
/// # Errors
/// See [`SchemaReadError`].
pub fn read_database(log: &Database) -> Result<ClusterSchema, SchemaReadError> {
    replay(None, Some(log))
}

fn replay(
    snapshot: Option<Snapshot>,
    log: Option<&Database>,
) -> Result<ClusterSchema, SchemaReadError> {
    let (snapshot, index, classes) = match snapshot {
        Some(snapshot) => (Some(snapshot.name), snapshot.index, snapshot.classes),
        None => (None, 0, Vec::new()),
    };
    let mut replay = Replay::new(classes);
    let entries = match log {
        Some(log) => replay_log(log, index, &mut replay)?,
        None => None,
    };
    Ok(replay.finish(ReadFrom::Raft { snapshot, entries }))
}

/// Applies the entries behind `snapshot_index`, of which none may be missing, and tells which
/// those were.
fn replay_log(
    log: &Database,
    snapshot_index: u64,
    replay: &mut Replay,
) -> Result<Option<RangeInclusive<u64>>, SchemaReadError> {
    let mut replayed: Option<RangeInclusive<u64>> = None;
    let file = || log.path().to_owned();
    log.for_each_pair(|buckets, key, value| {
        if !matches!(buckets, [bucket] if bucket == LOG_BUCKET) {
            return Ok(());
        }
        let found = entry::index(key).unwrap_or(0);
        let fault = |reason| SchemaReadError::LogEntry { file: file(), index: found, reason };
        if found == 0 {
            return Err(fault(format!("key {key:02x?} is no index")));
        }
        if found <= snapshot_index {
            return Ok(());
        }
        let last = replayed.as_ref().map_or(snapshot_index, |replayed| *replayed.end());
        let expected = last.saturating_add(1);
        if found != expected {
            return Err(SchemaReadError::LogGap { file: file(), expected, found });
        }
        let entry = LogEntry::parse(value).map_err(fault)?;
        if entry.index != found {
            return Err(fault(format!("it says that it is entry {}", entry.index)));
        }
        if let Some(request) = entry.command {
            replay.apply(found, &request);
        }
        let first = replayed.as_ref().map_or(found, |replayed| *replayed.start());
        replayed = Some(first..=found);
        Ok(())
    })?;
    Ok(replayed)
}
