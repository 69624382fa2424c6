//! One output file: a block of rows becomes one row group.
use std::io::Write;

use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedFileWriter;

use crate::bindings::exports::offloom::export::exporter::{Block, PlacedBlock};
use crate::bindings::offloom::export::types::{Error, RowBatch, Schema};
use crate::layout::{Layout, Origin};
use crate::sink::BlockWriter;
use crate::{Settings, Sink, columns, footer};

/// What every Parquet file begins and ends with.
const MAGIC: &[u8; 4] = b"PAR1";

/// Rows asked for at once.
pub const BATCH_ROWS: u32 = 10_000;
/// Bytes asked for at once: so few that a batch is still in the processor's cache when it is encoded
/// (3 to 5 % faster than batches of 8 MiB on rows with vectors).
pub const BATCH_BYTES: u32 = 1024 * 1024;

/// The rows of one block, read forward once.
pub trait Rows {
    /// The next rows within the limits, or none at the end.
    fn next(&mut self, max_rows: u32, max_bytes: u32) -> Result<Option<RowBatch>, Error>;
}

/// One output file of a class, as one of its encoders sees it.
pub struct ParquetFile {
    layout: Layout,
}

impl ParquetFile {
    /// Prepares for the rows of a class. `unsupported` for options or columns that it cannot handle.
    pub fn open(schema: &Schema, options: &[(String, String)]) -> Result<ParquetFile, Error> {
        let settings = Settings::parse(options)?;
        Ok(ParquetFile { layout: Layout::new(schema, &settings)? })
    }

    /// The bytes before the first block.
    pub fn prologue(&self) -> &'static [u8] {
        MAGIC
    }

    /// Writes all rows as one row group. No rows, no bytes.
    pub fn encode<R: Rows, S: Sink + Send>(
        &self,
        rows: &mut R,
        sink: &mut S,
    ) -> Result<Block, Error> {
        // The writer begins with the magic bytes; in this file they are the prologue.
        let mut out = BlockWriter::new(sink, MAGIC.len());
        let result = self.encode_into(rows, &mut out);
        match out.take_error() {
            Some(error) => Err(error),
            None => result,
        }
    }

    /// Writes the footer that ties the blocks together.
    pub fn assemble<S: Sink + Send>(
        &self,
        blocks: &[PlacedBlock],
        sink: &mut S,
    ) -> Result<(), Error> {
        let mut out = BlockWriter::new(sink, 0);
        let result = footer::write(&self.layout, blocks, &mut out)
            .and_then(|()| out.flush().map_err(|error| Error::Other(error.to_string())));
        match out.take_error() {
            Some(error) => Err(error),
            None => result,
        }
    }

    fn encode_into<R: Rows, W: Write + Send>(
        &self,
        rows: &mut R,
        out: &mut W,
    ) -> Result<Block, Error> {
        let layout = &self.layout;
        let Some(first) = rows.next(BATCH_ROWS, BATCH_BYTES)? else {
            return Ok(Block { row_count: 0, note: Vec::new(), counters: Vec::new() });
        };
        let mut writer = SerializedFileWriter::new(
            out,
            layout.parquet.root_schema_ptr(),
            layout.properties_of_block(&first)?.clone(),
        )
        .map_err(parquet_error)?;
        let factory = ArrowRowGroupWriterFactory::new(&writer, layout.arrow.clone());
        let mut chunks = factory.create_column_writers(0).map_err(parquet_error)?;
        let mut row_count = 0_u64;
        let mut non_finite = vec![0_u64; chunks.len()];

        let mut next = Some(first);
        while let Some(batch) = next {
            row_count = row_count.saturating_add(u64::from(batch.row_count));
            self.write_batch(batch, &mut chunks, &mut non_finite)?;
            next = rows.next(BATCH_ROWS, BATCH_BYTES)?;
        }
        if row_count == 0 {
            return Ok(Block { row_count, note: Vec::new(), counters: Vec::new() });
        }

        let mut row_group = writer.next_row_group().map_err(parquet_error)?;
        for chunk in chunks {
            let chunk = chunk.close().map_err(parquet_error)?;
            chunk.append_to_row_group(&mut row_group).map_err(parquet_error)?;
        }
        let row_group = row_group.close().map_err(parquet_error)?;
        writer.flush().map_err(|error| Error::Other(error.to_string()))?;
        let counters = layout
            .arrow
            .fields()
            .iter()
            .zip(non_finite)
            .filter(|(_, count)| *count > 0)
            .map(|(field, count)| (format!("{}.non_finite_as_null", field.name()), count))
            .collect();
        Ok(Block { row_count, note: footer::note(layout, &row_group)?, counters })
    }

    fn write_batch(
        &self,
        batch: RowBatch,
        chunks: &mut [ArrowColumnWriter],
        non_finite: &mut [u64],
    ) -> Result<(), Error> {
        let rows = batch.row_count as usize;
        let mut columns: Vec<_> = batch.columns.into_iter().map(Some).collect();
        let fields = self.layout.arrow.fields();
        for (((origin, field), chunk), non_finite) in
            self.layout.origins.iter().zip(fields).zip(chunks).zip(non_finite)
        {
            let encoded = match origin {
                Origin::ClassName => columns::class_name(&self.layout.class_name, rows)?,
                Origin::Batch(index, _) => {
                    let column =
                        columns.get_mut(*index).and_then(Option::take).ok_or_else(|| {
                            Error::InvalidData(format!("a batch lacks column `{}`", field.name()))
                        })?;
                    columns::encode(column, rows, field.data_type())?
                }
            };
            *non_finite = non_finite.saturating_add(encoded.non_finite);
            let leaves = compute_leaves(field, &encoded.array).map_err(parquet_error)?;
            for leaf in &leaves {
                chunk.write(leaf).map_err(parquet_error)?;
            }
        }
        Ok(())
    }
}

pub(crate) fn parquet_error(error: ParquetError) -> Error {
    Error::Other(error.to_string())
}
