//! The schema that a server stored in its data directory, whichever of its files holds it.
use cap_std::fs::Dir;

use crate::{cluster::ClusterSchema, error::SchemaError, raft, schema_db};

/// Reads the schema in `data_directory`: RAFT's, or that of `schema.db` if RAFT has no class, since
/// servers from 1.25 on keep an old `schema.db` (`data-directory.md` 5.4). `None` if there is
/// neither.
///
/// # Errors
/// See [`SchemaError`]. A damaged RAFT log is an error: `schema.db` does not replace it, because it
/// would be out of date.
pub fn read(data_directory: &Dir) -> Result<Option<ClusterSchema>, SchemaError> {
    let raft = raft::read(data_directory)?;
    if raft.as_ref().is_some_and(|schema| !schema.classes.is_empty()) {
        return Ok(raft);
    }
    let older = schema_db::read(data_directory)?;
    Ok(older.filter(|schema| !schema.classes.is_empty() || raft.is_none()).or(raft))
}

/// Reads RAFT's schema in `data_directory` as it was after log entry `last`: what follows in that
/// log was never committed. `None` if there is no RAFT.
///
/// # Errors
/// See [`SchemaError`].
pub fn read_up_to(data_directory: &Dir, last: u64) -> Result<Option<ClusterSchema>, SchemaError> {
    raft::read_up_to(data_directory, last)
}
