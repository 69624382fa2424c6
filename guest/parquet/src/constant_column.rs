//! A column that has the same text in every row: a dictionary of one value, and one run of its index.
use std::io::Write;

use parquet::basic::{Compression, Encoding, PageType};
use parquet::data_type::ByteArray;
use parquet::file::metadata::{ColumnChunkMetaData, PageEncodingStats};
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::schema::types::ColumnDescPtr;

use crate::bindings::offloom::export::types::Error;
use crate::error::{parquet_error, write_error};
use crate::page::{DataEncoding, DataPageHeader, write_dictionary_header, write_single_run};

/// Writes the column chunk of `rows` rows to `out`, and describes it; `offset` is where it begins. It has
/// a hundred bytes, so it is not compressed.
pub(crate) fn write<W: Write>(
    descr: ColumnDescPtr,
    text: &str,
    rows: i32,
    out: &mut W,
    offset: i64,
) -> Result<ColumnChunkMetaData, Error> {
    let bytes = i32::try_from(text.len())
        .ok()
        .and_then(|bytes| Some((bytes, bytes.checked_add(4)?)))
        .ok_or_else(|| Error::InvalidData("a class name of 2 GiB".to_owned()))?;
    let mut chunk = Vec::new();
    write_dictionary_header(&mut chunk, bytes.1);
    chunk.extend_from_slice(&bytes.0.to_le_bytes());
    chunk.extend_from_slice(text.as_bytes());
    let dictionary_bytes = chunk.len() as i64;

    let mut indexes = Vec::new();
    write_single_run(&mut indexes, rows);
    let index_bytes = indexes.len() as i32;
    let header = DataPageHeader {
        uncompressed_bytes: index_bytes,
        compressed_bytes: index_bytes,
        rows,
        values: rows,
        nulls: 0,
        encoding: DataEncoding::RleDictionary,
        definition_bytes: 0,
        repetition_bytes: 0,
        is_compressed: false,
    };
    header.write(&mut chunk);
    chunk.append(&mut indexes);
    out.write_all(&chunk).map_err(write_error)?;

    let value = || Some(ByteArray::from(text));
    let statistics = ValueStatistics::new(value(), value(), None, Some(0), false)
        .with_min_is_exact(true)
        .with_max_is_exact(true);
    let pages = |page_type, encoding| PageEncodingStats { page_type, encoding, count: 1 };
    let bytes = chunk.len() as i64;
    ColumnChunkMetaData::builder(descr)
        .set_compression(Compression::UNCOMPRESSED)
        .set_encodings(vec![Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY])
        .set_page_encoding_stats(vec![
            pages(PageType::DICTIONARY_PAGE, Encoding::PLAIN),
            pages(PageType::DATA_PAGE_V2, Encoding::RLE_DICTIONARY),
        ])
        .set_statistics(Statistics::ByteArray(statistics))
        .set_num_values(rows.into())
        .set_total_compressed_size(bytes)
        .set_total_uncompressed_size(bytes)
        .set_dictionary_page_offset(Some(offset))
        .set_data_page_offset(offset.saturating_add(dictionary_bytes))
        .build()
        .map_err(parquet_error)
}
