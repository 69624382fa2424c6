//! A column that becomes Arrow arrays, which the `parquet` crate writes.
use std::io::{self, Write};
use std::sync::Arc;

use arrow_schema::{Field as ArrowField, Schema as ArrowSchema};
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter, TrackedWrite};
use parquet::schema::types::SchemaDescPtr;

use crate::bindings::offloom::export::types::Error;
use crate::columns::Encoded;
use crate::error::{parquet_error, write_error};

/// The column chunks that a block gets: one for each leaf of a column.
pub(crate) struct ArrowColumn {
    schema: SchemaDescPtr,
    properties: WriterPropertiesPtr,
    field: ArrowField,
    /// One for each leaf of the field.
    writers: Vec<ArrowColumnWriter>,
    /// Numbers of vectors that are no JSON numbers and became `null`.
    pub(crate) non_finite: u64,
}

impl ArrowColumn {
    /// `schema` has this column alone.
    pub(crate) fn new(
        schema: &SchemaDescPtr,
        field: &ArrowField,
        properties: &WriterPropertiesPtr,
    ) -> Result<ArrowColumn, Error> {
        let arrow = Arc::new(ArrowSchema::new(vec![field.clone()]));
        // It writes nothing: the factory takes the schema and the properties from it.
        let file =
            SerializedFileWriter::new(io::sink(), schema.root_schema_ptr(), properties.clone())
                .map_err(parquet_error)?;
        let writers = ArrowRowGroupWriterFactory::new(&file, arrow).create_column_writers(0);
        Ok(ArrowColumn {
            schema: schema.clone(),
            properties: properties.clone(),
            field: field.clone(),
            writers: writers.map_err(parquet_error)?,
            non_finite: 0,
        })
    }

    /// Adds the rows of a batch.
    pub(crate) fn push(&mut self, encoded: &Encoded) -> Result<(), Error> {
        self.non_finite = self.non_finite.saturating_add(encoded.non_finite);
        let leaves = compute_leaves(&self.field, &encoded.array).map_err(parquet_error)?;
        for (writer, leaf) in self.writers.iter_mut().zip(&leaves) {
            writer.write(leaf).map_err(parquet_error)?;
        }
        Ok(())
    }

    /// Writes the column chunks to `out`, one for each leaf, and describes them; `offset` is where the first
    /// begins.
    pub(crate) fn finish<W: Write + Send>(
        self,
        out: &mut W,
        offset: i64,
    ) -> Result<Vec<ColumnChunkMetaData>, Error> {
        let mut tracked = TrackedWrite::new(out);
        // A row group of this column alone, because the columns beside it may be written by hand.
        let mut row_group =
            SerializedRowGroupWriter::new(self.schema, self.properties, &mut tracked, 0, None);
        for writer in self.writers {
            let chunk = writer.close().map_err(parquet_error)?;
            chunk.append_to_row_group(&mut row_group).map_err(parquet_error)?;
        }
        let row_group = row_group.close().map_err(parquet_error)?;
        tracked.flush().map_err(write_error)?;
        let shifted = |from: i64| from.saturating_add(offset);
        let columns = row_group.columns().iter().map(|column| {
            let shifted = column
                .clone()
                .into_builder()
                .set_data_page_offset(shifted(column.data_page_offset()))
                .set_dictionary_page_offset(column.dictionary_page_offset().map(shifted));
            shifted.build().map_err(parquet_error)
        });
        columns.collect()
    }
}
