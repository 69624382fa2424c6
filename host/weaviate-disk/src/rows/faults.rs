//! Data that cannot be read: bad objects are left out, counted and listed; shards fail.
use std::{collections::BTreeMap, str::FromStr, sync::Arc};

use offloom_rows::ObjectLimit;
use offloom_weaviate_lsm::{
    Place,
    bucket::BucketFile,
    merge::{Merge, StoredRow},
};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};
use uuid::Uuid;

use super::filter::RowFilter;
use crate::{error::DiskError, unit::Unit};

/// Most bad objects that are listed one by one; further ones are only counted.
pub const MAX_LISTED_OBJECTS: usize = 10_000;

/// What happens to an object that violates its format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnBadObject {
    /// Reading ends with an error.
    #[default]
    Fail,
    /// It is left out and counted.
    Skip,
    /// It is left out, counted and listed.
    Quarantine,
}

/// A word that is not the name of an [`OnBadObject`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{}' is not one of: fail, skip, quarantine", .0.escape_debug())]
pub struct UnknownPolicy(pub String);

impl FromStr for OnBadObject {
    type Err = UnknownPolicy;

    fn from_str(word: &str) -> Result<OnBadObject, UnknownPolicy> {
        match word {
            "fail" => Ok(OnBadObject::Fail),
            "skip" => Ok(OnBadObject::Skip),
            "quarantine" => Ok(OnBadObject::Quarantine),
            other => Err(UnknownPolicy(other.to_owned())),
        }
    }
}

/// How the rows of a class are read. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// Which parts of each object are exported.
    pub filter: Arc<RowFilter>,
    /// What happens to an object that violates its format.
    pub on_bad_object: OnBadObject,
    /// Whether the stored bytes of a listed object can be read. They bypass every filter.
    pub keep_raw: bool,
    /// Larger objects are bad ones.
    pub object_limit: ObjectLimit,
}

/// The stored bytes of an object, still in the files of its unit, which stay open for it.
#[derive(Debug, Clone)]
pub struct StoredValue {
    /// Holds the files open, and their permits.
    _unit: Unit,
    file: Arc<BucketFile>,
    offset: u64,
    bytes: u64,
}

impl StoredValue {
    pub(super) fn new(unit: &Unit, row: &StoredRow<'_>) -> StoredValue {
        let (file, offset, bytes) = (row.file.clone(), row.offset, row.value_bytes);
        StoredValue { _unit: unit.clone(), file, offset, bytes }
    }

    /// Number of its bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Fills `buffer` with the bytes from `start` on, of which there must be enough. Blocking.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read_at(&self, buffer: &mut [u8], start: u64) -> Result<(), DiskError> {
        Ok(self.file.read_exact_at(buffer, self.offset.saturating_add(start))?)
    }
}

impl PartialEq for StoredValue {
    fn eq(&self, other: &StoredValue) -> bool {
        let of = |value: &StoredValue| (value.file.place.clone(), value.offset, value.bytes);
        of(self) == of(other)
    }
}

impl Eq for StoredValue {}

/// An object that was left out. As JSON: `id`, `class`, `shard`, `file`, `offset`, `reason` and
/// `valueBytes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadObject {
    /// The key under which it is stored.
    pub id: Uuid,
    /// The file that holds it.
    pub place: Place,
    /// Offset in the file at which it violates its format.
    pub offset: u64,
    /// What is wrong there.
    pub reason: String,
    /// Length of its stored value.
    pub value_bytes: u64,
    /// Its stored value, if [`ReadOptions::keep_raw`] is set.
    pub stored: Option<StoredValue>,
}

impl Serialize for BadObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut json = serializer.serialize_struct("BadObject", 7)?;
        json.serialize_field("id", &self.id.to_string())?;
        json.serialize_field("class", &*self.place.class)?;
        json.serialize_field("shard", &*self.place.shard)?;
        json.serialize_field("file", &*self.place.file)?;
        json.serialize_field("offset", &self.offset)?;
        json.serialize_field("reason", &self.reason)?;
        json.serialize_field("valueBytes", &self.value_bytes)?;
        json.end()
    }
}

/// The faults of one shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardFaults {
    /// Number of bad objects that were left out.
    pub objects_left_out: u64,
    /// Those of them that exceed [`ReadOptions::object_limit`].
    pub objects_too_large: u64,
    /// Number of rows whose stored object has bytes after its last field. Those bytes are ignored, as
    /// by Weaviate itself (`object-binary.md` 1).
    pub rows_with_trailing_bytes: u64,
    /// Why a part of the shard, or all of it, could not be read.
    pub error: Option<String>,
}

/// The faults of a unit, or of all units of a class so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// By index of the shard, only shards with faults.
    pub shards: BTreeMap<u32, ShardFaults>,
    /// The bad objects that are listed, in the order of the file, at most [`MAX_LISTED_OBJECTS`].
    pub listed: Vec<BadObject>,
    /// Number of bad objects that were to be listed and are only counted.
    pub unlisted: u64,
}

impl Faults {
    /// Adds the faults of the next unit. If units are added in order, the list is always the same.
    pub fn add(&mut self, next: Faults) {
        for (index, faults) in next.shards {
            let shard = self.shards.entry(index).or_default();
            shard.objects_left_out = shard.objects_left_out.saturating_add(faults.objects_left_out);
            shard.objects_too_large =
                shard.objects_too_large.saturating_add(faults.objects_too_large);
            shard.rows_with_trailing_bytes =
                shard.rows_with_trailing_bytes.saturating_add(faults.rows_with_trailing_bytes);
            shard.error = shard.error.take().or(faults.error);
        }
        for object in next.listed {
            self.list(object);
        }
        self.unlisted = self.unlisted.saturating_add(next.unlisted);
    }

    /// Records that a shard could not be read to its end. The first reason is kept.
    pub fn shard_failed(&mut self, index: u32, reason: String) {
        self.shards.entry(index).or_default().error.get_or_insert(reason);
    }

    /// Reads all nodes of `unit` without building rows, and records every shard that cannot be read;
    /// values beyond `limit` are passed over. Blocking. After one shard has failed, this finds the
    /// others at once.
    pub fn find_failing_shards(unit: &Unit, limit: ObjectLimit) -> Faults {
        let mut faults = Faults::default();
        for range in unit.ranges() {
            let read = Merge::open(range, limit).and_then(|mut merge| {
                while merge.advance()? {}
                Ok(())
            });
            if let Err(error) = read {
                faults.shard_failed(range.snapshot.shard_index, error.to_string());
            }
        }
        faults
    }

    pub(super) fn object_left_out(&mut self, shard: u32, too_large: bool) {
        let shard = self.shards.entry(shard).or_default();
        shard.objects_left_out = shard.objects_left_out.saturating_add(1);
        shard.objects_too_large = shard.objects_too_large.saturating_add(u64::from(too_large));
    }

    pub(super) fn trailing_bytes(&mut self, shard: u32) {
        let shard = self.shards.entry(shard).or_default();
        shard.rows_with_trailing_bytes = shard.rows_with_trailing_bytes.saturating_add(1);
    }

    pub(super) fn list(&mut self, object: BadObject) {
        if self.listed.len() >= MAX_LISTED_OBJECTS {
            self.unlisted = self.unlisted.saturating_add(1);
        } else {
            self.listed.push(object);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(number: u32) -> BadObject {
        BadObject {
            id: Uuid::from_u128(number.into()),
            place: Place {
                node: None,
                class: "Article".into(),
                shard: "s".into(),
                file: "f.db".into(),
            },
            offset: 25,
            reason: "the \"value\" is empty".to_owned(),
            value_bytes: 3,
            stored: None,
        }
    }

    fn unit(objects: impl IntoIterator<Item = BadObject>) -> Faults {
        let mut faults = Faults::default();
        for object in objects {
            faults.object_left_out(0, false);
            faults.list(object);
        }
        faults
    }

    #[test]
    fn a_listed_object_is_one_line_of_json() {
        let line = serde_json::to_string(&bad(1)).unwrap();
        assert_eq!(
            line,
            r#"{"id":"00000000-0000-0000-0000-000000000001","class":"Article","shard":"s","file":"f.db","offset":25,"reason":"the \"value\" is empty","valueBytes":3}"#
        );
    }

    #[test]
    fn a_million_bad_objects_are_counted_and_the_first_are_listed() {
        let mut class = Faults::default();
        for number in 0..10 {
            let first = number * 100_000;
            class.add(unit((first..first + 100_000).map(bad)));
        }
        assert_eq!(class.shards[&0].objects_left_out, 1_000_000);
        assert_eq!(class.listed.len(), MAX_LISTED_OBJECTS);
        assert_eq!(class.unlisted, 1_000_000 - MAX_LISTED_OBJECTS as u64);
        assert!(
            class.listed.iter().enumerate().all(|(n, object)| object.id.as_u128() == n as u128)
        );
    }

    #[test]
    fn the_first_reason_of_a_shard_counts_and_units_add_up() {
        let mut class = Faults::default();
        class.trailing_bytes(3);
        class.shard_failed(3, "first".to_owned());
        let mut next = Faults::default();
        next.trailing_bytes(3);
        next.shard_failed(3, "second".to_owned());
        next.object_left_out(4, true);
        class.add(next);
        let expected = ShardFaults {
            objects_left_out: 0,
            objects_too_large: 0,
            rows_with_trailing_bytes: 2,
            error: Some("first".to_owned()),
        };
        assert_eq!(class.shards[&3], expected);
        assert_eq!((class.shards[&4].objects_left_out, class.shards[&4].objects_too_large), (1, 1));
    }

    #[test]
    fn policies_are_named_by_their_words() {
        for (word, policy) in [
            ("fail", OnBadObject::Fail),
            ("skip", OnBadObject::Skip),
            ("quarantine", OnBadObject::Quarantine),
        ] {
            assert_eq!(word.parse(), Ok(policy));
        }
        let error = "Skip".parse::<OnBadObject>().unwrap_err();
        assert_eq!(error.to_string(), "'Skip' is not one of: fail, skip, quarantine");
    }
}
