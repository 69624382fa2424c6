//! Ends of files that do not describe what is before them.
use crate::bindings::offloom::export::types::Error;
use parquet::basic::Compression;
use parquet::errors::Result;
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnChunkMetaDataBuilder, FileMetaData, ParquetMetaData,
    ParquetMetaDataReader, ParquetMetaDataWriter, RowGroupMetaData,
};

/// The length of the metadata and the closing magic.
const TAIL_BYTES: usize = 8;

/// The end of a file that is written instead of `honest`.
pub(crate) fn forge(forgery: &str, mut honest: Vec<u8>) -> std::result::Result<Vec<u8>, Error> {
    match forgery {
        "end-cut" => honest.truncate(honest.len().saturating_sub(3)),
        "end-missing" => honest.clear(),
        "end-is-csv" | "json" | "csv" => honest = b"1,2\n3,4\n".to_vec(),
        "end-length" => {
            let at = honest.len().saturating_sub(TAIL_BYTES);
            if let Some(length) = honest.get_mut(at..).and_then(|tail| tail.first_chunk_mut()) {
                *length = [0xff, 0xff, 0xff, 0x7f];
            }
        }
        // 9,000 lists in a field that the format does not have, each of two thousand million booleans.
        "end-of-booleans" => {
            let mut field = vec![0xf9, 0xf9];
            field.extend(varint(9_000));
            for _ in 0..9_000 {
                field.push(0xf1);
                field.extend(varint(i32::MAX as u32));
            }
            honest = with_field(&honest, &field);
        }
        // Field 5, the key-value metadata: two million structs of one byte.
        "end-of-key-values" => {
            let mut field = vec![0x09, 10, 0xfc];
            field.extend(varint(2_000_000));
            field.resize(field.len().saturating_add(2_000_000), 0);
            honest = with_field(&honest, &field);
        }
        // Field 3, the number of rows, once more: the last one counts.
        "end-more-rows" => honest = with_field(&honest, &[0x06, 6, 0x80, 0x7d]),
        "end-negative-rows" => honest = with_field(&honest, &[0x06, 6, 1]),
        _ if forgery.starts_with("footer-") || forgery == "rows-dropped-in-secret" => {
            return forge_footer(forgery, &honest).map_err(|error| Error::Other(error.to_string()));
        }
        _ => {}
    }
    Ok(honest)
}

/// Metadata with one more field, in Thrift's compact protocol.
fn with_field(honest: &[u8], field: &[u8]) -> Vec<u8> {
    // Its last byte says that no field follows.
    let fields = honest.len().saturating_sub(TAIL_BYTES + 1);
    let mut forged = [honest.get(..fields).unwrap_or_default(), field, &[0]].concat();
    forged.extend((forged.len() as u32).to_le_bytes());
    forged.extend(b"PAR1");
    forged
}

fn varint(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn forge_footer(forgery: &str, honest: &[u8]) -> Result<Vec<u8>> {
    let (metadata, _) = honest.split_at(honest.len().saturating_sub(TAIL_BYTES));
    let metadata = ParquetMetaDataReader::decode_metadata(metadata)?;
    let mut groups = metadata.row_groups().to_vec();
    match forgery {
        "footer-no-groups" => groups.clear(),
        "footer-a-group-twice" => groups.extend(groups.first().cloned()),
        // One row more in one group, and one less in another: together there are as many as there should.
        "footer-group-rows" => {
            if let [first, .., last] = groups.as_mut_slice() {
                *first = with_rows(first, 1)?;
                *last = with_rows(last, -1)?;
            }
        }
        // One row of each block is missing from its pages, and the footer has it.
        "rows-dropped-in-secret" => {
            groups = groups.iter().map(|group| with_rows(group, 1)).collect::<Result<_>>()?;
            groups = of_groups(&groups, |column| {
                let all = column.num_values().saturating_add(1);
                column.clone().into_builder().set_num_values(all).build()
            })?;
        }
        "footer-overlap" => {
            if let [first, rest @ ..] = groups.as_mut_slice() {
                for group in rest {
                    let more = group.num_rows().saturating_sub(first.num_rows());
                    *group = with_rows(first, more)?;
                }
            }
        }
        "footer-outside" => {
            groups = moved(&groups, 1 << 40)?;
        }
        "footer-before" => {
            groups = moved(&groups, -(1 << 40))?;
        }
        "footer-codec" => {
            groups = changed(&groups, |column| column.set_compression(Compression::LZO))?;
        }
        "footer-other-file" => {
            groups = changed(&groups, |column| column.set_file_path("/etc/passwd".to_owned()))?;
        }
        _ => {}
    }
    let file = metadata.file_metadata();
    let file = FileMetaData::new(
        file.version(),
        // The writer counts those of the row groups.
        file.num_rows(),
        file.created_by().map(str::to_owned),
        file.key_value_metadata().cloned(),
        file.schema_descr_ptr(),
        None,
    );
    let mut forged = Vec::new();
    ParquetMetaDataWriter::new(&mut forged, &ParquetMetaData::new(file, groups))
        .with_preserve_page_index_locations(false)
        .finish()?;
    Ok(forged)
}

fn moved(groups: &[RowGroupMetaData], by: i64) -> Result<Vec<RowGroupMetaData>> {
    of_groups(groups, |column| {
        let to = |offset: i64| offset.saturating_add(by);
        column
            .clone()
            .into_builder()
            .set_data_page_offset(to(column.data_page_offset()))
            .set_dictionary_page_offset(column.dictionary_page_offset().map(to))
            .build()
    })
}

fn changed(
    groups: &[RowGroupMetaData],
    change: impl Fn(ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder,
) -> Result<Vec<RowGroupMetaData>> {
    of_groups(groups, |column| change(column.clone().into_builder()).build())
}

fn with_rows(group: &RowGroupMetaData, more: i64) -> Result<RowGroupMetaData> {
    let rows = group.num_rows().saturating_add(more);
    group.clone().into_builder().set_num_rows(rows).build()
}

fn of_groups(
    groups: &[RowGroupMetaData],
    column: impl Fn(&ColumnChunkMetaData) -> Result<ColumnChunkMetaData>,
) -> Result<Vec<RowGroupMetaData>> {
    let group = |group: &RowGroupMetaData| {
        group
            .clone()
            .into_builder()
            .set_column_metadata(group.columns().iter().map(&column).collect::<Result<_>>()?)
            .build()
    };
    groups.iter().map(group).collect()
}
