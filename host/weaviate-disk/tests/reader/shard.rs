//! One shard of one class, written file by file, and what reading it comes to.
use std::{
    fs,
    path::{Path, PathBuf},
};

use offloom_encoder::{
    DirectoryWriter, NameStyle, Node, Object, ObjectOptions, SegmentOptions, ShardWriter,
    WalVersion,
};
use offloom_weaviate_disk::{
    DataDirectory, DiskError, SchemaFile, ShardWarning, Unit, UnitOptions,
};
use tempfile::TempDir;

use crate::rows::{self, ClassRows, LIMITS, Row};

pub const CLASS: &str = "Article";
pub const SHARD: &str = "aBcDeFgHiJkL";

/// A data directory with one shard.
#[derive(Debug)]
pub struct Shard {
    root: TempDir,
    pub writer: ShardWriter,
}

impl Shard {
    pub fn new() -> Shard {
        let root = tempfile::tempdir().unwrap();
        let mut directory = DirectoryWriter::create(root.path()).unwrap();
        let class = directory.class(CLASS, false).unwrap();
        let writer = class.shard(SHARD).unwrap();
        Shard { root, writer }
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Path of a file of the bucket.
    pub fn file(&self, name: &str) -> PathBuf {
        self.writer.path().join(name)
    }

    pub fn segment(&self, id: u64, options: SegmentOptions, nodes: &[Node]) -> PathBuf {
        let mut segment = self.writer.segment(id, NameStyle::Short, options).unwrap();
        for node in nodes {
            segment.append(node).unwrap();
        }
        segment.finish().unwrap();
        self.file(&format!("segment-{id:019}.db"))
    }

    pub fn log(&self, id: u64, nodes: &[Node], version: WalVersion) -> PathBuf {
        let mut log = self.writer.wal(id).unwrap();
        for node in nodes {
            log.append(node, version).unwrap();
        }
        log.finish().unwrap();
        self.file(&format!("segment-{id:019}.wal"))
    }

    pub fn open(&self) -> DataDirectory {
        DataDirectory::open(self.root(), None).unwrap()
    }

    /// The first unit of the class, cut at 1 MiB.
    pub fn unit(&self) -> Unit {
        let directory = self.open();
        let class = rows::class(&directory, CLASS);
        directory.units(class, UnitOptions::new(1 << 20)).next().unwrap()
    }

    pub fn read(&self) -> Result<ClassRows, DiskError> {
        let directory = self.open();
        rows::read(&directory, rows::class(&directory, CLASS), 1 << 20, LIMITS)
    }

    pub fn rows(&self) -> Vec<Row> {
        self.read().unwrap().all()
    }

    /// Ids of the rows by their last byte, with the text of their properties.
    pub fn found(&self) -> Vec<(u8, String)> {
        let text = |row: Row| String::from_utf8(row.properties.unwrap_or_default()).unwrap();
        self.rows().into_iter().map(|row| (row.id[15], text(row))).collect()
    }

    pub fn warnings(&self) -> Vec<ShardWarning> {
        self.read().unwrap().shards.into_iter().flat_map(|shard| shard.warnings).collect()
    }

    pub fn error(&self) -> DiskError {
        self.read().unwrap_err()
    }
}

pub fn id(number: u8) -> [u8; 16] {
    let mut id = [0; 16];
    id[15] = number;
    id
}

pub fn object(number: u8, properties: &str) -> Object {
    let mut object = Object::new(id(number), CLASS);
    object.properties = Some(properties.as_bytes().to_vec());
    object
}

pub fn put(number: u8, properties: &str) -> Node {
    Node::live(&object(number, properties), &ObjectOptions::default()).unwrap()
}

pub fn delete(number: u8) -> Node {
    Node::tombstone(id(number), None)
}

/// Adds an object of `class_name` to a shard of the class that lies in `directory`; the bucket.
pub fn add(data: &Path, directory: &str, shard: &str, class_name: &str) -> PathBuf {
    add_object(
        data,
        directory,
        shard,
        Object { class_name: class_name.to_owned(), ..object(1, "{}") },
    )
}

/// Adds the object with this number to a shard of a class.
pub fn put_one(data: &Path, class: &str, shard: &str, number: u8) {
    add_object(data, class, shard, Object { class_name: class.to_owned(), ..object(number, "{}") });
}

fn add_object(data: &Path, directory: &str, shard: &str, object: Object) -> PathBuf {
    let mut writer = DirectoryWriter::create(data).unwrap();
    let shard = writer.class(directory, false).unwrap().shard(shard).unwrap();
    let node = Node::live(&object, &Default::default()).unwrap();
    let mut log = shard.wal(1).unwrap();
    log.append(&node, WalVersion::V1).unwrap();
    log.finish().unwrap();
    shard.path().to_owned()
}

/// A schema file beside the data.
pub fn schema(root: &Path, text: &str) -> SchemaFile {
    let path = root.join("schema.json");
    fs::write(&path, text).unwrap();
    SchemaFile::parse(&path, std::fs::read(&path)).unwrap()
}
