//! Targets for the files of a bucket, read as an export reads them: from a directory, in units.
use std::{fs, ops::Range, path::PathBuf};

use offloom_rows::BatchLimits;
use offloom_weaviate_disk::{DataDirectory, DiskError, LsmError, ShardWarning};
use serde::de::IgnoredAny;
use tempfile::TempDir;

use super::{
    allocations::largest_bytes,
    rows::{self, Row},
};

const DIRECTORY: &str = "article";
const CLASS: &str = "Article";
const SHARD: &str = "aBcDeFgHiJkL";
const SEGMENT: &str = "segment-0000000000000000001.db";
const LOG: &str = "segment-0000000000000000002.wal";

const HEADER: usize = 16;
const FOOTER: usize = 4;
/// Key length, key, start, end, left and right child.
const TREE_NODE: usize = 52;

/// More than any input: one unit.
const ONE_UNIT_BYTES: u64 = 32 << 20;
/// Few, so that small inputs make several batches.
const LIMITS: BatchLimits = BatchLimits { max_rows: 3, max_bytes: 1000 };

/// A data directory with one shard whose files come from the input; one a thread.
struct Shard {
    root: TempDir,
    bucket: PathBuf,
}

/// What reading a shard comes to.
struct Read {
    rows: Result<Vec<Row>, DiskError>,
    warnings: Vec<ShardWarning>,
}

impl Shard {
    fn new() -> Shard {
        let root = tempfile::tempdir().unwrap();
        let bucket = root.path().join(format!("{DIRECTORY}/{SHARD}/lsm/objects"));
        fs::create_dir_all(&bucket).unwrap();
        // Empty, so that a shard without objects is an empty one.
        fs::write(root.path().join(format!("{DIRECTORY}/{SHARD}/indexcount")), b"").unwrap();
        Shard { root, bucket }
    }

    fn read(&self, files: &[(&str, &[u8])], block_bytes: u64) -> Read {
        for name in [SEGMENT, LOG] {
            let path = self.bucket.join(name);
            match files.iter().find(|file| file.0 == name) {
                Some((_, bytes)) => fs::write(path, bytes).unwrap(),
                None => drop(fs::remove_file(path)),
            }
        }
        let (read, largest) = largest_bytes(|| {
            let directory = DataDirectory::open(self.root.path(), None).unwrap();
            let [class] = directory.classes() else { panic!("{:?}", directory.classes()) };
            rows::read(&directory, class, block_bytes, LIMITS)
        });
        let all_bytes: usize = files.iter().map(|file| file.1.len()).sum();
        assert!(largest <= (1 << 20) + 8 * all_bytes, "{largest} bytes at once");
        match read {
            Ok(read) => {
                let rows = read.all();
                assert!(rows.is_sorted_by(|left, right| left.id < right.id));
                let text = rows.iter().filter_map(|row| row.properties.as_ref());
                text.for_each(|text| assert!(is_json(text), "{}", text.escape_ascii()));
                let warnings = read.shards.into_iter().flat_map(|shard| shard.warnings).collect();
                Read { rows: Ok(rows), warnings }
            }
            Err(error) => {
                let (DiskError::Lsm(LsmError::Segment { place, offset, .. })
                | DiskError::Object { place, offset, .. }) = &error
                else {
                    panic!("{error}")
                };
                let (_, bytes) = files.iter().find(|file| *file.0 == *place.file).unwrap();
                assert!(*offset <= bytes.len() as u64, "{error}");
                Read { rows: Err(error), warnings: Vec::new() }
            }
        }
    }
}

/// By its grammar alone: numbers may be larger than any type.
fn is_json(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

thread_local! {
    static SHARD_OF_THREAD: Shard = Shard::new();
}

fn read(files: &[(&str, &[u8])], block_bytes: u64) -> Read {
    SHARD_OF_THREAD.with(|shard| shard.read(files, block_bytes))
}

/// A segment file, its checksum set right. Read whole and in the smallest units.
pub fn segment(input: &[u8]) {
    let mut file = input.to_vec();
    if file.get(2..4) == Some(&[1, 0]) && file.len() >= HEADER + FOOTER {
        let end = file.len() - FOOTER;
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&file[HEADER..end]);
        checksum.update(&file[..HEADER]);
        file[end..].copy_from_slice(&checksum.finalize().to_be_bytes());
    }
    let whole = read(&[(SEGMENT, &file)], ONE_UNIT_BYTES).rows;
    // Cutting checks more: the whole segment can be read if its units can, and holds the same.
    if let Ok(rows) = read(&[(SEGMENT, &file)], 1).rows {
        assert_eq!(rows, whole.unwrap());
    }
}

/// A log. The first byte says whether its checksums are set right, whether an older segment lies
/// beside it, and whether units are small.
pub fn wal(input: &[u8]) {
    let Some((flags, log)) = input.split_first() else { return };
    let mut log = log.to_vec();
    if flags & 1 == 0 {
        set_log_checksums(&mut log);
    }
    let nodes: Vec<Vec<u8>> = (1..=3).map(|key| node(key, &smallest_object(key))).collect();
    let (older, _) = segment_of(&nodes, |_| [0; 5]);
    let block_bytes = if flags & 4 == 0 { ONE_UNIT_BYTES } else { 1 };
    let files = |log| match flags & 2 {
        0 => vec![(LOG, log)],
        _ => vec![(SEGMENT, older.as_slice()), (LOG, log)],
    };
    let Read { rows, warnings } = read(&files(&log), block_bytes);
    let Ok(rows) = rows else { return };
    if let [ShardWarning::TornLog { offset, dropped_bytes, .. }] = *warnings {
        assert_eq!(offset + dropped_bytes, log.len() as u64);
        // What stands before the first bad record is a whole log of the same rows.
        let before = read(&files(&log[..offset as usize]), block_bytes);
        assert_eq!((before.rows.unwrap(), before.warnings), (rows, vec![]));
    } else {
        assert_eq!(warnings, []);
    }
}

/// Sets the checksums of the records of version 1, as far as the lengths of records lead.
fn set_log_checksums(log: &mut [u8]) {
    let mut checksum = crc32fast::Hasher::new();
    let mut start = 0;
    while let Some(record) = log.get_mut(start..) {
        let number = |record: &[u8], range: Range<usize>| {
            let bytes = record.get(range)?;
            let number = bytes.iter().rev().fold(0, |high: u64, byte| high << 8 | u64::from(*byte));
            usize::try_from(number).ok()
        };
        let bytes = match record.get(..2) {
            Some([0, 1]) => {
                let Some(end) = number(record, 2..6).and_then(|bytes| bytes.checked_add(6)) else {
                    return;
                };
                let Some((body, stored)) = record.split_at_mut_checked(end) else { return };
                let Some(stored) = stored.first_chunk_mut() else { return };
                checksum.update(body);
                *stored = checksum.clone().finalize().to_be_bytes();
                end + 4
            }
            Some([0, 0]) => {
                let Some(value) = number(record, 3..11) else { return };
                let Some(end) = value.checked_add(11 + 20) else { return };
                let Some(secondary) = number(record, end..end.saturating_add(4)) else { return };
                end + 4 + secondary
            }
            _ => return,
        };
        start = start.saturating_add(bytes);
    }
}

/// A stored object. Its key is the id that it has.
pub fn object(input: &[u8]) {
    let id = input.get(10..26).map_or([0; 16], |id| id.try_into().unwrap());
    let key = u128::from_be_bytes(id);
    let node = node(key, input);
    let mut log = vec![0, 1];
    log.extend((node.len() as u32).to_le_bytes());
    log.extend(node);
    log.extend([0; 4]);
    set_log_checksums(&mut log);
    let Read { rows, warnings } = read(&[(LOG, &log)], ONE_UNIT_BYTES);
    assert_eq!(warnings, []);
    match rows {
        Ok(rows) => assert!(matches!(&*rows, [row] if row.id == id), "{rows:?}"),
        Err(error) => assert!(matches!(error, DiskError::Object { .. }), "{error}"),
    }
}

/// The key tree of a segment without checksum. The first two bytes choose the size of units and
/// the number of objects; then five bytes a node change what a sound tree has there.
pub fn key_tree(input: &[u8]) {
    let [size, count, changes @ ..] = input else { return };
    let keys: Vec<u128> = (1..=u128::from(count % 64)).map(|key| key << 120).collect();
    let nodes: Vec<Vec<u8>> = keys.iter().map(|key| node(*key, &smallest_object(*key))).collect();
    let (file, changed) = segment_of(&nodes, |node| {
        let change = changes.get(5 * node..).unwrap_or_default();
        [0, 1, 2, 3, 4].map(|field| change.get(field).map_or(0, |byte| *byte as i8))
    });
    let read = read(&[(SEGMENT, &file)], 1 << (size % 14)).rows;
    match read {
        // Damage that was not noticed has done none: a walk may leave a node out, but no row.
        Ok(rows) => {
            let ids: Vec<u128> = rows.iter().map(|row| u128::from_be_bytes(row.id)).collect();
            assert_eq!(ids, keys);
        }
        Err(error) => {
            assert!(changed, "{error}");
            assert!(matches!(error, DiskError::Lsm(LsmError::Segment { .. })), "{error}");
        }
    }
}

/// The least that an object can be.
fn smallest_object(key: u128) -> Vec<u8> {
    let mut object = vec![1];
    // Document id and kind.
    object.extend([0; 9]);
    object.extend(key.to_be_bytes());
    // Two times, and a vector of no dimensions.
    object.extend([0; 18]);
    object.extend((CLASS.len() as u16).to_le_bytes());
    object.extend(CLASS.as_bytes());
    // Properties, meta and vector weights.
    object.extend([0; 12]);
    object
}

/// A data node without secondary keys.
fn node(key: u128, value: &[u8]) -> Vec<u8> {
    let mut node = vec![0];
    node.extend((value.len() as u64).to_le_bytes());
    node.extend(value);
    node.extend(16_u32.to_le_bytes());
    node.extend(key.to_be_bytes());
    node
}

/// A version 0 segment of `nodes`, whose tree differs from a sound one by what `change` says for
/// each: key (its first byte), start, end, and the children in nodes. Also, whether it differs.
fn segment_of(nodes: &[Vec<u8>], change: impl Fn(usize) -> [i8; 5]) -> (Vec<u8>, bool) {
    let mut file = vec![0; HEADER];
    let mut ends = Vec::new();
    for node in nodes {
        file.extend(node);
        ends.push(file.len());
    }
    let index_start = file.len() as u64;
    file[8..HEADER].copy_from_slice(&index_start.to_le_bytes());
    let mut changed = false;
    // In preorder, the middle first; each with the place of its children in the tree.
    let mut pending = vec![(0, nodes.len())];
    while let Some((first, end)) = pending.pop() {
        if first == end {
            continue;
        }
        let place = (file.len() - index_start as usize) / TREE_NODE;
        let middle = first + (end - first) / 2;
        let (left, right) = ((first, middle), (middle + 1, end));
        let left_place = if left.0 == left.1 { -1 } else { place as i64 + 1 };
        let right_place = if right.0 == right.1 { -1 } else { (place + 1 + middle - first) as i64 };
        let node = &nodes[middle];
        let [key_change, start_change, end_change, left_change, right_change] = change(place);
        changed |= change(place) != [0; 5];
        let mut key: [u8; 16] = *node.last_chunk().unwrap();
        key[0] = key[0].wrapping_add_signed(key_change);
        file.extend(16_u32.to_le_bytes());
        file.extend(key);
        let node_end = ends[middle] as u64;
        let node_start = node_end - node.len() as u64;
        file.extend(node_start.wrapping_add_signed(start_change.into()).to_le_bytes());
        file.extend(node_end.wrapping_add_signed(end_change.into()).to_le_bytes());
        for (place, change) in [(left_place, left_change), (right_place, right_change)] {
            let child = place + i64::from(change);
            let offset = if child < 0 { -1 } else { child * TREE_NODE as i64 };
            file.extend(offset.to_le_bytes());
        }
        pending.extend([right, left]);
    }
    (file, changed)
}
