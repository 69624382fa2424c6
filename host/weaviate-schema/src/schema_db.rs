//! The stored schema of servers before 1.25: `schema.db` (`data-directory.md` 5.4).
use std::collections::BTreeMap;

use cap_std::fs::Dir;
use serde::Deserialize;

use crate::{
    bbolt::Database,
    cluster::{ClassState, ClusterSchema, ReadFrom},
    definition::Definition,
    error::SchemaError,
    names, retry,
    sharding::{self, PhysicalShard, ShardingState},
};

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

/// The last version before the schema moved to RAFT.
const NEWEST_VERSION: u64 = 2;

/// The records of a class, while they are collected.
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

/// The one record of versions 0 and 1.
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

/// Reads `schema.db` of a data directory; `None` if there is none. Servers from 1.25 on create one
/// without classes, and never change one that an older server wrote.
///
/// # Errors
/// See [`SchemaError`].
pub fn read(data_directory: &Dir) -> Result<Option<ClusterSchema>, SchemaError> {
    retry::while_transient(|| {
        let database = Database::open(data_directory, FILE, FILE)?;
        database.as_ref().map(read_database).transpose()
    })
}

/// Reads the schema in an open `schema.db`.
///
/// # Errors
/// See [`SchemaError`].
pub fn read_database(database: &Database) -> Result<ClusterSchema, SchemaError> {
    let mut version = 0;
    let mut classes: BTreeMap<String, Records> = BTreeMap::new();
    let path = database.path();
    database.for_each_pair(|buckets, key, value| match buckets {
        [bucket] if bucket == BUCKET && key == VERSION_KEY => {
            let record: VersionRecord = parse(path, "its version", value)?;
            version = record.version;
            if version > NEWEST_VERSION {
                let reason = format!("{version} is unknown (the last known is {NEWEST_VERSION})");
                return Err(invalid(path, "its version", reason));
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
        history: None,
        warnings: Vec::new(),
    })
}

fn class_record(
    path: &str,
    class: &str,
    records: &mut Records,
    key: &[u8],
    value: &[u8],
) -> Result<(), SchemaError> {
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
) -> Result<(), SchemaError> {
    let mut sharding = state.sharding.unwrap_or_default();
    for definition in state.object.and_then(|object| object.classes).unwrap_or_default() {
        let name = match definition.settings() {
            Ok(settings) => settings.name,
            Err(error) => return Err(invalid(path, "the state", error.to_string())),
        };
        let sharding = sharding.remove(&name).unwrap_or_default();
        let records = Records { definition: Some(definition), sharding, ..Records::default() };
        classes.insert(name, records);
    }
    Ok(())
}

fn class(path: &str, name: String, records: Records) -> Result<(String, ClassState), SchemaError> {
    let record = format!("class {name}, definition");
    let Some(definition) = records.definition else {
        return Err(invalid(path, &record, "it is missing".to_owned()));
    };
    let settings = match definition.settings() {
        Ok(settings) if settings.name == name && names::is_class_name(&name) => settings,
        Ok(settings) if settings.name == name => {
            return Err(invalid(path, &record, "that is not a class name".to_owned()));
        }
        Ok(settings) => {
            return Err(invalid(path, &record, format!("it defines class {}", settings.name)));
        }
        Err(error) => return Err(invalid(path, &record, error.to_string())),
    };
    let factor = records.sharding.replication_factor();
    let mut shards = records.sharding.into_shards();
    shards.extend(sharding::shards(records.shards));
    Ok((name, ClassState::new(&definition, settings, factor, shards)))
}

fn parse<'v, T: Deserialize<'v>>(
    path: &str,
    record: &str,
    value: &'v [u8],
) -> Result<T, SchemaError> {
    serde_json::from_slice(value).map_err(|error| invalid(path, record, error.to_string()))
}

fn text<'v>(path: &str, record: &str, name: &'v [u8]) -> Result<&'v str, SchemaError> {
    std::str::from_utf8(name).map_err(|error| invalid(path, record, error.to_string()))
}

fn invalid(path: &str, record: &str, reason: String) -> SchemaError {
    SchemaError::Record { file: path.to_owned(), record: record.to_owned(), reason }
}
