//! JSON text that compresses as prose does.

use std::fmt::Write;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use serde_json::json;

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

/// Shorter properties have a title alone.
const SHORT_BYTES: usize = 250;

/// JSON text of about `bytes` bytes that compresses as prose does.
pub(crate) fn properties(random: &mut ChaCha8Rng, row: u64, bytes: usize) -> Vec<u8> {
    if bytes < SHORT_BYTES {
        let text = prose(random, bytes.saturating_sub(r#"{"title":""}"#.len()));
        return json!({ "title": text }).to_string().into_bytes();
    }
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
