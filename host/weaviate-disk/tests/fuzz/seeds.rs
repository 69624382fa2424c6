//! Inputs that fuzzing starts from, taken from the real directories of `tests/fixtures`.
use std::{
    collections::BTreeSet,
    fs,
    io::Cursor,
    path::{Path, PathBuf},
};

use offloom_encoder::{
    Generation, Node, Object, ObjectOptions, SegmentOptions, SegmentWriter, WalVersion, WalWriter,
};
use offloom_weaviate_schema::bbolt::Database;
use serde_json::json;

use crate::targets::{CLASSES, small_bbolt_file};

/// Longer inputs are cut or left out: small ones run fast.
const MAX_BYTES: usize = 16 * 1024;
/// Of one target and directory.
const MAX_SEEDS: usize = 60;

/// Number of a command.
const ADD_CLASS: u8 = 1;

/// The inputs that one directory gives, by target.
#[derive(Default)]
struct Seeds(BTreeSet<(&'static str, Vec<u8>)>);

impl Seeds {
    fn add(&mut self, target: &'static str, input: Vec<u8>) {
        let found = self.0.iter().filter(|seed| seed.0 == target).count();
        if input.len() <= MAX_BYTES && found < MAX_SEEDS {
            self.0.insert((target, input));
        }
    }

    /// Small files and objects of every form, by the independent encoder.
    fn written(&mut self) {
        let nodes = |count: u8| {
            (1..=count).map(|key| match key % 4 {
                3 => Node::tombstone([key; 16], (key > 4).then_some(1_700_000_000_000)),
                _ => Node::live(&every_field(key), &ObjectOptions::default()).unwrap(),
            })
        };
        for (version, secondary_keys, count) in
            [(0, 0, 1), (0, 1, 3), (0, 2, 6), (1, 0, 0), (1, 1, 1), (1, 1, 5), (1, 2, 9)]
        {
            let options = SegmentOptions { version, secondary_keys, ..SegmentOptions::default() };
            let mut segment = SegmentWriter::new(Cursor::new(Vec::new()), options).unwrap();
            for node in nodes(count) {
                let keys = (0..secondary_keys).map(|_| node.key[..8].to_vec()).collect();
                segment.append(&node.with_secondary_keys(keys)).unwrap();
            }
            self.add("segment", segment.finish().unwrap().into_inner());
        }
        for versions in [[WalVersion::V0; 2], [WalVersion::V1; 2], [WalVersion::V0, WalVersion::V1]]
        {
            for count in [1, 3, 7] {
                let mut log = WalWriter::new(vec![count % 8]);
                for (place, node) in nodes(count).chain(nodes(2)).enumerate() {
                    log.append(&node, versions[place % 2]).unwrap();
                }
                self.add("wal", log.finish().unwrap());
            }
        }
        for generation in [Generation::V1_20, Generation::V1_24, Generation::Current] {
            let options = ObjectOptions::from(generation);
            self.add("object", every_field(1).encode(&options).unwrap());
            let wide = ObjectOptions { wide_headers: true, ..options };
            self.add("object", every_field(2).encode(&wide).unwrap());
        }
    }

    fn write(&self, folder: &Path) {
        for (target, input) in &self.0 {
            let folder = folder.join(target);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(format!("{:08x}", crc32fast::hash(input))), input).unwrap();
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
        let mut snapshots = Vec::new();
        let mut alone = Vec::new();
        let log = Database::from_bytes("raft.db", bytes).unwrap();
        log.for_each_pair(|buckets, _, value| {
            if buckets == [b"logs"] {
                entries.extend(record(0, b"", value));
                if let Some((number, class, payload)) = command(value) {
                    commands.extend(record(number, class, payload));
                    if number == ADD_CLASS {
                        snapshots.push(payload.to_vec());
                    }
                    // Alone it is small: behind a class as short as can be.
                    let definition =
                        json!({"class": str::from_utf8(class).unwrap(), "multiTenancyConfig": {"enabled": true}});
                    let class_payload = json!({"Class": definition, "State": {}}).to_string();
                    alone.push([record(ADD_CLASS, class, class_payload.as_bytes()), record(number, class, payload)].concat());
                }
            }
            Ok(())
        })
        .unwrap();
        entries.truncate(MAX_BYTES);
        self.add("raft_log", entries);
        commands.truncate(MAX_BYTES);
        self.add("raft_log", commands);
        alone.into_iter().for_each(|commands| self.add("raft_log", commands));
        snapshots.iter().for_each(|payload| self.snapshot(payload));
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

    /// A snapshot as a server would make it behind an ADD_CLASS.
    fn snapshot(&mut self, payload: &[u8]) {
        let payload: serde_json::Value = serde_json::from_slice(payload).unwrap();
        let class = &payload["Class"];
        let transfers = json!({"a-ACTION_FREEZING": {"n": {"op": 2, "tenant": {"status": "HOT"}}}});
        let record =
            json!({"Class": class, "Sharding": payload["State"], "ShardProcesses": transfers});
        let classes = json!({(class["class"].as_str().unwrap()): record});
        self.add("raft_snapshot", [vec![0], classes.to_string().into_bytes()].concat());
        let state = json!({"classes": classes}).to_string();
        self.add("raft_snapshot", [vec![1], state.into_bytes()].concat());
    }
}

fn every_field(number: u8) -> Object {
    let mut object = Object::new([number; 16], "Article");
    object.vector = vec![0.5; 3];
    object.properties = Some(br#"{"a":[1,true,"b"]}"#.to_vec());
    object.named_vectors = vec![("a".to_owned(), vec![1.0]), ("b".to_owned(), vec![1.0, 2.0])];
    object.multi_vectors = vec![("m".to_owned(), vec![vec![1.0], vec![], vec![2.0, 3.0]])];
    object
}

fn record(place: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut record = vec![place, name.len() as u8];
    record.extend(name);
    record.extend((value.len() as u16).to_le_bytes());
    record.extend(value);
    record
}

/// Number, class and payload of the command in an entry (`data-directory.md` 5.1), if it has one.
fn command(entry: &[u8]) -> Option<(u8, &[u8], &[u8])> {
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
    Some((number, class, payload))
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
    for name in offloom_fixtures::NAMES {
        let mut seeds = Seeds::default();
        let fixture = offloom_fixtures::unpack(name).unwrap();
        for path in files(&fixture.data_dir()) {
            match path.file_name().unwrap().to_str().unwrap() {
                "raft.db" => seeds.raft_log(fs::read(&path).unwrap()),
                "schema.db" => seeds.schema_db(fs::read(&path).unwrap()),
                _ => seeds.bucket_file(&path),
            }
        }
        seeds.write(&folder);
    }
    let mut seeds = Seeds::default();
    seeds.written();
    for elements in [2, 5, 40] {
        seeds.add("bbolt", small_bbolt_file(elements));
    }
    for size in [0, 7, 9, 12] {
        for count in [0, 1, 2, 3, 7, 30] {
            seeds.add("key_tree", [vec![size, count], vec![0; 5 * usize::from(count)]].concat());
        }
    }
    seeds.write(&folder);
}
