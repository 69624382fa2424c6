//! Data that cannot be read: bad objects are left out, counted and listed; shards fail.
use std::{collections::BTreeMap, str::FromStr, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use offloom_weaviate_lsm::{Place, merge::Merge};
use serde::{Serialize, Serializer, ser::SerializeStruct};
use uuid::Uuid;

use super::filter::RowFilter;
use crate::unit::Unit;

/// Most bad objects that are listed one by one; further ones are only counted.
pub const MAX_LISTED_OBJECTS: usize = 10_000;
/// Most stored bytes that are kept of all listed objects together; further objects are listed without.
pub const MAX_RAW_BYTES: u64 = 16 * 1024 * 1024;

/// What happens to an object that violates its format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
    /// Whether a listed object keeps its stored bytes. They bypass every filter.
    pub keep_raw: bool,
}

/// An object that was left out. As JSON: `id`, `class`, `shard`, `file`, `offset`, `reason`,
/// `valueBytes`, and `raw` (Base64) where the stored bytes were kept.
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
    /// Its stored value, if it was to be kept and did not exceed [`MAX_RAW_BYTES`].
    pub raw: Option<Vec<u8>>,
}

impl Serialize for BadObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = if self.raw.is_some() { 8 } else { 7 };
        let mut json = serializer.serialize_struct("BadObject", fields)?;
        json.serialize_field("id", &self.id.to_string())?;
        json.serialize_field("class", &*self.place.class)?;
        json.serialize_field("shard", &*self.place.shard)?;
        json.serialize_field("file", &*self.place.file)?;
        json.serialize_field("offset", &self.offset)?;
        json.serialize_field("reason", &self.reason)?;
        json.serialize_field("valueBytes", &self.value_bytes)?;
        if let Some(raw) = &self.raw {
            json.serialize_field("raw", &STANDARD.encode(raw))?;
        }
        json.end()
    }
}

/// The faults of one shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardFaults {
    /// Number of bad objects that were left out.
    pub objects_left_out: u64,
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
    raw_bytes: u64,
}

impl Faults {
    /// Adds the faults of the next unit. If units are added in order, the list is always the same.
    pub fn add(&mut self, next: Faults) {
        for (index, faults) in next.shards {
            let shard = self.shards.entry(index).or_default();
            shard.objects_left_out = shard.objects_left_out.saturating_add(faults.objects_left_out);
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

    /// Reads all nodes of `unit` without building rows, and records every shard that cannot be read.
    /// Blocking. After one shard has failed, this finds the others at once.
    pub fn find_failing_shards(unit: &Unit) -> Faults {
        let mut faults = Faults::default();
        for range in unit.ranges() {
            let read = Merge::open(range).and_then(|mut merge| {
                while merge.advance()? {}
                Ok(())
            });
            if let Err(error) = read {
                faults.shard_failed(range.snapshot.shard_index, error.to_string());
            }
        }
        faults
    }

    pub(super) fn object_left_out(&mut self, shard: u32) {
        let shard = self.shards.entry(shard).or_default();
        shard.objects_left_out = shard.objects_left_out.saturating_add(1);
    }

    pub(super) fn trailing_bytes(&mut self, shard: u32) {
        let shard = self.shards.entry(shard).or_default();
        shard.rows_with_trailing_bytes = shard.rows_with_trailing_bytes.saturating_add(1);
    }

    /// Lists an object; `raw` is copied only if it will be kept.
    pub(super) fn list_with(&mut self, object: BadObject, raw: Option<&[u8]>) {
        let room = MAX_RAW_BYTES.saturating_sub(self.raw_bytes);
        let fits = |raw: &&[u8]| raw.len() as u64 <= room && self.listed.len() < MAX_LISTED_OBJECTS;
        let raw = raw.filter(fits).map(<[u8]>::to_vec);
        self.list(BadObject { raw, ..object });
    }

    fn list(&mut self, mut object: BadObject) {
        if self.listed.len() >= MAX_LISTED_OBJECTS {
            self.unlisted = self.unlisted.saturating_add(1);
            return;
        }
        let raw_bytes = object.raw.as_ref().map_or(0, |raw| raw.len() as u64);
        let sum = self.raw_bytes.saturating_add(raw_bytes);
        if sum > MAX_RAW_BYTES {
            object.raw = None;
        } else {
            self.raw_bytes = sum;
        }
        self.listed.push(object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(number: u32, raw: Option<usize>) -> BadObject {
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
            raw: raw.map(|bytes| vec![7; bytes]),
        }
    }

    fn unit(objects: impl IntoIterator<Item = BadObject>) -> Faults {
        let mut faults = Faults::default();
        for object in objects {
            faults.object_left_out(0);
            let raw = object.raw.clone();
            faults.list_with(BadObject { raw: None, ..object }, raw.as_deref());
        }
        faults
    }

    #[test]
    fn a_listed_object_is_one_line_of_json() {
        let line = serde_json::to_string(&bad(1, None)).unwrap();
        assert_eq!(
            line,
            r#"{"id":"00000000-0000-0000-0000-000000000001","class":"Article","shard":"s","file":"f.db","offset":25,"reason":"the \"value\" is empty","valueBytes":3}"#
        );
        let with_raw = serde_json::to_value(bad(1, Some(3))).unwrap();
        assert_eq!(with_raw["raw"], "BwcH");
    }

    #[test]
    fn a_million_bad_objects_are_counted_and_the_first_are_listed() {
        let mut class = Faults::default();
        for number in 0..10 {
            let first = number * 100_000;
            class.add(unit((first..first + 100_000).map(|number| bad(number, None))));
        }
        assert_eq!(class.shards[&0].objects_left_out, 1_000_000);
        assert_eq!(class.listed.len(), MAX_LISTED_OBJECTS);
        assert_eq!(class.unlisted, 1_000_000 - MAX_LISTED_OBJECTS as u64);
        assert!(
            class.listed.iter().enumerate().all(|(n, object)| object.id.as_u128() == n as u128)
        );
    }

    #[test]
    fn raw_bytes_are_kept_up_to_their_bound_and_the_objects_listed_all_the_same() {
        let mib = 1 << 20;
        let first = unit([bad(1, Some(10 * mib)), bad(2, Some(10 * mib)), bad(3, Some(6 * mib))]);
        let kept = |faults: &Faults| -> Vec<bool> {
            faults.listed.iter().map(|object| object.raw.is_some()).collect()
        };
        assert_eq!(kept(&first), [true, false, true]);
        let mut class = first;
        class.add(unit([bad(4, Some(1))]));
        assert_eq!(kept(&class), [true, false, true, false]);
        assert_eq!((class.listed.len(), class.unlisted), (4, 0));
    }

    #[test]
    fn the_first_reason_of_a_shard_counts_and_units_add_up() {
        let mut class = Faults::default();
        class.trailing_bytes(3);
        class.shard_failed(3, "first".to_owned());
        let mut next = Faults::default();
        next.trailing_bytes(3);
        next.shard_failed(3, "second".to_owned());
        next.object_left_out(4);
        class.add(next);
        let expected = ShardFaults {
            objects_left_out: 0,
            rows_with_trailing_bytes: 2,
            error: Some("first".to_owned()),
        };
        assert_eq!(class.shards[&3], expected);
        assert_eq!(class.shards[&4].objects_left_out, 1);
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
