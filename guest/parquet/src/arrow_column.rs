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

/// The column chunk that a block gets.
pub(crate) struct ArrowColumn {
    schema: SchemaDescPtr,
    properties: WriterPropertiesPtr,
    field: ArrowField,
    writer: ArrowColumnWriter,
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
        let writer = writers.map_err(parquet_error)?.pop();
        let writer = writer.ok_or_else(|| Error::Other("a column has no writer".to_owned()))?;
        Ok(ArrowColumn {
            schema: schema.clone(),
            properties: properties.clone(),
            field: field.clone(),
            writer,
            non_finite: 0,
        })
    }

    /// Adds the rows of a batch.
    pub(crate) fn push(&mut self, encoded: &Encoded) -> Result<(), Error> {
        self.non_finite = self.non_finite.saturating_add(encoded.non_finite);
        for leaf in &compute_leaves(&self.field, &encoded.array).map_err(parquet_error)? {
            self.writer.write(leaf).map_err(parquet_error)?;
        }
        Ok(())
    }

    /// Writes the column chunk to `out`, and describes it; `offset` is where it begins.
    pub(crate) fn finish<W: Write + Send>(
        self,
        out: &mut W,
        offset: i64,
    ) -> Result<ColumnChunkMetaData, Error> {
        let chunk = self.writer.close().map_err(parquet_error)?;
        let mut tracked = TrackedWrite::new(out);
        // A row group of this column alone, because the columns beside it may be written by hand.
        let mut row_group =
            SerializedRowGroupWriter::new(self.schema, self.properties, &mut tracked, 0, None);
        chunk.append_to_row_group(&mut row_group).map_err(parquet_error)?;
        let row_group = row_group.close().map_err(parquet_error)?;
        tracked.flush().map_err(write_error)?;
        let column = row_group.columns().first();
        let column = column.ok_or_else(|| Error::Other("a column was not written".to_owned()))?;
        let shifted = |from: i64| from.saturating_add(offset);
        column
            .clone()
            .into_builder()
            .set_data_page_offset(shifted(column.data_page_offset()))
            .set_dictionary_page_offset(column.dictionary_page_offset().map(shifted))
            .build()
            .map_err(parquet_error)
    }
}
