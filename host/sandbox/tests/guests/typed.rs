//! The typed layout: what fits is in its column, what does not is kept and counted, and no name is taken twice.
use offloom_rows::Schema;
use parquet::record::Field;
use serde_json::{Value, json};

use crate::parquet_guest::{export, metadata, rows};
use crate::rows::Object;
use crate::support::{options, parquet_guest};

fn schema(properties: &[(&str, &str)]) -> Schema {
    let properties: Vec<Value> = properties
        .iter()
        .map(|(name, data_type)| json!({ "name": name, "dataType": [data_type] }))
        .collect();
    let definition = json!({ "class": "Odd", "properties": properties }).to_string();
    Schema::of_class("Odd", false, Some(definition))
}

fn of_properties(id: u128, properties: &str) -> Object {
    Object { properties: Some(properties.as_bytes().to_vec()), ..Object::new(id) }
}

fn text<'a>(row: &'a [(String, Field)], name: &str) -> Option<&'a str> {
    match &row.iter().find(|(found, _)| found == name).unwrap().1 {
        Field::Str(text) => Some(text),
        Field::Null => None,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_null_and_kept_and_counted() {
    let cases = [
        ("t", "text", "5"),
        ("half", "text", r#""\ud800""#),
        ("i", "int", "9223372036854775808"),
        ("n", "number", "9007199254740993"),
        ("b", "boolean", r#""true""#),
        ("d", "date", r#""2024-01-01T00:00:00.000000001Z""#),
        ("u", "uuid", r#""01234567-89AB-cdef-0123-456789abcdef""#),
        ("g", "geoCoordinates", r#"{"latitude":1,"longitude":2,"height":3}"#),
        ("ts", "text[]", r#"["a",null]"#),
        ("is", "int[]", "[1,2.5]"),
        ("ds", "date[]", r#"["2024-01-01T00:00:00Z","soon"]"#),
    ];
    let declared: Vec<_> = cases.iter().map(|(name, kind, _)| (*name, *kind)).collect();
    let misfits: Vec<_> =
        cases.iter().map(|(name, _, json)| format!(r#""{name}":{json}"#)).collect();
    let misfits = format!("{{{}}}", misfits.join(","));
    let fitting = r#"{"t":"a","half":"b","i":-9223372036854775808,"n":0.1,"b":true,
        "d":"2024-01-01T02:00:00+02:00","u":"01234567-89ab-cdef-0123-456789abcdef",
        "g":{"longitude":2.5,"latitude":-1},"ts":[],"is":[1,2],"ds":["2024-01-01T00:00:00Z"],
        "none":{"x": 1}}"#;
    let objects = vec![
        of_properties(1, &misfits),
        of_properties(2, fitting),
        of_properties(3, r#"{"t":"first","t":"second","i":null}"#),
        of_properties(4, "[1,2"),
        of_properties(5, "null"),
        Object::new(6),
    ];
    let (guest, schema) = (parquet_guest(), schema(&declared));
    for pages in ["v1", "v2"] {
        let options = options(&[("layout", "typed"), ("pages", pages)]);
        let (file, placed) = export(&guest, &schema, &options, vec![objects.clone()]).await;
        let rows = rows(&file);
        assert_eq!(text(&rows[0], "_rest"), Some(misfits.as_str()));
        let values = |row: usize| {
            let of_schema =
                |(name, _): &&(String, Field)| declared.iter().any(|each| each.0 == name);
            rows[row].iter().filter(of_schema).map(|(_, value)| value).collect::<Vec<_>>()
        };
        assert!(values(0).iter().all(|value| **value == Field::Null), "{:?}", rows[0]);
        assert!(values(1).iter().all(|value| **value != Field::Null), "{:?}", rows[1]);
        // The offset of a time and what is not declared.
        let kept = r#"{"d":"2024-01-01T02:00:00+02:00","none":{"x": 1}}"#;
        assert_eq!(text(&rows[1], "_rest"), Some(kept));
        assert_eq!(text(&rows[2], "t"), Some("first"));
        assert_eq!(text(&rows[2], "_rest"), Some(r#"{"t":"second"}"#));
        assert_eq!(text(&rows[3], "_rest"), Some(r#""[1,2""#));
        assert_eq!([4, 5].map(|row| text(&rows[row], "_rest")), [None, None]);
        let mut counters = placed[0].block.counters.clone();
        counters.sort();
        let mut expected: Vec<_> =
            cases.iter().map(|(name, ..)| (format!("misfits.{name}"), 1)).collect();
        expected.push(("misfits".to_owned(), 1));
        expected.sort();
        assert_eq!(counters, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_would_have_one_name_get_another() {
    let declared = ["id", "Vector", "tenant", "_rest", "property_id", "vector_a", "class_name"]
        .map(|name| (name, "text"));
    let (guest, schema) = (parquet_guest(), schema(&declared));
    let objects = vec![Object {
        named: [("a".to_owned(), vec![0.5, f32::NAN])].into(),
        multi: [("m".to_owned(), vec![vec![1.0], vec![]])].into(),
        ..of_properties(1, r#"{"id":"x","Vector":"y","property_id":"z"}"#)
    }];
    let (file, placed) =
        export(&guest, &schema, &options(&[("layout", "typed")]), vec![objects]).await;
    let names: Vec<_> = rows(&file)[0].iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(
        names,
        [
            "id",
            "creation_time",
            "update_time",
            "property_property_id",
            "property_Vector",
            "property_tenant",
            "property__rest",
            "property_id",
            "vector_a",
            "class_name",
            "vector",
            "other_vectors",
            "_rest",
        ]
    );
    let row = &rows(&file)[0];
    assert_eq!(text(row, "property_property_id"), Some("x"));
    assert_eq!(text(row, "property_id"), Some("z"));
    // The class declares no vectors.
    assert_eq!(text(row, "other_vectors"), Some(r#"{"a":[0.5,null],"m":[[1],[]]}"#));
    assert_eq!(placed[0].block.counters, [("other_vectors.non_finite_as_null".to_owned(), 1)]);
}

/// Lists of every length, in pages that end anywhere, as the library reads them.
#[tokio::test(flavor = "multi_thread")]
async fn vectors_are_lists_in_pages_of_any_size() {
    let vector = |index: u128| match index % 7 {
        0 => None,
        1 => Some(Vec::new()),
        length => Some((0..length * index % 300).map(|n| n as f32 - 0.25).collect::<Vec<_>>()),
    };
    let objects: Vec<_> =
        (0..900).map(|index| Object { vector: vector(index), ..Object::new(index) }).collect();
    let guest = parquet_guest();
    let schema = Schema::of_class("Odd", false, None);
    for more in [
        &[("compression.vector", "none")][..],
        &[("compression.vector", "zstd"), ("page-bytes", "4096")],
        &[("compression.vector", "snappy"), ("page-bytes", "100000")],
        &[("pages", "v1")],
    ] {
        let chosen = options(&[&[("layout", "typed")], more].concat());
        let blocks = vec![objects[..5].to_vec(), objects[5..].to_vec()];
        let (file, _) = export(&guest, &schema, &chosen, blocks).await;
        let rows = rows(&file);
        assert_eq!(rows.len(), objects.len());
        for (object, row) in objects.iter().zip(&rows) {
            let found = &row.iter().find(|(name, _)| name == "vector").unwrap().1;
            let found = match found {
                Field::Null => None,
                Field::ListInternal(list) => Some(list.elements().to_vec()),
                other => panic!("{other:?}"),
            };
            let expected: Option<Vec<Field>> = object
                .vector
                .as_ref()
                .map(|vector| vector.iter().map(|n| Field::Float(*n)).collect());
            assert_eq!(found, expected, "{more:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn codecs_are_chosen_for_all_columns_and_for_one() {
    let (guest, schema) = (parquet_guest(), Schema::of_class("Odd", false, None));
    let objects: Vec<_> = (0..500)
        .map(|index| Object { vector: Some(vec![0.5; 64]), ..of_properties(index, r#"{"a":1}"#) })
        .collect();
    for (codec, name) in [
        ("zstd", "ZSTD(ZstdLevel(1))"),
        ("snappy", "SNAPPY"),
        ("gzip", "GZIP(GzipLevel(6))"),
        ("lz4_raw", "LZ4_RAW"),
        ("brotli", "BROTLI(BrotliLevel(1))"),
    ] {
        let chosen = [("compression", codec), ("compression.vector", "none")];
        let (file, _) = export(&guest, &schema, &options(&chosen), vec![objects.clone()]).await;
        assert_eq!(rows(&file).len(), 500);
        for column in metadata(&file).row_group(0).columns() {
            let plain = ["vector", "class_name"].contains(&column.column_descr().name());
            let wanted = if plain { "UNCOMPRESSED" } else { name };
            assert_eq!(format!("{:?}", column.compression()), wanted, "{codec}");
        }
        let other = [("compression", "none"), ("compression.vector", codec)];
        let (file, _) = export(&guest, &schema, &options(&other), vec![objects.clone()]).await;
        assert_eq!(rows(&file).len(), 500);
        for column in metadata(&file).row_group(0).columns() {
            let is_vector = column.column_descr().name() == "vector";
            let wanted = if is_vector { name } else { "UNCOMPRESSED" };
            assert_eq!(format!("{:?}", column.compression()), wanted, "{codec}");
        }
    }
    for (key, value) in [
        ("compression-level", "0"),
        ("compression.id", "lzo"),
        ("compression.", "zstd"),
        ("page-bytes", "4095"),
        ("page-bytes", "16777217"),
        ("row-group-bytes", "1048575"),
        ("row-group-bytes", "67108865"),
        ("layout", "flat"),
        ("layout.id", "typed"),
    ] {
        let refused = guest.describe(&options(&[(key, value)])).await.unwrap_err().to_string();
        assert!(refused.contains(key) && refused.contains("known options: "), "{refused}");
    }
    let levels = [("compression", "snappy"), ("compression-level", "3")];
    assert!(guest.describe(&options(&levels)).await.is_err());
    let format = guest.describe(&options(&[("row-group-bytes", "2097152")])).await.unwrap();
    assert_eq!(format.block_bytes, 2_097_152);
}
