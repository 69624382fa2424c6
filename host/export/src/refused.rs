//! What transforms did to rows: sums for the manifest, and the rows that they refused.
use std::collections::BTreeMap;

use offloom_weaviate_disk::MAX_LISTED_OBJECTS;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A row that a transform refused, as the quarantine lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RefusedObject {
    /// Its id.
    pub id: Uuid,
    /// Its class.
    pub class: String,
    /// Its shard.
    pub shard: String,
    /// The transform.
    pub transform: String,
    /// Why, in the words of the transform.
    pub reason: String,
}

/// What one transform did to the rows of a unit, or of all units of a class so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepSums {
    /// Rows that it got.
    pub rows_in: u64,
    /// Rows that stayed.
    pub rows_kept: u64,
    /// Rows that it refused.
    pub rows_refused: u64,
    /// What it counted.
    pub counters: BTreeMap<String, u64>,
}

impl StepSums {
    /// Adds the sums of other rows.
    pub fn add(&mut self, next: &StepSums) {
        self.rows_in = self.rows_in.saturating_add(next.rows_in);
        self.rows_kept = self.rows_kept.saturating_add(next.rows_kept);
        self.rows_refused = self.rows_refused.saturating_add(next.rows_refused);
        self.count(&next.counters);
    }

    /// Adds counts.
    pub fn count<'a>(&mut self, counters: impl IntoIterator<Item = (&'a String, &'a u64)>) {
        for (name, count) in counters {
            // A guest has 64 names a batch, and could use others in the next.
            if self.counters.len() >= MAX_COUNTERS && !self.counters.contains_key(name) {
                continue;
            }
            let sum = self.counters.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*count);
        }
    }
}

/// Names of counters that are kept of one transform and class.
const MAX_COUNTERS: usize = 1_000;

/// What transforms did to the rows of a unit, or of all units of a class so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TransformReport {
    /// By index of the step in the export.
    pub sums: BTreeMap<usize, StepSums>,
    /// Rows that were refused, by index of the shard.
    pub refused: BTreeMap<u32, u64>,
    /// Those that are listed, in the order of the file, at most [`MAX_LISTED_OBJECTS`].
    pub listed: Vec<RefusedObject>,
    /// Number of those that were to be listed and are only counted.
    pub unlisted: u64,
}

impl TransformReport {
    /// Adds the report of the next unit. If units are added in order, the list is always the same.
    pub fn add(&mut self, next: TransformReport) {
        for (index, sums) in &next.sums {
            self.sums.entry(*index).or_default().add(sums);
        }
        for (shard, rows) in next.refused {
            self.count_refused(shard, rows);
        }
        for object in next.listed {
            self.list(object);
        }
        self.unlisted = self.unlisted.saturating_add(next.unlisted);
    }

    /// Counts rows of a shard that were refused.
    pub fn count_refused(&mut self, shard: u32, rows: u64) {
        let sum = self.refused.entry(shard).or_default();
        *sum = sum.saturating_add(rows);
    }

    /// Lists a row, if there is room.
    pub fn list(&mut self, object: RefusedObject) {
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

    #[test]
    fn units_add_up_and_the_list_is_bounded() {
        let object = |number: u128| RefusedObject {
            id: Uuid::from_u128(number),
            class: "Note".to_owned(),
            shard: "s".to_owned(),
            transform: "t".to_owned(),
            reason: "r".to_owned(),
        };
        let unit = |first: u128| {
            let mut report = TransformReport::default();
            let sums = report.sums.entry(1).or_default();
            (sums.rows_in, sums.rows_kept, sums.rows_refused) = (8_000, 1_000, 6_000);
            sums.count(&BTreeMap::from([("masked".to_owned(), 2)]));
            report.count_refused(3, 6_000);
            (first..first + 6_000).for_each(|number| report.list(object(number)));
            report
        };
        let mut class = TransformReport::default();
        class.add(unit(0));
        class.add(unit(6_000));
        let sums = &class.sums[&1];
        assert_eq!((sums.rows_in, sums.rows_kept, sums.rows_refused), (16_000, 2_000, 12_000));
        assert_eq!(sums.counters["masked"], 4);
        assert_eq!(class.refused[&3], 12_000);
        assert_eq!((class.listed.len(), class.unlisted), (10_000, 2_000));
        assert!(class.listed.iter().zip(0..).all(|(object, number)| object.id.as_u128() == number));
    }

    #[test]
    fn the_names_of_counters_are_bounded() {
        let mut sums = StepSums::default();
        for number in 0..2_000_u64 {
            sums.count(&BTreeMap::from([(format!("c{number}"), 1)]));
        }
        assert_eq!(sums.counters.len(), MAX_COUNTERS);
        sums.count(&BTreeMap::from([("c0".to_owned(), 1)]));
        assert_eq!(sums.counters["c0"], 2);
    }
}
