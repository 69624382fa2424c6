//! Rows of a workload in memory, in batches as the guest asks for them.
use std::vec::IntoIter;

use offloom_encoder::{Object, Workload};
use offloom_guest_parquet::{BATCH_BYTES, BATCH_ROWS};
use offloom_rows::{
    Batch, BatchLimits, Column, Cursor, CursorError, MultiVectorMap, RowBatch, Schema, Values,
    VariableWidth, VectorMap,
};

/// One block of about `block_bytes` bytes of rows from `first_row` on, in the order of their ids,
/// and how many rows it has.
pub fn block_of(workload: Workload, first_row: u64, block_bytes: u64) -> (Vec<RowBatch>, u64) {
    let row_bytes = 32 + workload.dimensions() * 4 + workload.properties_bytes();
    let rows = block_bytes / row_bytes as u64;
    let mut objects: Vec<Object> =
        (first_row..first_row + rows).map(|row| workload.object(row, 0)).collect();
    objects.sort_by_key(|object| object.uuid);
    let batch_rows = (BATCH_BYTES as usize / row_bytes).clamp(1, BATCH_ROWS as usize);
    (objects.chunks(batch_rows).map(batch).collect(), rows)
}

fn batch(objects: &[Object]) -> RowBatch {
    let rows = objects.len();
    let mut ids = Vec::with_capacity(rows * 16);
    let mut creation_times = Vec::with_capacity(rows);
    let mut update_times = Vec::with_capacity(rows);
    let mut vectors = empty_column();
    let mut properties = empty_column();
    for object in objects {
        ids.extend_from_slice(&object.uuid);
        creation_times.push(object.created_ms);
        update_times.push(object.updated_ms);
        vectors.bytes.extend(object.vector.iter().flat_map(|number| number.to_le_bytes()));
        vectors.offsets.push((vectors.bytes.len() / 4) as u32);
        properties.bytes.extend(object.properties.iter().flatten());
        properties.offsets.push(properties.bytes.len() as u32);
    }
    let nothing = || Some(vec![0; rows.div_ceil(8)]);
    let no_entries = vec![0; rows + 1];
    let has_vectors = objects.iter().any(|object| !object.vector.is_empty());
    let all = |values| Column { validity: None, values };
    let columns = vec![
        all(Values::FixedWidth(ids)),
        all(Values::Int64(creation_times)),
        all(Values::Int64(update_times)),
        Column {
            validity: if has_vectors { None } else { nothing() },
            values: Values::Vector(vectors),
        },
        Column {
            validity: nothing(),
            values: Values::NamedVectors(VectorMap {
                row_offsets: no_entries.clone(),
                vector_offsets: vec![0],
                ..VectorMap::default()
            }),
        },
        Column {
            validity: nothing(),
            values: Values::NamedMultiVectors(MultiVectorMap {
                row_offsets: no_entries,
                list_offsets: vec![0],
                vector_offsets: vec![0],
                ..MultiVectorMap::default()
            }),
        },
        all(Values::VariableWidth(properties)),
    ];
    RowBatch { row_count: rows as u32, columns }
}

fn empty_column() -> VariableWidth {
    VariableWidth { offsets: vec![0], bytes: Vec::new() }
}

/// Hands out batches that are ready, so that the measurement holds no making of rows.
pub struct BatchCursor {
    schema: Schema,
    batches: IntoIter<RowBatch>,
}

impl BatchCursor {
    /// A cursor over these batches.
    pub fn new(schema: &Schema, batches: Vec<RowBatch>) -> BatchCursor {
        BatchCursor { schema: schema.clone(), batches: batches.into_iter() }
    }
}

impl Cursor for BatchCursor {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn next_batch(&mut self, _limits: BatchLimits) -> Result<Option<Batch>, CursorError> {
        Ok(self.batches.next().map(|rows| Batch { rows, runs: Vec::new() }))
    }
}
