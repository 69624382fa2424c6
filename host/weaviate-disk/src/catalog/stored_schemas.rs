//! The schemas that the servers stored in the data directories: the newest one, and what each
//! directory's own says (`data-directory.md` 5.5).
use std::{cmp::Reverse, path::Path};

use cap_std::fs::Dir;

use super::{effective_schema::EffectiveSchema, warning::Warning};
use crate::{
    error::{ClusterFault, DiskError},
    schema::{
        Agreement, ClassState, ClusterSchema, Position, SchemaError, SchemaFile, ShardState, stored,
    },
};

/// What the data directories' servers stored.
#[derive(Debug)]
pub(crate) struct StoredSchemas {
    /// The schema that counts.
    pub effective: EffectiveSchema,
    /// By data directory.
    pub own: Vec<OwnSchema>,
    /// Names of the nodes in the newest configuration of the cluster; `None` without RAFT.
    pub servers: Option<Vec<String>>,
}

/// What a data directory's own schema says, beside the newest one.
#[derive(Debug, Default)]
pub(crate) struct OwnSchema {
    /// Whether it is the newest one.
    pub is_newest: bool,
    /// RAFT index of the last committed entry of its own log.
    pub last_entry: Option<u64>,
    /// Whether the newest log has all entries after that one.
    pub is_continued: bool,
    /// Whether its log and the newest one have the same entries.
    pub is_same_cluster: bool,
    /// Its schema, if it differs from the newest one.
    pub older: Option<EffectiveSchema>,
    /// Where its log goes on with entries that were never committed.
    pub tail: Option<Tail>,
}

/// The end of a log that another node's log replaced.
#[derive(Debug)]
pub(crate) struct Tail {
    /// RAFT index of its first entry.
    pub at: u64,
    /// The schema as if it had been committed.
    pub schema: EffectiveSchema,
}

/// A stored schema, and the index and path of its data directory.
type StoredSchema<'a> = (usize, &'a Path, ClusterSchema);

/// Reads the stored schemas of all data directories, each given by path and handle. The schema that
/// counts is the newest one with the classes of `file`.
///
/// # Errors
/// If a stored schema cannot be read, no other directory has one, and there is no file. With a file,
/// only the status of tenants is lost, which is a warning. The objects do not replace a stored schema:
/// they include deleted classes, and tenants whose files are incomplete. Also if two schemas are of
/// different clusters.
pub(crate) fn read(
    directories: &[(&Path, &Dir)],
    file: Option<&SchemaFile>,
    warnings: &mut Vec<Warning>,
) -> Result<StoredSchemas, DiskError> {
    let (mut found, mut unreadable) = (Vec::new(), Vec::new());
    for (index, (path, root)) in directories.iter().enumerate() {
        match stored::read(root) {
            Ok(Some(schema)) => found.push((index, *path, schema)),
            Ok(None) => {}
            Err(error) => unreadable.push((*path, error)),
        }
    }
    if found.is_empty() && file.is_none() && !unreadable.is_empty() {
        let (path, source) = unreadable.swap_remove(0);
        return Err(DiskError::ServerSchema { path: path.to_owned(), source });
    }
    let tenants_known = !found.is_empty();
    warnings.extend(unreadable.into_iter().map(|(path, error)| Warning::ServerSchema {
        path: path.to_owned(),
        reason: error.to_string(),
        tenants_known,
    }));
    let mut own: Vec<OwnSchema> = directories.iter().map(|_| OwnSchema::default()).collect();
    let Some(mut newest) = take_newest(&mut found) else {
        let effective = EffectiveSchema::new(None, file, warnings);
        return Ok(StoredSchemas { effective, own, servers: None });
    };
    if let Some(own) = own.get_mut(newest.0) {
        own.last_entry = newest.2.history.as_ref().map(|history| history.last().index);
        (own.is_newest, own.is_continued, own.is_same_cluster) = (true, true, true);
    }
    for (index, path, schema) in found {
        let root = directories.get(index).map(|(_, root)| *root);
        let compared = compare(&mut newest, (index, path, schema), root, warnings)?;
        if let Some(own) = own.get_mut(index) {
            *own = compared;
        }
    }
    let servers = newest.2.history.as_ref().map(|history| history.servers().to_vec());
    let effective = EffectiveSchema::new(Some(newest.2), file, warnings);
    Ok(StoredSchemas { effective, own, servers })
}

/// The schema that goes furthest; of several, the one whose log begins earliest, or else the first one.
/// RAFT is newer than `schema.db`.
fn take_newest<'a>(found: &mut Vec<StoredSchema<'a>>) -> Option<StoredSchema<'a>> {
    let reach = |schema: &ClusterSchema| -> Option<(Position, Reverse<u64>)> {
        let history = schema.history.as_ref()?;
        Some((history.last(), Reverse(history.first().unwrap_or(u64::MAX))))
    };
    let newest = found.iter().map(|(_, _, schema)| reach(schema)).max()?;
    let position = found.iter().position(|(_, _, schema)| reach(schema) == newest)?;
    Some(found.remove(position))
}

/// What a schema says beside the newest one, which learns from it what its own log no longer has.
fn compare(
    newest: &mut StoredSchema<'_>,
    (_, path, mut schema): StoredSchema<'_>,
    root: Option<&Dir>,
    warnings: &mut Vec<Warning>,
) -> Result<OwnSchema, DiskError> {
    let mut own = OwnSchema::default();
    let (newer_path, newer) = (newest.1, &mut newest.2);
    if let (Some(history), Some(others)) = (&newer.history, &schema.history) {
        let mut last = others.last().index;
        match history.agreement(others) {
            Agreement::Unknown => {}
            Agreement::Same => own.is_same_cluster = true,
            Agreement::Parted { at, have_common } => {
                own.is_same_cluster = have_common;
                last = at.saturating_sub(1);
                let committed = committed(root, last);
                let committed = committed
                    .map_err(|source| DiskError::ServerSchema { path: path.to_owned(), source })?;
                if let Some(committed) = committed {
                    let whole = std::mem::replace(&mut schema, committed);
                    let schema = EffectiveSchema::new(Some(whole), None, &mut Vec::new());
                    own.tail = Some(Tail { at, schema });
                }
            }
            Agreement::Foreign(foreign) => {
                return Err(not_one_cluster(newer_path, path, ClusterFault::Logs(foreign)));
            }
        }
        own.last_entry = Some(last);
        own.is_continued = history.has_all_after(last);
    }
    if own.is_same_cluster {
        merge_lives(newer, &schema);
    }
    if !is_same(newer, &schema) {
        warnings.push(Warning::SchemasDiffer {
            path: path.to_owned(),
            source: schema.read_from.clone(),
            newer: newer.read_from.clone(),
        });
        let older = EffectiveSchema::new(Some(schema), None, &mut Vec::new());
        own.older = Some(older).filter(EffectiveSchema::lists_classes);
    }
    Ok(own)
}

fn committed(root: Option<&Dir>, last: u64) -> Result<Option<ClusterSchema>, SchemaError> {
    root.map_or(Ok(None), |root| stored::read_up_to(root, last))
}

/// The error for two directories that are not of one cluster.
pub(super) fn not_one_cluster(path: &Path, other: &Path, fault: ClusterFault) -> DiskError {
    DiskError::NotOneCluster { path: path.to_owned(), other: other.to_owned(), fault }
}

/// Marks the shards of `newer` that were made again according to the log of `other`: it may go back
/// further.
fn merge_lives(newer: &mut ClusterSchema, other: &ClusterSchema) {
    for (name, class) in &mut newer.classes {
        let Some(others) = other.classes.get(name) else { continue };
        for (shard, state) in &mut class.shards {
            if let Some(others) = others.shards.get(shard) {
                state.made_again_at = state.made_again_at.max(others.made_again_at);
            }
        }
    }
}

/// Whether two schemas say the same, whatever their logs say of lives.
fn is_same(left: &ClusterSchema, right: &ClusterSchema) -> bool {
    let is_same_class = |left: &ClassState, right: &ClassState| {
        let is_same_shard = |(left, right): ((&String, &ShardState), (&String, &ShardState))| {
            left.0 == right.0 && left.1.status == right.1.status && left.1.nodes == right.1.nodes
        };
        left.definition == right.definition
            && left.multi_tenant == right.multi_tenant
            && left.replication_factor == right.replication_factor
            && left.shards.len() == right.shards.len()
            && left.shards.iter().zip(&right.shards).all(is_same_shard)
    };
    left.classes.len() == right.classes.len()
        && left
            .classes
            .iter()
            .zip(&right.classes)
            .all(|(left, right)| left.0 == right.0 && is_same_class(left.1, right.1))
}
