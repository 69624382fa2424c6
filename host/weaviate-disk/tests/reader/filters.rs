//! Filters on properties and vectors: what is exported keeps its bytes, and nothing else is exported.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use offloom_encoder::{Node, ObjectOptions, SegmentOptions};
use offloom_weaviate_disk::{
    DataDirectory, DiskError, ObjectFault, OnBadObject, PropertySelection, ReadOptions, RowFilter,
    SchemaFile, UnitCursor, UnitOptions, VectorSelection,
};
use serde_json::value::RawValue;

use crate::{
    rows::{self, LIMITS, Row},
    shard::{Shard, object, put},
};

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn options(properties: PropertySelection, vectors: VectorSelection) -> ReadOptions {
    ReadOptions { filter: Arc::new(RowFilter { properties, vectors }), ..ReadOptions::default() }
}

fn filtered(shard: &Shard, options: &ReadOptions) -> Result<Vec<Row>, DiskError> {
    rows::read_cursor(UnitCursor::open(&shard.unit(), options), LIMITS)
}

#[test]
fn vectors_go_out_by_name_and_the_unnamed_one_is_called_default() {
    let shard = Shard::new();
    let mut full = object(1, r#"{"t":"x"}"#);
    full.vector = vec![1.0, 2.0];
    full.named_vectors = vec![("a".to_owned(), vec![3.0]), ("b".to_owned(), vec![4.0, 5.0])];
    full.multi_vectors = vec![("m".to_owned(), vec![vec![6.0]]), ("n".to_owned(), Vec::new())];
    let mut called_default = object(2, "{}");
    called_default.named_vectors = vec![("default".to_owned(), vec![7.0])];
    let nodes = [full, called_default]
        .map(|object| Node::live(&object, &ObjectOptions::default()).unwrap());
    shard.segment(1, SegmentOptions::default(), &nodes);

    let read = |vectors| {
        let rows = filtered(&shard, &options(PropertySelection::All, vectors)).unwrap();
        let found = |row: &Row| {
            let keys = |names: Option<Vec<&String>>| {
                names.map(|names| {
                    names.into_iter().map(String::as_str).collect::<Vec<_>>().join(",")
                })
            };
            (
                row.vector.is_some(),
                keys(row.named.as_ref().map(|named| named.keys().collect())),
                keys(row.multi.as_ref().map(|multi| multi.keys().collect())),
            )
        };
        assert_eq!(rows[0].properties.as_deref(), Some(&br#"{"t":"x"}"#[..]));
        [found(&rows[0]), found(&rows[1])]
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        read(VectorSelection::All),
        [(true, some("a,b"), some("m,n")), (false, some("default"), None)]
    );
    assert_eq!(read(VectorSelection::None), [(false, None, None), (false, None, None)]);
    assert_eq!(
        read(VectorSelection::Named(names(&["default"]))),
        [(true, None, None), (false, some("default"), None)]
    );
    assert_eq!(
        read(VectorSelection::Named(names(&["b", "n", "unknown"]))),
        [(false, some("b"), some("n")), (false, None, None)]
    );
    let kept = filtered(
        &shard,
        &options(PropertySelection::All, VectorSelection::Named(names(&["b", "m"]))),
    );
    let row = &kept.unwrap()[0];
    assert_eq!(row.named.as_ref().unwrap()["b"], [4.0_f32, 5.0].map(f32::to_le_bytes).concat());
    assert_eq!(row.multi.as_ref().unwrap()["m"], [6.0_f32.to_le_bytes().to_vec()]);
}

#[test]
fn an_object_without_properties_stays_one_and_one_without_kept_ones_is_empty() {
    let shard = Shard::new();
    let nodes = [put(1, "null"), put(2, "{}"), put(3, r#"{"a":1}"#), put(4, r#"{"a":1,"b":2}"#)];
    shard.segment(1, SegmentOptions::default(), &nodes);
    let only_b = options(PropertySelection::Include(names(&["b"])), VectorSelection::All);
    let rows = filtered(&shard, &only_b).unwrap();
    let texts: Vec<_> = rows.iter().map(|row| row.properties.as_deref()).collect();
    assert_eq!(texts, [None, Some(&b"{}"[..]), Some(b"{}"), Some(br#"{"b":2}"#)]);
}

#[test]
fn properties_that_cannot_be_filtered_are_a_bad_object_and_pass_without_a_filter_only() {
    let shard = Shard::new();
    let nodes = [put(1, r#"["secret"]"#), put(2, r#"{"open":1,"secret":2}"#)];
    shard.segment(1, SegmentOptions::default(), &nodes);
    assert_eq!(shard.rows().len(), 2);
    let mut options = options(PropertySelection::Exclude(names(&["secret"])), VectorSelection::All);
    let error = filtered(&shard, &options).unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
    assert!(matches!(error, DiskError::Object { fault: ObjectFault::PropertiesNoObject, .. }));
    options.on_bad_object = OnBadObject::Skip;
    let rows = filtered(&shard, &options).unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].properties.as_deref(), Some(&br#"{"open":1}"#[..]));
}

#[test]
fn a_row_counts_by_what_is_left_of_it() {
    let shard = Shard::new();
    let large = format!(r#"{{"large":"{}","n":1}}"#, "x".repeat(40 << 20));
    shard.segment(1, SegmentOptions::default(), &[put(1, &large)]);
    let without = options(PropertySelection::Exclude(names(&["large"])), VectorSelection::All);
    assert_eq!(
        filtered(&shard, &without).unwrap()[0].properties.as_deref(),
        Some(&br#"{"n":1}"#[..])
    );
    assert!(matches!(
        filtered(&shard, &ReadOptions::default()).unwrap_err(),
        DiskError::Object { fault: ObjectFault::TooLarge { .. }, .. }
    ));
}

/// The members of a JSON object, each value as it is written.
fn members(text: &[u8]) -> BTreeMap<String, Box<RawValue>> {
    serde_json::from_slice(text).unwrap()
}

#[test]
fn every_property_of_the_real_objects_can_be_taken_alone_or_left_out() {
    for fixture in ["basic", "v1.24.26"] {
        let fixture = offloom_fixtures::unpack(fixture).unwrap();
        let schema =
            SchemaFile::parse(&fixture.schema_file(), std::fs::read(fixture.schema_file()))
                .unwrap();
        let directory = DataDirectory::open(&fixture.data_dir(), Some(schema)).unwrap();
        let mut compared = 0;
        for class in directory.classes() {
            let units: Vec<_> = directory.units(class, UnitOptions::new(32 << 20)).collect();
            let read = |options: &ReadOptions| -> Vec<Row> {
                let read = |unit: &offloom_weaviate_disk::Unit| {
                    rows::read_cursor(UnitCursor::open(unit, options), LIMITS).unwrap()
                };
                units.iter().flat_map(read).collect()
            };
            let whole = read(&ReadOptions::default());
            let texts = |rows: &[Row]| -> Vec<_> {
                rows.iter().map(|row| row.properties.as_deref().map(members)).collect()
            };
            let originals = texts(&whole);
            let properties: BTreeSet<String> =
                originals.iter().flatten().flat_map(BTreeMap::keys).cloned().collect();
            for property in properties {
                let filter = RowFilter {
                    properties: PropertySelection::Include([property.clone()].into()),
                    vectors: VectorSelection::All,
                };
                filter.check(class).unwrap();
                let alone = read(&options(filter.properties, VectorSelection::All));
                let left_out = PropertySelection::Exclude([property.clone()].into());
                let others = read(&options(left_out, VectorSelection::All));
                for (row, (alone, others)) in whole.iter().zip(alone.iter().zip(&others)) {
                    let Some(original) = &row.properties else { continue };
                    let (taken, rest) = (
                        alone.properties.as_deref().unwrap(),
                        others.properties.as_deref().unwrap(),
                    );
                    let mut expected = members(original);
                    let value = expected.remove(&property);
                    let text = value.map_or_else(String::new, |value| {
                        format!("{}:{}", serde_json::Value::from(property.as_str()), value.get())
                    });
                    assert_eq!(String::from_utf8_lossy(taken), format!("{{{text}}}"));
                    // Weaviate writes no white space: what is left is the text without the member.
                    let original = String::from_utf8_lossy(original);
                    let cut = [format!("{text},"), format!(",{text}"), text.clone()];
                    let cut =
                        cut.iter().find(|member| !text.is_empty() && original.contains(*member));
                    let expected =
                        cut.map_or(original.to_string(), |cut| original.replacen(cut, "", 1));
                    assert_eq!(String::from_utf8_lossy(rest), expected);
                    assert_eq!((&row.vector, &row.named), (&others.vector, &others.named));
                    compared += 1;
                }
            }
        }
        assert!(compared > 1_000, "{compared}");
    }
}

#[test]
fn a_definition_of_a_real_server_tells_the_names_of_vectors() {
    let fixture = offloom_fixtures::unpack("basic").unwrap();
    let schema =
        SchemaFile::parse(&fixture.schema_file(), std::fs::read(fixture.schema_file())).unwrap();
    let directory = DataDirectory::open(&fixture.data_dir(), Some(schema)).unwrap();
    let check = |class: &str, vector: &str| {
        let vectors = VectorSelection::Named(names(&[vector]));
        let filter = RowFilter { vectors, ..RowFilter::default() };
        filter.check(rows::class(&directory, class)).map_err(|error| error.to_string())
    };
    assert_eq!(check("Note", "default"), Ok(()));
    let refused = check("NamedVectors", "default").unwrap_err();
    let known = refused.split_once("; it has ").unwrap().1;
    for vector in known.split(", ") {
        assert_eq!(check("NamedVectors", vector), Ok(()));
        assert!(check("Note", vector).unwrap_err().ends_with("; it has default"));
    }
}

/// Measures what a filter costs: run by hand with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn a_filter_costs_little() {
    let shard = Shard::new();
    let text = format!(
        r#"{{"body":"{}","count":12,"place":{{"latitude":1.5,"longitude":2.5}},"tags":["a","b"],"title":"{}"}}"#,
        "lorem ipsum \\u003c dolor ".repeat(40),
        "x".repeat(60)
    );
    let nodes: Vec<Node> = (0..=255).map(|number| put(number, &text)).collect();
    shard.segment(1, SegmentOptions::default(), &nodes);
    let filter = options(PropertySelection::Exclude(names(&["title"])), VectorSelection::All);
    for (name, options) in [("everything", ReadOptions::default()), ("filtered", filter)] {
        let unit = shard.unit();
        let start = std::time::Instant::now();
        const ROUNDS: u32 = 400;
        for _ in 0..ROUNDS {
            let mut cursor = UnitCursor::open(&unit, &options);
            while cursor.read_batch(LIMITS).unwrap().is_some() {}
        }
        let bytes = f64::from(ROUNDS) * 256.0 * text.len() as f64;
        println!("{name}: {:.2} GB/s of JSON", bytes / start.elapsed().as_secs_f64() / 1e9);
    }
}
