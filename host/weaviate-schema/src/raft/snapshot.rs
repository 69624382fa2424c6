//! RAFT's snapshots of the schema (`data-directory.md` 5.2).
use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine, engine::general_purpose::STANDARD};
use cap_std::fs::Dir;
use crc::{CRC_64_XZ, Crc, Table};
use offloom_weaviate_access::explain;
use serde::Deserialize;

use crate::{
    definition::Definition,
    error::SchemaError,
    history::Position,
    raft::{
        class::Class,
        command::{Progress, Transfer},
        refusal::Refusal,
        transfers::{NodeReport, Transfers},
    },
    regular_file,
    sharding::{ShardStatus, ShardingState},
    warning::SchemaWarning,
};

const DIRECTORY: &str = "snapshots";
const PATH: &str = "raft/snapshots";
const META: &str = "meta.json";
const STATE: &str = "state.bin";

/// Limit of `meta.json`, which has a name and some numbers.
const MAX_META_BYTES: u64 = 1 << 20;
/// Limit of `state.bin`, enough for millions of tenants.
const MAX_STATE_BYTES: u64 = 1 << 30;

/// Go's `crc64.ECMA`.
static CHECKSUM: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

/// The classes, as of some log entry.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// Name of its directory.
    pub name: String,
    /// The last log entry that it includes.
    pub last: Position,
    /// Names of the nodes in the cluster's configuration.
    pub servers: Vec<String>,
    /// Since 1.40.
    pub cluster_id: Option<String>,
    pub classes: Vec<Class>,
}

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
enum SnapshotError {
    #[error(transparent)]
    Read(#[from] SchemaError),
    #[error("{file} is missing")]
    Missing { file: &'static str },
    #[error("{file}: {source}")]
    Json { file: &'static str, source: serde_json::Error },
    #[error("{STATE} has {found_bytes} bytes, {META} states {stated_bytes}")]
    Length { found_bytes: u64, stated_bytes: u64 },
    #[error("the checksum of {STATE} is {computed}, {META} states {stated}")]
    Checksum { computed: String, stated: String },
    #[error("the schema in {STATE} is not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    #[error("{STATE} has no schema")]
    NoSchema,
    #[error("class {name}: {refusal}")]
    Class { name: String, refusal: Refusal },
    #[error("class {name}: its definition is that of class {defined}")]
    OtherClass { name: String, defined: String },
}

#[derive(Debug, Deserialize)]
struct Meta {
    #[serde(rename = "Index")]
    index: u64,
    #[serde(rename = "Term", default)]
    term: u64,
    #[serde(rename = "Configuration")]
    configuration: Option<Configuration>,
    #[serde(rename = "Size")]
    state_bytes: u64,
    /// Base64 of 8 bytes, big-endian.
    #[serde(rename = "CRC")]
    checksum: String,
}

#[derive(Debug, Deserialize)]
struct Configuration {
    #[serde(rename = "Servers")]
    servers: Option<Vec<Server>>,
}

#[derive(Debug, Deserialize)]
struct Server {
    #[serde(rename = "ID")]
    id: String,
}

#[derive(Debug, Deserialize)]
struct State<'s> {
    /// Base64 of JSON, a map of classes.
    #[serde(borrow)]
    schema: Option<Cow<'s, str>>,
    /// The same map without base64, in snapshots of the first versions.
    classes: Option<BTreeMap<String, ClassRecord>>,
    cluster_id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ClassRecord {
    #[serde(rename = "Class")]
    definition: Definition,
    #[serde(rename = "Sharding", default)]
    sharding: ShardingState,
    /// RAFT index of the last entry that made or deleted shards, or changed the status of one.
    #[serde(rename = "ShardVersion", default)]
    shard_version: u64,
    /// By tenant and direction, then by node.
    #[serde(rename = "ShardProcesses")]
    transfers: Option<BTreeMap<String, BTreeMap<String, ReportRecord>>>,
}

#[derive(Debug, Deserialize)]
struct ReportRecord {
    #[serde(default)]
    op: i32,
    tenant: Option<TenantRecord>,
}

#[derive(Debug, Deserialize)]
struct TenantRecord {
    #[serde(default)]
    status: String,
}

/// Reads the newest usable snapshot in `raft`. Damaged ones become warnings. One that the system
/// does not let read is an error: it is not known to be damaged.
pub(super) fn newest(
    raft: &Dir,
    warnings: &mut Vec<SchemaWarning>,
) -> Result<Option<Snapshot>, SchemaError> {
    let failed = |error| {
        let source = explain(error, raft, "raft", DIRECTORY);
        SchemaError::Read { file: PATH.to_owned(), source }
    };
    let directory = match raft.open_dir(DIRECTORY) {
        Ok(directory) => directory,
        Err(error) if regular_file::is_absent(&error, raft, DIRECTORY) => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    let mut found = Vec::new();
    for entry in directory.entries().map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().into_string().unwrap_or_default();
        found.extend(age(&name).map(|age| (age, name)));
    }
    found.sort();
    for (_, name) in found.into_iter().rev() {
        match load(&directory, &name) {
            Ok(snapshot) => return Ok(Some(snapshot)),
            Err(SnapshotError::Read(error @ SchemaError::Read { .. })) => return Err(error),
            Err(error) => {
                let reason = error.to_string();
                warnings.push(SchemaWarning::SnapshotSkipped { snapshot: name, reason });
            }
        }
    }
    Ok(None)
}

/// Term, index and time in the name of a finished snapshot, `<term>-<index>-<unix ms>`.
fn age(name: &str) -> Option<[u64; 3]> {
    let mut numbers = name.split('-').map(|number| number.parse().ok());
    let age = [numbers.next()??, numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some(age)
}

fn load(snapshots: &Dir, name: &str) -> Result<Snapshot, SnapshotError> {
    let meta = read(snapshots, name, META, MAX_META_BYTES)?;
    let meta: Meta = serde_json::from_slice(&meta)
        .map_err(|source| SnapshotError::Json { file: META, source })?;
    let state = read(snapshots, name, STATE, MAX_STATE_BYTES)?;
    let found_bytes = u64::try_from(state.len()).unwrap_or(u64::MAX);
    if found_bytes != meta.state_bytes {
        return Err(SnapshotError::Length { found_bytes, stated_bytes: meta.state_bytes });
    }
    let computed = STANDARD.encode(CHECKSUM.checksum(&state).to_be_bytes());
    if computed != meta.checksum {
        return Err(SnapshotError::Checksum { computed, stated: meta.checksum });
    }
    let failed = |source| SnapshotError::Json { file: STATE, source };
    let state: State<'_> = serde_json::from_slice(&state).map_err(failed)?;
    let servers = meta.configuration.and_then(|configuration| configuration.servers);
    Ok(Snapshot {
        name: name.to_owned(),
        last: Position { term: meta.term, index: meta.index },
        servers: servers.unwrap_or_default().into_iter().map(|server| server.id).collect(),
        cluster_id: state.cluster_id.clone().filter(|id| !id.is_empty()),
        classes: classes(state, meta.index)?,
    })
}

fn read(
    snapshots: &Dir,
    name: &str,
    file: &'static str,
    limit_bytes: u64,
) -> Result<Vec<u8>, SnapshotError> {
    let path = format!("{PATH}/{name}/{file}");
    let Some((opened, file_bytes)) =
        regular_file::open(snapshots, &format!("{name}/{file}"), &path)?
    else {
        return Err(SnapshotError::Missing { file });
    };
    if file_bytes > limit_bytes {
        return Err(SchemaError::TooLarge { file: path, file_bytes, limit_bytes }.into());
    }
    Ok(regular_file::read_whole(&opened, file_bytes, &path)?)
}

fn classes(state: State<'_>, index: u64) -> Result<Vec<Class>, SnapshotError> {
    let records: BTreeMap<String, ClassRecord> = match (state.schema, state.classes) {
        (Some(schema), _) => {
            let schema = STANDARD.decode(schema.as_bytes())?;
            serde_json::from_slice(&schema)
                .map_err(|source| SnapshotError::Json { file: STATE, source })?
        }
        (None, Some(classes)) => classes,
        (None, None) => return Err(SnapshotError::NoSchema),
    };
    records.into_iter().map(|(name, record)| class(name, record, index)).collect()
}

/// The class in a snapshot whose last entry is `index`.
fn class(name: String, record: ClassRecord, index: u64) -> Result<Class, SnapshotError> {
    // The first versions do not have it.
    let changed_at = if record.shard_version > 0 { record.shard_version } else { index };
    let class = match Class::new(record.definition, record.sharding, changed_at) {
        Ok(class) if class.name() == name => class,
        Ok(class) => {
            return Err(SnapshotError::OtherClass { name, defined: class.name().to_owned() });
        }
        Err(refusal) => return Err(SnapshotError::Class { name, refusal }),
    };
    Ok(class.with_transfers(transfers(record.transfers.unwrap_or_default())))
}

/// The keys of `records` are `<tenant>-ACTION_FREEZING` and `<tenant>-ACTION_UNFREEZING`.
fn transfers(records: BTreeMap<String, BTreeMap<String, ReportRecord>>) -> Transfers {
    let mut transfers = Transfers::new();
    for (key, nodes) in records {
        let Some((tenant, action)) = key.rsplit_once('-') else { continue };
        let transfer = match action {
            "ACTION_FREEZING" => Transfer::Freezing,
            "ACTION_UNFREEZING" => Transfer::Unfreezing,
            _ => continue,
        };
        let reports = nodes.into_iter().map(|(node, record)| (node, record.into_report()));
        transfers.insert((tenant.to_owned(), transfer), reports.collect());
    }
    transfers
}

impl ReportRecord {
    fn into_report(self) -> NodeReport {
        let status = self.tenant.map(|tenant| tenant.status).unwrap_or_default();
        NodeReport {
            progress: Progress::try_from(self.op).unwrap_or(Progress::Unspecified),
            status: ShardStatus::from_name(&status),
        }
    }
}
