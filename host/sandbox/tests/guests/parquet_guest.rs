//! The default exporter: what it writes, read back by an independent reader.
use bytes::Bytes;
use offloom_rows::Schema;
use offloom_sandbox::{ExporterGuest, GuestOptions, PlacedBlock};
use parquet::basic::{LogicalType, Repetition, Type};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

use crate::rows::{Object, ObjectCursor};
use crate::support::{options, parquet_guest};

/// A whole file of these blocks, each encoded by an instance of its own.
async fn export(
    guest: &ExporterGuest,
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

fn metadata(file: &Bytes) -> ParquetMetaData {
    ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Optional)
        .parse_and_finish(file)
        .unwrap()
}

/// The rows as columns of text, for comparison; bytes as text where they are.
fn rows(file: &Bytes) -> Vec<Vec<(String, Field)>> {
    let reader = SerializedFileReader::new(file.clone()).unwrap();
    let rows = reader.get_row_iter(None).unwrap();
    rows.map(|row| row.unwrap().into_columns()).collect()
}

fn bytes_of(field: &Field) -> Vec<u8> {
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
