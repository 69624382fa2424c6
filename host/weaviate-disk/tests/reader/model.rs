//! Random shards written by the independent encoder, against a model of what they hold.
use std::{collections::BTreeMap, path::Path};

use offloom_encoder::{
    DirectoryWriter, Generation, IntegerEncoding, NameStyle, Node, Object, ObjectOptions,
    SegmentOptions, TreeOrder, WalVersion,
};
use offloom_rows::BatchLimits;
use offloom_weaviate_disk::{DataDirectory, SchemaFile};
use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::select,
};

use crate::rows::{self, LIMITS, Row};

const CLASS: &str = "Model_Class";
const TENANTS: [&str; 5] = ["A", "UPPER_lower-1", "a", "b_c", "zzzzzzzzzzzz"];

/// One write to a key.
#[derive(Debug, Clone)]
pub enum Change {
    Put(Box<Object>, ObjectOptions),
    Delete { deleted_ms: Option<i64> },
}

/// One file of a shard.
#[derive(Debug, Clone)]
pub enum Source {
    Segment { style: NameStyle, options: SegmentOptions, changes: BTreeMap<[u8; 16], Change> },
    Log(Vec<([u8; 16], Change, WalVersion)>),
}

/// One of `count` keys, which include both ends of the order.
fn key(count: u16) -> impl Strategy<Value = [u8; 16]> {
    (0..count).prop_map(|number| match number {
        0 => [0; 16],
        1 => [255; 16],
        _ => {
            // In another order than that of the numbers.
            let bytes = number.wrapping_mul(40_503).to_be_bytes();
            std::array::from_fn(|at| bytes[at % 2])
        }
    })
}

fn vector() -> impl Strategy<Value = Vec<f32>> {
    vec(any::<u32>().prop_map(f32::from_bits), 0..6)
}

fn names() -> impl Strategy<Value = Vec<String>> {
    let long = "n".repeat(40);
    proptest::sample::subsequence(
        vec!["Title_2".to_owned(), "_a".into(), "regular".into(), long],
        0..4,
    )
    .prop_shuffle()
}

fn options(named: usize, multi: usize) -> impl Strategy<Value = ObjectOptions> {
    let order = |count: usize| Just((0..count).collect::<Vec<_>>()).prop_shuffle();
    (
        select(vec![Generation::V1_20, Generation::V1_24, Generation::Current]),
        select(vec![
            IntegerEncoding::U32,
            IntegerEncoding::Shortest,
            IntegerEncoding::U64,
            IntegerEncoding::I32,
            IntegerEncoding::I64,
        ]),
        any::<bool>(),
        order(named),
        order(multi),
    )
        .prop_map(|(generation, integers, wide_headers, named_order, multi_order)| {
            ObjectOptions { generation, integers, wide_headers, named_order, multi_order }
        })
}

fn put() -> impl Strategy<Value = Change> {
    let short = select(vec![
        r"{}",
        r#"{"t":"\u003cb\u003e"}"#,
        r#"{"t":"東京","n":[1e-7,-0]}"#,
        r#"{"n":null}"#,
    ]);
    // Larger than a reader's buffer.
    let long = Just(format!(r#"{{"t":"{}"}}"#, "x".repeat(300_000)));
    let properties = option::of(prop_oneof![60 => short.prop_map(str::to_owned), 1 => long]);
    let class = select(vec!["", CLASS, "Restored_From"]);
    (names(), names()).prop_flat_map(move |(named, multi)| {
        let (named_count, multi_count) = (named.len(), multi.len());
        (
            (any::<u64>(), any::<i64>(), any::<i64>()),
            (vector(), properties.clone(), class.clone()),
            vec(vector(), named_count),
            vec(vec(vector(), 0..4), multi_count),
            options(named_count, multi_count),
        )
            .prop_map(move |(numbers, fields, named_vectors, multi_vectors, options)| {
                let mut object = Object::new([0; 16], fields.2);
                (object.doc_id, object.created_ms, object.updated_ms) = numbers;
                object.vector = fields.0;
                object.properties = fields.1.map(String::into_bytes);
                object.named_vectors = named.iter().cloned().zip(named_vectors).collect();
                object.multi_vectors = multi.iter().cloned().zip(multi_vectors).collect();
                Change::Put(Box::new(object), options)
            })
    })
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => put(),
        1 => option::of(any::<i64>()).prop_map(|deleted_ms| Change::Delete { deleted_ms }),
    ]
}

fn source() -> impl Strategy<Value = Source> {
    let segment_options =
        (0..3_u16, 0..2_u16, 0..7_u16, select(vec![TreeOrder::Level, TreeOrder::VanEmdeBoas]))
            .prop_map(|(level, version, secondary_keys, tree_order)| SegmentOptions {
                level,
                version,
                secondary_keys,
                tree_order,
            });
    let style = select(vec![NameStyle::Short, NameStyle::Long]);
    // Few keys, so that sources meet on the same ones; or many in one segment.
    let changes = prop_oneof![
        9 => btree_map(key(48), change(), 0..24),
        1 => btree_map(key(1_000), change(), 48..160),
    ];
    let version = select(vec![WalVersion::V0, WalVersion::V1, WalVersion::V1]);
    prop_oneof![
        3 => (style, segment_options, changes).prop_map(|(style, options, changes)| {
            Source::Segment { style, options, changes }
        }),
        1 => vec((key(48), change(), version), 0..24).prop_map(Source::Log),
    ]
}

fn node(id: [u8; 16], change: &Change) -> Node {
    match change {
        Change::Put(object, options) => {
            let object = Object { uuid: id, ..(**object).clone() };
            Node::live(&object, options).unwrap()
        }
        Change::Delete { deleted_ms } => Node::tombstone(id, *deleted_ms),
    }
}

/// A node as a segment with so many slots for secondary keys has it: keys of many lengths, in some slots
/// none, and in some nodes fewer keys than slots.
fn with_secondary_keys(node: Node, slots: u16) -> Node {
    let seed = node.key.iter().fold(node.value.len(), |sum, byte| sum + usize::from(*byte));
    let filled = if seed.is_multiple_of(3) { slots / 2 } else { slots };
    let key = |slot: usize| match (seed + slot) % 4 {
        0 => Vec::new(),
        length => vec![seed as u8; length * (slot + 1) * 7],
    };
    node.with_secondary_keys((0..usize::from(filled)).map(key).collect())
}

/// The row that an object becomes.
fn row(id: [u8; 16], object: &Object, options: &ObjectOptions) -> Row {
    let bytes = |vector: &[f32]| vector.iter().flat_map(|float| float.to_le_bytes()).collect();
    let named = object.named_vectors.iter().map(|(name, vector)| (name.clone(), bytes(vector)));
    let multi = object.multi_vectors.iter().map(|(name, list)| {
        (name.clone(), list.iter().map(|vector| bytes(vector)).collect::<Vec<Vec<u8>>>())
    });
    let has_named = options.generation != Generation::V1_20 && !object.named_vectors.is_empty();
    let has_multi = options.generation == Generation::Current && !object.multi_vectors.is_empty();
    Row {
        shard: 0,
        tenant: None,
        id,
        created_ms: object.created_ms,
        updated_ms: object.updated_ms,
        vector: (!object.vector.is_empty()).then(|| bytes(&object.vector)),
        named: has_named.then(|| named.collect()),
        multi: has_multi.then(|| multi.collect()),
        properties: object.properties.clone(),
    }
}

/// Writes the shards and returns the rows that they hold, in the order in which they must come.
fn write(shards: &[(&str, Vec<Source>)], root: &Path) -> Vec<Row> {
    let mut directory = DirectoryWriter::create(&root.join("data")).unwrap();
    let class = directory.class(CLASS, true).unwrap();
    let mut rows = Vec::new();
    for (index, (tenant, sources)) in shards.iter().enumerate() {
        let shard = class.shard(tenant).unwrap();
        let mut live: BTreeMap<[u8; 16], Option<Row>> = BTreeMap::new();
        let mut apply = |id, change: &Change| {
            let state = match change {
                Change::Put(object, options) => Some(row(id, object, options)),
                Change::Delete { .. } => None,
            };
            live.insert(id, state);
        };
        for (position, source) in sources.iter().enumerate() {
            let file = 1_795_408_200_000_000_000 + position as u64;
            match source {
                Source::Segment { style, options, changes } => {
                    let mut writer = shard.segment(file, *style, options.clone()).unwrap();
                    for (id, change) in changes {
                        let slots = options.secondary_keys;
                        writer.append(&with_secondary_keys(node(*id, change), slots)).unwrap();
                        apply(*id, change);
                    }
                    writer.finish().unwrap();
                }
                Source::Log(records) => {
                    let mut writer = shard.wal(file).unwrap();
                    for (id, change, version) in records {
                        writer.append(&node(*id, change), *version).unwrap();
                        apply(*id, change);
                    }
                    writer.finish().unwrap();
                }
            }
        }
        rows.extend(live.into_values().flatten().map(|row| Row {
            shard: index as u32,
            tenant: Some((*tenant).to_owned()),
            ..row
        }));
    }
    directory.write_schema(&root.join("schema.json")).unwrap();
    rows
}

fn open(root: &Path) -> DataDirectory {
    let schema =
        SchemaFile::parse(&root.join("schema.json"), std::fs::read(root.join("schema.json")))
            .unwrap();
    DataDirectory::open(&root.join("data"), Some(schema)).unwrap()
}

proptest! {
    /// Segments of both versions, logs of all, objects of every generation, deletes, updates, in
    /// any order and however they are cut: the rows are those of the model.
    #[test]
    fn the_rows_are_those_of_the_model(
        shards in proptest::sample::subsequence(TENANTS.to_vec(), 0..=5).prop_flat_map(|tenants| {
            let sources = vec(vec(source(), 0..6), tenants.len());
            (Just(tenants), sources)
        }),
        block_bytes in select(vec![1_u64, 100, 700, 3_000, 1 << 20]),
        max_rows in 1..40_u32,
        max_bytes in select(vec![1_u32, 500, 2_000, 8 << 20]),
    ) {
        let (tenants, sources) = shards;
        let shards: Vec<_> = tenants.into_iter().zip(sources).collect();
        let root = tempfile::tempdir().unwrap();
        let expected = write(&shards, root.path());
        let directory = open(root.path());
        let class = rows::class(&directory, CLASS);
        prop_assert_eq!(class.shards.len(), shards.len());

        let whole = rows::read(&directory, class, u64::MAX, LIMITS).unwrap();
        prop_assert_eq!(whole.all(), expected.clone());
        prop_assert!(whole.units.len() <= 1);
        prop_assert_eq!(whole.shards.len(), shards.len());

        let limits = BatchLimits { max_rows, max_bytes };
        let cut = rows::read(&directory, class, block_bytes, limits).unwrap();
        prop_assert_eq!(cut.all(), expected);
        let raw = |rows: &rows::ClassRows| rows.raw_bytes.iter().sum::<u64>();
        prop_assert_eq!(raw(&cut), raw(&whole));
        let again = rows::read(&directory, class, block_bytes, limits).unwrap();
        prop_assert_eq!(cut.units, again.units);
    }
}
