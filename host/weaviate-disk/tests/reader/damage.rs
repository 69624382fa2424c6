//! Damaged files: a named error with its place, never a panic, never a large allocation.
use std::sync::OnceLock;

use offloom_encoder::{DirectoryWriter, SegmentOptions, tear};
use offloom_rows::BatchLimits;
use offloom_weaviate_disk::{DataDirectory, DiskError, LsmError, SegmentFault};
use proptest::{collection::vec, prelude::*, sample::Index, sample::select};
use uuid::Uuid;

use crate::{
    allocations::largest_bytes,
    rows,
    shard::{CLASS, SHARD, Shard, id, put},
};

/// Versions of segments; 1 has a checksum.
const VERSIONS: [u16; 2] = [0, 1];

fn options(version: u16) -> SegmentOptions {
    SegmentOptions { version, ..SegmentOptions::default() }
}

/// A shard with one segment of three objects whose bytes `damage` changes.
fn damaged(version: u16, damage: impl FnOnce(&mut Vec<u8>)) -> Shard {
    let shard = Shard::new();
    let path = shard.segment(7, options(version), &[put(1, "{}"), put(2, "{}"), put(3, "{}")]);
    let mut bytes = std::fs::read(&path).unwrap();
    damage(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
    shard
}

/// Offset and fault of the error that reading ends with.
fn segment_fault(shard: &Shard) -> (u64, SegmentFault) {
    match shard.error() {
        DiskError::Lsm(LsmError::Segment { place, offset, fault }) => {
            assert_eq!((&*place.class, &*place.shard), (CLASS, SHARD));
            assert_eq!(&*place.file, "segment-0000000000000000007.db");
            (offset, fault)
        }
        other => panic!("{other}"),
    }
}

fn put_at(offset: usize, new: &[u8]) -> impl FnOnce(&mut Vec<u8>) + use<> {
    let new = new.to_vec();
    move |bytes| bytes[offset..offset + new.len()].copy_from_slice(&new)
}

/// Length of the data section of `damaged`, and of one of its three nodes.
fn data_bytes() -> (u64, u64) {
    let whole = damaged(0, |_| ());
    let bytes = std::fs::read(whole.file("segment-0000000000000000007.db")).unwrap();
    let index_start = u64::from_le_bytes(bytes[8..16].try_into().unwrap());
    (index_start - 16, (index_start - 16) / 3)
}

#[test]
fn a_header_out_of_its_rules_is_an_error() {
    let version = |version: u16| damaged(0, put_at(2, &version.to_le_bytes()));
    assert_eq!(segment_fault(&version(2)), (2, SegmentFault::Version { version: 2 }));
    let strategy = damaged(0, put_at(6, &[5, 0]));
    assert_eq!(segment_fault(&strategy), (6, SegmentFault::Strategy { strategy: 5 }));
    for index_start in [0, 15, 1 << 40, u64::MAX] {
        let shard = damaged(0, put_at(8, &index_start.to_le_bytes()));
        let (offset, fault) = segment_fault(&shard);
        assert_eq!(offset, 8);
        assert!(matches!(fault, SegmentFault::IndexStart { index_start: shown, .. }
                if shown == index_start));
    }
    let short = damaged(0, |bytes| bytes.truncate(15));
    assert_eq!(segment_fault(&short), (0, SegmentFault::TooShort { file_bytes: 15 }));
    // A checksum that is stated and is not there: the last bytes of the tree are taken for it.
    let without = damaged(0, put_at(2, &[1, 0]));
    assert!(matches!(segment_fault(&without).1, SegmentFault::Checksum { .. }));
}

#[test]
fn a_segment_that_was_cut_anywhere_is_an_error() {
    let name = "segment-0000000000000000007.db";
    for version in VERSIONS {
        let whole = damaged(version, |_| ());
        assert_eq!(whole.rows().len(), 3);
        let length = whole.file(name).metadata().unwrap().len();
        // A whole secondary tree: not every key needs to be in it, and nothing else is lost.
        let secondary_tree = 3 * (36 + 8);
        for cut in 1..=length {
            let shard = damaged(version, |_| ());
            tear(&shard.file(name), cut).unwrap();
            if version == 0 && cut == secondary_tree {
                assert_eq!(shard.rows(), whole.rows());
                continue;
            }
            let error = shard.error();
            assert!(
                matches!(error, DiskError::Lsm(LsmError::Segment { .. })),
                "{cut} of {length}: {error}"
            );
        }
    }
}

#[test]
fn every_flipped_bit_of_a_segment_with_a_checksum_is_found() {
    let length = std::fs::metadata(damaged(1, |_| ()).file("segment-0000000000000000007.db"));
    for position in 0..length.unwrap().len() as usize {
        let shard = damaged(1, |bytes| bytes[position] ^= 1);
        // The last bit of the version turns the checksum off: then the tree is too long by four.
        let (_, fault) = segment_fault(&shard);
        match position {
            2 => assert_eq!(fault, SegmentFault::TreeCut),
            3 => assert_eq!(fault, SegmentFault::Version { version: 257 }),
            6 | 7 => assert!(matches!(fault, SegmentFault::Strategy { .. })),
            _ => assert!(
                matches!(
                    fault,
                    SegmentFault::Checksum { .. }
                        | SegmentFault::IndexStart { .. }
                        | SegmentFault::SecondaryOffset { .. }
                ),
                "{position}: {fault}"
            ),
        }
    }
}

#[test]
fn nodes_out_of_their_rules_are_errors_with_their_offset() {
    let (data, node) = data_bytes();
    let second = 16 + node;
    // Tombstone flag, value length, value, key length, key.
    let value = usize::try_from(node).unwrap() - 9 - 4 - 16 - 4 - 8;
    let key_length = usize::try_from(second).unwrap() + 9 + value;
    let long = damaged(0, put_at(second as usize + 1, &u64::MAX.to_le_bytes()));
    let excess = u64::MAX - (data - node);
    let (offset, fault) = segment_fault(&long);
    assert_eq!(offset, second);
    assert!(
        matches!(fault, SegmentFault::NodeCrossesEnd { excess_bytes } if excess_bytes >= excess)
    );

    let short_key = damaged(0, put_at(key_length, &15_u32.to_le_bytes()));
    let expected = (key_length as u64, SegmentFault::KeyLength { key_bytes: 15 });
    assert_eq!(segment_fault(&short_key), expected);

    let same_key = damaged(0, put_at(key_length + 4, &id(1)));
    let key = Uuid::from_bytes(id(1));
    assert_eq!(segment_fault(&same_key), (key_length as u64, SegmentFault::KeyOrder { key }));

    // The last node's secondary key would end beyond the data.
    let last = 16 + data as usize - 12;
    let beyond = damaged(0, put_at(last, &9_u32.to_le_bytes()));
    let expected = (last as u64, SegmentFault::NodeCrossesEnd { excess_bytes: 1 });
    assert_eq!(segment_fault(&beyond), expected);
}

#[test]
fn trees_out_of_their_rules_are_errors_with_their_offset() {
    let (data, node) = data_bytes();
    let tree = 16 + data as usize + 8;
    let start = put_at(tree + 20, &15_u64.to_le_bytes());
    let expected = SegmentFault::TreePointer { start: 15, end: 16 + 2 * node };
    assert_eq!(segment_fault(&damaged(0, start)), (tree as u64, expected));
    let child = damaged(0, put_at(tree + 36, &(3 * 52_i64).to_le_bytes()));
    assert_eq!(segment_fault(&child), (tree as u64, SegmentFault::TreeChild { child: 156 }));
    let key = damaged(0, put_at(tree, &17_u32.to_le_bytes()));
    assert_eq!(segment_fault(&key), (tree as u64, SegmentFault::KeyLength { key_bytes: 17 }));
    let shrunk = put_at(tree + 28, &(16 + 2 * node - 1).to_le_bytes());
    let expected = SegmentFault::TreeCoverage { covered_bytes: data - 1, data_bytes: data };
    assert_eq!(segment_fault(&damaged(0, shrunk)), (tree as u64, expected));
    let secondary = damaged(0, put_at(16 + data as usize, &0_u64.to_le_bytes()));
    let expected = SegmentFault::SecondaryOffset { tree: 0, offset: 0 };
    assert_eq!(segment_fault(&secondary), (16 + data, expected));
}

#[test]
fn a_key_outside_of_its_unit_is_an_error() {
    // The tree says that the third object begins a unit of its own; its node has a smaller key.
    let (_, node) = data_bytes();
    let key_offset = 16 + 3 * node as usize - (16 + 4 + 8);
    let shard = damaged(0, put_at(key_offset, &id(1)));
    let directory = shard.open();
    let class = rows::class(&directory, CLASS);
    let error = rows::read(&directory, class, 1, rows::LIMITS).unwrap_err();
    let DiskError::Lsm(LsmError::Segment { offset, fault, .. }) = error else { panic!("{error}") };
    let key = Uuid::from_bytes(id(1));
    assert_eq!((offset, fault), (key_offset as u64 - 4, SegmentFault::KeyOrder { key }));
}

#[test]
fn a_tree_that_leads_in_circles_ends() {
    // Small blocks, so that the tree is walked: the left child of the root is the root.
    let (data, _) = data_bytes();
    let tree = 16 + data as usize + 8;
    let shard = damaged(0, put_at(tree + 36, &0_i64.to_le_bytes()));
    let directory = shard.open();
    let class = rows::class(&directory, CLASS);
    let error = rows::read(&directory, class, 1, rows::LIMITS).unwrap_err();
    let DiskError::Lsm(LsmError::Segment {
        offset, fault: SegmentFault::TreePointer { .. }, ..
    }) = error
    else {
        panic!("{error}")
    };
    assert_eq!(offset, tree as u64);
}

#[test]
fn an_interrupted_compaction_that_weaviate_refuses_is_refused() {
    let shard = Shard::new();
    shard.segment(1, SegmentOptions::default(), &[put(1, "{}")]);
    let tmp = "segment-0000000000000000001_0000000000000000002.l1.s0.db.tmp";
    std::fs::write(shard.file(tmp), b"never opened").unwrap();
    let error = shard.error();
    assert!(
        matches!(&error, DiskError::Lsm(LsmError::Compaction { place }) if &*place.file == tmp)
    );
    assert!(error.to_string().contains("delete this file to recover"), "{error}");
}

/// The files with data of the real directories: name and bytes.
fn real_files() -> &'static [(String, Vec<u8>)] {
    static FILES: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let mut files = Vec::new();
        for name in ["basic", "options", "crashed", "v1.24.26", "v1.28.16", "v1.34.20"] {
            let fixture = offloom_fixtures::unpack(name).unwrap();
            for class in std::fs::read_dir(fixture.data_dir()).unwrap() {
                let Ok(shards) = std::fs::read_dir(class.unwrap().path()) else { continue };
                for shard in shards {
                    let bucket = shard.unwrap().path().join("lsm/objects");
                    let Ok(entries) = std::fs::read_dir(bucket) else { continue };
                    for entry in entries {
                        let entry = entry.unwrap();
                        let file = entry.file_name().into_string().unwrap();
                        if file.ends_with(".db") || file.ends_with(".wal") {
                            files.push((file, std::fs::read(entry.path()).unwrap()));
                        }
                    }
                }
            }
        }
        files.retain(|(_, bytes)| !bytes.is_empty());
        assert!(files.len() > 40, "{} files", files.len());
        files
    })
}

/// A change to the bytes of a file.
#[derive(Debug, Clone)]
enum Mutation {
    Flip {
        at: Index,
        bits: u8,
    },
    Truncate {
        at: Index,
    },
    /// Lengths and offsets are where a parser is most easily misled.
    Number {
        at: Index,
        bytes: Vec<u8>,
    },
    Remove {
        at: Index,
        bytes: usize,
    },
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let number = prop_oneof![
        select(vec![u64::MAX, i64::MAX as u64, 1 << 40, 1 << 31, u64::from(u32::MAX), 0, 16])
            .prop_map(|number| number.to_le_bytes().to_vec()),
        select(vec![u32::MAX, 1 << 30, 0, 1]).prop_map(|number| number.to_le_bytes().to_vec()),
    ];
    prop_oneof![
        4 => (any::<Index>(), 1..=255_u8).prop_map(|(at, bits)| Mutation::Flip { at, bits }),
        1 => any::<Index>().prop_map(|at| Mutation::Truncate { at }),
        2 => (any::<Index>(), number).prop_map(|(at, bytes)| Mutation::Number { at, bytes }),
        1 => (any::<Index>(), 1..64_usize)
            .prop_map(|(at, bytes)| Mutation::Remove { at, bytes }),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    if bytes.is_empty() {
        return;
    }
    match mutation {
        Mutation::Flip { at, bits } => {
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
        }
        Mutation::Truncate { at } => bytes.truncate(at.index(bytes.len())),
        Mutation::Number { at, bytes: number } => {
            let at = at.index(bytes.len());
            let end = bytes.len().min(at + number.len());
            bytes[at..end].copy_from_slice(&number[..end - at]);
        }
        Mutation::Remove { at, bytes: count } => {
            let at = at.index(bytes.len());
            bytes.drain(at..bytes.len().min(at + count));
        }
    }
}

proptest! {
    // More with PROPTEST_CASES.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(600)))]

    #[test]
    fn damaged_real_files_end_in_rows_or_in_an_error_that_names_them(
        file in any::<Index>(),
        mutations in vec(mutation(), 1..5),
        block_bytes in select(vec![1_u64, 2_000, 32 << 20]),
    ) {
        let (name, original) = file.get(real_files());
        let mut bytes = original.clone();
        for mutation in &mutations {
            mutate(&mut bytes, mutation);
        }
        let root = tempfile::tempdir().unwrap();
        let mut directory = DirectoryWriter::create(root.path()).unwrap();
        let shard = directory.class(CLASS, false).unwrap().shard(SHARD).unwrap();
        std::fs::write(shard.path().join(name), &bytes).unwrap();

        let limits = BatchLimits { max_rows: 50, max_bytes: 100_000 };
        let (read, largest) = largest_bytes(|| {
            let directory = DataDirectory::open(root.path(), None).unwrap();
            let class = rows::class(&directory, CLASS);
            rows::read(&directory, class, block_bytes, limits)
        });
        match read {
            Ok(rows) => {
                let rows = rows.all();
                prop_assert!(rows.is_sorted_by(|left, right| left.id < right.id));
            }
            Err(error) => {
                let shown = error.to_string();
                prop_assert!(shown.contains(name) && shown.contains(SHARD), "{}", shown);
                prop_assert!(
                    matches!(error, DiskError::Lsm(LsmError::Segment { .. }) | DiskError::Object { .. }),
                    "{:?}",
                    error
                );
            }
        }
        prop_assert!(largest <= (1 << 20) + 8 * bytes.len(), "{} bytes at once", largest);
    }
}
