//! RAFT's snapshots of the schema (`data-directory.md` 5.2).
use std::{borrow::Cow, collections::BTreeMap, io};

use base64::{Engine, engine::general_purpose::STANDARD};
use cap_std::fs::Dir;
use crc::{CRC_64_XZ, Crc, Table};
use serde::Deserialize;

use super::{
    super::{
        cluster::ShardStatus, definition::Definition, error::SchemaReadError, open,
        sharding::ShardingState, warning::SchemaWarning,
    },
    class::Class,
    command::{Progress, Transfer},
    replay::Refusal,
    tenants::{Report, Transfers},
};

const DIRECTORY: &str = "snapshots";
const PATH: &str = "raft/snapshots";
const META: &str = "meta.json";
const STATE: &str = "state.bin";

/// A name and some numbers.
const MAX_META_BYTES: u64 = 1 << 20;
/// Millions of tenants.
const MAX_STATE_BYTES: u64 = 1 << 30;

/// What Go calls `crc64.ECMA`.
static CHECKSUM: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

/// The classes up to some log entry.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// Of its directory.
    pub name: String,
    /// The last log entry that it holds.
    pub index: u64,
    pub classes: Vec<Class>,
}

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
enum SnapshotFault {
    #[error(transparent)]
    Read(#[from] SchemaReadError),
    #[error("{file} is missing")]
    Missing { file: &'static str },
    #[error("{file}: {source}")]
    Json { file: &'static str, source: serde_json::Error },
    #[error("{STATE} has {found_bytes} bytes where {META} says {stated_bytes}")]
    Length { found_bytes: u64, stated_bytes: u64 },
    #[error("the checksum of {STATE} is {computed}, {META} says {stated}")]
    Checksum { computed: String, stated: String },
    #[error("the schema in {STATE} is no base64: {0}")]
    Base64(#[from] base64::DecodeError),
    #[error("{STATE} holds no schema")]
    NoSchema,
    #[error("class {name}: {refusal}")]
    Class { name: String, refusal: Refusal },
}

#[derive(Debug, Deserialize)]
struct Meta {
    #[serde(rename = "Index")]
    index: u64,
    #[serde(rename = "Size")]
    state_bytes: u64,
    /// Base64 of 8 bytes, big-endian.
    #[serde(rename = "CRC")]
    checksum: String,
}

#[derive(Debug, Deserialize)]
struct State<'s> {
    /// Base64 of a JSON map of classes.
    #[serde(borrow)]
    schema: Option<Cow<'s, str>>,
    /// The same map as it is, in snapshots of the first versions.
    classes: Option<BTreeMap<String, ClassRecord>>,
}

#[derive(Debug, Deserialize)]
struct ClassRecord {
    #[serde(rename = "Class")]
    definition: Definition,
    #[serde(rename = "Sharding", default)]
    sharding: ShardingState,
    /// By tenant and transfer, then by node.
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

/// The newest snapshot in `raft` that can be used; those that cannot are warnings.
pub(super) fn newest(
    raft: &Dir,
    warnings: &mut Vec<SchemaWarning>,
) -> Result<Option<Snapshot>, SchemaReadError> {
    let failed = |source| SchemaReadError::Read { file: PATH.to_owned(), source };
    let directory = match raft.open_dir(DIRECTORY) {
        Ok(directory) => directory,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
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
            Ok((index, classes)) => return Ok(Some(Snapshot { name, index, classes })),
            Err(fault) => {
                let reason = fault.to_string();
                warnings.push(SchemaWarning::SnapshotSkipped { snapshot: name, reason });
            }
        }
    }
    Ok(None)
}

/// Term, index and time in a name `<term>-<index>-<unix ms>`, which is that of a finished snapshot.
fn age(name: &str) -> Option<[u64; 3]> {
    let mut numbers = name.split('-').map(|number| number.parse().ok());
    let age = [numbers.next()??, numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some(age)
}

fn load(snapshots: &Dir, name: &str) -> Result<(u64, Vec<Class>), SnapshotFault> {
    let meta = read(snapshots, name, META, MAX_META_BYTES)?;
    let meta: Meta = serde_json::from_slice(&meta)
        .map_err(|source| SnapshotFault::Json { file: META, source })?;
    let state = read(snapshots, name, STATE, MAX_STATE_BYTES)?;
    let found_bytes = u64::try_from(state.len()).unwrap_or(u64::MAX);
    if found_bytes != meta.state_bytes {
        return Err(SnapshotFault::Length { found_bytes, stated_bytes: meta.state_bytes });
    }
    let computed = STANDARD.encode(CHECKSUM.checksum(&state).to_be_bytes());
    if computed != meta.checksum {
        return Err(SnapshotFault::Checksum { computed, stated: meta.checksum });
    }
    Ok((meta.index, classes(&state)?))
}

fn read(
    snapshots: &Dir,
    name: &str,
    file: &'static str,
    limit_bytes: u64,
) -> Result<Vec<u8>, SnapshotFault> {
    let path = format!("{PATH}/{name}/{file}");
    let Some((opened, file_bytes)) = open::file(snapshots, &format!("{name}/{file}"), &path)?
    else {
        return Err(SnapshotFault::Missing { file });
    };
    if file_bytes > limit_bytes {
        return Err(SchemaReadError::TooLarge { file: path, file_bytes, limit_bytes }.into());
    }
    Ok(open::read_whole(&opened, file_bytes, &path)?)
}

fn classes(state: &[u8]) -> Result<Vec<Class>, SnapshotFault> {
    let failed = |source| SnapshotFault::Json { file: STATE, source };
    let State { schema, classes } = serde_json::from_slice(state).map_err(failed)?;
    let records: BTreeMap<String, ClassRecord> = match (schema, classes) {
        (Some(schema), _) => {
            let schema = STANDARD.decode(schema.as_bytes())?;
            serde_json::from_slice(&schema).map_err(failed)?
        }
        (None, Some(classes)) => classes,
        (None, None) => return Err(SnapshotFault::NoSchema),
    };
    records.into_iter().map(|(name, record)| class(name, record)).collect()
}

fn class(name: String, record: ClassRecord) -> Result<Class, SnapshotFault> {
    let class = match Class::new(record.definition, record.sharding) {
        Ok(class) if class.name() == name => class,
        Ok(class) => {
            let refusal = Refusal::Name { name: class.name().to_owned() };
            return Err(SnapshotFault::Class { name, refusal });
        }
        Err(refusal) => return Err(SnapshotFault::Class { name, refusal }),
    };
    Ok(class.with_transfers(transfers(record.transfers.unwrap_or_default())))
}

/// Keys are `<tenant>-ACTION_FREEZING` and `<tenant>-ACTION_UNFREEZING`.
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
    fn into_report(self) -> Report {
        let status = self.tenant.map(|tenant| tenant.status).unwrap_or_default();
        Report {
            progress: Progress::try_from(self.op).unwrap_or(Progress::Unspecified),
            status: ShardStatus::from_name(&status),
        }
    }
}
