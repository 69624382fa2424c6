//! What a guest says of itself, as far as it is kept.

use crate::limits::{MAX_KNOWN_OPTIONS, MAX_TEXT_BYTES};
use crate::log::escape;
use crate::v0_1::bindings::exports::offloom::export::about as exporter;
use crate::v0_1::bindings::transform::exports::offloom::export::about as transform;

/// A guest in words. Texts are escaped and cut to 1,024 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// What it does.
    pub summary: String,
    /// The options that it knows, at most 256.
    pub options: Vec<KnownOption>,
}

/// An option of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownOption {
    /// Its key. One that ends in `*` stands for all that begin as it does.
    pub key: String,
    /// Its values and what it does.
    pub summary: String,
    /// Whether its values are shown nowhere.
    pub secret: bool,
}

impl About {
    fn new(summary: &str, options: impl Iterator<Item = KnownOption>) -> About {
        About { summary: text(summary), options: options.take(MAX_KNOWN_OPTIONS).collect() }
    }

    /// Whether the values of this option are shown nowhere.
    pub fn is_secret(&self, key: &str) -> bool {
        self.options.iter().filter(|option| option.secret).any(|option| {
            match option.key.strip_suffix('*') {
                Some(begin) => key.starts_with(begin),
                None => option.key == key,
            }
        })
    }
}

fn text(text: &str) -> String {
    escape(text, MAX_TEXT_BYTES)
}

// The bindings of each world have types of their own.
impl From<exporter::Description> for About {
    fn from(exporter::Description { summary, options }: exporter::Description) -> About {
        let known = |exporter::KnownOption { key, summary, secret }| KnownOption {
            key: text(&key),
            summary: text(&summary),
            secret,
        };
        About::new(&summary, options.into_iter().map(known))
    }
}

impl From<transform::Description> for About {
    fn from(transform::Description { summary, options }: transform::Description) -> About {
        let known = |transform::KnownOption { key, summary, secret }| KnownOption {
            key: text(&key),
            summary: text(&summary),
            secret,
        };
        About::new(&summary, options.into_iter().map(known))
    }
}
