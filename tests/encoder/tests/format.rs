//! What the encoder writes, byte for byte, against layouts worked out by hand from the specification.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::Cursor;

use offloom_encoder::{
    EncodeError, Generation, IntegerEncoding, Node, Object, ObjectOptions, SegmentOptions,
    SegmentWriter, TreeOrder, WalVersion, WalWriter,
};

/// The keys of a tree blob in stored order, as their first byte.
fn stored_keys(count: u8, tree_order: TreeOrder) -> Vec<u8> {
    let options = SegmentOptions { secondary_keys: 0, tree_order, ..SegmentOptions::default() };
    let mut segment = SegmentWriter::new(Cursor::new(Vec::new()), options).unwrap();
    for first in 0..count {
        let mut uuid = [0; 16];
        uuid[0] = first;
        segment.append(&Node::tombstone(uuid, None).with_secondary_keys(Vec::new())).unwrap();
    }
    let bytes = segment.finish().unwrap().into_inner();
    let index_start = u64::from_le_bytes(bytes[8..16].try_into().unwrap()) as usize;
    bytes[index_start..].chunks(36 + 16).map(|node| node[4]).collect()
}

#[test]
fn trees_have_the_orders_seen_in_real_files() {
    // leftovers/alltypes/eMYSCZeYtcAj (today) and v1.28.16/alltypes/LxAVjHEgjhua, 14 keys each.
    assert_eq!(
        stored_keys(14, TreeOrder::VanEmdeBoas),
        [6, 2, 10, 0, 1, 4, 3, 5, 8, 7, 9, 12, 11, 13]
    );
    assert_eq!(stored_keys(14, TreeOrder::Level), [6, 2, 10, 0, 4, 8, 12, 1, 3, 5, 7, 9, 11, 13]);
}

#[test]
fn an_object_ends_where_its_generation_ends() {
    let object = Object {
        vector: vec![1.0],
        properties: Some(b"{}".to_vec()),
        named_vectors: vec![("a".to_owned(), vec![2.0, 3.0])],
        multi_vectors: vec![("m".to_owned(), vec![vec![4.0]])],
        ..Object::new([7; 16], "Cls")
    };
    let oldest = object.encode(&Generation::V1_20.into()).unwrap();
    // 42 fixed, vector 2 + 4, class 2 + 3, properties 4 + 2, meta and weights 4 + 4 each.
    assert_eq!(oldest.len(), 42 + 6 + 5 + 6 + 8 + 8);
    let middle = object.encode(&Generation::V1_24.into()).unwrap();
    let named = [&[8, 0, 0, 0, 0x81, 0xa1, b'a', 0xce, 0, 0, 0, 0][..], &[10, 0, 0, 0, 2, 0]];
    assert_eq!(middle[oldest.len()..oldest.len() + 18], named.concat());
    assert_eq!(middle.len(), oldest.len() + 12 + 4 + 10);
    let current = object.encode(&Generation::Current.into()).unwrap();
    assert_eq!(current.len(), middle.len() + 12 + 4 + 4 + 2 + 4);
    assert!(current.starts_with(&middle) && middle.starts_with(&oldest));
}

#[test]
fn log_checksums_run_over_the_whole_file() {
    let node = Node::tombstone([1; 16], Some(5));
    let mut log = WalWriter::new(Vec::new());
    log.append(&node, WalVersion::V1).unwrap();
    log.append(&node, WalVersion::V1).unwrap();
    let bytes = log.finish().unwrap();
    let record = bytes.len() / 2;
    let covered = [&bytes[..record - 4], &bytes[record..2 * record - 4]].concat();
    assert_eq!(bytes[2 * record - 4..], crc32fast::hash(&covered).to_be_bytes());
}

#[test]
fn old_records_have_neither_length_nor_checksum_and_seed_the_new_ones() {
    let node = Node::tombstone([1; 16], None);
    let mut log = WalWriter::new(Vec::new());
    log.append(&node, WalVersion::V0).unwrap();
    log.append(&node, WalVersion::V1).unwrap();
    let bytes = log.finish().unwrap();
    let node = node.encode().unwrap();
    let old = [&[0, 0], &node[..]].concat();
    assert_eq!(bytes[..old.len()], old);
    let new = &bytes[old.len()..];
    let mut checksum = crc32fast::Hasher::new_with_initial(u32::from_be_bytes(
        old[old.len() - 4..].try_into().unwrap(),
    ));
    checksum.update(&new[..new.len() - 4]);
    assert_eq!(new[new.len() - 4..], checksum.finalize().to_be_bytes());
}

#[test]
fn vector_maps_come_in_every_encoding_and_order() {
    let object = Object {
        named_vectors: vec![("a".to_owned(), vec![2.0]), ("b".to_owned(), vec![])],
        ..Object::new([7; 16], "")
    };
    let map = |integers, wide_headers, named_order: &[usize]| {
        let options = ObjectOptions {
            generation: Generation::V1_24,
            integers,
            wide_headers,
            named_order: named_order.to_vec(),
            ..ObjectOptions::default()
        };
        // 42 fixed, no vector, no class name, three times `null`; then the length of the map.
        let value = object.encode(&options).unwrap();
        let length = u32::from_le_bytes(value[70..74].try_into().unwrap()) as usize;
        value[74..74 + length].to_vec()
    };
    // The run of `a` is 6 bytes long, that of `b` 2.
    assert_eq!(map(IntegerEncoding::Shortest, false, &[]), [0x82, 0xa1, b'a', 0, 0xa1, b'b', 6]);
    assert_eq!(
        map(IntegerEncoding::Shortest, false, &[1, 0]),
        [0x82, 0xa1, b'a', 2, 0xa1, b'b', 0]
    );
    for (integers, marker, width) in [
        (IntegerEncoding::U32, 0xce, 4),
        (IntegerEncoding::I32, 0xd2, 4),
        (IntegerEncoding::U64, 0xcf, 8),
        (IntegerEncoding::I64, 0xd3, 8),
    ] {
        let offset = |last| [&[marker], &vec![0; width - 1][..], &[last]].concat();
        let entries = [&[0xa1, b'a'], &offset(0)[..], &[0xa1, b'b'], &offset(6)].concat();
        assert_eq!(map(integers, false, &[]), [&[0x82], &entries[..]].concat());
    }
    let wide = map(IntegerEncoding::Shortest, true, &[]);
    assert_eq!(wide[..11], [0xdf, 0, 0, 0, 2, 0xdb, 0, 0, 0, 1, b'a']);
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    let options = ObjectOptions { named_order: vec![1], ..ObjectOptions::default() };
    let named = vec![("a".to_owned(), vec![1.0])];
    let object = Object { named_vectors: named, ..Object::new([7; 16], "") };
    assert!(matches!(object.encode(&options), Err(EncodeError::VectorOrder { .. })));
    let object = Object { vector: vec![0.0; 65_536], ..Object::new([7; 16], "") };
    let error = object.encode(&ObjectOptions::default()).unwrap_err();
    assert!(matches!(error, EncodeError::TooLong { length: 65_536, max: 65_535, .. }), "{error}");

    let mut segment =
        SegmentWriter::new(Cursor::new(Vec::new()), SegmentOptions::default()).unwrap();
    segment.append(&Node::tombstone([2; 16], None)).unwrap();
    let error = segment.append(&Node::tombstone([2; 16], None)).unwrap_err();
    assert!(matches!(error, EncodeError::KeyOrder { .. }), "{error}");
    let node = Node::tombstone([3; 16], None).with_secondary_keys(vec![vec![]; 2]);
    let error = segment.append(&node).unwrap_err();
    assert!(matches!(error, EncodeError::SecondaryKeys { node: 2, segment: 1 }), "{error}");
}
