//! An objects bucket that is written to as a server does it, file operation by file operation.
use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Cursor, Write as _},
    path::PathBuf,
    rc::Rc,
    thread,
    time::Duration,
};

use offloom_encoder::{SegmentOptions, SegmentWriter, TreeOrder, WalVersion, WalWriter};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

use super::journal::{self, Journal, Write};

/// The latest write of each id: key and number, and whether it deletes.
pub type Content = BTreeMap<[u8; 16], (u16, u64, bool)>;

/// Keys that are written to.
const KEYS: u16 = 400;
/// The server's buffer in front of a log (`wal.md` 2.1).
const PIECE_BYTES: usize = 4096;

/// A file that grows in pieces, so that records are torn until the rest is pushed.
#[derive(Debug)]
struct Pieces {
    file: File,
    buffer: Vec<u8>,
    pieces: u64,
}

#[derive(Debug, Clone)]
struct SharedPieces(Rc<RefCell<Pieces>>);

impl io::Write for SharedPieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut pieces = self.0.borrow_mut();
        pieces.buffer.extend(bytes);
        while pieces.buffer.len() >= PIECE_BYTES {
            let rest = pieces.buffer.split_off(PIECE_BYTES);
            let piece = std::mem::replace(&mut pieces.buffer, rest);
            pieces.file.write_all(&piece)?;
            pieces.pieces += 1;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut pieces = self.0.borrow_mut();
        let rest = std::mem::take(&mut pieces.buffer);
        pieces.file.write_all(&rest)
    }
}

/// A memtable and its log.
#[derive(Debug)]
pub struct Log {
    pub id: u64,
    content: Content,
    pieces: SharedPieces,
    records: WalWriter<SharedPieces>,
    end: u64,
}

impl Log {
    /// Pushes the rest of the buffer to the system.
    pub fn push(&mut self) {
        self.pieces.flush().unwrap();
    }

    /// Pieces that were written because the buffer was full.
    pub fn pieces(&self) -> u64 {
        self.pieces.0.borrow().pieces
    }
}

#[derive(Debug)]
pub struct LiveBucket {
    objects: PathBuf,
    journal: Journal,
    pub random: ChaCha8Rng,
    /// What the segments and the results of compactions hold, by file name.
    pub segments: BTreeMap<String, Content>,
    superseded: u64,
}

impl LiveBucket {
    pub fn new(objects: PathBuf, journal: Journal, seed: u64) -> LiveBucket {
        let random = ChaCha8Rng::seed_from_u64(seed);
        LiveBucket { objects, journal, random, segments: BTreeMap::new(), superseded: 0 }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.objects.join(name)
    }

    /// Between two steps: mostly nothing, sometimes long enough for a snapshot to come in between.
    pub fn breathe(&mut self) {
        match self.random.random_range(0..24) {
            0 => thread::sleep(Duration::from_micros(self.random.random_range(0..3000))),
            1..4 => thread::yield_now(),
            _ => {}
        }
    }

    pub fn open_log(&mut self, id: u64) -> Log {
        let file = File::create_new(self.path(&format!("segment-{id}.wal"))).unwrap();
        let pieces = Pieces { file, buffer: Vec::new(), pieces: 0 };
        let pieces = SharedPieces(Rc::new(RefCell::new(pieces)));
        let records = WalWriter::new(pieces.clone());
        Log { id, content: Content::new(), pieces, records, end: 0 }
    }

    /// Writes to a random key; it is not acknowledged yet.
    pub fn write(&mut self, log: &mut Log) {
        let key = self.random.random_range(0..KEYS);
        let delete = self.random.random_range(0..5) == 0;
        let number = self.journal.count;
        let node = journal::node(number, key, delete);
        // Type, version, length, node, checksum (`wal.md` 1.1).
        log.end += 6 + node.encode().unwrap().len() as u64 + 4;
        self.journal.begin(&Write { key, delete, log: log.id, end: log.end });
        log.content.insert(journal::id(key), (key, number, delete));
        log.records.append(&node, WalVersion::V1).unwrap();
    }

    /// Pushes the rest of the buffer to the system, and acknowledges.
    pub fn acknowledge(&mut self, log: &mut Log) {
        log.push();
        self.journal.acknowledge();
    }

    /// Steps 2 to 6 of a flush (`wal.md` 3).
    pub fn flush(&mut self, mut log: Log) {
        log.pieces.flush().unwrap();
        let wal = format!("segment-{}.wal", log.id);
        let stem = match self.random.random_range(0..3) {
            0 => format!("segment-{}", log.id),
            _ => format!("segment-{}.l0.s0", log.id),
        };
        let name = format!("{stem}.db");
        let tmp = format!("{name}.tmp");
        self.create_segment(&tmp, log.content, 0);
        self.finish_segment(&tmp, 0);
        self.breathe();
        self.rename(&tmp, &name);
        self.breathe();
        fs::remove_file(self.path(&wal)).unwrap();
        self.breathe();
        self.sidecar(&format!("{stem}.bloom"));
        self.sidecar(&format!("{stem}.cna"));
    }

    /// A compaction of neighbours (`wal.md` 4); the inputs' names without `.db`.
    pub fn compact(&mut self, left: &str, right: &str, level: u16) {
        let id = |stem: &str| {
            let tail = stem.strip_prefix("segment-").unwrap();
            tail.split('.').next().unwrap().to_owned()
        };
        let suffix = if left.contains('.') { format!(".l{level}.s0") } else { String::new() };
        let result = format!("segment-{}_{}{suffix}", id(left), id(right));
        let merged = self.merged(&[&format!("{left}.db"), &format!("{right}.db")]);
        let tmp = format!("{result}.db.tmp");
        self.create_segment(&tmp, merged, level);
        self.finish_segment(&tmp, level);
        self.sidecar(&format!("{result}.bloom.tmp"));
        self.breathe();
        let mut superseded = Vec::new();
        for input in [left, right] {
            for extension in ["bloom", "cna", "db"] {
                self.superseded += 1;
                let name = format!("{input}.{extension}");
                let marked = format!("{name}.{:013}.deleteme", self.superseded);
                if self.path(&name).exists() {
                    self.rename(&name, &marked);
                    superseded.push(marked);
                    self.breathe();
                }
            }
        }
        let stem = format!("segment-{}{suffix}", id(right));
        self.rename(&tmp, &format!("{stem}.db"));
        self.breathe();
        self.rename(&format!("{result}.bloom.tmp"), &format!("{stem}.bloom"));
        for name in superseded {
            self.breathe();
            self.unlink(&name);
        }
    }

    /// Rewrites a segment without the keys that newer ones hold (`wal.md` 4, last paragraph).
    pub fn clean_up(&mut self, name: &str) {
        let newer: Vec<Content> =
            self.segments.range(name.to_owned()..).skip(1).map(|(_, held)| held.clone()).collect();
        let mut content = self.segments[name].clone();
        content.retain(|id, _| !newer.iter().any(|held| held.contains_key(id)));
        let tmp = format!("{name}.tmp");
        self.create_segment(&tmp, content, 0);
        self.finish_segment(&tmp, 0);
        self.breathe();
        self.rename(&tmp, name);
    }

    /// All of the segments, the last one winning.
    pub fn merged(&self, names: &[&str]) -> Content {
        names.iter().flat_map(|name| self.segments[*name].clone()).collect()
    }

    /// What the memtable of a log holds.
    pub fn content(log: &Log) -> Content {
        log.content.clone()
    }

    fn encoded(content: &Content, level: u16) -> Vec<u8> {
        let options = SegmentOptions {
            level,
            version: (content.len() % 2) as u16,
            tree_order: if level == 0 { TreeOrder::VanEmdeBoas } else { TreeOrder::Level },
            ..SegmentOptions::default()
        };
        let mut segment = SegmentWriter::new(Cursor::new(Vec::new()), options).unwrap();
        for (key, number, delete) in content.values() {
            segment.append(&journal::node(*number, *key, *delete)).unwrap();
        }
        segment.finish().unwrap().into_inner()
    }

    /// The first half of a segment.
    pub fn create_segment(&mut self, name: &str, content: Content, level: u16) {
        let bytes = Self::encoded(&content, level);
        fs::write(self.path(name), &bytes[..bytes.len() / 2]).unwrap();
        self.segments.insert(name.to_owned(), content);
    }

    /// The other half.
    pub fn finish_segment(&mut self, name: &str, level: u16) {
        self.breathe();
        let bytes = Self::encoded(&self.segments[name], level);
        let mut file = File::options().append(true).open(self.path(name)).unwrap();
        file.write_all(&bytes[bytes.len() / 2..]).unwrap();
    }

    pub fn sidecar(&self, name: &str) {
        fs::write(self.path(name), b"no reader needs this").unwrap();
    }

    pub fn rename(&mut self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
        if let Some(content) = self.segments.remove(from) {
            // What is superseded holds nothing any more.
            if to.ends_with(".db") {
                self.segments.insert(to.to_owned(), content);
            }
        }
    }

    pub fn unlink(&mut self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
        self.segments.remove(name);
    }
}
