//! Inputs that fuzzing starts from, taken from the real directories of `tests/fixtures`.
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use offloom_weaviate_disk::schema::bbolt::Database;

use crate::targets::{CLASSES, small_bbolt_file};

/// Longer inputs are cut or left out: small ones run fast.
const MAX_BYTES: usize = 16 * 1024;
/// Of one target.
const MAX_SEEDS: usize = 300;

/// Inputs by target.
#[derive(Default)]
struct Seeds(BTreeSet<(&'static str, Vec<u8>)>);

impl Seeds {
    fn add(&mut self, target: &'static str, input: Vec<u8>) {
        let found = self.0.iter().filter(|seed| seed.0 == target).count();
        if input.len() <= MAX_BYTES && found < MAX_SEEDS {
            self.0.insert((target, input));
        }
    }

    /// Segments and logs, and the objects in the segments.
    fn bucket_file(&mut self, path: &Path) {
        let bytes = fs::read(path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.ends_with(".wal") {
            let kept = &bytes[..bytes.len().min(4096)];
            for flags in [0, 2, 7] {
                self.add("wal", [&[flags], kept].concat());
            }
        }
        if name.ends_with(".db") && bytes.len() > 16 && path.parent().unwrap().ends_with("objects")
        {
            self.objects(&bytes);
            self.add("segment", bytes);
        }
    }

    /// The values of a segment's nodes (`lsm-segment.md` 1.3).
    fn objects(&mut self, segment: &[u8]) {
        let number = |at: usize| u64::from_le_bytes(segment[at..at + 8].try_into().unwrap());
        let secondary_indices = segment[4];
        let (mut at, end) = (16, number(8) as usize);
        while at < end {
            let value = at + 9..at + 9 + number(at + 1) as usize;
            at = value.end + 20;
            for _ in 0..secondary_indices {
                at += 4 + number(at) as u32 as usize;
            }
            if !value.is_empty() {
                self.add("object", segment[value].to_vec());
            }
        }
    }

    /// The entries of `raft.db`, as they are and as commands.
    fn raft_log(&mut self, bytes: Vec<u8>) {
        let mut entries = Vec::new();
        let mut commands = Vec::new();
        let log = Database::from_bytes("raft.db", bytes).unwrap();
        log.for_each_pair(|buckets, _, value| {
            if buckets == [b"logs"] {
                entries.extend(record(0, b"", value));
                commands.extend(command(value).unwrap_or_default());
            }
            Ok(())
        })
        .unwrap();
        self.add("raft_log", entries);
        let length = commands.len().min(MAX_BYTES);
        self.add("raft_log", commands[..length].to_vec());
    }

    fn schema_db(&mut self, bytes: Vec<u8>) {
        let mut records = Vec::new();
        let database = Database::from_bytes("schema.db", bytes).unwrap();
        database
            .for_each_pair(|buckets, key, value| {
                let place = buckets.get(1).map_or(Some(0), |class| {
                    CLASSES.iter().position(|name| class[1..] == *name.as_bytes()).map(|at| at + 1)
                });
                // Without the long lists of virtual shards.
                if value.len() < 4096 {
                    records.extend(place.map(|place| record(place as u8, key, value)));
                }
                Ok(())
            })
            .unwrap();
        for record in &records {
            self.add("schema_db", record.clone());
        }
        self.add("schema_db", records.concat());
    }

    fn snapshot(&mut self, state: &[u8]) {
        self.add("raft_snapshot", [&[1], state].concat());
        let parsed: serde_json::Value = serde_json::from_slice(state).unwrap();
        if let Some(schema) = parsed["schema"].as_str() {
            self.add("raft_snapshot", [vec![0], STANDARD.decode(schema).unwrap()].concat());
        }
    }
}

fn record(place: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut record = vec![place, name.len() as u8];
    record.extend(name);
    record.extend((value.len() as u16).to_le_bytes());
    record.extend(value);
    record
}

/// The command in an entry (`data-directory.md` 5.1), if it carries a known one.
fn command(entry: &[u8]) -> Option<Vec<u8>> {
    let data = entry.windows(5).position(|name| name == b"\xA4Data")? + 5;
    let mut rest = match entry[data] {
        0xA0..=0xBF => &entry[data + 1..],
        0xDA => &entry[data + 3..],
        0xDB => &entry[data + 5..],
        _ => return None,
    };
    let (mut number, mut class, mut payload) = (0, &b""[..], &b""[..]);
    while let Some((tag, behind)) = rest.split_first() {
        rest = behind;
        let value = prost::decode_length_delimiter(&mut rest).ok()?;
        match tag {
            0x08 => number = u8::try_from(value).ok()?,
            0x12 => (class, rest) = rest.split_at_checked(value)?,
            0x22 => (payload, rest) = rest.split_at_checked(value)?,
            _ => break,
        }
    }
    Some(record(number, class, payload))
}

/// All regular files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// `fuzz/README.md` says how to run it.
#[test]
#[ignore = "writes files"]
fn write_seeds() {
    let folder = PathBuf::from(std::env::var_os("OFFLOOM_FUZZ_SEEDS").expect("a folder"));
    let mut seeds = Seeds::default();
    for name in offloom_fixtures::NAMES {
        let fixture = offloom_fixtures::unpack(name).unwrap();
        for path in files(&fixture.data_dir()) {
            match path.file_name().unwrap().to_str().unwrap() {
                "raft.db" => seeds.raft_log(fs::read(&path).unwrap()),
                "schema.db" => seeds.schema_db(fs::read(&path).unwrap()),
                "state.bin" => seeds.snapshot(&fs::read(&path).unwrap()),
                _ => seeds.bucket_file(&path),
            }
        }
    }
    for elements in [2, 5, 40] {
        seeds.add("bbolt", small_bbolt_file(elements));
    }
    for size in [0, 7, 9, 12] {
        for count in [0, 1, 2, 3, 7, 30] {
            seeds.add("key_tree", [vec![size, count], vec![0; 5 * usize::from(count)]].concat());
        }
    }
    for (target, input) in &seeds.0 {
        let checksum = crc32fast::hash(input);
        let folder = folder.join(target);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("seed-{checksum:08x}")), input).unwrap();
    }
}
