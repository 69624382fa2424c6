//! A Parquet file's footer against the blocks that the host has kept: one row group each, exactly.
use std::ops::Range;

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::file::metadata::{
    ColumnChunkMetaData, FooterTail, ParquetMetaData, ParquetMetaDataOptions,
    ParquetMetaDataReader, ParquetStatisticsPolicy, RowGroupMetaData,
};

use crate::compact::Compact;
use crate::{metadata, schema};
use offloom_protocol::manifest::Block;

/// What a row group may take of a footer and of the page indexes before it: the default guest's
/// takes 750 bytes, one with page indexes in 20 columns some 200 KB.
const MAX_ROW_GROUP_BYTES: u64 = 256 * 1024;

/// What follows the last block, at the most.
const MAX_FILE_END_BYTES: u64 = 64 * 1024 * 1024;

/// The length of the metadata and the closing magic.
const TAIL_BYTES: usize = 8;

/// A file's end that does not describe its blocks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FooterError {
    /// It does not begin as a Parquet file does, or ends with its last block.
    #[error("it is no Parquet file")]
    NoParquet,
    /// Longer than the footer of so few row groups can be.
    #[error("{bytes} bytes follow the last block, more than the {max_bytes} that may")]
    TooLong {
        /// Bytes after the last block.
        bytes: u64,
        /// The bound.
        max_bytes: u64,
    },
    /// The last eight bytes are no length and magic, or the length leaves the file's end.
    #[error("the file does not end as a Parquet file does: {reason}")]
    Tail {
        /// What is wrong.
        reason: String,
    },
    /// The metadata cannot be read.
    #[error("the footer cannot be read: {reason}")]
    Malformed {
        /// What the reader said.
        reason: String,
    },
    /// Another number of row groups than blocks.
    #[error("the footer has {found} row groups for {expected} blocks")]
    RowGroups {
        /// Row groups.
        found: usize,
        /// Blocks.
        expected: usize,
    },
    /// Another number of rows.
    #[error("{place} has {found} rows, not {expected}")]
    Rows {
        /// `the footer`, `row group 3` or `row group 3, column id`.
        place: String,
        /// Rows there.
        found: i64,
        /// Rows that the blocks have.
        expected: u64,
    },
    /// The column chunks of a row group leave a gap, overlap, or lie outside their block.
    #[error("row group {row_group}, {column}: bytes {found:?} where {expected} should begin")]
    Place {
        /// From 0.
        row_group: usize,
        /// The column, or `end` for what follows the last one.
        column: String,
        /// Offset and end in the footer.
        found: Range<i64>,
        /// Where the bytes before it end.
        expected: u64,
    },
    /// A row group ends before or after its block.
    #[error("row group {row_group} ends at {found}, its block at {expected}")]
    End {
        /// From 0.
        row_group: usize,
        /// Where its last column chunk ends.
        found: u64,
        /// Where the block ends.
        expected: u64,
    },
    /// A codec that this host does not lend.
    #[error(
        "row group {row_group}, column {column}: codec {codec}; only ZSTD, GZIP, BROTLI, LZ4_RAW, \
         SNAPPY and UNCOMPRESSED are"
    )]
    Codec {
        /// From 0.
        row_group: usize,
        /// The column.
        column: String,
        /// What it is compressed with.
        codec: String,
    },
    /// Something that no block can hold: data in another file, an index of pages that are elsewhere.
    #[error("row group {row_group}, column {column}: {reason}")]
    Foreign {
        /// From 0.
        row_group: usize,
        /// The column.
        column: String,
        /// What it is.
        reason: String,
    },
    /// Row groups that are numbered in another order than their blocks.
    #[error("row group {row_group} says that it starts at {found}, its block starts at {expected}")]
    Start {
        /// From 0.
        row_group: usize,
        /// What the footer says.
        found: i64,
        /// The block's offset.
        expected: u64,
    },
}

/// Checks the end of a Parquet file before it is written: that its footer describes one row group
/// for each of `blocks`, whose column chunks fill the block to the byte, with the block's rows, in
/// a codec that the host lends; and that nothing in it points elsewhere. `file_end` is all that
/// follows the last block, in order, and `offset` the bytes of the file before it.
///
/// # Errors
/// [`FooterError`]: the first difference.
pub fn check_parquet_footer(
    offset: u64,
    file_end: &[Bytes],
    blocks: &[Block],
) -> Result<(), FooterError> {
    let bytes = file_end.iter().map(|chunk| chunk.len() as u64).fold(0, u64::saturating_add);
    check_length(bytes, blocks)?;
    match file_end {
        [whole] => read_footer(offset, whole, blocks),
        chunks => read_footer(offset, &chunks.concat(), blocks),
    }
    .map(|_metadata| ())
}

/// Whether `bytes` may follow the last of `blocks`, before they are read.
pub(crate) fn check_length(bytes: u64, blocks: &[Block]) -> Result<(), FooterError> {
    // Eight more for the schema and the file's own metadata, of which the definition of a class has up
    // to 1 MiB.
    let row_groups = (blocks.len() as u64).saturating_add(8);
    let max_bytes = row_groups.saturating_mul(MAX_ROW_GROUP_BYTES).min(MAX_FILE_END_BYTES);
    if bytes > max_bytes { Err(FooterError::TooLong { bytes, max_bytes }) } else { Ok(()) }
}

/// As [`check_parquet_footer`], and returns the metadata.
pub(crate) fn read_footer(
    offset: u64,
    file_end: &[u8],
    blocks: &[Block],
) -> Result<ParquetMetaData, FooterError> {
    let tail = |reason: String| FooterError::Tail { reason };
    let (before_tail, tail_bytes) = file_end
        .split_last_chunk::<TAIL_BYTES>()
        .ok_or_else(|| tail(format!("{} bytes are no footer", file_end.len())))?;
    let found = FooterTail::try_new(tail_bytes).map_err(|error| tail(error.to_string()))?;
    if found.is_encrypted_footer() {
        return Err(tail("the footer is encrypted".to_owned()));
    }
    let (before_metadata, metadata) = before_tail
        .len()
        .checked_sub(found.metadata_length())
        .and_then(|start| before_tail.split_at_checked(start))
        .ok_or_else(|| tail(format!("a footer of {} bytes", found.metadata_length())))?;
    let metadata = decode(metadata)?;
    // What may lie between the last block and the footer: bloom filters and page indexes.
    let indexes = offset..offset.saturating_add(before_metadata.len() as u64);
    check_row_groups(&metadata, blocks, &indexes)?;
    Ok(metadata)
}

/// The bytes are a guest's: its schema is read with bounds, the rest is walked with bounds, its
/// statistics are left out, and should the reader panic, that is an error of theirs as well.
fn decode(footer: &[u8]) -> Result<ParquetMetaData, FooterError> {
    let malformed = |reason: String| FooterError::Malformed { reason };
    let mut thrift = Compact::new(footer);
    let schema = schema::read(&mut thrift).map_err(|error| malformed(error.to_string()))?;
    metadata::check(&mut thrift, schema.num_columns() as u64)
        .map_err(|error| malformed(error.to_string()))?;
    let options = ParquetMetaDataOptions::new()
        .with_schema(schema)
        .with_column_stats_policy(ParquetStatisticsPolicy::SkipAll)
        .with_encoding_stats_policy(ParquetStatisticsPolicy::SkipAll)
        .with_size_stats_policy(ParquetStatisticsPolicy::SkipAll);
    std::panic::catch_unwind(|| {
        ParquetMetaDataReader::decode_metadata_with_options(footer, Some(&options))
    })
    .map_err(|_panic| malformed("its reader gave up".to_owned()))?
    .map_err(|error| malformed(error.to_string()))
}

fn check_row_groups(
    metadata: &ParquetMetaData,
    blocks: &[Block],
    indexes: &Range<u64>,
) -> Result<(), FooterError> {
    let row_groups = metadata.row_groups();
    if row_groups.len() != blocks.len() {
        return Err(FooterError::RowGroups { found: row_groups.len(), expected: blocks.len() });
    }
    let rows = blocks.iter().map(|block| block.rows).fold(0, u64::saturating_add);
    check_rows(metadata.file_metadata().num_rows(), rows, || "the footer".to_owned())?;
    for (number, (row_group, block)) in row_groups.iter().zip(blocks).enumerate() {
        check_row_group(number, row_group, block)?;
        for column in row_group.columns() {
            check_column(number, column, block, indexes)?;
        }
    }
    Ok(())
}

fn check_rows(
    found: i64,
    expected: u64,
    place: impl FnOnce() -> String,
) -> Result<(), FooterError> {
    if u64::try_from(found) == Ok(expected) {
        return Ok(());
    }
    Err(FooterError::Rows { place: place(), found, expected })
}

/// The column chunks, in the order of their offsets, fill the block.
fn check_row_group(
    number: usize,
    row_group: &RowGroupMetaData,
    block: &Block,
) -> Result<(), FooterError> {
    check_rows(row_group.num_rows(), block.rows, || format!("row group {number}"))?;
    if let Some(start) = row_group.file_offset()
        && u64::try_from(start) != Ok(block.offset)
    {
        return Err(FooterError::Start { row_group: number, found: start, expected: block.offset });
    }
    let mut chunks: Vec<(Range<i64>, &ColumnChunkMetaData)> =
        row_group.columns().iter().map(|column| (bytes_of(column), column)).collect();
    chunks.sort_by_key(|(bytes, _)| bytes.start);
    let mut end = block.offset;
    for (bytes, column) in chunks {
        let length = bytes.end.checked_sub(bytes.start).and_then(|n| u64::try_from(n).ok());
        end = match length {
            Some(length) if u64::try_from(bytes.start) == Ok(end) => end.saturating_add(length),
            _ => {
                return Err(FooterError::Place {
                    row_group: number,
                    column: format!("column {}", column.column_path()),
                    found: bytes,
                    expected: end,
                });
            }
        };
    }
    let expected = block.offset.saturating_add(block.length);
    if end != expected {
        return Err(FooterError::End { row_group: number, found: end, expected });
    }
    Ok(())
}

/// A chunk begins with its dictionary page, where it has one.
fn bytes_of(column: &ColumnChunkMetaData) -> Range<i64> {
    let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
    start..start.saturating_add(column.compressed_size())
}

fn check_column(
    number: usize,
    column: &ColumnChunkMetaData,
    block: &Block,
    indexes: &Range<u64>,
) -> Result<(), FooterError> {
    let name = || column.column_path().to_string();
    if column.column_descr().max_rep_level() == 0 {
        check_rows(column.num_values(), block.rows, || {
            format!("row group {number}, column {}", name())
        })?;
    }
    let is_lent = matches!(
        column.compression(),
        Compression::UNCOMPRESSED
            | Compression::ZSTD(_)
            | Compression::GZIP(_)
            | Compression::BROTLI(_)
            | Compression::LZ4_RAW
            | Compression::SNAPPY
    );
    if !is_lent {
        return Err(FooterError::Codec {
            row_group: number,
            column: name(),
            codec: column.compression().to_string(),
        });
    }
    let foreign =
        |reason: String| FooterError::Foreign { row_group: number, column: name(), reason };
    if let Some(path) = column.file_path() {
        return Err(foreign(format!(
            "its data is said to be in the file '{}'",
            path.escape_debug()
        )));
    }
    if !bytes_of(column).contains(&column.data_page_offset()) {
        return Err(foreign(format!(
            "its first data page is said to be at {}",
            column.data_page_offset()
        )));
    }
    let indexed = [
        ("column index", column.column_index_offset(), column.column_index_length()),
        ("offset index", column.offset_index_offset(), column.offset_index_length()),
        ("bloom filter", column.bloom_filter_offset(), column.bloom_filter_length()),
    ];
    for (what, offset, length) in indexed {
        let Some(offset) = offset else { continue };
        let start = u64::try_from(offset).unwrap_or(u64::MAX);
        let end = start.saturating_add(u64::try_from(length.unwrap_or(0)).unwrap_or(u64::MAX));
        if start < indexes.start || end > indexes.end {
            return Err(foreign(format!(
                "its {what} is said to be at {offset}, not after the blocks"
            )));
        }
    }
    Ok(())
}
