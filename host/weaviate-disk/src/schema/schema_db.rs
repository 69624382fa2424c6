//! The schema of servers before 1.25: `schema.db` (`data-directory.md` 5.4).
use std::collections::BTreeMap;

use cap_std::fs::Dir;
use serde::Deserialize;

use super::{
    bbolt::Database,
    cluster::{ClassState, ClusterSchema, ReadFrom},
    definition::Definition,
    error::SchemaReadError,
    retry,
    sharding::{self, PhysicalShard, ShardingState},
};
use crate::names;

const FILE: &str = "schema.db";
const BUCKET: &[u8] = b"schema";
/// Keys in [`BUCKET`].
const VERSION_KEY: &[u8] = &[1, 0];
const WHOLE_STATE_KEY: &[u8] = b"schema";
const CLASS_PREFIX: u8 = 2;
/// Keys in the bucket of a class.
const SHARD_PREFIX: u8 = 4;
const DEFINITION_KEY: &[u8] = &[5, 0];
const SHARDING_KEY: &[u8] = &[15, 0];

/// The newest version there has been.
const NEWEST_VERSION: u64 = 2;

/// A class as its records are met.
#[derive(Debug, Default)]
struct Records {
    definition: Option<Definition>,
    sharding: ShardingState,
    shards: BTreeMap<String, PhysicalShard>,
}

#[derive(Debug, Deserialize)]
struct VersionRecord {
    #[serde(rename = "Version")]
    version: u64,
}

/// Versions 0 and 1: everything in one record.
#[derive(Debug, Deserialize)]
struct WholeState {
    object: Option<Classes>,
    #[serde(rename = "ShardingState")]
    sharding: Option<BTreeMap<String, ShardingState>>,
}

#[derive(Debug, Deserialize)]
struct Classes {
    classes: Option<Vec<Definition>>,
}

/// Reads `schema.db` of a data directory; `None` when there is none. Servers of today keep one
/// without classes, and never change one that an older server left.
///
/// # Errors
/// See [`SchemaReadError`].
pub fn read(data_directory: &Dir) -> Result<Option<ClusterSchema>, SchemaReadError> {
    retry::while_it_changes(|| {
        let database = Database::open(data_directory, FILE, FILE)?;
        database.as_ref().map(read_database).transpose()
    })
}

/// The schema in an open `schema.db`.
///
/// # Errors
/// See [`SchemaReadError`].
pub fn read_database(database: &Database) -> Result<ClusterSchema, SchemaReadError> {
    let mut version = 0;
    let mut classes: BTreeMap<String, Records> = BTreeMap::new();
    let path = database.path();
    database.for_each_pair(|buckets, key, value| match buckets {
        [bucket] if bucket == BUCKET && key == VERSION_KEY => {
            let record: VersionRecord = parse(path, "its version", value)?;
            version = record.version;
            if version > NEWEST_VERSION {
                let reason = format!("{version} is not known ({NEWEST_VERSION} is the newest)");
                return Err(fault(path, "its version", reason));
            }
            Ok(())
        }
        [bucket] if bucket == BUCKET && key == WHOLE_STATE_KEY => {
            let state = parse(path, "the state", value)?;
            whole_state(path, state, &mut classes)
        }
        [bucket, class] if bucket == BUCKET => match class.split_first() {
            Some((&CLASS_PREFIX, name)) => {
                let name = text(path, "a class", name)?;
                class_record(path, name, classes.entry(name.to_owned()).or_default(), key, value)
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    })?;
    let classes: Result<_, _> =
        classes.into_iter().map(|(name, records)| class(path, name, records)).collect();
    Ok(ClusterSchema {
        read_from: ReadFrom::SchemaDb { version },
        classes: classes?,
        warnings: Vec::new(),
    })
}

fn class_record(
    path: &str,
    class: &str,
    records: &mut Records,
    key: &[u8],
    value: &[u8],
) -> Result<(), SchemaReadError> {
    if key == DEFINITION_KEY {
        records.definition = Some(parse(path, &format!("class {class}, definition"), value)?);
    } else if key == SHARDING_KEY {
        records.sharding = parse(path, &format!("class {class}, sharding state"), value)?;
    } else if let Some((&SHARD_PREFIX, name)) = key.split_first() {
        let name = text(path, &format!("class {class}, a shard"), name)?;
        let shard = parse(path, &format!("class {class}, shard {name}"), value)?;
        records.shards.insert(name.to_owned(), shard);
    }
    Ok(())
}

fn whole_state(
    path: &str,
    state: WholeState,
    classes: &mut BTreeMap<String, Records>,
) -> Result<(), SchemaReadError> {
    let mut sharding = state.sharding.unwrap_or_default();
    for definition in state.object.and_then(|object| object.classes).unwrap_or_default() {
        let name = match definition.facts() {
            Ok(facts) => facts.name,
            Err(error) => return Err(fault(path, "the state", error.to_string())),
        };
        let sharding = sharding.remove(&name).unwrap_or_default();
        let records = Records { definition: Some(definition), sharding, ..Records::default() };
        classes.insert(name, records);
    }
    Ok(())
}

fn class(
    path: &str,
    name: String,
    records: Records,
) -> Result<(String, ClassState), SchemaReadError> {
    let record = format!("class {name}, definition");
    let Some(definition) = records.definition else {
        return Err(fault(path, &record, "there is none".to_owned()));
    };
    let facts = match definition.facts() {
        Ok(facts) if facts.name == name && names::is_class_name(&name) => facts,
        Ok(facts) if facts.name == name => {
            return Err(fault(path, &record, "that is no class name".to_owned()));
        }
        Ok(facts) => {
            return Err(fault(path, &record, format!("it is that of class {}", facts.name)));
        }
        Err(error) => return Err(fault(path, &record, error.to_string())),
    };
    let factor = records.sharding.replication_factor();
    let mut shards = records.sharding.into_shards();
    shards.extend(sharding::shards(records.shards));
    Ok((name, ClassState::new(&definition, facts, factor, shards)))
}

fn parse<'v, T: Deserialize<'v>>(
    path: &str,
    record: &str,
    value: &'v [u8],
) -> Result<T, SchemaReadError> {
    serde_json::from_slice(value).map_err(|error| fault(path, record, error.to_string()))
}

fn text<'v>(path: &str, record: &str, name: &'v [u8]) -> Result<&'v str, SchemaReadError> {
    std::str::from_utf8(name).map_err(|error| fault(path, record, error.to_string()))
}

fn fault(path: &str, record: &str, reason: String) -> SchemaReadError {
    SchemaReadError::Record { file: path.to_owned(), record: record.to_owned(), reason }
}
