//! The default exporter: what it writes, read back by an independent reader.
use bytes::Bytes;
use offloom_rows::Schema;
use offloom_sandbox::{GuestOptions, GuestRun, PlacedBlock};
use parquet::basic::{LogicalType, Repetition, Type};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

use crate::rows::{Object, ObjectCursor};
use crate::support::{options, parquet_guest};

/// A whole file of these blocks, each encoded by an instance of its own.
pub async fn export(
    guest: &GuestRun,
    schema: &Schema,
    options: &GuestOptions,
    blocks: Vec<Vec<Object>>,
) -> (Bytes, Vec<PlacedBlock>) {
    let format = guest.describe(options).await.unwrap();
    let mut last = guest.open(schema, options, format.block_bytes).await.unwrap();
    let mut file = last.prologue().await.unwrap().to_vec();
    let mut placed = Vec::new();
    for objects in blocks {
        let mut encoder = guest.open(schema, options, format.block_bytes).await.unwrap();
        let block = encoder.encode(ObjectCursor::boxed(schema, objects)).await.unwrap();
        let offset = file.len() as u64;
        file.extend(block.chunks.concat());
        assert_eq!(file.len() as u64 - offset, block.length);
        placed.push(PlacedBlock { offset, length: block.length, block: block.block });
    }
    file.extend(last.assemble(placed.clone()).await.unwrap().concat());
    (file.into(), placed)
}

pub fn metadata(file: &Bytes) -> ParquetMetaData {
    ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Optional)
        .parse_and_finish(file)
        .unwrap()
}

/// The rows as columns of text, for comparison; bytes as text where they are.
pub fn rows(file: &Bytes) -> Vec<Vec<(String, Field)>> {
    let reader = SerializedFileReader::new(file.clone()).unwrap();
    let rows = reader.get_row_iter(None).unwrap();
    rows.map(|row| row.unwrap().into_columns()).collect()
}

pub fn bytes_of(field: &Field) -> Vec<u8> {
    match field {
        Field::Bytes(bytes) => bytes.data().to_vec(),
        other => panic!("no bytes: {other:?}"),
    }
}

fn objects(count: u128) -> Vec<Object> {
    (0..count)
        .map(|index| Object {
            vector: (index % 3 != 0).then(|| vec![index as f32, -0.5, f32::NAN]),
            properties: (index % 5 != 0).then(|| format!(r#"{{"n":{index}}}"#).into_bytes()),
            ..Object::new(index << 64 | 0x1234)
        })
        .collect()
}

/// The longest one is once in the file, and in no note: notes of 16,384 blocks would not fit.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_has_the_definition_of_its_class() {
    let definition =
        format!("{{\"class\":\"Article\",\"description\":\"{}\"}}", "ä".repeat(500_000));
    let schema = Schema::of_class("Article", false, Some(definition.clone()));
    for blocks in [vec![], vec![objects(10), objects(20)]] {
        let (file, placed) = export(&parquet_guest(), &schema, &options(&[]), blocks).await;
        let metadata = metadata(&file);
        let key_values = metadata.file_metadata().key_value_metadata().unwrap();
        assert_eq!(key_values.len(), 2);
        assert_eq!(key_values[1].key, "weaviate.class");
        assert_eq!(key_values[1].value.as_deref(), Some(definition.as_str()));
        for block in placed {
            assert!(block.block.note.len() < 4096, "{}", block.block.note.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_several_encoders_make_one_file() {
    let schema = Schema::of_class("Article", false, None);
    let all = objects(1000);
    let blocks = vec![all[..10].to_vec(), all[10..700].to_vec(), all[700..].to_vec()];
    let (file, placed) = export(&parquet_guest(), &schema, &options(&[]), blocks).await;

    let metadata = metadata(&file);
    assert!(metadata.page_index().is_none(), "no page index is promised");
    assert_eq!(metadata.file_metadata().num_rows(), 1000);
    let key_values = metadata.file_metadata().key_value_metadata().unwrap();
    assert_eq!(key_values.len(), 1);
    assert_eq!(key_values[0].key, "collection");
    assert_eq!(key_values[0].value.as_deref(), Some("Article"));
    for (index, (group, placed)) in metadata.row_groups().iter().zip(&placed).enumerate() {
        assert_eq!(group.ordinal(), Some(index as i32));
        assert_eq!(group.file_offset(), Some(placed.offset as i64));
        assert_eq!(group.num_rows() as u64, placed.block.row_count);
        for column in group.columns() {
            let (start, length) = column.byte_range();
            assert!(start >= placed.offset && start + length <= placed.offset + placed.length);
            assert!(
                column.column_index_offset().is_none() && column.offset_index_offset().is_none()
            );
        }
    }

    let rows = rows(&file);
    assert_eq!(rows.len(), 1000);
    for (row, object) in rows.iter().zip(&all) {
        let id = format!("{:032x}", object.id);
        let id = [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-");
        assert_eq!(row[0], ("id".to_owned(), Field::Str(id)));
        assert_eq!(row[1], ("class_name".to_owned(), Field::Str("Article".to_owned())));
        assert_eq!(row[2], ("creation_time".to_owned(), Field::Long(object.creation_time)));
        assert_eq!(row[3], ("update_time".to_owned(), Field::Long(object.update_time)));
        match &object.vector {
            None => assert_eq!(row[4].1, Field::Null),
            Some(vector) => {
                let bytes: Vec<u8> = vector.iter().flat_map(|n| n.to_le_bytes()).collect();
                assert_eq!(bytes_of(&row[4].1), bytes);
            }
        }
        assert_eq!(row[5].1, Field::Null);
        assert_eq!(row[6].1, Field::Null);
        match &object.properties {
            None => assert_eq!(row[7].1, Field::Null),
            Some(json) => assert_eq!(&bytes_of(&row[7].1), json),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_those_that_are_promised() {
    for multi_tenant in [false, true] {
        let schema = Schema::of_class("Shelf", multi_tenant, None);
        let (file, _) = export(&parquet_guest(), &schema, &options(&[]), vec![objects(3)]).await;
        let metadata = metadata(&file);
        let columns: Vec<_> = metadata
            .file_metadata()
            .schema_descr()
            .columns()
            .iter()
            .map(|column| {
                let required =
                    column.self_type().get_basic_info().repetition() == Repetition::REQUIRED;
                let text = column.logical_type_ref() == Some(&LogicalType::String);
                let plain = column.logical_type_ref().is_none();
                assert!(text || plain, "{column:?}");
                (column.name().to_owned(), column.physical_type(), text, required)
            })
            .collect();
        let mut promised = vec![
            ("id".to_owned(), Type::BYTE_ARRAY, true, true),
            ("class_name".to_owned(), Type::BYTE_ARRAY, true, true),
            ("tenant".to_owned(), Type::BYTE_ARRAY, true, true),
            ("creation_time".to_owned(), Type::INT64, false, true),
            ("update_time".to_owned(), Type::INT64, false, true),
            ("vector".to_owned(), Type::BYTE_ARRAY, false, false),
            ("named_vectors".to_owned(), Type::BYTE_ARRAY, false, false),
            ("multi_vectors".to_owned(), Type::BYTE_ARRAY, false, false),
            ("properties".to_owned(), Type::BYTE_ARRAY, false, false),
        ];
        if !multi_tenant {
            promised.remove(2);
        }
        assert_eq!(columns, promised);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_without_objects_gets_a_file_without_rows() {
    let schema = Schema::of_class("Nothing", false, None);
    for blocks in [vec![], vec![vec![]]] {
        let (file, placed) = export(&parquet_guest(), &schema, &options(&[]), blocks).await;
        assert!(placed.iter().all(|block| block.length == 0));
        assert_eq!(metadata(&file).file_metadata().num_rows(), 0);
        assert_eq!(rows(&file), Vec::<Vec<_>>::new());
    }
}

fn text_of(field: &Field) -> String {
    String::from_utf8(bytes_of(field)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn named_and_multi_vectors_are_text_as_upstream_writes_it() {
    let schema = Schema::of_class("Article", false, None);
    let named = |pairs: &[(&str, &[f32])]| {
        pairs.iter().map(|(name, vector)| ((*name).to_owned(), vector.to_vec())).collect()
    };
    let rows_in = vec![
        Object::new(1),
        Object {
            named: named(&[("zeta", &[1.0, -0.0]), ("alpha", &[0.1, 1e6, 1e-5, 123_456.7])]),
            ..Object::new(2)
        },
        Object {
            named: named(&[("empty", &[])]),
            multi: [("b".to_owned(), vec![vec![0.5, 2.0], vec![]]), ("a".to_owned(), vec![])]
                .into(),
            ..Object::new(3)
        },
        Object {
            named: named(&[("odd", &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0])]),
            multi: [("odd".to_owned(), vec![vec![f32::NAN]])].into(),
            ..Object::new(4)
        },
    ];
    let (file, placed) = export(&parquet_guest(), &schema, &options(&[]), vec![rows_in]).await;
    let rows = rows(&file);
    assert_eq!((&rows[0][5].1, &rows[0][6].1), (&Field::Null, &Field::Null));
    assert_eq!(text_of(&rows[1][5].1), r#"{"alpha":[0.1,1e+06,1e-05,123456.7],"zeta":[1,-0]}"#);
    assert_eq!(rows[1][6].1, Field::Null);
    assert_eq!(text_of(&rows[2][5].1), r#"{"empty":[]}"#);
    assert_eq!(text_of(&rows[2][6].1), r#"{"a":[],"b":[[0.5,2],[]]}"#);
    assert_eq!(text_of(&rows[3][5].1), r#"{"odd":[null,null,null,1]}"#);
    assert_eq!(text_of(&rows[3][6].1), r#"{"odd":[[null]]}"#);
    assert_eq!(
        placed[0].block.counters,
        [
            ("named_vectors.non_finite_as_null".to_owned(), 3),
            ("multi_vectors.non_finite_as_null".to_owned(), 1)
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_number_is_written_as_go_writes_it() {
    // The examples of object-binary.md 6, both sides of each exponent rule, a tie between two texts.
    let pinned = [
        (0.1, "0.1"),
        (100_000.0, "100000"),
        (999_999.9, "999999.9"),
        (1_000_000.0, "1e+06"),
        (1_234_567.0, "1.234567e+06"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (0.0, "0"),
        (-0.0, "-0"),
        (f32::from_bits(0x48e63e84), "471540.12"), // 471540.125
        (1e20, "1e+20"),
        (1e21, "1e+21"),
        (f32::MAX, "3.4028235e+38"),
        (f32::MIN_POSITIVE, "1.1754944e-38"),
        (f32::from_bits(1), "1e-45"),
    ];
    // 298,829 numbers of every size, and the FNV-1a hash of what Go 1.26 made of them with
    // `strconv.FormatFloat(number, 'g', -1, 32)`, each with a comma behind it.
    let mut spread: Vec<f32> =
        (0..300_000_u32).map(|step| f32::from_bits(step.wrapping_mul(2_654_435_761))).collect();
    spread.retain(|number| number.is_finite());
    assert_eq!(spread.len(), 298_829);

    let named = |numbers: Vec<f32>| [("n".to_owned(), numbers)].into();
    let pinned_row = Object {
        named: named(pinned.iter().map(|(number, _)| *number).collect()),
        ..Object::new(0)
    };
    let rest = spread.chunks(1000).zip(1..);
    let rows_in =
        rest.map(|(chunk, id)| Object { named: named(chunk.to_vec()), ..Object::new(id) });
    let rows_in = std::iter::once(pinned_row).chain(rows_in).collect();
    let schema = Schema::of_class("Article", false, None);
    let (file, placed) = export(&parquet_guest(), &schema, &options(&[]), vec![rows_in]).await;
    assert_eq!(placed[0].block.counters, []);

    let rows = rows(&file);
    let texts: Vec<&str> = pinned.iter().map(|(_, text)| *text).collect();
    assert_eq!(text_of(&rows[0][5].1), format!(r#"{{"n":[{}]}}"#, texts.join(",")));
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for row in &rows[1..] {
        let text = text_of(&row[5].1);
        let numbers = text.strip_prefix(r#"{"n":["#).unwrap().strip_suffix("]}").unwrap();
        for byte in numbers.bytes().chain(*b",") {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    assert_eq!(hash, 0xa402_2467_3e5e_72f3);
}

/// Bytes that do not compress, the same every time.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut noise: Vec<u8> = std::iter::repeat_with(next).take(bytes / 8 + 1).flatten().collect();
    noise.truncate(bytes);
    noise
}

/// One row of the largest size among 30 MiB of others, in one block, within the guest's memory.
async fn large_row(large: Object) {
    let schema = Schema::of_class("Article", false, None);
    let mut rows_in: Vec<Object> = (0..30)
        .map(|index| Object { properties: Some(noise(1 << 20)), ..Object::new(index) })
        .collect();
    rows_in.insert(29, large.clone());
    let (file, _) = export(&parquet_guest(), &schema, &options(&[]), vec![rows_in]).await;
    let rows = rows(&file);
    assert_eq!(rows.len(), 31);
    if let Some(properties) = &large.properties {
        assert!(bytes_of(&rows[29][7].1) == *properties);
    }
    for (name, vector) in &large.named {
        let text = text_of(&rows[29][5].1);
        let list = text.strip_prefix(&format!(r#"{{"{name}":["#)).unwrap();
        let numbers = list.strip_suffix("]}").unwrap().split(',');
        assert!(numbers.map(|number| number.parse::<f32>().unwrap()).eq(vector.iter().copied()));
    }
    for list in large.multi.values() {
        let numbers: usize = list.iter().map(Vec::len).sum();
        assert_eq!(text_of(&rows[29][6].1).matches(',').count(), numbers - 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_property_of_20_mb_and_one_of_32_mib_are_written() {
    for bytes in [20_000_000, (32 << 20) - 1000] {
        large_row(Object { properties: Some(noise(bytes)), ..Object::new(500) }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_of_20_mb_are_written_as_text() {
    let numbers: Vec<f32> =
        (0..5_000_000_u32).map(|index| (index as f32 * 0.618_034).fract() - 0.5).collect();
    let named = [("large".to_owned(), numbers.clone())].into();
    large_row(Object { named, ..Object::new(500) }).await;
    let multi = [("large".to_owned(), numbers.chunks(65_535).map(<[f32]>::to_vec).collect())];
    large_row(Object { multi: multi.into(), ..Object::new(500) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn options_choose_the_compression_and_unknown_ones_are_refused() {
    use parquet::basic::Compression;
    let schema = Schema::of_class("Article", false, None);
    let guest = parquet_guest();
    let mut sizes = Vec::new();
    for (chosen, vector, others) in [
        (&[][..], "ZSTD", "ZSTD"),
        (&[("compression-level", "9")], "ZSTD", "ZSTD"),
        (&[("vector-compression", "none")], "UNCOMPRESSED", "ZSTD"),
        (&[("compression", "none")], "UNCOMPRESSED", "UNCOMPRESSED"),
    ] {
        let (file, _) = export(&guest, &schema, &options(chosen), vec![objects(2000)]).await;
        assert_eq!(rows(&file).len(), 2000);
        for column in metadata(&file).row_group(0).columns() {
            let name = match column.compression() {
                Compression::UNCOMPRESSED => "UNCOMPRESSED",
                Compression::ZSTD(_) => "ZSTD",
                other => panic!("{other:?}"),
            };
            let wanted = match column.column_descr().name() {
                "vector" => vector,
                // A dictionary of one text: there is nothing to compress.
                "class_name" => "UNCOMPRESSED",
                _ => others,
            };
            assert_eq!(name, wanted, "{chosen:?}");
        }
        sizes.push(file.len());
    }
    assert!(sizes[1] != sizes[0] && sizes[0] < sizes[2] && sizes[2] < sizes[3], "{sizes:?}");

    for (chosen, words) in [
        (&[("colour", "red")][..], "unknown option `colour`; known options: compression = "),
        (&[("compression", "lzma")], "`compression` does not take `lzma`; known options: "),
        (&[("compression-level", "10")], "`compression-level` does not take `10`"),
        (&[("pages", "v3")], "`pages` does not take `v3`; known options: "),
        (&[("compression", "none"), ("compression", "zstd")], "`compression` is given twice"),
    ] {
        for message in [
            guest.describe(&options(chosen)).await.unwrap_err().to_string(),
            guest.open(&schema, &options(chosen), 1).await.map(|_| ()).unwrap_err().to_string(),
        ] {
            assert!(message.contains("unsupported: ") && message.contains(words), "{message}");
        }
    }
}

/// What readers older than pages of version 2 know: page types, encodings and the footer's version.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_version_1_have_only_plain_and_dictionary_encodings() {
    use parquet::basic::{Encoding, PageType};
    use parquet::column::page::Page;
    let schema = Schema::of_class("Shelf", true, None);
    let blocks = vec![objects(40), objects(700)];
    let guest = parquet_guest();
    let (newer, _) = export(&guest, &schema, &options(&[]), blocks.clone()).await;
    for (chosen, version, data_page) in [
        (&[][..], 2, PageType::DATA_PAGE_V2),
        (&[("pages", "v2")], 2, PageType::DATA_PAGE_V2),
        (&[("pages", "v1")], 1, PageType::DATA_PAGE),
        (&[("pages", "v1"), ("compression", "none")], 1, PageType::DATA_PAGE),
    ] {
        let (file, placed) = export(&guest, &schema, &options(chosen), blocks.clone()).await;
        assert_eq!(rows(&file), rows(&newer), "{chosen:?}");
        let reader = SerializedFileReader::new(file.clone()).unwrap();
        let metadata = reader.metadata();
        assert_eq!(metadata.file_metadata().version(), version, "{chosen:?}");
        assert_eq!(metadata.num_row_groups(), placed.len());
        for index in 0..metadata.num_row_groups() {
            let group = reader.get_row_group(index).unwrap();
            for (column, chunk) in group.metadata().columns().iter().enumerate() {
                let name = chunk.column_descr().name();
                if version == 1 {
                    for encoding in chunk.encodings() {
                        let old = [Encoding::PLAIN, Encoding::RLE, Encoding::PLAIN_DICTIONARY];
                        let known = old.contains(&encoding) || encoding == Encoding::RLE_DICTIONARY;
                        assert!(known, "{name}: {encoding}");
                    }
                }
                let mut data_pages = 0;
                for page in group.get_column_page_reader(column).unwrap() {
                    let page = page.unwrap();
                    if matches!(page, Page::DictionaryPage { .. }) {
                        assert!(["class_name", "tenant"].contains(&name), "{name}");
                        continue;
                    }
                    assert_eq!(page.page_type(), data_page, "{chosen:?} {name}");
                    data_pages += 1;
                }
                assert!(data_pages > 0, "{name}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_are_compressed_where_they_shrink() {
    use parquet::basic::Compression;
    let schema = Schema::of_class("Article", false, None);
    let vectors = |noisy: bool| -> Vec<Object> {
        let number = |index: u32| match noisy {
            true => (f64::from(index) * 0.618_033_988_749_895).fract() as f32 - 0.5,
            false => (index % 7) as f32,
        };
        let object = |row: u32| {
            let vector = (0..256).map(|index| number(row * 256 + index)).collect();
            Object { vector: Some(vector), ..Object::new(row.into()) }
        };
        (0..400).map(object).collect()
    };
    // The blocks of one file each have their own way.
    let blocks = vec![vectors(true), vectors(false), vectors(true)];
    for (chosen, wanted) in [
        (&[][..], [false, true, false]),
        (&[("vector-compression", "auto")], [false, true, false]),
        (&[("vector-compression", "same")], [true, true, true]),
        (&[("vector-compression", "none")], [false, false, false]),
        (&[("compression", "none"), ("vector-compression", "auto")], [false, false, false]),
    ] {
        let (file, _) = export(&parquet_guest(), &schema, &options(chosen), blocks.clone()).await;
        assert_eq!(rows(&file).len(), 1200);
        let compressed: Vec<bool> = metadata(&file)
            .row_groups()
            .iter()
            .map(|group| {
                let vector = group.columns().iter().find(|c| c.column_descr().name() == "vector");
                vector.unwrap().compression() != Compression::UNCOMPRESSED
            })
            .collect();
        assert_eq!(compressed, wanted, "{chosen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_class_filter_follows_the_selection() {
    use offloom_sandbox::{OfferedClass, Selection};
    let offered: Vec<OfferedClass> = ["Author", "Article", "Shelf"]
        .map(|name| OfferedClass { name: name.to_owned(), multi_tenant: false, object_count: None })
        .into();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    for (include, exclude, planned) in [
        (names(&[]), names(&[]), names(&["Article", "Author", "Shelf"])),
        (names(&["Shelf", "Article"]), names(&[]), names(&["Article", "Shelf"])),
        (names(&[]), names(&["Author", "Nobody"]), names(&["Article", "Shelf"])),
        (names(&[]), names(&["Author", "Article", "Shelf"]), names(&[])),
    ] {
        let selection = Selection { include, exclude };
        let answer = parquet_guest().plan(&offered, &selection, &options(&[])).await.unwrap();
        assert_eq!(answer, planned);
    }
}
