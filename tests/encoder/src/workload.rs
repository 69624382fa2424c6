//! The three kinds of objects that performance is measured on, the same on every machine.

use std::fmt::Write;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use serde_json::json;

use crate::object::Object;

/// 1 January 2026, Unix milliseconds: no object of a workload is older.
const EPOCH_MS: i64 = 1_767_225_600_000;

/// Words of the prose, the common ones first: a word is drawn the more often the earlier it stands.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "the", "of", "and", "to", "in", "a", "is", "that", "for", "it", "as", "was", "with", "be", "by",
    "on", "not", "this", "are", "at", "from", "or", "have", "an", "which", "one", "they", "were",
    "all", "their", "there", "been", "has", "when", "will", "more", "if", "no", "out", "so", "what",
    "up", "about", "into", "than", "them", "can", "only", "other", "time", "new", "some", "these",
    "two", "may", "first", "then", "such", "like", "our", "over", "any", "most", "after", "made",
    "also", "between", "before", "many", "through", "years", "where", "much", "way", "well", "down",
    "should", "because", "each", "people", "state", "world", "still", "work", "being", "under",
    "last", "great", "year", "same", "since", "against", "long", "house", "number", "while", "part",
    "found", "system", "question", "however", "water", "small", "place", "every", "order", "field",
    "research", "although", "language", "measure", "winter", "market", "surface", "harbour",
    "station", "evidence", "mountain", "council", "harvest", "library", "theorem", "railway",
    "instrument", "comparison", "settlement", "observation", "architecture", "manuscript",
];

/// Syllables of the names and rare words that occur between the common ones.
#[rustfmt::skip]
const SYLLABLES: &[&str] = &[
    "ka", "lo", "mi", "ren", "to", "sa", "vel", "dor", "ni", "ha", "gri", "mon", "te", "bal", "ur",
    "pe", "shi", "can", "or", "lin", "wes", "fa", "zu", "bri",
];

/// Objects of one shape (`architecture.md`, Performance).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// 1,536 dimensions and 1 KB of properties; measured with 100,000 rows.
    W1,
    /// No vector and 500 bytes of properties; measured with 500,000 rows.
    W2,
    /// 384 dimensions and 300 bytes of properties; measured with 200,000 rows.
    W3,
}

impl Workload {
    /// Length of the vector of every object.
    pub fn dimensions(self) -> usize {
        match self {
            Self::W1 => 1536,
            Self::W2 => 0,
            Self::W3 => 384,
        }
    }

    /// How long the JSON text of the properties is, give or take a word.
    pub fn properties_bytes(self) -> usize {
        match self {
            Self::W1 => 1000,
            Self::W2 => 500,
            Self::W3 => 300,
        }
    }

    /// With how many rows the workload is measured.
    pub fn rows(self) -> u64 {
        match self {
            Self::W1 => 100_000,
            Self::W2 => 500_000,
            Self::W3 => 200_000,
        }
    }

    /// Name of the class that its objects are of.
    pub fn class_name(self) -> &'static str {
        match self {
            Self::W1 => "W1Article",
            Self::W2 => "W2Record",
            Self::W3 => "W3Passage",
        }
    }

    /// Id of the object `row`: random, and the same in every revision.
    pub fn uuid(self, row: u64) -> [u8; 16] {
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

    /// The object `row` as its `revision`th update left it; revision 0 is its creation.
    pub fn object(self, row: u64, revision: u32) -> Object {
        let mut random = self.random(row, 1 + u64::from(revision));
        let created_ms = EPOCH_MS + i64::try_from(row % 10_000_000).unwrap_or(0) * 20;
        Object {
            doc_id: Self::doc_id(row, revision),
            created_ms,
            updated_ms: created_ms + i64::from(revision) * 3_600_000,
            vector: (0..self.dimensions()).map(|_| random.sample(StandardNormal)).collect(),
            properties: Some(properties(&mut random, row, self.properties_bytes())),
            ..Object::new(self.uuid(row), self.class_name())
        }
    }

    /// Random numbers of one row; streams do not overlap.
    fn random(self, row: u64, stream: u64) -> ChaCha8Rng {
        let mut random = ChaCha8Rng::seed_from_u64(row ^ (self.dimensions() as u64) << 48);
        random.set_stream(stream);
        random
    }
}

/// JSON text of about `bytes` bytes that compresses as prose does.
fn properties(random: &mut ChaCha8Rng, row: u64, bytes: usize) -> Vec<u8> {
    let mut object = json!({
        "author": format!("{} {}", name(random), name(random)),
        "body": "",
        "published": format!(
            "20{:02}-{:02}-{:02}T{:02}:{:02}:00Z",
            random.random_range(10..26),
            random.random_range(1..13),
            random.random_range(1..29),
            random.random_range(0..24),
            random.random_range(0..60)
        ),
        "score": f64::from(random.random_range(0..10_000)) / 100.0,
        "source": format!("https://example.org/{}/{row}", word(random)),
        "tags": [word(random), word(random)],
    });
    let body = bytes.saturating_sub(object.to_string().len());
    if let Some(slot) = object.get_mut("body") {
        *slot = prose(random, body).into();
    }
    object.to_string().into_bytes()
}

/// Sentences of `bytes` bytes, up to a word more.
fn prose(random: &mut ChaCha8Rng, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 16);
    let mut left_in_sentence = 0_u32;
    while text.len() < bytes {
        let rare = random.random_range(0..8) == 0;
        let word = if rare { name(random) } else { word(random).to_owned() };
        if left_in_sentence == 0 {
            left_in_sentence = random.random_range(6..20);
            let separator = if text.is_empty() { "" } else { ". " };
            let _ = write!(text, "{separator}{}", capitalised(&word)); // a String takes all
        } else {
            left_in_sentence -= 1;
            let _ = write!(text, " {word}");
        }
    }
    text
}

fn word(random: &mut ChaCha8Rng) -> &'static str {
    let rank: f64 = random.random::<f64>().powi(2);
    let index = (rank * WORDS.len() as f64) as usize;
    WORDS.get(index).copied().unwrap_or("the")
}

fn name(random: &mut ChaCha8Rng) -> String {
    let syllables = random.random_range(2..5);
    let name: String = (0..syllables)
        .filter_map(|_| SYLLABLES.get(random.random_range(0..SYLLABLES.len())).copied())
        .collect();
    capitalised(&name)
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
