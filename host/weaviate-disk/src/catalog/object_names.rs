//! The exact name of a class as its own objects tell it (`data-directory.md` 6.3).
use std::sync::Arc;

use offloom_weaviate_lsm::{
    bucket::Bucket,
    merge::{Merge, ShardRange},
    object::{self, VectorEntries},
    snapshot::ShardSnapshot,
};

/// Shards that are looked at before the directory's name is taken.
const SHARDS: usize = 64;
/// Objects of each shard.
const OBJECTS: usize = 3;
/// The part of a log that is looked at.
const LOG_BYTES: u64 = 64 * 1024 * 1024;

/// The class name in the first object that has one which agrees with the class's directory.
pub(crate) fn class_name(buckets: impl Iterator<Item = Bucket>) -> Option<String> {
    buckets.take(SHARDS).find_map(|bucket| {
        let directory = bucket.class_directory.clone();
        find_name(bucket, |name| name.to_ascii_lowercase() == *directory)
    })
}

/// The first class name in a shard's objects that is accepted. The name is evidence only
/// (`object-binary.md` 4), so that damage is no error here: it is one when the rows are read.
pub(crate) fn find_name(bucket: Bucket, accepts: impl Fn(&str) -> bool) -> Option<String> {
    let snapshot = Arc::new(ShardSnapshot::peek(bucket, LOG_BYTES)?);
    let parts = snapshot.sources.iter().map(|source| source.whole()).collect();
    let mut merge = Merge::open(&ShardRange { snapshot, keys: None..None, parts }).ok()?;
    let mut entries = VectorEntries::default();
    for _ in 0..OBJECTS {
        if !merge.advance().ok()? {
            break;
        }
        let row = merge.row()?;
        let object = object::decode(row.value?, row.key, &mut entries).ok()?;
        if let Ok(name) = std::str::from_utf8(object.class_name)
            && accepts(name)
        {
            return Some(name.to_owned());
        }
    }
    None
}
