//! Files stay open as long as they are needed and no longer, and never more than are allowed.
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{Arc, Mutex, mpsc},
    thread,
};

use offloom_encoder::{DirectoryWriter, NameStyle, Node, Object, ObjectOptions, SegmentOptions};
use offloom_weaviate_disk::{
    DataDirectory, Descriptors, DiskError, LsmError, Unit, UnitOptions, raise_descriptor_limit,
    reserved_files,
};
use rustix::process::{Resource, getrlimit};
use tempfile::TempDir;

use crate::{
    rows::{self, LIMITS},
    shard::{CLASS, Shard, put},
};

/// Files of a directory that this process has open.
fn open_files(root: &Path) -> usize {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap();
    let paths = descriptors.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    paths.filter(|path| path.starts_with(root) && path.to_string_lossy().contains(".db")).count()
}

/// Tenants with so many segments each; every segment holds one object.
fn tenants(segments: &[u64]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let class = DirectoryWriter::create(root.path()).unwrap().class(CLASS, true).unwrap();
    for (tenant, segments) in segments.iter().enumerate() {
        let shard = class.shard(&format!("tenant{tenant:03}")).unwrap();
        for number in 0..*segments {
            let mut id = [0; 16];
            id[15] = number as u8;
            let mut object = Object::new(id, CLASS);
            object.properties = Some(b"{}".to_vec());
            let node = Node::live(&object, &ObjectOptions::default()).unwrap();
            let options = SegmentOptions::default();
            let mut segment = shard.segment(1 + number, NameStyle::Short, options).unwrap();
            segment.append(&node).unwrap();
            segment.finish().unwrap();
        }
    }
    root
}

fn open(root: &Path, files: usize) -> DataDirectory {
    DataDirectory::open(root, None).unwrap().with_descriptors(Descriptors::new(files))
}

#[test]
fn files_are_open_until_the_last_unit_of_their_shard_is_dropped() {
    let shard = Shard::new();
    for number in 0..3 {
        let nodes: Vec<Node> = (0..4).map(|row| put(number + 10 * row, "{}")).collect();
        shard.segment(1 + u64::from(number), SegmentOptions::default(), &nodes);
    }
    let directory = open(shard.root(), 100);
    let class = rows::class(&directory, CLASS);
    let units = directory.units(class, UnitOptions::new(1));
    let mut units: Vec<Unit> = units.collect();
    assert!(units.len() > 2);
    assert_eq!(open_files(shard.root()), 3);
    // Gone for everybody else.
    for entry in fs::read_dir(shard.writer.path()).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let last = units.pop().unwrap();
    let count = |unit: &Unit| rows::read_unit(unit, LIMITS).unwrap().len();
    let read: usize = units.iter().map(count).sum();
    drop(units);
    // Another try.
    for _ in 0..2 {
        assert_eq!(read + count(&last), 12);
    }
    assert_eq!(open_files(shard.root()), 3);
    drop(last);
    assert_eq!(open_files(shard.root()), 0);
}

#[test]
fn a_small_log_is_held_in_memory_and_a_large_one_open() {
    let shard = Shard::new();
    shard.log(1, &[put(1, "{}")], offloom_encoder::WalVersion::V1);
    let directory = open(shard.root(), 1);
    let class = rows::class(&directory, CLASS);
    let take = || {
        let mut units = directory.units(class, UnitOptions::new(1 << 20));
        units.next().unwrap()
    };
    let logs = || {
        let paths = fs::read_dir("/proc/self/fd").unwrap();
        let paths = paths.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        paths.filter(|path| path.starts_with(shard.root()) && path.is_file()).count()
    };
    let small = take();
    assert_eq!(logs(), 0);
    let long = format!(r#"{{"text":"{}"}}"#, "x".repeat(5000));
    shard.log(1, &[put(1, &long)], offloom_encoder::WalVersion::V1);
    let large = take();
    assert_eq!(logs(), 1);
    assert_eq!(rows::read_unit(&small, LIMITS).unwrap()[0].properties, Some(b"{}".to_vec()));
    assert_eq!(rows::read_unit(&large, LIMITS).unwrap()[0].properties, Some(long.into_bytes()));
}

/// What an export does: one thread cuts, two take units from a short queue, in their order.
#[test]
fn shards_are_taken_in_waves_when_there_are_not_enough_files() {
    const ALLOWED: usize = 7;
    let segments: Vec<u64> = (0..60).map(|tenant| [1, 7, 3, 0, 2, 5][tenant % 6]).collect();
    let expected: u64 = segments.iter().sum();
    let root = tenants(&segments);
    for block_bytes in [1, 200, 1 << 20] {
        let directory = open(root.path(), ALLOWED);
        let class = rows::class(&directory, CLASS).clone();
        let (sender, receiver) = mpsc::sync_channel::<Unit>(2);
        let receiver = Arc::new(Mutex::new(receiver));
        let cutter = thread::spawn(move || {
            let mut units = directory.units(&class, UnitOptions::new(block_bytes));
            for unit in units.by_ref() {
                sender.send(unit).unwrap();
            }
            units.into_shards()
        });
        let work = |receiver: Arc<Mutex<mpsc::Receiver<Unit>>>, root: std::path::PathBuf| {
            move || {
                let mut found = Vec::new();
                loop {
                    let Ok(unit) = receiver.lock().unwrap().recv() else { return found };
                    assert!(open_files(&root) <= ALLOWED);
                    found.extend(rows::read_unit(&unit, LIMITS).unwrap());
                }
            }
        };
        let workers: Vec<_> =
            (0..2).map(|_| thread::spawn(work(receiver.clone(), root.path().to_owned()))).collect();
        let rows: BTreeSet<_> =
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
        assert_eq!(rows.len() as u64, expected, "blocks of {block_bytes}");
        let shards = cutter.join().unwrap();
        assert_eq!(shards.len(), segments.len());
        for (shard, segments) in shards.iter().zip(&segments) {
            let newest = (*segments > 0).then(|| format!("segment-{segments:019}.db"));
            assert_eq!(shard.cut_off.as_ref().unwrap().newest_segment, newest);
        }
        // Every wave has a moment of its own.
        assert!(shards.is_sorted_by_key(|shard| shard.cut_off.as_ref().map(|cut_off| cut_off.at)));
    }
    assert_eq!(open_files(root.path()), 0);
}

#[test]
fn a_shard_with_more_files_than_may_be_open_fails_with_the_remedy() {
    let root = tenants(&[2, 4]);
    let directory = open(root.path(), 3);
    let class = rows::class(&directory, CLASS);
    let error = rows::read(&directory, class, 1 << 20, LIMITS).unwrap_err();
    let DiskError::Lsm(LsmError::TooManyFiles { place, needed_files: 4, allowed_files: 3 }) =
        &error
    else {
        panic!("{error}")
    };
    assert_eq!(&*place.shard, "tenant001");
    assert!(error.to_string().contains("ulimit -n"), "{error}");
    assert_eq!(rows::read(&open(root.path(), 4), class, 1 << 20, LIMITS).unwrap().all().len(), 6);
}

#[test]
fn the_limit_is_raised_as_far_as_it_goes_and_shared_among_exports() {
    let raised = raise_descriptor_limit().unwrap();
    let limit = getrlimit(Resource::Nofile);
    assert_eq!((limit.current, limit.maximum), (raised, raised));
    let whole = Descriptors::of_process(1).total();
    let reserved = reserved_files();
    assert!(reserved > 0 && raised.is_none_or(|raised| (whole + reserved) as u64 == raised));
    assert_eq!(Descriptors::of_process(4).total(), whole / 4);
}
