//! Rows as JSON, for people who look at a few of them.
use offloom_rows::{Column, DataType, Field, RowBatch, Schema, Values, VariableWidth, is_set};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// Components of a vector that are shown.
const SHOWN_COMPONENTS: usize = 8;

/// Characters of a text that are shown.
const SHOWN_CHARACTERS: usize = 10_000;

/// The rows of a batch, each an object with its columns.
pub(crate) fn rows_as_json(rows: &RowBatch, schema: &Schema) -> Vec<Value> {
    let row = |row: usize| {
        let columns = schema.fields.iter().zip(&rows.columns);
        let pairs = columns.map(|(field, column)| (field.name.clone(), value(field, column, row)));
        Value::Object(pairs.collect())
    };
    (0..rows.row_count as usize).map(row).collect()
}

fn value(field: &Field, column: &Column, row: usize) -> Value {
    if column.validity.as_ref().is_some_and(|bits| !is_set(bits, row)) {
        return Value::Null;
    }
    match &column.values {
        Values::Boolean(bits) => is_set(bits, row).into(),
        Values::Int64(numbers) => numbers.get(row).copied().into(),
        Values::Float64(numbers) => numbers.get(row).copied().into(),
        Values::FixedWidth(ids) => {
            ids.as_chunks().0.get(row).map(|id| Uuid::from_bytes(*id).to_string()).into()
        }
        Values::VariableWidth(values) => {
            let bytes = slice(values, row, 1);
            match &field.data_type {
                DataType::Json => {
                    serde_json::from_slice(bytes).unwrap_or_else(|_| shortened(bytes))
                }
                _ => shortened(bytes),
            }
        }
        Values::Vector(values) => vector(slice(values, row, COMPONENT_BYTES)),
        Values::NamedVectors(map) => {
            let entries = entries_of(&map.row_offsets, row).filter_map(|entry| {
                let name = map.names.get(usize::from(*map.name_index.get(entry)?))?;
                let bytes = range(&map.vector_offsets, entry, &map.components, COMPONENT_BYTES);
                Some((name.clone(), vector(bytes)))
            });
            Value::Object(entries.collect())
        }
        Values::NamedMultiVectors(map) => {
            let entries = entries_of(&map.row_offsets, row).filter_map(|entry| {
                let name = map.names.get(usize::from(*map.name_index.get(entry)?))?;
                let vectors = entries_of(&map.list_offsets, entry);
                Some((name.clone(), json!({ "vectors": vectors.len() })))
            });
            Value::Object(entries.collect::<Map<_, _>>())
        }
    }
}

/// Bytes of an `f32`.
const COMPONENT_BYTES: usize = 4;

fn slice(values: &VariableWidth, row: usize, width: usize) -> &[u8] {
    range(&values.offsets, row, &values.bytes, width)
}

fn range<'b>(offsets: &[u32], index: usize, bytes: &'b [u8], width: usize) -> &'b [u8] {
    let items = entries_of(offsets, index);
    let bounds = items.start.saturating_mul(width)..items.end.saturating_mul(width);
    bytes.get(bounds).unwrap_or_default()
}

fn entries_of(offsets: &[u32], index: usize) -> std::ops::Range<usize> {
    let at = |index: usize| offsets.get(index).copied().unwrap_or_default() as usize;
    at(index)..at(index.saturating_add(1))
}

/// The whole vector if it is short, else its dimensions and first components.
fn vector(bytes: &[u8]) -> Value {
    let components: Vec<f32> = bytes.as_chunks().0.iter().map(|n| f32::from_le_bytes(*n)).collect();
    match components.get(..SHOWN_COMPONENTS) {
        Some(first) if components.len() > SHOWN_COMPONENTS => {
            json!({ "dimensions": components.len(), "first": first })
        }
        _ => json!(components),
    }
}

fn shortened(bytes: &[u8]) -> Value {
    String::from_utf8_lossy(bytes).chars().take(SHOWN_CHARACTERS).collect::<String>().into()
}
