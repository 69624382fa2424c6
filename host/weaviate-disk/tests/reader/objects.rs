//! Stored objects that break their format, and those at the borders of what it allows.
use offloom_encoder::{Generation, Node, Object, ObjectOptions, SegmentOptions, WalVersion};
use offloom_rows::{BatchLimits, ObjectLimit};
use offloom_weaviate_disk::{
    DiskError, LsmError, ObjectFault, ReadOptions, SegmentFault, UnitCursor, UnitOptions,
};
use uuid::Uuid;

use crate::{
    allocations::largest_bytes,
    rows,
    shard::{CLASS, Shard, id, object},
};

/// Offset of a node's value in a segment whose first node it is.
const VALUE_OFFSET: u64 = 16 + 9;
/// Length of what stands before the vector's dimensions.
const HEAD_BYTES: usize = 42;

fn shard_with(value: Vec<u8>) -> Shard {
    let shard = Shard::new();
    let node = Node {
        tombstone: 0,
        value,
        key: id(1).to_vec(),
        secondary_keys: vec![7_u64.to_le_bytes().to_vec()],
    };
    shard.segment(7, SegmentOptions::default(), &[node]);
    shard
}

/// Offset in the value and fault of the error that a value ends with.
fn fault(value: Vec<u8>) -> (u64, ObjectFault) {
    match shard_with(value).error() {
        DiskError::Object { place, offset, id: key, fault } => {
            assert_eq!(&*place.file, "segment-0000000000000000007.db");
            assert_eq!(key, Uuid::from_bytes(id(1)));
            (offset - VALUE_OFFSET, fault)
        }
        other => panic!("{other}"),
    }
}

/// An object with everything in it.
fn full() -> Object {
    let mut full = object(1, "{}");
    full.vector = vec![1.0, 2.0];
    full.named_vectors = vec![("a".to_owned(), vec![3.0]), ("b".to_owned(), vec![4.0, 5.0])];
    full.multi_vectors = vec![("m".to_owned(), vec![vec![6.0], vec![7.0, 8.0]])];
    full
}

fn encode(object: &Object, generation: Generation) -> Vec<u8> {
    object.encode(&ObjectOptions::from(generation)).unwrap()
}

#[test]
fn an_object_that_ends_anywhere_but_between_its_sections_is_an_error() {
    let value = encode(&full(), Generation::Current);
    let ends = [
        encode(&full(), Generation::V1_20).len(),
        encode(&full(), Generation::V1_24).len(),
        value.len(),
    ];
    for length in 0..=value.len() {
        let cut = value[..length].to_vec();
        if ends.contains(&length) {
            assert_eq!(shard_with(cut).rows().len(), 1);
            continue;
        }
        let (offset, fault) = fault(cut);
        assert!(offset <= length as u64);
        match length {
            0 => assert_eq!(fault, ObjectFault::Empty),
            _ => assert!(matches!(fault, ObjectFault::Truncated { .. }), "{length}: {fault}"),
        }
    }
}

#[test]
fn fields_that_contradict_are_errors_with_their_offset() {
    let value = encode(&full(), Generation::Current);
    let with = |at: usize, new: &[u8]| {
        let mut changed = value.clone();
        changed[at..at + new.len()].copy_from_slice(new);
        fault(changed)
    };
    assert_eq!(with(0, &[2]), (0, ObjectFault::Version { version: 2 }));
    let other = ObjectFault::Id { id: Uuid::from_bytes(id(2)) };
    assert_eq!(with(10, &id(2)), (10, other));
    let dimensions = with(HEAD_BYTES, &u16::MAX.to_le_bytes());
    let expected = ObjectFault::Truncated { field: "the vector" };
    assert_eq!(dimensions, (HEAD_BYTES as u64 + 2, expected));
    let class = HEAD_BYTES + 2 + 8;
    let expected = ObjectFault::Truncated { field: "the class name" };
    assert_eq!(with(class, &u16::MAX.to_le_bytes()), (class as u64 + 2, expected));
    let properties = class + 2 + CLASS.len();
    let expected = ObjectFault::Truncated { field: "the properties" };
    assert_eq!(with(properties, &u32::MAX.to_le_bytes()), (properties as u64 + 4, expected));
    let (offset, invalid) = with(properties + 4, b"{,");
    assert_eq!(offset, properties as u64 + 4);
    assert!(matches!(invalid, ObjectFault::Properties { .. }));
    // Text that is not UTF-8.
    assert!(matches!(with(properties + 4, b"{\xff").1, ObjectFault::Properties { .. }));
}

#[test]
fn offsets_of_vectors_are_checked_against_their_segment() {
    // Behind fields 1 to 16: offsets, then the segment with both vectors.
    let start = encode(&full(), Generation::V1_20).len();
    let value = encode(&full(), Generation::Current);
    let named = u32::from_le_bytes(value[start..start + 4].try_into().unwrap()) as usize;
    // fixmap(2), fixstr "a", 0xce u32, fixstr "b", 0xce u32.
    assert_eq!(named, 1 + 2 * (2 + 5));
    let map = start + 4;
    let segment = map + named + 4;
    let with = |at: usize, new: &[u8]| {
        let mut changed = value.clone();
        changed[at..at + new.len()].copy_from_slice(new);
        fault(changed)
    };
    let offsets = ObjectFault::Offsets { section: "named vectors" };
    // No map, a name that is no text, a name that is not UTF-8, a negative offset, a short map.
    assert_eq!(with(map, &[0x92]), (map as u64, offsets.clone()));
    assert_eq!(with(map + 1, &[0x01]), (map as u64, offsets.clone()));
    assert_eq!(with(map + 2, &[0xff]), (map as u64, offsets.clone()));
    assert_eq!(with(map + 3, &[0xd2, 0xff, 0xff, 0xff, 0xff]), (map as u64, offsets.clone()));
    assert_eq!(with(map, &[0x83]), (map as u64, offsets.clone()));
    assert_eq!(with(map, &[0xdf]), (map as u64, offsets));
    // Beyond the segment, though not beyond the value.
    let segment_bytes = (2 + 4) + (2 + 8);
    let truncated = ObjectFault::Truncated { field: "the named vectors" };
    let beyond = |offset: u32| with(map + 4, &offset.to_be_bytes());
    for offset in [segment_bytes - 1, segment_bytes, segment_bytes + 1, u32::MAX] {
        // A place in the value, even where the offset leads out of it.
        let place = segment as u64 + u64::from(offset.min(segment_bytes));
        assert_eq!(beyond(offset), (place, truncated.clone()));
    }
    let last = segment as u64 + 6;
    assert_eq!(with(segment + 6, &3_u16.to_le_bytes()), (last, truncated));
    // More multi vectors than the segment can hold, before anything is made room for.
    let multi = segment + segment_bytes as usize + 4 + (1 + 2 + 5) + 4;
    assert_eq!(value[multi..multi + 4], 2_u32.to_le_bytes());
    let truncated = ObjectFault::Truncated { field: "the multi vectors" };
    for count in [3, 9, u32::MAX] {
        assert_eq!(with(multi, &count.to_le_bytes()), (multi as u64, truncated.clone()));
    }
}

#[test]
fn the_multi_vectors_of_1_28_0_are_named_as_what_they_are() {
    let mut value = encode(&full(), Generation::V1_24);
    let end = value.len() as u64;
    // One name, length, {"m": [[1.0]]}.
    let map = [0x81, 0xa1, b'm', 0x91, 0x91, 0xca, 0x3f, 0x80, 0, 0];
    value.extend(1_u32.to_le_bytes());
    value.extend((map.len() as u32).to_le_bytes());
    value.extend(map);
    assert_eq!(fault(value), (end, ObjectFault::MultiVectorsOf1280));
}

#[test]
fn empty_and_nil_maps_are_no_vectors_and_a_vector_without_dimensions_is_one() {
    for map in [&[][..], &[0x80], &[0xc0]] {
        let mut value = encode(&object(1, "{}"), Generation::V1_20);
        value.extend((map.len() as u32).to_le_bytes());
        value.extend(map);
        // A segment without offsets is skipped.
        value.extend(3_u32.to_le_bytes());
        value.extend([1, 2, 3]);
        let row = &shard_with(value).rows()[0];
        assert_eq!((&row.named, &row.multi), (&None, &None));
    }
    let mut object = object(1, "null");
    object.named_vectors = vec![("a".to_owned(), Vec::new())];
    object.multi_vectors = vec![("m".to_owned(), Vec::new())];
    let row = &shard_with(encode(&object, Generation::Current)).rows()[0];
    assert_eq!(row.named.as_ref().unwrap()["a"], Vec::<u8>::new());
    assert_eq!(row.multi.as_ref().unwrap()["m"], Vec::<Vec<u8>>::new());
    assert_eq!((&row.vector, &row.properties), (&None, &None));
}

#[test]
fn bytes_behind_the_last_field_are_left_out_and_counted() {
    let mut value = encode(&full(), Generation::Current);
    value.extend([1, 2, 3]);
    let shard = shard_with(value);
    assert_eq!(shard.rows().len(), 1);
    let directory = shard.open();
    let class = rows::class(&directory, CLASS);
    let options = UnitOptions::new(1 << 20);
    let unit = directory.units(class, options).next().unwrap();
    let mut cursor = UnitCursor::open(&unit, &ReadOptions::default());
    cursor.read_batch(rows::LIMITS).unwrap();
    let shard = &cursor.into_report().faults.shards[&0];
    assert_eq!((shard.rows_with_trailing_bytes, shard.objects_left_out), (1, 0));
}

#[test]
fn the_largest_vector_is_read() {
    let mut object = object(1, "{}");
    object.vector = vec![0.5; 65_535];
    object.named_vectors = vec![("a".to_owned(), vec![0.25; 65_535])];
    let row = &shard_with(encode(&object, Generation::Current)).rows()[0];
    assert_eq!(row.vector.as_ref().unwrap().len(), 4 * 65_535);
    assert_eq!(row.named.as_ref().unwrap()["a"], 0.25_f32.to_le_bytes().repeat(65_535));
}

/// JSON text of a certain length.
fn text(bytes: usize) -> String {
    format!(r#"{{"t":"{}"}}"#, "x".repeat(bytes - 8))
}

#[test]
fn a_row_of_nearly_32_mib_is_read_and_a_larger_one_is_an_error() {
    let limit = ObjectLimit::DEFAULT.row_bytes() as usize;
    for in_log in [false, true] {
        let shard = |bytes: usize| {
            let shard = Shard::new();
            let nodes = [
                object(1, &text(20_000_000)),
                object(2, "{}"),
                object(3, &text(bytes)),
                object(4, "{}"),
            ]
            .map(|object| Node::live(&object, &ObjectOptions::default()).unwrap());
            if in_log {
                shard.log(7, &nodes, WalVersion::V1);
            } else {
                shard.segment(7, SegmentOptions::default(), &nodes);
            }
            shard
        };
        let fits = shard(limit - 1_000);
        let lengths: Vec<usize> =
            fits.rows().iter().map(|row| row.properties.as_ref().unwrap().len()).collect();
        assert_eq!(lengths, [20_000_000, 2, limit - 1_000, 2]);
        for bytes in [limit + 1, 3 * limit] {
            let (error, largest) = largest_bytes(|| shard(bytes).error());
            let DiskError::Object { id: key, fault: ObjectFault::TooLarge { .. }, .. } = error
            else {
                panic!("{error}")
            };
            assert_eq!(key, Uuid::from_bytes(id(3)));
            assert!(error.to_string().contains("more than the 33554432"), "{error}");
            assert!(error.to_string().contains("raise --max-object-bytes"), "{error}");
            // What writes the test's own file is the largest.
            assert!(largest <= 4 * bytes);
        }
    }
}

#[test]
fn the_limit_of_an_export_decides_which_objects_are_too_large() {
    for in_log in [false, true] {
        let shard = Shard::new();
        let large = text(40 << 20);
        let nodes = [object(1, "{}"), object(2, &large), object(3, "{}")]
            .map(|object| Node::live(&object, &ObjectOptions::default()).unwrap());
        if in_log {
            shard.log(7, &nodes, WalVersion::V1);
        } else {
            shard.segment(7, SegmentOptions::default(), &nodes);
        }
        let read = |bytes: u64| {
            let object_limit = ObjectLimit::new(bytes).unwrap();
            let options = ReadOptions { object_limit, ..ReadOptions::default() };
            let directory = shard.open();
            let class = rows::class(&directory, CLASS);
            let units = directory.units(class, UnitOptions::new(1 << 20));
            let read = |unit| rows::read_cursor(UnitCursor::open(&unit, &options), rows::LIMITS);
            units.map(read).collect::<Result<Vec<_>, _>>().map(|units| units.concat())
        };
        let rows = read(41 << 20).unwrap();
        assert_eq!(rows.len(), 3);
        assert!(rows[1].properties.as_deref() == Some(large.as_bytes()));
        // A limit above half of it reads the value and refuses the row, a lower one does not read it.
        for bytes in [39 << 20, 2 << 20] {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.contains(&format!("more than the {bytes} that one may have")), "{error}");
        }
    }
}

#[test]
fn a_value_too_large_to_be_read_does_no_harm_where_it_is_replaced() {
    let shard = Shard::new();
    let large = object(1, &text(3 * ObjectLimit::DEFAULT.row_bytes() as usize));
    let large = Node::live(&large, &ObjectOptions::default()).unwrap();
    let small = Node::live(&object(2, "{}"), &ObjectOptions::default()).unwrap();
    shard.segment(1, SegmentOptions::default(), &[large, small]);
    let newer = Node::live(&object(1, r#"{"n":1}"#), &ObjectOptions::default()).unwrap();
    shard.segment(2, SegmentOptions::default(), &[newer]);
    assert_eq!(shard.found(), [(1, r#"{"n":1}"#.to_owned()), (2, "{}".to_owned())]);
}

#[test]
fn names_that_point_at_the_same_vector_cannot_blow_a_row_up() {
    // 2,000 names in 20 kB, all at one vector of 256 kB: half a gigabyte of columns.
    let mut value = encode(&object(1, "{}"), Generation::V1_20);
    let mut map = vec![0xde];
    map.extend(2_000_u16.to_be_bytes());
    for number in 0..2_000 {
        let name = format!("n{number:04}");
        map.push(0xa0 | name.len() as u8);
        map.extend(name.as_bytes());
        map.push(0);
    }
    value.extend((map.len() as u32).to_le_bytes());
    value.extend(map);
    let mut vector = 65_535_u16.to_le_bytes().to_vec();
    vector.extend(vec![0; 4 * 65_535]);
    value.extend((vector.len() as u32).to_le_bytes());
    value.extend(vector);
    let shard = shard_with(value);
    let (error, largest) = largest_bytes(|| shard.error());
    assert!(matches!(error, DiskError::Object { fault: ObjectFault::TooLarge { .. }, .. }));
    assert!(largest < 1 << 20, "{largest}");
}

#[test]
fn more_names_than_a_batch_can_tell_apart_go_into_several() {
    let shard = Shard::new();
    let nodes: Vec<Node> = (0..4)
        .map(|number| {
            let mut object = object(number, "{}");
            object.named_vectors =
                (0..20_000).map(|name| (format!("v{number}_{name:05}"), vec![1.0])).collect();
            Node::live(&object, &ObjectOptions::default()).unwrap()
        })
        .collect();
    shard.segment(1, SegmentOptions::default(), &nodes);
    let directory = shard.open();
    let class = rows::class(&directory, CLASS);
    let limits = BatchLimits { max_rows: 100, max_bytes: 64 << 20 };
    let rows = rows::read(&directory, class, 1 << 30, limits).unwrap().all();
    assert!(rows.iter().all(|row| row.named.as_ref().unwrap().len() == 20_000));
    assert_eq!(rows.len(), 4);
}

#[test]
fn keys_of_another_length_are_errors_of_the_segment() {
    let shard = Shard::new();
    let node =
        Node { tombstone: 0, value: Vec::new(), key: vec![1; 8], secondary_keys: Vec::new() };
    shard.segment(1, SegmentOptions::default(), &[node]);
    let DiskError::Lsm(LsmError::Segment { fault, .. }) = shard.error() else {
        panic!("an object")
    };
    assert_eq!(fault, SegmentFault::KeyLength { key_bytes: 8 });
}
