//! The end of a Parquet file against the blocks that the host kept: real footers, altered ones.
use bytes::Bytes;
use offloom_protocol::manifest::Block;
use offloom_verify::{FooterError, check_parquet_footer};
use parquet::basic::Compression;
use parquet::file::metadata::{
    ColumnChunkMetaDataBuilder, FileMetaData, ParquetMetaData, ParquetMetaDataReader,
    ParquetMetaDataWriter, RowGroupMetaData,
};

use crate::exported::{block, ids, write_parquet};

/// A file of two row groups with 1,000 and 500 rows.
struct File {
    bytes: Bytes,
    blocks: Vec<Block>,
    metadata: ParquetMetaData,
}

impl File {
    fn new() -> File {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.parquet");
        let rows: Vec<_> = ids(0..1_500).into_iter().map(|id| (id, "t".to_owned())).collect();
        let groups: Vec<&[_]> = rows.chunks(1_000).collect();
        let blocks = write_parquet(&path, &groups, false, |tuned| tuned);
        let bytes = Bytes::from(std::fs::read(path).unwrap());
        let metadata = ParquetMetaDataReader::new().parse_and_finish(&bytes).unwrap();
        File { bytes, blocks, metadata }
    }

    fn end_of_blocks(&self) -> u64 {
        let last = self.blocks.last().unwrap();
        last.offset + last.length
    }

    fn end(&self) -> Bytes {
        self.bytes.slice(self.end_of_blocks() as usize..)
    }

    fn check(&self, file_end: &[Bytes]) -> Result<(), FooterError> {
        check_parquet_footer(self.end_of_blocks(), file_end, &self.blocks)
    }

    /// Checks a footer in which these row groups stand, without the page indexes of the writer.
    fn check_with(
        &self,
        alter: impl FnOnce(&mut Vec<RowGroupMetaData>),
    ) -> Result<(), FooterError> {
        let mut row_groups = self.metadata.row_groups().to_vec();
        for column in row_groups.iter_mut().flat_map(RowGroupMetaData::columns_mut) {
            let chunk = column.clone().into_builder();
            let chunk = chunk.set_column_index_offset(None).set_column_index_length(None);
            let chunk = chunk.set_offset_index_offset(None).set_offset_index_length(None);
            *column = chunk.build().unwrap();
        }
        alter(&mut row_groups);
        let old = self.metadata.file_metadata();
        let file = FileMetaData::new(
            old.version(),
            old.num_rows(),
            None,
            None,
            old.schema_descr_ptr(),
            None,
        );
        let metadata = ParquetMetaData::new(file, row_groups);
        let mut footer = Vec::new();
        ParquetMetaDataWriter::new(&mut footer, &metadata).finish().unwrap();
        self.check(&[footer.into()])
    }

    /// Checks a footer in which one column of the second row group is another.
    fn check_column(
        &self,
        column: usize,
        alter: impl FnOnce(ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder,
    ) -> FooterError {
        let altered = self.check_with(|row_groups| {
            let row_group = &mut row_groups[1];
            let chunk = row_group.columns()[column].clone().into_builder();
            row_group.columns_mut()[column] = alter(chunk).build().unwrap();
        });
        altered.unwrap_err()
    }
}

#[test]
fn a_writers_own_footer_fits_its_row_groups() {
    let file = File::new();
    assert_eq!(file.check(&[file.end()]), Ok(()));
    // As a guest writes it: in chunks.
    let chunks: Vec<Bytes> = file.end().chunks(100).map(Bytes::copy_from_slice).collect();
    assert_eq!(file.check(&chunks), Ok(()));
    assert_eq!(file.check_with(|_| {}), Ok(()));
}

#[test]
fn a_file_without_rows_has_a_footer_without_row_groups() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.parquet");
    assert_eq!(write_parquet(&path, &[], false, |tuned| tuned), []);
    let end = Bytes::from(std::fs::read(path).unwrap()).slice(4..);
    assert_eq!(check_parquet_footer(4, std::slice::from_ref(&end), &[]), Ok(()));
    let block = Block { offset: 4, length: 10, rows: 1 };
    let no_row_group = FooterError::RowGroups { found: 0, expected: 1 };
    assert_eq!(check_parquet_footer(14, &[end], &[block]), Err(no_row_group));
}

#[test]
fn bytes_that_are_no_footer_are_refused() {
    let file = File::new();
    let end = file.end();
    let tail = |end: &[u8]| {
        let refused = file.check(&[Bytes::copy_from_slice(end)]);
        assert!(matches!(refused, Err(FooterError::Tail { .. })), "{refused:?}");
    };
    tail(b"");
    tail(b"PAR1");
    tail(&end[..end.len() - 1]);
    let with_length = |length: u32| {
        let mut end = end.to_vec();
        let at = end.len() - 8;
        end[at..at + 4].copy_from_slice(&length.to_le_bytes());
        end
    };
    tail(&with_length(end.len() as u32 - 7));
    tail(&with_length(u32::MAX));
    let mut encrypted = end.to_vec();
    let at = encrypted.len() - 4;
    encrypted[at..].copy_from_slice(b"PARE");
    tail(&encrypted);
    let refused = file.check(&[with_length(5).into()]);
    assert!(matches!(refused, Err(FooterError::Malformed { .. })), "{refused:?}");
    let large = Bytes::from(vec![0; 65 * 1024 * 1024]);
    assert!(matches!(file.check(&[large]), Err(FooterError::TooLong { .. })));
}

#[test]
fn row_groups_must_be_the_blocks() {
    let file = File::new();
    let fewer = file.check_with(|row_groups| row_groups.truncate(1));
    assert_eq!(fewer, Err(FooterError::RowGroups { found: 1, expected: 2 }));
    let doubled = file.check_with(|row_groups| {
        row_groups.truncate(1);
        let again = row_groups[0].clone();
        row_groups.push(again);
    });
    assert!(matches!(doubled, Err(FooterError::Rows { .. })), "{doubled:?}");
    let swapped = file.check_with(|row_groups| row_groups.swap(0, 1));
    assert!(matches!(&swapped, Err(FooterError::Rows { place, .. }) if place == "row group 0"));
}

#[test]
fn rows_must_be_those_of_the_blocks() {
    let file = File::new();
    // The writer sums up the row groups' rows itself.
    let with_rows = |first: i64, second: i64| {
        file.check_with(|row_groups| {
            for (row_group, rows) in row_groups.iter_mut().zip([first, second]) {
                *row_group = row_group.clone().into_builder().set_num_rows(rows).build().unwrap();
            }
        })
    };
    let rows = |place: &str, found, expected| {
        Err(FooterError::Rows { place: place.to_owned(), found, expected })
    };
    assert_eq!(with_rows(1_000, 501), rows("the footer", 1_501, 1_500));
    assert_eq!(with_rows(999, 501), rows("row group 0", 999, 1_000));
    assert_eq!(with_rows(1_501, -1), rows("row group 0", 1_501, 1_000));
    let place = "row group 1, column \"id\"".to_owned();
    assert_eq!(
        file.check_column(0, |chunk| chunk.set_num_values(499)),
        FooterError::Rows { place, found: 499, expected: 500 }
    );
}

#[test]
fn column_chunks_must_fill_their_block() {
    let file = File::new();
    let chunks = file.metadata.row_group(1).columns();
    let block = file.blocks[1];
    // The last one ends early, then late.
    let last = chunks.len() - 1;
    let length = chunks[last].compressed_size();
    for (length, end) in [(length - 1, -1), (length + 1, 1)] {
        let expected = block.offset + block.length;
        assert_eq!(
            file.check_column(last, |chunk| chunk.set_total_compressed_size(length)),
            FooterError::End { row_group: 1, found: expected.strict_add_signed(end), expected }
        );
    }
    // The first one leaves a gap before the second.
    let length = chunks[0].compressed_size();
    let next = chunks[1].byte_range().0;
    match file.check_column(0, |chunk| chunk.set_total_compressed_size(length - 1)) {
        FooterError::Place { row_group: 1, found, expected, .. } => {
            assert_eq!((found.start as u64, expected), (next, next - 1));
        }
        other => panic!("{other}"),
    }
    // Offsets and lengths that no file can have.
    for (offset, length) in [(-5, 10), (i64::MAX, 1), (i64::MIN, 1), (4, -1), (4, i64::MIN)] {
        let error = file.check_column(0, |chunk| {
            let chunk = chunk.set_dictionary_page_offset(None);
            chunk.set_data_page_offset(offset).set_total_compressed_size(length)
        });
        assert!(matches!(error, FooterError::Place { .. }), "{offset}, {length}: {error}");
    }
    // All of it in the other block.
    let moved = file.check_with(|row_groups| {
        let columns = row_groups[0].columns().to_vec();
        let row_group = row_groups[1].clone().into_builder().set_column_metadata(columns);
        row_groups[1] = row_group.build().unwrap();
    });
    assert!(moved.is_err());
}

#[test]
fn what_points_elsewhere_is_refused() {
    let file = File::new();
    for (refused, name) in [(Compression::LZO, "LZO"), (Compression::LZ4, "LZ4")] {
        match file.check_column(0, |chunk| chunk.set_compression(refused)) {
            FooterError::Codec { row_group: 1, column, codec } => {
                assert!(column.contains("id") && codec == name, "{column} {codec}");
            }
            other => panic!("{other}"),
        }
    }
    for lent in [
        Compression::GZIP(Default::default()),
        Compression::BROTLI(Default::default()),
        Compression::LZ4_RAW,
        Compression::SNAPPY,
    ] {
        let checked = file.check_with(|row_groups| {
            let mut columns = row_groups[1].columns().to_vec();
            columns[0] = columns[0].clone().into_builder().set_compression(lent).build().unwrap();
            let altered = row_groups[1].clone().into_builder().set_column_metadata(columns);
            row_groups[1] = altered.build().unwrap();
        });
        assert_eq!(checked, Ok(()), "{lent}");
    }
    let foreign = |error: FooterError| {
        assert!(matches!(error, FooterError::Foreign { row_group: 1, .. }), "{error}");
    };
    foreign(file.check_column(0, |chunk| chunk.set_file_path("/etc/passwd".to_owned())));
    foreign(file.check_column(0, |chunk| {
        chunk.set_offset_index_offset(Some(4)).set_offset_index_length(Some(10))
    }));
    foreign(file.check_column(0, |chunk| {
        chunk.set_bloom_filter_offset(Some(i64::MAX)).set_bloom_filter_length(Some(i32::MAX))
    }));
    foreign(file.check_column(0, |chunk| {
        chunk.set_column_index_offset(Some(-1)).set_column_index_length(Some(-1))
    }));
    // The class name has a dictionary page in front; the data page is said to be outside.
    foreign(file.check_column(1, |chunk| chunk.set_data_page_offset(4)));
}

#[test]
fn a_row_group_must_say_that_it_starts_where_its_block_does() {
    let file = File::new();
    let altered = file.check_with(|row_groups| {
        row_groups[1] = row_groups[1].clone().into_builder().set_file_offset(4).build().unwrap();
    });
    let expected = file.blocks[1].offset;
    assert_eq!(altered, Err(FooterError::Start { row_group: 1, found: 4, expected }));
}

#[test]
fn mutated_footers_end_in_an_answer() {
    let file = File::new();
    let end = file.end().to_vec();
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let mut refused = 0;
    for _ in 0..20_000 {
        let mut mutated = end.clone();
        for _ in 0..=random(4) {
            let at = random(mutated.len() - 8);
            mutated[at] = random(256) as u8;
        }
        refused += usize::from(file.check(&[mutated.into()]).is_err());
    }
    assert!(refused > 1_000, "{refused}");
}

/// A footer whose schema is `depth` groups, each in the one before, in Thrift's compact protocol.
fn nested_schema(depth: usize) -> Bytes {
    let varint = |mut n: u64| {
        let mut bytes = Vec::new();
        while n >= 0x80 {
            bytes.push(n as u8 | 0x80);
            n >>= 7;
        }
        bytes.push(n as u8);
        bytes
    };
    // FileMetaData: 1 version = 1; 2 schema = list of structs.
    let mut metadata = vec![0x15, 2, 0x19, 0xFC];
    metadata.extend(varint(depth as u64 + 1));
    for level in 0..=depth {
        if level < depth {
            // 3 repetition = REQUIRED; 4 name = "g"; 5 num_children = 1.
            metadata.extend([0x35, 0, 0x18, 1, b'g', 0x15, 2, 0]);
        } else {
            // 1 type = INT32; 3 repetition; 4 name.
            metadata.extend([0x15, 2, 0x25, 0, 0x18, 1, b'i', 0]);
        }
    }
    // 3 num_rows = 0; 4 row_groups = empty list of structs.
    metadata.extend([0x16, 0, 0x19, 0x0C, 0]);
    let length = metadata.len() as u32;
    metadata.extend(length.to_le_bytes());
    metadata.extend(b"PAR1");
    metadata.into()
}

#[test]
fn a_schema_of_endless_depth_is_refused() {
    assert_eq!(check_parquet_footer(4, &[nested_schema(32)], &[]), Ok(()));
    // The library alone ends the process here: its reader recurses until the stack is full.
    for depth in [33, 100, 100_000] {
        match check_parquet_footer(4, &[nested_schema(depth)], &[]) {
            Err(FooterError::Malformed { reason }) => {
                assert!(reason.contains("deep") || reason.contains("elements"), "{reason}");
            }
            other => panic!("{depth} levels: {other:?}"),
        }
    }
}

#[test]
fn a_group_with_two_thousand_million_children_reserves_no_memory_for_them() {
    let end = nested_schema(1).to_vec();
    // num_children = 1 (zigzag 2) of the root becomes i32::MAX.
    let at = end.windows(3).position(|three| three == [0x15, 2, 0]).unwrap();
    let mut hostile = end[..at + 1].to_vec();
    hostile.extend([0xFE, 0xFF, 0xFF, 0xFF, 0x0F]);
    hostile.extend(&end[at + 2..end.len() - 8]);
    hostile.extend((hostile.len() as u32).to_le_bytes());
    hostile.extend(b"PAR1");
    let refused = check_parquet_footer(4, &[hostile.into()], &[]);
    assert!(matches!(refused, Err(FooterError::Malformed { .. })), "{refused:?}");
}

/// A footer of one column and these fields after its schema.
fn footer_of(fields: &[u8]) -> Bytes {
    let nested = nested_schema(1);
    let end_of_schema = nested.len() - 8 - 5;
    let mut metadata = [&nested[..end_of_schema], fields, &[0]].concat();
    metadata.extend((metadata.len() as u32).to_le_bytes());
    metadata.extend(b"PAR1");
    metadata.into()
}

fn assert_malformed(fields: &[u8], words: &str) {
    match check_parquet_footer(4, &[footer_of(fields)], &[]) {
        Err(FooterError::Malformed { reason }) => assert!(reason.contains(words), "{reason}"),
        other => panic!("{other:?}"),
    }
}

/// No rows and no row groups.
const EMPTY: [u8; 4] = [0x16, 0, 0x19, 0x0C];

#[test]
fn lists_that_say_more_than_they_should_reserve_no_memory_and_take_no_time() {
    assert_eq!(check_parquet_footer(4, &[footer_of(&EMPTY)], &[]), Ok(()));
    // A list of two million structs of a byte each: row groups, then key-value metadata.
    let two_million = [0xFC, 0x80, 0x89, 0x7A];
    let zeros = vec![0; 2_000_000];
    let row_groups = [&[0x16, 0, 0x19][..], &two_million, &zeros].concat();
    assert_malformed(&row_groups, "2000000 columns together, more than 500000");
    let key_values = [&EMPTY[..], &[0x19], &two_million, &zeros].concat();
    assert_malformed(&key_values, "a list has 2000000 elements, more than 10000");
    // Two thousand million booleans without a byte of their own, in a field that is unknown.
    let booleans = [0xF1, 0xFF, 0xFF, 0xFF, 0xFF, 0x07];
    assert_malformed(&[&EMPTY[..], &[0xF9], &booleans].concat(), "wire type 1");
    // The same in 9,000 lists.
    let lists = [&EMPTY[..], &[0xF9, 0xF9, 0xA8, 0x46], &booleans.repeat(9_000)].concat();
    assert_malformed(&lists, "wire type 1");
}

/// Otherwise the library would read fields where this host saw a text.
#[test]
fn fields_of_another_type_or_with_an_id_beyond_16_bits_are_refused() {
    // `3: num_rows` as text of one byte.
    assert_malformed(&[0x18, 1, 0, 0x19, 0x0C], "wire type 8 in field 3");
    // A field 65,540, of which 16 bits are a 4.
    assert_malformed(&[0x16, 0, 0x09, 0x88, 0x80, 0x08, 0x0C], "in field 65540");
}

/// Footers of another writer (parquet-go, with page indexes): upstream's own exports.
#[test]
fn upstreams_files_fit_their_row_groups() {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures");
    let mut checked = 0;
    for fixture in std::fs::read_dir(fixtures).unwrap() {
        let Ok(files) = std::fs::read_dir(fixture.unwrap().path().join("golden")) else { continue };
        for path in files.map(|file| file.unwrap().path()) {
            if path.extension().is_none_or(|extension| extension != "parquet") {
                continue;
            }
            let bytes = Bytes::from(std::fs::read(&path).unwrap());
            let metadata = ParquetMetaDataReader::new().parse_and_finish(&bytes).unwrap();
            let blocks: Vec<Block> = metadata.row_groups().iter().map(block).collect();
            let end = blocks.last().map_or(4, |block| block.offset + block.length);
            let checked_end = check_parquet_footer(end, &[bytes.slice(end as usize..)], &blocks);
            assert_eq!(checked_end, Ok(()), "{}", path.display());
            checked += 1;
        }
    }
    assert!(checked >= 50, "only {checked} files");
}
