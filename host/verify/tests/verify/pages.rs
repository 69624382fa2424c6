//! Pages that say more than they should: bombs end in an error, before memory is taken for them.
use offloom_verify::{Depth, Difference, Unproved};
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::WriterVersion;

use crate::exported::{Exported, ids};

/// What `verify` says of the one unreadable column.
async fn unreadable(exported: &Exported) -> (String, String) {
    match &exported.found_by_full().await[..] {
        [Difference::Unreadable { key, row_group: 0, column, reason }] => {
            assert_eq!(key, "Article.parquet");
            (column.clone(), reason.clone())
        }
        other => panic!("{other:?}"),
    }
}

/// 64 MiB of ids in sixteen rows, in a file of some kilobytes.
#[tokio::test]
async fn a_page_that_unpacks_to_much_more_than_ids_is_not_unpacked() {
    let mut exported = Exported::new();
    exported.tune =
        |properties| properties.set_data_page_size_limit(1 << 30).set_write_batch_size(1 << 20);
    let long = "0".repeat(4 << 20);
    let rows = (0..16).map(|n| format!("{n:02}{long}")).collect();
    exported.class("Article", &[("s1", rows)], false, 9);
    let shard = &mut exported.manifest.source.shards[0];
    (shard.first_id, shard.last_id) = (Some("a".to_owned()), Some("b".to_owned()));
    assert!(exported.manifest.files[0].size_bytes < 128 * 1024);
    let (column, reason) = unreadable(&exported).await;
    assert_eq!(column, "id");
    assert!(
        reason.contains("unpacks to 671") && reason.contains("more than the 69632"),
        "{reason}"
    );
}

/// In place of the number 1,000 in the first page, the largest of two bytes.
fn patch(exported: &mut Exported, thousand: [u8; 2], other: [u8; 2], which: usize) {
    let start = exported.manifest.files[0].blocks[0].offset as usize;
    exported.change("Article.parquet", |bytes| {
        let places = (start..start + 64).filter(|at| bytes[*at..*at + 2] == thousand);
        let place = places.collect::<Vec<_>>()[which];
        bytes[place..place + 2].copy_from_slice(&other);
    });
    exported.seal();
}

fn delta_encoded() -> Exported {
    let mut exported = Exported::new();
    exported.tune = |properties| {
        properties
            .set_compression(Compression::UNCOMPRESSED)
            .set_data_page_size_limit(1 << 20)
            .set_column_encoding("id".into(), Encoding::DELTA_LENGTH_BYTE_ARRAY)
    };
    exported.class("Article", &[("s1", ids(0..1_000))], false, 9);
    exported
}

#[tokio::test]
async fn a_page_that_says_that_it_has_more_values_than_rows_is_not_decoded() {
    // Thrift: zigzag.
    let mut exported = delta_encoded();
    assert!(exported.report(Depth::Full).await.is_whole());
    patch(&mut exported, [0xd0, 0x0f], [0xfe, 0x7f], 0);
    let (_, reason) = unreadable(&exported).await;
    assert_eq!(reason, "a page says that it has 8191 values, and its row group has 1000 rows");

    // In the encoding's own header.
    let mut exported = delta_encoded();
    patch(&mut exported, [0xe8, 0x07], [0xff, 0x7f], 0);
    let (_, reason) = unreadable(&exported).await;
    assert_eq!(reason, "a page says that it has 16383 values, and its row group has 1000 rows");
}

/// Its size is known only after it is decoded, so it is not read, which the report says.
#[tokio::test]
async fn ids_in_an_encoding_without_a_bound_are_said_to_be_unproved() {
    let mut exported = Exported::new();
    exported.tune =
        |properties| properties.set_column_encoding("id".into(), Encoding::DELTA_BYTE_ARRAY);
    exported.class("Article", &[("s1", ids(0..10))], false, 9);
    exported.tune = |properties| properties;
    exported.class("Note", &[("s1", ids(0..10))], false, 9);
    let report = exported.report(Depth::Full).await;
    assert!(report.is_whole(), "{:?}", report.differences);
    let [unproved @ Unproved::Column { class, column, .. }] = report.unproved.as_slice() else {
        panic!("{report:?}")
    };
    assert_eq!((class.as_str(), column.as_str()), ("Article", "id"));
    assert!(unproved.to_string().contains("DELTA_BYTE_ARRAY"), "{unproved}");
    assert_eq!(unproved.subject(), "rows and ids of Article");
    assert!(report.has_proved_ids());
}

/// What other writers make: every version, codec and encoding that is read, with and without nulls
/// allowed, with dictionaries and statistics in the page headers.
#[tokio::test]
async fn pages_of_every_kind_that_is_read_are_read() {
    let tunes: [crate::exported::Tune; 10] = [
        |properties| {
            properties
                .set_writer_version(WriterVersion::PARQUET_2_0)
                .set_column_encoding("id".into(), Encoding::DELTA_LENGTH_BYTE_ARRAY)
        },
        |properties| properties.set_column_dictionary_enabled("id".into(), true),
        |properties| properties.set_write_page_header_statistics(true),
        |properties| properties.set_compression(Compression::UNCOMPRESSED),
        |properties| properties.set_compression(Compression::GZIP(Default::default())),
        |properties| properties.set_compression(Compression::BROTLI(Default::default())),
        |properties| properties.set_compression(Compression::LZ4_RAW),
        |properties| {
            properties
                .set_writer_version(WriterVersion::PARQUET_2_0)
                .set_compression(Compression::SNAPPY)
                .set_column_encoding("id".into(), Encoding::DELTA_LENGTH_BYTE_ARRAY)
        },
        |properties| {
            properties
                .set_writer_version(WriterVersion::PARQUET_2_0)
                .set_compression(Compression::GZIP(Default::default()))
                .set_column_dictionary_enabled("id".into(), true)
                .set_column_encoding("id".into(), Encoding::PLAIN)
        },
        |properties| {
            properties
                .set_writer_version(WriterVersion::PARQUET_2_0)
                .set_column_dictionary_enabled("id".into(), true)
                .set_write_page_header_statistics(true)
                .set_column_encoding("id".into(), Encoding::PLAIN)
        },
    ];
    for (number, tune) in tunes.into_iter().enumerate() {
        let mut exported = Exported::new();
        exported.tune = tune;
        let shards =
            [("s1", ids((0..2_500).map(|n| n * 2))), ("s2", ids((0..700).map(|n| n * 2 + 1)))];
        exported.class("Article", &shards, false, 2);
        exported.class("Shelf", &[("a", ids(0..1_200)), ("b", ids(0..10))], true, 9);
        let report = exported.report(Depth::Full).await;
        assert!(report.is_whole(), "{number}: {:?}", report.differences);
        assert_eq!(report.unproved, [], "{number}");
    }
}

/// 400 shards whose rows lie in one page of a mebibyte, which each of them needs at the same time. Each
/// shard is proved by itself, and an id in two of them would not be found.
#[tokio::test]
async fn more_open_pages_than_memory_is_for_are_said_to_be_unproved() {
    let shard = |n: u64| (&*format!("s{n:03}").leak(), ids((0..60).map(|row| row * 1_000 + n)));
    let shards: Vec<(&'static str, Vec<String>)> = (0..400).map(shard).collect();
    let with_pages_of = async |page_bytes: usize| {
        let mut exported = Exported::new();
        exported.rows_a_group = 24_000;
        exported.tune = match page_bytes {
            0 => |properties| properties,
            _ => |properties| properties.set_data_page_size_limit(1 << 30),
        };
        exported.class("Article", &shards, false, 9);
        exported.report(Depth::Full).await
    };
    let large = with_pages_of(1 << 30).await;
    assert!(large.is_whole(), "{:?}", large.differences);
    let [unproved @ Unproved::BetweenShards { class, .. }] = large.unproved.as_slice() else {
        panic!("{:?}", large.unproved)
    };
    assert_eq!(
        (class.as_str(), &*unproved.subject()),
        ("Article", "ids of Article between shards")
    );
    // As many shards in smaller pages are compared.
    let small = with_pages_of(0).await;
    assert!(small.is_whole(), "{:?}", small.differences);
    assert_eq!(small.unproved, []);
}
