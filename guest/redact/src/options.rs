//! The options: which properties become what.
use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit};
use sha2::Sha256;

use crate::rewrite::rewrite;

/// Key, what it does, and whether it is secret.
pub const KNOWN: [(&str, &str, bool); 5] = [
    ("drop", "Properties to remove, divided by commas; a dot leads to those of an object.", false),
    ("mask", "Properties whose values become \"***\".", false),
    (
        "hash",
        "Properties whose values become their HMAC-SHA-256 in hex digits; needs `key`.",
        false,
    ),
    ("key", "The key of the hashes, at least 16 bytes.", true),
    (
        "missing",
        "error (default) or ignore: what a property does that the class does not have.",
        false,
    ),
];

/// A shorter key can be guessed.
const MIN_KEY_BYTES: usize = 16;

/// What happens to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is removed with its name.
    Drop,
    /// It becomes stars.
    Mask,
    /// It becomes a hash with the key.
    Hash,
}

/// The properties of an object that are redacted, and those in them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Redactions {
    /// By name, not escaped.
    pub properties: BTreeMap<String, Redaction>,
}

/// What happens to a property.
#[derive(Debug, PartialEq, Eq)]
pub enum Redaction {
    /// To all of it.
    Whole(Action),
    /// To parts of it.
    Parts(Redactions),
}

/// The options of one export, parsed.
pub struct Settings {
    /// What is redacted.
    pub redactions: Redactions,
    /// Whether a property that the class does not have is an error.
    pub must_exist: bool,
    key: Option<Hmac<Sha256>>,
}

impl Settings {
    /// Reads the options.
    ///
    /// # Errors
    /// What is wrong with them, and which are known.
    pub fn parse(options: &[(String, String)]) -> Result<Settings, String> {
        let mut settings =
            Settings { redactions: Redactions::default(), must_exist: true, key: None };
        let mut hashes = false;
        for (index, (key, value)) in options.iter().enumerate() {
            if options.iter().take(index).any(|(earlier, _)| earlier == key) {
                return Err(format!("option `{key}` is given twice"));
            }
            match (key.as_str(), value.as_str()) {
                ("drop", paths) => settings.redactions.add(paths, Action::Drop)?,
                ("mask", paths) => settings.redactions.add(paths, Action::Mask)?,
                ("hash", paths) => {
                    settings.redactions.add(paths, Action::Hash)?;
                    hashes = true;
                }
                ("key", text) if text.len() < MIN_KEY_BYTES => {
                    return Err(format!("option `key` has fewer than {MIN_KEY_BYTES} bytes"));
                }
                ("key", text) => settings.key = Hmac::new_from_slice(text.as_bytes()).ok(),
                ("missing", "error") => settings.must_exist = true,
                ("missing", "ignore") => settings.must_exist = false,
                ("missing", _) => {
                    return Err(format!("option `missing` does not take `{value}`; {}", known()));
                }
                _ => return Err(format!("unknown option `{key}`; {}", known())),
            }
        }
        match (hashes, settings.key.is_some()) {
            _ if settings.redactions.properties.is_empty() => {
                Err(format!("no property to redact; {}", known()))
            }
            (true, false) => Err("option `hash` needs the option `key`".to_owned()),
            (false, true) => Err("option `key` is there without `hash`".to_owned()),
            _ => Ok(settings),
        }
    }

    /// Appends the properties of one row, redacted, and returns how many values were.
    ///
    /// # Errors
    /// Why the row cannot be redacted, without its content.
    pub fn redact(&self, json: &[u8], into: &mut Vec<u8>) -> Result<u64, &'static str> {
        rewrite(json, &self.redactions, self.key.as_ref(), into)
    }
}

impl Redactions {
    fn add(&mut self, paths: &str, action: Action) -> Result<(), String> {
        for path in paths.split(',') {
            self.insert(path, action).map_err(|problem| format!("property `{path}` {problem}"))?;
        }
        Ok(())
    }

    fn insert(&mut self, path: &str, action: Action) -> Result<(), &'static str> {
        const TWICE: &str = "is named twice, or is a part of another one";
        let (name, rest) = match path.split_once('.') {
            Some((name, rest)) => (name, Some(rest)),
            None => (path, None),
        };
        if name.is_empty() {
            return Err("has an empty name");
        }
        match (self.properties.get_mut(name), rest) {
            (None, None) => {
                self.properties.insert(name.to_owned(), Redaction::Whole(action));
                Ok(())
            }
            (None, Some(rest)) => {
                let mut parts = Redactions::default();
                parts.insert(rest, action)?;
                self.properties.insert(name.to_owned(), Redaction::Parts(parts));
                Ok(())
            }
            (Some(Redaction::Parts(parts)), Some(rest)) => parts.insert(rest, action),
            (Some(_), _) => Err(TWICE),
        }
    }
}

fn known() -> String {
    let options = KNOWN.map(|(key, summary, _)| format!("{key}: {summary}"));
    format!("known options: {}", options.join(" "))
}
