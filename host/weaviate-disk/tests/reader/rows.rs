//! The rows of a class one by one, taken apart from their batches, for comparing.
use std::{collections::BTreeMap, sync::Arc};

use offloom_rows::{Batch, BatchLimits, Column, Cursor, Values, VariableWidth};
use offloom_weaviate_disk::{
    Class, DataDirectory, DifferenceCounts, DiskError, LsmError, ReadOptions, ReadReport,
    ShardSummary, Unit, UnitCursor, UnitOptions,
};

/// Vectors are little-endian `f32`, so that NaN compares too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub shard: u32,
    pub tenant: Option<String>,
    pub id: [u8; 16],
    pub created_ms: i64,
    pub updated_ms: i64,
    pub vector: Option<Vec<u8>>,
    pub named: Option<BTreeMap<String, Vec<u8>>>,
    pub multi: Option<BTreeMap<String, Vec<Vec<u8>>>>,
    pub properties: Option<Vec<u8>>,
}

pub const LIMITS: BatchLimits = BatchLimits {
    max_rows: offloom_rows::MAX_BATCH_ROWS,
    max_bytes: offloom_rows::MAX_BATCH_BYTES,
};

/// Rows of a class, unit by unit, and its shards.
#[derive(Debug)]
pub struct ClassRows {
    pub units: Vec<Vec<Row>>,
    pub raw_bytes: Vec<u64>,
    pub shards: Vec<ShardSummary>,
    /// By index of the shard.
    pub differences: BTreeMap<u32, DifferenceCounts>,
}

impl ClassRows {
    pub fn all(&self) -> Vec<Row> {
        self.units.concat()
    }
}

pub fn class<'a>(directory: &'a DataDirectory, name: &str) -> &'a Class {
    let found = directory.classes().iter().find(|class| &*class.name == name);
    found.unwrap_or_else(|| panic!("no class {name} in {:?}", directory.classes()))
}

/// The first error of a shard is the error.
pub fn read(
    directory: &DataDirectory,
    class: &Class,
    block_bytes: u64,
    limits: BatchLimits,
) -> Result<ClassRows, DiskError> {
    let mut units = directory.units(class, UnitOptions::new(block_bytes));
    let mut rows = ClassRows {
        units: Vec::new(),
        raw_bytes: Vec::new(),
        shards: Vec::new(),
        differences: BTreeMap::new(),
    };
    for (number, unit) in Iterator::enumerate(units.by_ref()) {
        assert_eq!(unit.number(), number as u64);
        let cursor = UnitCursor::open(&unit, &ReadOptions::default());
        let (read, report) = read_reported(cursor, limits);
        rows.units.push(read?);
        for (shard, counts) in report.differences {
            rows.differences.entry(shard).or_default().add(counts);
        }
        rows.raw_bytes.push(unit.raw_bytes());
    }
    rows.shards = units.into_shards();
    match rows.shards.iter_mut().find_map(|shard| shard.error.take()) {
        Some(error) => match Arc::into_inner(error) {
            Some(error) => Err(error.into()),
            // The class keeps a fault that it was opened with.
            None => Err(DiskError::Lsm(fault_of_a_shard(class))),
        },
        None => Ok(rows),
    }
}

/// The first fault that a shard was opened with: such faults are of listing a directory.
fn fault_of_a_shard(class: &Class) -> LsmError {
    let mut faults = class.shards.iter().filter_map(|shard| shard.fault.as_deref());
    match faults.next() {
        Some(LsmError::List { entry, source }) => {
            LsmError::List { entry: entry.clone(), source: source.kind().into() }
        }
        other => panic!("{other:?}"),
    }
}

pub fn read_unit(unit: &Unit, limits: BatchLimits) -> Result<Vec<Row>, DiskError> {
    read_cursor(UnitCursor::open(unit, &ReadOptions::default()), limits)
}

pub fn read_cursor(mut cursor: UnitCursor, limits: BatchLimits) -> Result<Vec<Row>, DiskError> {
    read_to_end(&mut cursor, limits)
}

/// The rows, and what reading them found besides.
pub fn read_reported(
    mut cursor: UnitCursor,
    limits: BatchLimits,
) -> (Result<Vec<Row>, DiskError>, ReadReport) {
    let rows = read_to_end(&mut cursor, limits);
    (rows, cursor.into_report())
}

fn read_to_end(cursor: &mut UnitCursor, limits: BatchLimits) -> Result<Vec<Row>, DiskError> {
    let mut rows = Vec::new();
    let fields = cursor.schema().fields.len();
    while let Some(batch) = cursor.read_batch(limits)? {
        assert!(batch.rows.row_count > 0 && batch.rows.row_count <= limits.max_rows);
        assert_eq!(batch.rows.columns.len(), fields);
        if batch.rows.row_count > 1 {
            let bytes: usize = batch.rows.columns.iter().map(column_bytes).sum();
            assert!(bytes <= limits.max_bytes as usize, "{bytes} bytes");
        }
        rows.extend(take_apart(&batch));
    }
    Ok(rows)
}

/// Bytes of all buffers of a column.
fn column_bytes(column: &Column) -> usize {
    let variable = |values: &VariableWidth| values.bytes.len() + 4 * values.offsets.len();
    let names = |names: &[String]| names.iter().map(String::len).sum::<usize>();
    let validity = column.validity.as_ref().map_or(0, Vec::len);
    validity
        + match &column.values {
            Values::Int64(values) => 8 * values.len(),
            Values::FixedWidth(bytes) => bytes.len(),
            Values::VariableWidth(values) | Values::Vector(values) => variable(values),
            Values::NamedVectors(map) => {
                names(&map.names)
                    + 4 * (map.row_offsets.len() + map.vector_offsets.len())
                    + 2 * map.name_index.len()
                    + map.components.len()
            }
            Values::NamedMultiVectors(map) => {
                let offsets =
                    map.row_offsets.len() + map.list_offsets.len() + map.vector_offsets.len();
                names(&map.names) + 4 * offsets + 2 * map.name_index.len() + map.components.len()
            }
            Values::Boolean(_) | Values::Float64(_) => panic!("no such column in a class"),
        }
}

// Over 60 lines: one step for each column.
fn take_apart(batch: &Batch) -> Vec<Row> {
    let rows = batch.rows.row_count as usize;
    let columns = &batch.rows.columns;
    let (tenants, rest) = match columns.len() {
        8 => (Some(&columns[1]), &columns[2..]),
        7 => (None, &columns[1..]),
        other => panic!("{other} columns"),
    };
    let mut shards = Vec::new();
    let mut runs = Vec::new();
    for run in &batch.runs {
        assert!(run.rows > 0);
        runs.push((shards.len(), run));
        shards.extend(std::iter::repeat_n(run.shard, run.rows as usize));
    }
    assert_eq!(shards.len(), rows);
    let Values::FixedWidth(ids) = &columns[0].values else { panic!("ids") };
    assert_eq!(ids.len(), 16 * rows);
    let ids: Vec<[u8; 16]> = ids.chunks_exact(16).map(|id| id.try_into().unwrap()).collect();
    for (start, run) in runs {
        assert_eq!(run.first_id, ids[start]);
        assert_eq!(run.last_id, ids[start + run.rows as usize - 1]);
    }
    let Values::Int64(created) = &rest[0].values else { panic!("creation times") };
    let Values::Int64(updated) = &rest[1].values else { panic!("update times") };
    assert_eq!((created.len(), updated.len()), (rows, rows));
    for required in [Some(&columns[0]), tenants, Some(&rest[0]), Some(&rest[1])] {
        assert!(required.is_none_or(|column| column.validity.is_none()));
    }
    let values = |column: &Column, width: usize| -> Vec<Vec<u8>> {
        let (Values::VariableWidth(values) | Values::Vector(values)) = &column.values else {
            panic!("{:?}", column.values)
        };
        assert_eq!(values.offsets.len(), rows + 1);
        assert_eq!(*values.offsets.last().unwrap() as usize * width, values.bytes.len());
        values
            .offsets
            .windows(2)
            .map(|ends| values.bytes[ends[0] as usize * width..ends[1] as usize * width].to_vec())
            .collect()
    };
    let tenants = tenants.map(|column| values(column, 1));
    let vectors = values(&rest[2], 4);
    let named = named_vectors(&rest[3], rows);
    let multi = multi_vectors(&rest[4], rows);
    let properties = values(&rest[5], 1);
    (0..rows)
        .map(|row| Row {
            shard: shards[row],
            tenant: tenants
                .as_ref()
                .map(|tenants| String::from_utf8(tenants[row].clone()).unwrap()),
            id: ids[row],
            created_ms: created[row],
            updated_ms: updated[row],
            vector: valid(&rest[2], row, &vectors[row]),
            named: valid(&rest[3], row, &named[row]),
            multi: valid(&rest[4], row, &multi[row]),
            properties: valid(&rest[5], row, &properties[row]),
        })
        .collect()
}

/// The value of a row, `None` for null; a null row must hold an empty one.
fn valid<T>(column: &Column, row: usize, value: &T) -> Option<T>
where
    T: Clone + PartialEq + Default + std::fmt::Debug,
{
    let is_valid =
        column.validity.as_ref().is_none_or(|bits| bits[row / 8] & (1 << (row % 8)) != 0);
    if !is_valid {
        assert_eq!(value, &T::default());
    }
    is_valid.then(|| value.clone())
}

fn named_vectors(column: &Column, rows: usize) -> Vec<BTreeMap<String, Vec<u8>>> {
    let Values::NamedVectors(map) = &column.values else { panic!("named vectors") };
    assert_eq!(map.row_offsets.len(), rows + 1);
    assert_eq!(map.vector_offsets.len(), map.name_index.len() + 1);
    assert_eq!(*map.row_offsets.last().unwrap() as usize, map.name_index.len());
    map.row_offsets
        .windows(2)
        .map(|row| {
            let entries: Vec<_> = (row[0] as usize..row[1] as usize)
                .map(|entry| {
                    let name = map.names[map.name_index[entry] as usize].clone();
                    let from = 4 * map.vector_offsets[entry] as usize;
                    let to = 4 * map.vector_offsets[entry + 1] as usize;
                    (name, map.components[from..to].to_vec())
                })
                .collect();
            assert!(entries.is_sorted_by(|left, right| left.0 < right.0));
            entries.into_iter().collect()
        })
        .collect()
}

fn multi_vectors(column: &Column, rows: usize) -> Vec<BTreeMap<String, Vec<Vec<u8>>>> {
    let Values::NamedMultiVectors(map) = &column.values else { panic!("multi vectors") };
    assert_eq!(map.row_offsets.len(), rows + 1);
    assert_eq!(map.list_offsets.len(), map.name_index.len() + 1);
    assert_eq!(*map.list_offsets.last().unwrap() as usize + 1, map.vector_offsets.len());
    assert_eq!(4 * *map.vector_offsets.last().unwrap() as usize, map.components.len());
    map.row_offsets
        .windows(2)
        .map(|row| {
            let entries: Vec<_> = (row[0] as usize..row[1] as usize)
                .map(|entry| {
                    let name = map.names[map.name_index[entry] as usize].clone();
                    let list =
                        map.list_offsets[entry] as usize..map.list_offsets[entry + 1] as usize;
                    let vectors = list.map(|vector| {
                        let from = 4 * map.vector_offsets[vector] as usize;
                        let to = 4 * map.vector_offsets[vector + 1] as usize;
                        map.components[from..to].to_vec()
                    });
                    (name, vectors.collect())
                })
                .collect();
            assert!(entries.is_sorted_by(|left, right| left.0 < right.0));
            entries.into_iter().collect()
        })
        .collect()
}
