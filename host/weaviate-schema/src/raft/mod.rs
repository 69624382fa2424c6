//! The stored schema of servers since 1.25: RAFT's newest snapshot and the log entries after it
//! (`data-directory.md` 5.1 and 5.2).
//!
//! Reading order: `command` and `entry` (what the log contains), `placement`, `refusal` and
//! `transfers` (what commands need), `class` and `tenants` (what commands do), `lives`
//! (which entry made a shard), `replay` (the log),
//! `snapshot`.
mod class;
mod command;
mod entry;
mod lives;
mod placement;
mod refusal;
mod replay;
mod snapshot;
mod tenants;
mod transfers;

use std::ops::RangeInclusive;

use cap_std::fs::Dir;
use offloom_weaviate_access::explain;

use self::{
    entry::{Content, LogEntry},
    replay::Replay,
    snapshot::Snapshot,
};
use crate::{
    bbolt::Database,
    cluster::{ClusterSchema, ReadFrom},
    error::SchemaError,
    regular_file, retry,
};

const DIRECTORY: &str = "raft";
const LOG: &str = "raft.db";
const LOG_PATH: &str = "raft/raft.db";
/// The bucket of the log entries. The other bucket has votes and terms.
const LOG_BUCKET: &[u8] = b"logs";

/// Reads `raft/` of a data directory; `None` if it does not exist or has neither a log nor a
/// snapshot.
///
/// # Errors
/// See [`SchemaError`]. An unusable snapshot is a warning; it is an error if the log is incomplete
/// without it.
pub fn read(data_directory: &Dir) -> Result<Option<ClusterSchema>, SchemaError> {
    read_up_to(data_directory, u64::MAX)
}

/// The same without the log entries after `last`.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_up_to(
    data_directory: &Dir,
    last: u64,
) -> Result<Option<ClusterSchema>, SchemaError> {
    retry::while_transient(|| {
        let raft = match data_directory.open_dir(DIRECTORY) {
            Ok(raft) => raft,
            Err(error) if regular_file::is_absent(&error, data_directory, DIRECTORY) => {
                return Ok(None);
            }
            Err(error) => {
                let source = explain(error, data_directory, "", DIRECTORY);
                return Err(SchemaError::Read { file: DIRECTORY.to_owned(), source });
            }
        };
        let mut warnings = Vec::new();
        // Read it before the log: if a newer snapshot truncates the log in between, entries are
        // missing, and the retry reads the newer snapshot.
        let snapshot = snapshot::newest(&raft, &mut warnings)?;
        let log = Database::open(&raft, LOG, LOG_PATH)?;
        if log.is_none() && snapshot.is_none() && warnings.is_empty() {
            return Ok(None);
        }
        let mut schema = replay(snapshot, log.as_ref(), last)?;
        warnings.append(&mut schema.warnings);
        schema.warnings = warnings;
        Ok(Some(schema))
    })
}

/// Reads the schema in an open `raft.db` whose log is complete.
///
/// # Errors
/// See [`SchemaError`].
pub fn read_database(log: &Database) -> Result<ClusterSchema, SchemaError> {
    replay(None, Some(log), u64::MAX)
}

fn replay(
    snapshot: Option<Snapshot>,
    log: Option<&Database>,
    last: u64,
) -> Result<ClusterSchema, SchemaError> {
    let mut replay = Replay::default();
    let (mut name, mut index) = (None, 0);
    if let Some(snapshot) = snapshot {
        name = Some(snapshot.name.clone());
        index = snapshot.last.index;
        replay = Replay::of_snapshot(snapshot);
    }
    let entries = match log {
        Some(log) => replay_log(log, index, last, &mut replay)?,
        None => None,
    };
    Ok(replay.finish(ReadFrom::Raft { snapshot: name, entries }))
}

/// Applies the entries after `snapshot_index`, none of which may be missing, up to `last`, and returns
/// their indexes.
fn replay_log(
    log: &Database,
    snapshot_index: u64,
    last: u64,
    replay: &mut Replay,
) -> Result<Option<RangeInclusive<u64>>, SchemaError> {
    let mut replayed: Option<RangeInclusive<u64>> = None;
    let file = || log.path().to_owned();
    log.for_each_pair(|buckets, key, value| {
        if !matches!(buckets, [bucket] if bucket == LOG_BUCKET) {
            return Ok(());
        }
        let found = entry::index(key).unwrap_or(0);
        let invalid = |reason| SchemaError::LogEntry { file: file(), index: found, reason };
        if found == 0 {
            return Err(invalid(format!("its key {key:02x?} is not an index")));
        }
        if found > last {
            return Ok(());
        }
        let is_new = found > snapshot_index;
        let previous = replayed.as_ref().map_or(snapshot_index, |replayed| *replayed.end());
        let expected = previous.saturating_add(1);
        if is_new && found != expected {
            return Err(SchemaError::LogGap { file: file(), expected, found });
        }
        let entry = LogEntry::parse(value).map_err(invalid)?;
        if is_new && entry.index != found {
            return Err(invalid(format!("it states index {}", entry.index)));
        }
        replay.add(found, entry.mark);
        match entry.content {
            Content::Command(request) if is_new => replay.apply(found, &request),
            // The snapshot has its effect. It does not have which entry made a shard.
            Content::Command(request) => replay.record(found, &request),
            Content::Configuration(servers) if is_new => replay.configure(servers),
            Content::Configuration(_) | Content::Other => {}
        }
        if is_new {
            let first = replayed.as_ref().map_or(found, |replayed| *replayed.start());
            replayed = Some(first..=found);
        }
        Ok(())
    })?;
    Ok(replayed)
}
