//! The exact name of a class, from its objects (`data-directory.md` 6, way 6.3).
use std::{collections::BTreeSet, sync::Arc};

use offloom_rows::ObjectLimit;
use offloom_weaviate_lsm::{
    bucket::Bucket,
    merge::{Merge, ShardRange},
    object::{self, VectorEntries},
    snapshot::ShardSnapshot,
};

use crate::schema::names;

/// Limit of shards with objects to read.
const SHARDS: usize = 64;
/// Limit of objects to read from each shard.
const OBJECTS: usize = 3;
/// The name of a class does not depend on the limit of an export.
const LIMIT: ObjectLimit = ObjectLimit::LARGEST;
/// Limit of bytes to read from a log.
const LOG_BYTES: u64 = 64 * 1024 * 1024;

/// The class names in the first objects that belong to the bucket's class directory, in byte order.
/// Several if classes share it.
pub(crate) fn class_names(buckets: impl IntoIterator<Item = Bucket>) -> Vec<String> {
    let mut found = BTreeSet::new();
    let mut shards = 0_usize;
    for bucket in buckets {
        if shards >= SHARDS {
            break;
        }
        let directory = bucket.class_directory.clone();
        let mut has_object = false;
        // It accepts no name, so that it sees the names of all objects.
        find_name(bucket, |name| {
            has_object = true;
            if names::is_class_name(name) && *names::class_directory(name) == *directory {
                found.insert(name.to_owned());
            }
            false
        });
        shards = shards.saturating_add(usize::from(has_object));
    }
    found.into_iter().collect()
}

/// The first class name in the objects of a shard that `accepts` returns true for. The name is a hint
/// only (`object-binary.md` 4), so damage is not an error here. It becomes one when rows are read.
pub(crate) fn find_name(bucket: Bucket, mut accepts: impl FnMut(&str) -> bool) -> Option<String> {
    let snapshot = Arc::new(ShardSnapshot::peek(bucket, LOG_BYTES)?);
    let parts = snapshot.sources.iter().map(|source| source.whole()).collect();
    let range = ShardRange { snapshot, keys: None..None, parts };
    let mut merge = Merge::open(&range, LIMIT).ok()?;
    let mut entries = VectorEntries::default();
    for _ in 0..OBJECTS {
        if !merge.advance().ok()? {
            break;
        }
        let row = merge.row()?;
        let Some(value) = row.value else { continue };
        let Ok(object) = object::decode(value, row.key, LIMIT, &mut entries) else { continue };
        if let Ok(name) = std::str::from_utf8(object.class_name)
            && accepts(name)
        {
            return Some(name.to_owned());
        }
    }
    None
}
