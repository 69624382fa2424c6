//! The default guest's own code, compiled natively.
use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;

use anyhow::bail;
use bytes::Bytes;
use offloom_guest_parquet::bindings::offloom::export::types as wit;
use offloom_guest_parquet::{Batch, Held, ParquetFile, Part, Rows, Sink};
use offloom_rows as rows;
use parquet::basic::Compression;

/// One output file.
pub struct NativeFile {
    file: ParquetFile,
}

impl NativeFile {
    /// A file for a class with the usual columns.
    pub fn open(
        class_name: &str,
        class_definition: &str,
        options: &[(String, String)],
    ) -> anyhow::Result<NativeFile> {
        let column = |name: &str, data_type, nullable| wit::Field {
            name: name.to_owned(),
            data_type,
            nullable,
        };
        let schema = wit::Schema {
            class_name: class_name.to_owned(),
            fields: vec![
                column("id", wit::DataType::Uuid, false),
                column("creation_time", wit::DataType::TimestampMillis, false),
                column("update_time", wit::DataType::TimestampMillis, false),
                column("vector", wit::DataType::Vector(None), true),
                column("named_vectors", wit::DataType::NamedVectors(Vec::new()), true),
                column("multi_vectors", wit::DataType::NamedMultiVectors(Vec::new()), true),
                column("properties", wit::DataType::Json, true),
            ],
            class_definition: Some(class_definition.to_owned()),
        };
        match ParquetFile::open(&schema, options) {
            Ok(file) => Ok(NativeFile { file }),
            Err(error) => bail!("{error}"),
        }
    }

    /// The bytes of one block.
    pub fn encode(&self, batches: Vec<rows::RowBatch>) -> anyhow::Result<Vec<Bytes>> {
        let mut source = Batches(batches.into_iter());
        let mut pieces = Pieces(Vec::new());
        match self.file.encode(&mut source, &mut pieces) {
            Ok(_) => Ok(pieces.0),
            Err(error) => bail!("{error}"),
        }
    }
}

/// A buffer, as the host holds it.
struct Buffer(Bytes);

/// Compresses as the host does: contexts and memory are used again.
fn compress(level: i32, prefix: &[u8], parts: &[&[u8]]) -> Result<Buffer, wit::Error> {
    thread_local! {
        static MEMORY: RefCell<(Vec<u8>, Vec<u8>)> = RefCell::default();
        static CONTEXTS: RefCell<HashMap<i32, zstd::bulk::Compressor<'static>>> = RefCell::default();
    }
    let failed = |error: std::io::Error| wit::Error::Other(error.to_string());
    MEMORY.with_borrow_mut(|(input, frame)| {
        input.clear();
        input.extend_from_slice(prefix);
        for part in parts {
            input.extend_from_slice(part);
        }
        frame.clear();
        frame.reserve(zstd::zstd_safe::compress_bound(input.len()));
        CONTEXTS.with_borrow_mut(|contexts| {
            let context = match contexts.entry(level) {
                Entry::Occupied(context) => context.into_mut(),
                Entry::Vacant(entry) => {
                    entry.insert(zstd::bulk::Compressor::new(level).map_err(failed)?)
                }
            };
            context.compress_to_buffer(input, frame).map_err(failed)
        })?;
        Ok(Buffer(Bytes::copy_from_slice(frame)))
    })
}

fn slice(Buffer(bytes): &Buffer, offset: u64, length: u64) -> &[u8] {
    let start = offset as usize;
    // A part lies in its buffer.
    bytes.get(start..start + length as usize).unwrap_or_default()
}

impl Held for Buffer {
    fn length(&self) -> u64 {
        self.0.len() as u64
    }

    /// Zstandard only: the benchmark has no other.
    fn pack(
        compression: Compression,
        prefix: &[u8],
        parts: &[Part<Buffer>],
    ) -> Result<Buffer, wit::Error> {
        let Compression::ZSTD(level) = compression else {
            return Err(wit::Error::Unsupported(format!("{compression} is not measured")));
        };
        let parts: Vec<&[u8]> =
            parts.iter().map(|part| slice(&part.buffer, part.offset, part.length)).collect();
        compress(level.compression_level(), prefix, &parts)
    }
}

struct Batches(std::vec::IntoIter<rows::RowBatch>);

impl Rows for Batches {
    type Held = Buffer;

    fn next(
        &mut self,
        _rows: u32,
        _bytes: u32,
        hold: &[u32],
    ) -> Result<Option<Batch<Buffer>>, wit::Error> {
        let Some(mut batch) = self.0.next() else { return Ok(None) };
        let mut held = Vec::new();
        for (index, column) in (0_u32..).zip(&mut batch.columns) {
            if let rows::Values::VariableWidth(values) | rows::Values::Vector(values) =
                &mut column.values
                && hold.contains(&index)
                && !values.bytes.is_empty()
            {
                held.push((index, Rc::new(Buffer(std::mem::take(&mut values.bytes).into()))));
            }
        }
        let rows = wit::RowBatch {
            row_count: batch.row_count,
            columns: batch.columns.into_iter().map(column).collect(),
        };
        Ok(Some(Batch { rows, held }))
    }
}

/// Keeps the pieces, as the host does.
struct Pieces(Vec<Bytes>);

impl Sink for Pieces {
    type Held = Buffer;

    fn write(&mut self, bytes: &[u8]) -> Result<(), wit::Error> {
        self.0.push(Bytes::copy_from_slice(bytes));
        Ok(())
    }

    fn splice(&mut self, part: &Part<Buffer>) -> Result<(), wit::Error> {
        let start = part.offset as usize;
        self.0.push(part.buffer.0.slice(start..start + part.length as usize));
        Ok(())
    }
}

fn column(column: rows::Column) -> wit::Column {
    let values = match column.values {
        rows::Values::Boolean(bits) => wit::Values::Boolean(bits),
        rows::Values::Int64(numbers) => wit::Values::Int64(numbers),
        rows::Values::Float64(numbers) => wit::Values::Float64(numbers),
        rows::Values::FixedWidth(bytes) => wit::Values::FixedWidth(bytes),
        rows::Values::VariableWidth(values) => wit::Values::VariableWidth(variable(values)),
        rows::Values::Vector(values) => wit::Values::Vector(variable(values)),
        rows::Values::NamedVectors(map) => wit::Values::NamedVectors(wit::VectorMap {
            names: map.names,
            row_offsets: map.row_offsets,
            name_index: map.name_index,
            vector_offsets: map.vector_offsets,
            components: map.components,
        }),
        rows::Values::NamedMultiVectors(map) => {
            wit::Values::NamedMultiVectors(wit::MultiVectorMap {
                names: map.names,
                row_offsets: map.row_offsets,
                name_index: map.name_index,
                list_offsets: map.list_offsets,
                vector_offsets: map.vector_offsets,
                components: map.components,
            })
        }
    };
    wit::Column { validity: column.validity, values }
}

fn variable(values: rows::VariableWidth) -> wit::VariableWidth {
    wit::VariableWidth { offsets: values.offsets, bytes: values.bytes }
}
