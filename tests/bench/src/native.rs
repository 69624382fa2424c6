//! The default guest's own code, compiled natively.
use anyhow::bail;
use bytes::Bytes;
use offloom_guest_parquet::bindings::offloom::export::types as wit;
use offloom_guest_parquet::{ParquetFile, Rows, Sink};
use offloom_rows as rows;

/// One output file.
pub struct NativeFile {
    file: ParquetFile,
}

impl NativeFile {
    /// A file for a class with the usual columns.
    pub fn open(class_name: &str, options: &[(String, String)]) -> anyhow::Result<NativeFile> {
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
            class_definition: None,
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

struct Batches(std::vec::IntoIter<rows::RowBatch>);

impl Rows for Batches {
    fn next(&mut self, _rows: u32, _bytes: u32) -> Result<Option<wit::RowBatch>, wit::Error> {
        Ok(self.0.next().map(|batch| wit::RowBatch {
            row_count: batch.row_count,
            columns: batch.columns.into_iter().map(column).collect(),
        }))
    }
}

/// Keeps the pieces, as the host does.
struct Pieces(Vec<Bytes>);

impl Sink for Pieces {
    fn write(&mut self, bytes: &[u8]) -> Result<(), wit::Error> {
        self.0.push(Bytes::copy_from_slice(bytes));
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
