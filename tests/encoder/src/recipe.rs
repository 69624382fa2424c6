//! What a generated class holds: its objects follow from a seed and their numbers.

use std::borrow::Cow;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;

use crate::embedding::{EmbeddingSpace, Embeddings};
use crate::object::Object;
use crate::prose::properties;

/// 1 January 2026, Unix milliseconds: no generated object is older.
const EPOCH_MS: i64 = 1_767_225_600_000;

/// A named vector, or a list of vectors under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedVector {
    /// Its name.
    pub name: String,
    /// Length of each vector.
    pub dimensions: usize,
    /// How many vectors a list has; `None` for a single vector.
    pub vectors: Option<usize>,
}

/// A class and everything in it. The same recipe gives the same bytes on every machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// Name of the class.
    pub class_name: Cow<'static, str>,
    /// How many live objects it has, over all tenants.
    pub objects: u64,
    /// Length of the unnamed vector of every object; 0 for none.
    pub dimensions: usize,
    /// The named and multi vectors of every object.
    pub named: Vec<NamedVector>,
    /// How long the JSON text of the properties is, give or take a word.
    pub properties_bytes: usize,
    /// Where vectors come from.
    pub embeddings: Embeddings,
    /// Of 100 objects, so many have a newer version in a younger file.
    pub updates_percent: u64,
    /// For 100 live objects there are so many more that were deleted.
    pub deletes_percent: u64,
    /// How many segments each shard has, beside its log.
    pub segments: usize,
    /// How many tenants share the objects; `None` for a class without tenants.
    pub tenants: Option<u64>,
    /// Another seed gives other objects of the same shape.
    pub seed: u64,
}

impl Recipe {
    /// Id of the object `row`: random, and the same in every revision.
    pub fn uuid(&self, row: u64) -> [u8; 16] {
        let mut bytes: [u8; 16] = self.random(row, 0).random();
        // Version 4 and variant 1, as clients make them.
        let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
        *version = *version & 0x0f | 0x40;
        *variant = *variant & 0x3f | 0x80;
        bytes
    }

    /// Every update gives an object a new document id.
    pub fn doc_id(row: u64, revision: u32) -> u64 {
        row * 4 + u64::from(revision)
    }

    /// The vectors that its objects are drawn from: made once for a class.
    pub fn spaces(&self) -> Spaces {
        let space = |at: usize, dimensions| {
            EmbeddingSpace::new(self.embeddings, dimensions, self.seed ^ (at as u64) << 32)
        };
        Spaces {
            unnamed: space(0, self.dimensions),
            named: (1..).zip(&self.named).map(|(at, each)| space(at, each.dimensions)).collect(),
        }
    }

    /// The object `row` as its `revision`th update left it; revision 0 is its creation.
    pub fn object(&self, spaces: &Spaces, row: u64, revision: u32) -> Object {
        let mut random = self.random(row, 1 + u64::from(revision));
        let created_ms = EPOCH_MS + i64::try_from(row % 10_000_000).unwrap_or(0) * 20;
        let mut object = Object {
            doc_id: Self::doc_id(row, revision),
            created_ms,
            updated_ms: created_ms + i64::from(revision) * 3_600_000,
            vector: spaces.unnamed.draw(&mut random),
            properties: Some(properties(&mut random, row, self.properties_bytes)),
            ..Object::new(self.uuid(row), &self.class_name)
        };
        for (named, space) in self.named.iter().zip(&spaces.named) {
            let name = named.name.clone();
            match named.vectors {
                None => object.named_vectors.push((name, space.draw(&mut random))),
                Some(count) => {
                    let vectors = (0..count).map(|_| space.draw(&mut random)).collect();
                    object.multi_vectors.push((name, vectors));
                }
            }
        }
        object
    }

    /// Which revision of a row is the live one.
    pub fn live_revision(&self, row: u64) -> u32 {
        u32::from(mix(row ^ self.seed) % 100 < self.updates_percent)
    }

    /// The source that holds the first version of a row: a segment, or the log after the last one.
    pub(crate) fn home(&self, row: u64) -> usize {
        let dice = mix(!row ^ self.seed);
        if dice.is_multiple_of(LOG_ONE_IN) {
            return self.segments;
        }
        // The oldest segment is the largest, as compaction leaves them.
        let weights = || (1..=self.segments as u64).map(|place| 1_000_000 / (place * place) + 1);
        let mut left = (dice / LOG_ONE_IN).checked_rem(weights().sum()).unwrap_or(0);
        for (segment, weight) in weights().enumerate() {
            match left.checked_sub(weight) {
                Some(rest) => left = rest,
                None => return segment,
            }
        }
        self.segments
    }

    /// Rows of a tenant, or of the whole class: the live ones, then those that were deleted.
    pub(crate) fn rows_of(&self, tenant: u64) -> (std::ops::Range<u64>, std::ops::Range<u64>) {
        let tenants = self.tenants.unwrap_or(1).max(1);
        let deleted = self.objects * self.deletes_percent / 100;
        let part = |of: u64, tenant: u64| {
            u64::try_from(u128::from(of) * u128::from(tenant) / u128::from(tenants)).unwrap_or(of)
        };
        let live = part(self.objects, tenant)..part(self.objects, tenant + 1);
        let first = self.objects;
        (live, first + part(deleted, tenant)..first + part(deleted, tenant + 1))
    }

    /// Random numbers of one row; streams do not overlap.
    fn random(&self, row: u64, stream: u64) -> ChaCha8Rng {
        let seed = row ^ (self.dimensions as u64) << 48 ^ self.seed.rotate_left(24);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(stream);
        random
    }
}

/// One of so many rows was never flushed: it is in the log alone.
const LOG_ONE_IN: u64 = 50;

/// The spaces of a class's vectors.
#[derive(Debug)]
pub struct Spaces {
    unnamed: EmbeddingSpace,
    named: Vec<EmbeddingSpace>,
}

/// A component that no other number influences.
pub(crate) fn normal(random: &mut ChaCha8Rng) -> f32 {
    random.sample(StandardNormal)
}

/// The finalizer of SplitMix64: every bit of the result follows from all bits of `number`.
pub(crate) fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}
