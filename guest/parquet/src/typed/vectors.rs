//! Vectors by name, taken apart into columns: lists of numbers, and JSON of what no column is for.
use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, ListArray};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::DataType as ArrowType;

use super::class::{element, list_of};
use crate::bindings::offloom::export::types::{Error, MultiVectorMap, VariableWidth, VectorMap};
use crate::columns::{broken, byte_offsets};
use crate::vector_json::{JsonColumn, broken_map, range, vector};

/// The type of a vector.
pub(crate) fn vector_type() -> ArrowType {
    list_of(ArrowType::Float32)
}

/// One vector a row.
pub(crate) fn lists(values: VariableWidth, nulls: Option<NullBuffer>) -> Result<ListArray, Error> {
    let offsets = byte_offsets(values.offsets, 1)?;
    list(offsets, floats(values.bytes)?, nulls)
}

fn floats(components: Vec<u8>) -> Result<Float32Array, Error> {
    if !components.len().is_multiple_of(4) {
        return Err(broken_map());
    }
    // Little-endian bytes, as the memory of a guest has them; a copy that is aligned.
    let (numbers, _) = components.as_chunks::<4>();
    let numbers: Vec<f32> = numbers.iter().map(|number| f32::from_le_bytes(*number)).collect();
    Ok(Float32Array::new(ScalarBuffer::from(numbers), None))
}

fn list(
    offsets: OffsetBuffer<i32>,
    numbers: Float32Array,
    nulls: Option<NullBuffer>,
) -> Result<ListArray, Error> {
    ListArray::try_new(element(ArrowType::Float32), offsets, Arc::new(numbers), nulls)
        .map_err(broken)
}

/// Lists that are being filled.
struct Lists {
    valid: Vec<bool>,
    offsets: Vec<i32>,
}

impl Lists {
    fn new() -> Lists {
        Lists { valid: Vec::new(), offsets: vec![0] }
    }

    fn end(&mut self, valid: bool, elements: usize) -> Result<(), Error> {
        self.valid.push(valid);
        let end = i32::try_from(elements)
            .map_err(|_| Error::Unsupported("2 GiB of vectors in one batch".to_owned()))?;
        self.offsets.push(end);
        Ok(())
    }

    fn finish(self) -> (OffsetBuffer<i32>, NullBuffer) {
        (OffsetBuffer::new(ScalarBuffer::from(self.offsets)), NullBuffer::from(self.valid))
    }
}

/// The entry of a name in a row, if it has one.
fn entry(
    name: &str,
    names: &[String],
    name_index: &[u16],
    mut entries: std::ops::Range<usize>,
) -> Option<usize> {
    entries.find(|entry| {
        let index = name_index.get(*entry).copied().unwrap_or(u16::MAX);
        names.get(usize::from(index)).is_some_and(|found| found == name)
    })
}

/// The vectors of one name.
pub(crate) fn named(name: &str, map: &VectorMap, rows: usize) -> Result<ArrayRef, Error> {
    let mut lists = Lists::new();
    let mut components = Vec::new();
    for row in 0..rows {
        let entries = range(&map.row_offsets, row)?;
        let entry = entry(name, &map.names, &map.name_index, entries);
        if let Some(entry) = entry {
            let found = vector(&map.components, &map.vector_offsets, entry)?;
            components.extend_from_slice(found);
        }
        lists.end(entry.is_some(), components.len() / 4)?;
    }
    let (offsets, nulls) = lists.finish();
    Ok(Arc::new(list(offsets, floats(components)?, Some(nulls))?))
}

/// The lists of vectors of one name.
pub(crate) fn multi(name: &str, map: &MultiVectorMap, rows: usize) -> Result<ArrayRef, Error> {
    let (mut lists, mut vectors) = (Lists::new(), Lists::new());
    let mut components = Vec::new();
    for row in 0..rows {
        let entries = range(&map.row_offsets, row)?;
        let entry = entry(name, &map.names, &map.name_index, entries);
        if let Some(entry) = entry {
            for number in range(&map.list_offsets, entry)? {
                let found = vector(&map.components, &map.vector_offsets, number)?;
                components.extend_from_slice(found);
                vectors.end(true, components.len() / 4)?;
            }
        }
        lists.end(entry.is_some(), vectors.valid.len())?;
    }
    let (vector_offsets, _) = vectors.finish();
    let vectors = list(vector_offsets, floats(components)?, None)?;
    let (offsets, nulls) = lists.finish();
    let lists = ListArray::try_new(element(vector_type()), offsets, Arc::new(vectors), Some(nulls));
    Ok(Arc::new(lists.map_err(broken)?))
}

/// JSON of the vectors of all names but the declared ones.
pub(crate) fn others(
    single: Option<(&VectorMap, &[String])>,
    multi: Option<(&MultiVectorMap, &[String])>,
    rows: usize,
) -> Result<JsonColumn, Error> {
    let mut column = JsonColumn::with_room(rows, 0);
    for row in 0..rows {
        if let Some((map, declared)) = single {
            for entry in range(&map.row_offsets, row)? {
                if let Some(name) = undeclared(&map.names, &map.name_index, entry, declared)? {
                    column.begin_entry(name);
                    column.push_vector(vector(&map.components, &map.vector_offsets, entry)?);
                }
            }
        }
        if let Some((map, declared)) = multi {
            for entry in range(&map.row_offsets, row)? {
                if let Some(name) = undeclared(&map.names, &map.name_index, entry, declared)? {
                    column.begin_entry(name);
                    column.push_vectors(map, entry)?;
                }
            }
        }
        column.end_entries()?;
    }
    Ok(column)
}

fn undeclared<'a>(
    names: &'a [String],
    name_index: &[u16],
    entry: usize,
    declared: &[String],
) -> Result<Option<&'a str>, Error> {
    let index = name_index.get(entry).ok_or_else(broken_map)?;
    let name = names.get(usize::from(*index)).ok_or_else(broken_map)?;
    Ok((!declared.contains(name)).then_some(name.as_str()))
}

/// The text of a JSON column, as text.
pub(crate) fn into_text(array: &ArrayRef) -> Result<ArrayRef, Error> {
    use arrow_array::Array;
    use arrow_array::StringArray;
    use arrow_array::cast::AsArray;
    let bytes = array.as_binary::<i32>();
    let text: Buffer = bytes.values().clone();
    let text = StringArray::try_new(bytes.offsets().clone(), text, bytes.nulls().cloned());
    Ok(Arc::new(text.map_err(broken)?))
}
