//! Targets for the schema that servers keep on disk: pages, log entries, snapshots, records.
use std::fs;

use base64::{Engine, engine::general_purpose::STANDARD};
use cap_std::{ambient_authority, fs::Dir};
use crc::{CRC_64_XZ, Crc};
use offloom_weaviate_schema::{
    ClusterSchema, SchemaError, SchemaWarning, bbolt::Database, raft, schema_db,
};

use super::{
    allocations::largest_bytes,
    bbolt_file::{self, Node, Shape, Tree},
};

/// Small pages, so that small inputs make several.
const SHAPE: Shape = Shape { page_bytes: 512, elements: 6, inline_pairs: 2 };
const META_BYTES: usize = 80;
/// Within a meta page: page size, the bytes that the checksum covers, and the checksum.
const PAGE_SIZE: usize = 24;
const CHECKED: std::ops::Range<usize> = 16..72;

/// A bbolt file, the checksums of its meta pages set right: read as such, and as the two files
/// that are ones.
pub fn bbolt(input: &[u8]) {
    let mut file = input.to_vec();
    set_meta_checksum(&mut file);
    let second = file.get(PAGE_SIZE..PAGE_SIZE + 4).map(|bytes| bytes.try_into().unwrap());
    if let Some(second) = second.map(u32::from_le_bytes)
        && let Some(second) = file.get_mut(second as usize..)
    {
        set_meta_checksum(second);
    }
    let (pair_bytes, largest) = largest_bytes(|| {
        let database = Database::from_bytes("raft.db", file.clone())?;
        let mut pair_bytes = 0;
        database.for_each_pair(|_, key, value| {
            pair_bytes += key.len() + value.len();
            Ok(())
        })?;
        Ok::<usize, SchemaError>(pair_bytes)
    });
    assert!(largest <= (1 << 16) + 2 * file.len(), "{largest} bytes at once");
    // Every byte of a page is worth one byte of one pair: nothing is visited twice.
    assert!(pair_bytes.unwrap_or(0) <= file.len());
    let _ = read(file.clone(), raft::read_database);
    let _ = read(file, schema_db::read_database);
}

fn set_meta_checksum(page: &mut [u8]) {
    if page.len() < META_BYTES {
        return;
    }
    let checksum = page[CHECKED].iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3)
    });
    page[CHECKED.end..META_BYTES].copy_from_slice(&checksum.to_le_bytes());
}

/// Reads a file, and checks what holds of every schema.
fn read(
    file: Vec<u8>,
    reader: fn(&Database) -> Result<ClusterSchema, SchemaError>,
) -> Result<ClusterSchema, SchemaError> {
    let limit = (1 << 20) + 16 * file.len();
    let (schema, largest) = largest_bytes(|| reader(&Database::from_bytes("raft.db", file)?));
    assert!(largest <= limit, "{largest} bytes at once");
    schema.inspect(check)
}

fn check(schema: &ClusterSchema) {
    for (name, class) in &schema.classes {
        let definition: serde_json::Value = serde_json::from_str(&class.definition).unwrap();
        assert_eq!(definition["class"], **name);
        assert!(class.replication_factor > 0);
    }
    let mut names: Vec<String> = schema.classes.keys().map(|name| name.to_lowercase()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), schema.classes.len());
}

/// Takes bytes off the start of an input.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// A length of one byte, and as many bytes or what is left.
    fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.byte()?;
        Some(self.take(length.into()))
    }

    /// The same with a length of two bytes.
    fn long(&mut self) -> Option<&'a [u8]> {
        let length = u16::from_le_bytes([self.byte()?, self.byte()?]);
        Some(self.take(length.into()))
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// The log of a cluster, entry by entry: the number of a command, class and payload; or 0 and
/// the bytes of an entry.
pub fn raft_log(input: &[u8]) {
    let mut parts = Parts(input);
    let mut entries = Tree::new();
    let mut commands_only = true;
    while let Some((number, (class, payload))) = parts.byte().zip(parts.short().zip(parts.long())) {
        let index = entries.len() as u64 + 1;
        let value =
            if number == 0 { payload.to_vec() } else { entry(index, number, class, payload) };
        commands_only &= number != 0 && std::str::from_utf8(class).is_ok();
        entries.insert(index.to_be_bytes().to_vec(), Node::Value(value));
    }
    let count = entries.len();
    let tree = Tree::from([(b"logs".to_vec(), Node::Bucket(entries))]);
    match read(bbolt_file::write(&tree, SHAPE), raft::read_database) {
        Ok(schema) => {
            assert!(schema.warnings.len() <= count);
            assert!(schema.classes.len() <= count);
        }
        // A command that cannot be applied is a warning.
        Err(error) => assert!(!commands_only, "{error}"),
    }
}

/// An entry with a command, in MessagePack.
fn entry(index: u64, number: u8, class: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut request = vec![1 << 3];
    request.extend(varint(number.into()));
    for (field, bytes) in [(2, class), (4, payload)] {
        request.push(field << 3 | 2);
        request.extend(varint(bytes.len()));
        request.extend(bytes);
    }
    let mut entry = vec![0x84, 0xA4];
    entry.extend(b"Term\x02\xA5");
    entry.extend(b"Index\xCF");
    entry.extend(index.to_be_bytes());
    entry.extend(b"\xA4Type\x00\xA4Data\xDB");
    entry.extend((request.len() as u32).to_be_bytes());
    entry.extend(request);
    entry
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// The state of a snapshot, whose length and checksum are set right. When the first byte is 0, the
/// rest is the schema that stands in it in base64.
pub fn raft_snapshot(input: &[u8]) {
    let Some((form, state)) = input.split_first() else { return };
    let state = match form {
        0 => format!(r#"{{"schema":"{}"}}"#, STANDARD.encode(state)).into_bytes(),
        _ => state.to_vec(),
    };
    let checksum = Crc::<u64>::new(&CRC_64_XZ).checksum(&state).to_be_bytes();
    let checksum = STANDARD.encode(checksum);
    let meta = format!(r#"{{"Index":7,"Term":2,"Size":{},"CRC":"{checksum}"}}"#, state.len());

    let root = tempfile::tempdir().unwrap();
    let snapshot = root.path().join("raft/snapshots/2-7-1700000000000");
    fs::create_dir_all(&snapshot).unwrap();
    fs::write(snapshot.join("meta.json"), meta).unwrap();
    fs::write(snapshot.join("state.bin"), &state).unwrap();
    let directory = Dir::open_ambient_dir(root.path(), ambient_authority()).unwrap();
    let (schema, largest) = largest_bytes(|| raft::read(&directory));
    assert!(largest <= (1 << 20) + 16 * state.len(), "{largest} bytes at once");
    let schema = schema.unwrap().unwrap();
    check(&schema);
    // Either the snapshot counts, or a warning says why not.
    if !matches!(*schema.warnings, [SchemaWarning::SnapshotSkipped { .. }]) {
        assert_eq!(schema.warnings, []);
    } else {
        assert!(schema.classes.is_empty());
    }
}

/// The records of `schema.db`: each 0 for the schema's own bucket or the number of a class, its
/// key and its value.
pub fn schema_db(input: &[u8]) {
    let mut parts = Parts(input);
    let mut records = Tree::new();
    while let Some((place, (key, value))) = parts.byte().zip(parts.short().zip(parts.long())) {
        let value = Node::Value(value.to_vec());
        match place % 4 {
            0 => drop(records.entry(key.to_vec()).or_insert(value)),
            class => {
                let name = format!("\u{2}{}", CLASSES[usize::from(class) - 1]);
                let bucket = Node::Bucket(Tree::new());
                if let Node::Bucket(class) = records.entry(name.into_bytes()).or_insert(bucket) {
                    class.insert(key.to_vec(), value);
                }
            }
        }
    }
    let tree = Tree::from([(b"schema".to_vec(), Node::Bucket(records))]);
    let _ = read(bbolt_file::write(&tree, SHAPE), schema_db::read_database);
}

/// Classes of the fixture `v1.20.6`.
pub const CLASSES: [&str; 3] = ["AllTypes", "Shelf", "Target"];

/// A file with buckets of every kind: inline, of one page, of several, one with a value that runs
/// over its page.
pub fn small_bbolt_file(elements: usize) -> Vec<u8> {
    let bucket = |pairs: u8, value_bytes: usize| {
        let pairs = (0..pairs).map(|key| (vec![b'k', key], Node::Value(vec![key; value_bytes])));
        Node::Bucket(pairs.collect())
    };
    let tree = Tree::from([
        (b"inline".to_vec(), bucket(2, 5)),
        (b"logs".to_vec(), bucket(12, 20)),
        (b"schema".to_vec(), Node::Bucket(Tree::from([(b"nested".to_vec(), bucket(4, 3))]))),
        (b"wide".to_vec(), bucket(1, 900)),
    ]);
    bbolt_file::write(&tree, Shape { elements, ..SHAPE })
}
