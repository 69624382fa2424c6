//! bbolt files: trees of every shape, and files that change while they are read.
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    slice,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use offloom_weaviate_schema::{PageError, SchemaError, bbolt::Database, stored};
use proptest::prelude::*;
use serde_json::json;

use crate::{
    bbolt_file::{self, Node, SHAPE, Shape, Tree},
    log::Log,
    real::open,
};

/// Every pair with the names of its buckets.
type Pairs = Vec<(Vec<Vec<u8>>, Vec<u8>, Vec<u8>)>;

pub fn pairs(database: &Database) -> Result<Pairs, SchemaError> {
    let mut pairs = Vec::new();
    database.for_each_pair(|buckets, key, value| {
        pairs.push((buckets.to_vec(), key.to_vec(), value.to_vec()));
        Ok(())
    })?;
    Ok(pairs)
}

fn expected(tree: &Tree, path: &[Vec<u8>], pairs: &mut Pairs) {
    for (key, node) in tree {
        match node {
            Node::Value(value) => pairs.push((path.to_vec(), key.clone(), value.clone())),
            Node::Bucket(tree) => expected(tree, &[path, slice::from_ref(key)].concat(), pairs),
        }
    }
}

fn trees() -> impl Strategy<Value = Tree> {
    let key = || prop::collection::vec(any::<u8>(), 1..12);
    let value = || {
        prop_oneof![
            9 => prop::collection::vec(any::<u8>(), 0..60),
            1 => prop::collection::vec(any::<u8>(), 0..6000),
        ]
        .prop_map(Node::Value)
    };
    let flat = prop::collection::btree_map(key(), value(), 0..20);
    flat.prop_recursive(3, 60, 4, move |inner| {
        let node = prop_oneof![3 => value(), 1 => inner.prop_map(Node::Bucket)];
        prop::collection::btree_map(key(), node, 0..40)
    })
}

proptest! {
    #[test]
    fn every_pair_of_every_tree_is_found(
        tree in trees(),
        page_shift in 9usize..14,
        elements in 1usize..50,
        inline_pairs in 0usize..5,
    ) {
        let shape = Shape { page_bytes: 1 << page_shift, elements, inline_pairs };
        let database =
            Database::from_bytes("written.db", bbolt_file::write(&tree, shape)).unwrap();
        let mut model = Vec::new();
        expected(&tree, &[], &mut model);
        prop_assert_eq!(pairs(&database).unwrap(), model);
    }
}

fn numbered(count: u32, value: &[u8]) -> Tree {
    let pairs = (0..count).map(|key| (key.to_be_bytes().to_vec(), Node::Value(value.to_vec())));
    Tree::from([(b"b".to_vec(), Node::Bucket(pairs.collect()))])
}

fn page_error(bytes: Vec<u8>) -> (u64, PageError) {
    match pairs(&Database::from_bytes("broken.db", bytes).unwrap()) {
        Err(SchemaError::Page { page, error, file }) => {
            assert_eq!(file, "broken.db");
            (page, error)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_file_is_an_empty_database() {
    assert_eq!(pairs(&Database::from_bytes("new.db", Vec::new()).unwrap()).unwrap(), []);
}

#[test]
fn one_valid_meta_page_is_enough() {
    let whole = bbolt_file::write(&numbered(100, b"value"), SHAPE);
    for broken in [30, 4096 + 30] {
        let mut file = whole.clone();
        file[broken] ^= 1;
        assert_eq!(pairs(&Database::from_bytes("one.db", file).unwrap()).unwrap().len(), 100);
    }
    let mut file = whole;
    file[30] ^= 1;
    file[4096 + 30] ^= 1;
    let error = Database::from_bytes("none.db", file).unwrap_err();
    assert!(matches!(error, SchemaError::NoMetaPage { .. }), "{error}");
}

/// 100 pairs in leaves of 40: pages 2, 3 and 4, the branch above them 5, the root 6.
#[test]
fn broken_pages_are_named() {
    let whole = bbolt_file::write(&numbered(100, b"value"), SHAPE);
    let at = |page: usize, offset: usize, bytes: &[u8]| {
        let mut file = whole.clone();
        let start = page * 4096 + offset;
        file[start..start + bytes.len()].copy_from_slice(bytes);
        page_error(file)
    };
    assert_eq!(at(3, 0, &[9]), (3, PageError::Id { found: 9 }));
    assert_eq!(at(3, 8, &[7]), (3, PageError::Flags { flags: 7 }));
    assert_eq!(at(3, 12, &[200]), (3, PageError::OutOfFile { last: 6 }));
    // Two children of the branch are the same page, or its parent.
    assert_eq!(at(5, 16 + 16 + 8, &[2]), (2, PageError::Twice));
    assert_eq!(at(5, 16 + 16 + 8, &[6]), (6, PageError::Twice));
    assert_eq!(at(5, 16 + 16 + 8, &[77]), (77, PageError::OutOfFile { last: 6 }));
    // The overflow of a leaf runs into another one.
    assert_eq!(at(2, 12, &[1]), (3, PageError::Twice));
    // Position, key length, value length, and a position in the data of the one before.
    let out_of_place = |element| PageError::Element { element, count: 40 };
    assert_eq!(at(2, 16 + 4, &[0, 0, 1, 0]), (2, out_of_place(0)));
    assert_eq!(at(2, 16 + 8, &[255, 255, 255, 255]), (2, out_of_place(0)));
    assert_eq!(at(2, 16 + 12, &[255, 255, 0, 0]), (2, out_of_place(0)));
    assert_eq!(at(2, 16 + 16 + 4, &[100, 2]), (2, out_of_place(1)));
    // The first key becomes greater than the second one.
    assert_eq!(at(2, 16 + 40 * 16, &[1]), (2, PageError::Order { element: 1 }));
}

#[test]
fn a_page_that_claims_a_terabyte_of_a_sparse_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse.db");
    fs::write(&path, bbolt_file::write(&numbered(100, b"value"), SHAPE)).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(1 << 40).unwrap();
    let pages = 1 << 28;
    for id in 0..2 {
        file.write_all_at(&bbolt_file::meta(SHAPE, id, 6, pages, 9), id * 4096).unwrap();
    }
    let overflow = u32::try_from(pages - 10).unwrap();
    file.write_all_at(&overflow.to_le_bytes(), 2 * 4096 + 12).unwrap();
    let database = Database::open(&open(folder.path()), "sparse.db", "sparse.db").unwrap().unwrap();
    let error = pairs(&database).unwrap_err();
    let SchemaError::Page { page: 2, error: PageError::TooLarge { .. }, .. } = error else {
        panic!("{error}");
    };
}

#[test]
fn buckets_nested_too_deep_are_refused() {
    let mut tree = numbered(1, b"value");
    for _ in 0..100 {
        tree = Tree::from([(b"b".to_vec(), Node::Bucket(tree))]);
    }
    let (_, error) = page_error(bbolt_file::write(&tree, SHAPE));
    assert_eq!(error, PageError::TooDeep { limit: 64 });
}

#[test]
fn a_commit_in_the_middle_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("live.db");
    let whole = bbolt_file::write(&numbered(100, b"value"), SHAPE);
    fs::write(&path, &whole).unwrap();
    let database = Database::open(&open(folder.path()), "live.db", "live.db").unwrap().unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    let commit = bbolt_file::meta(SHAPE, 0, 2, 7, 8);
    let read = database.for_each_pair(|_, _, _| {
        file.write_all_at(&commit, 0).unwrap();
        Ok(())
    });
    assert!(matches!(read, Err(SchemaError::Changed { .. })), "{read:?}");
}

/// Stops the writer, also when the reader panics.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A server that commits all the time, by bbolt's rules: the pages of the last commit stay, those
/// of the one before are overwritten. Every read that succeeds is one commit, whole.
fn reads_of_a_live_file(file_bytes: u64) {
    const PAIRS: u32 = 3000;
    const HALF: u64 = 400;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("live.db");
    let file = File::create(&path).unwrap();
    let commit = |transaction: u64| {
        let first = 2 + transaction % 2 * HALF;
        let tree = numbered(PAIRS, &transaction.to_le_bytes());
        let (pages, root) = bbolt_file::pages(&tree, SHAPE, first);
        assert!(pages.len() < HALF as usize * 4096);
        // In reverse and in parts, so that a reader meets a mix of old and new.
        for (number, part) in pages.chunks(4096).enumerate().rev() {
            file.write_all_at(part, (first + number as u64) * 4096).unwrap();
        }
        let id = transaction % 2;
        let meta = bbolt_file::meta(SHAPE, id, root, 2 + 2 * HALF, transaction);
        file.write_all_at(&meta, id * 4096).unwrap();
    };
    commit(0);
    commit(1);
    file.set_len(file_bytes).unwrap();
    let directory = open(folder.path());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut transaction = 1;
            while !done.load(Ordering::Relaxed) {
                transaction += 1;
                commit(transaction);
                // Pauses of every length up to some milliseconds.
                std::thread::sleep(std::time::Duration::from_micros(transaction * 7919 % 6000));
            }
        });
        let _stop = Stop(&done);
        let (mut whole, mut changed) = (0, 0);
        for _ in 0..300 {
            let read = Database::open(&directory, "live.db", "live.db")
                .and_then(|database| pairs(&database.unwrap()));
            match read {
                Ok(pairs) => {
                    assert_eq!(pairs.len(), PAIRS as usize);
                    assert!(pairs.iter().all(|(_, _, value)| *value == pairs[0].2));
                    whole += 1;
                }
                Err(SchemaError::Changed { .. }) => changed += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(whole > 0 && changed > 0, "{whole} whole, {changed} changed");
    });
}

#[test]
fn a_schema_is_read_again_until_it_is_stable() {
    let folder = tempfile::tempdir().unwrap();
    let raft = folder.path().join("raft");
    fs::create_dir(&raft).unwrap();
    let whole = Log::new().add_class(&json!({"class": "Article"}), &json!({})).file(1);
    fs::write(raft.join("raft.db"), &whole).unwrap();
    let pages = (whole.len() / SHAPE.page_bytes) as u64;
    let file = File::options().write(true).open(raft.join("raft.db")).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let started = Instant::now();
            for transaction in 8.. {
                let meta = bbolt_file::meta(SHAPE, transaction % 2, pages - 1, pages, transaction);
                file.write_all_at(&meta, transaction % 2 * 4096).unwrap();
                if started.elapsed().as_millis() > 150 {
                    break;
                }
            }
        });
        for _ in 0..100 {
            let schema = stored::read(&open(folder.path())).unwrap().unwrap();
            assert!(schema.classes.contains_key("Article"));
        }
    });
}

#[test]
fn a_small_live_file_is_read_whole_or_not_at_all() {
    reads_of_a_live_file(802 * 4096);
}

#[test]
fn a_large_live_file_is_read_whole_or_not_at_all() {
    reads_of_a_live_file(64 * 1024 * 1024);
}
