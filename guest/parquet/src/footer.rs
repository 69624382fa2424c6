//! From the notes of the blocks to the footer of the file.
use std::io::Write;

use parquet::file::metadata::{
    FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader,
    ParquetMetaDataWriter, RowGroupMetaData,
};

use crate::bindings::exports::offloom::export::exporter::PlacedBlock;
use crate::bindings::offloom::export::types::Error;
use crate::error::parquet_error;
use crate::layout::{CREATED_BY, Layout};
use crate::options::Pages;

/// The length of the footer and the magic bytes after it.
const TRAILER_BYTES: usize = 8;

/// What is remembered of a block: a footer with its row group alone, whose offsets count from the
/// beginning of a file in which the block follows the magic bytes. Without the file's key-value
/// metadata, of which a file needs one copy and not one for each block.
pub(crate) fn note(layout: &Layout, row_group: &RowGroupMetaData) -> Result<Vec<u8>, Error> {
    let rows = row_group.num_rows();
    let mut note = Vec::new();
    let metadata = ParquetMetaData::new(file_metadata(layout, rows, None), vec![row_group.clone()]);
    ParquetMetaDataWriter::new(&mut note, &metadata)
        .with_preserve_page_index_locations(false)
        .finish()
        .map_err(parquet_error)?;
    note.truncate(note.len().saturating_sub(TRAILER_BYTES));
    Ok(note)
}

/// Writes the footer of a file that consists of the magic bytes and these blocks.
pub(crate) fn write<W: Write>(
    layout: &Layout,
    blocks: &[PlacedBlock],
    out: &mut W,
) -> Result<(), Error> {
    let mut row_groups = Vec::with_capacity(blocks.len());
    let mut rows = 0_i64;
    for block in blocks.iter().filter(|block| block.block.row_count > 0) {
        let row_group = place(layout, block, row_groups.len())?;
        rows = rows.saturating_add(row_group.num_rows());
        row_groups.push(row_group);
    }
    let key_values = Some(layout.key_values.clone());
    let metadata = ParquetMetaData::new(file_metadata(layout, rows, key_values), row_groups);
    ParquetMetaDataWriter::new(out, &metadata)
        .with_preserve_page_index_locations(false)
        .finish()
        .map_err(parquet_error)
}

fn file_metadata(layout: &Layout, rows: i64, key_values: Option<Vec<KeyValue>>) -> FileMetaData {
    // Version of the Parquet format that the footer names: that of the data pages.
    let format_version = match layout.settings.pages {
        Pages::V1 => 1,
        Pages::V2 => 2,
    };
    FileMetaData::new(
        format_version,
        rows,
        Some(CREATED_BY.to_owned()),
        key_values,
        layout.parquet.clone(),
        None,
    )
}

/// The row group of a block, moved to where the block lies.
fn place(layout: &Layout, placed: &PlacedBlock, ordinal: usize) -> Result<RowGroupMetaData, Error> {
    let broken = |what: &str| Error::InvalidData(format!("the note of block {ordinal} {what}"));
    let options = ParquetMetaDataOptions::new()
        .with_schema(layout.parquet.clone())
        .with_encoding_stats_as_mask(false);
    let metadata =
        ParquetMetaDataReader::decode_metadata_with_options(&placed.block.note, Some(&options))
            .map_err(|error| broken(&format!("cannot be read: {error}")))?;
    let row_group = metadata.row_groups().first().ok_or_else(|| broken("has no row group"))?;
    if u64::try_from(row_group.num_rows()) != Ok(placed.block.row_count)
        || u64::try_from(row_group.compressed_size()) != Ok(placed.length)
    {
        return Err(broken("does not fit its rows or its length"));
    }
    let too_far = || broken("lies beyond what Parquet can address");
    let offset = i64::try_from(placed.offset).map_err(|_| too_far())?;
    let shift = offset.checked_sub(4).ok_or_else(|| broken("overlaps the magic bytes"))?;
    let columns = row_group.columns().iter().map(|column| {
        let data_page = column.data_page_offset().checked_add(shift).ok_or_else(too_far)?;
        let dictionary_page = match column.dictionary_page_offset() {
            Some(page) => Some(page.checked_add(shift).ok_or_else(too_far)?),
            None => None,
        };
        column
            .clone()
            .into_builder()
            .set_data_page_offset(data_page)
            .set_dictionary_page_offset(dictionary_page)
            .build()
            .map_err(parquet_error)
    });
    let columns = columns.collect::<Result<Vec<_>, Error>>()?;
    row_group
        .clone()
        .into_builder()
        .set_column_metadata(columns)
        .set_file_offset(offset)
        .set_ordinal(i32::try_from(ordinal).map_err(|_| too_far())?)
        .build()
        .map_err(parquet_error)
}
