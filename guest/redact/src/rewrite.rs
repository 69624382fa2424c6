//! Rewrites the JSON of one row: what is not redacted is copied as it is, byte for byte.
use std::borrow::Cow;
use std::fmt;

use hmac::{Hmac, Mac};
use serde::Deserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sha2::Sha256;

use crate::options::{Action, Redaction, Redactions};

/// What a masked value becomes.
const MASK: &[u8] = b"\"***\"";

/// Properties are JSON objects. The text is not quoted, as it may be what is to be redacted.
const NO_OBJECT: &str = "its properties are not a JSON object";

const TOO_DEEP: &str = "its properties have lists in lists in lists";

/// Lists in lists that are followed. Weaviate's properties have one.
const MAX_LISTS: u32 = 8;

/// Appends `json` to `into`, redacted, and returns how many values were. A row without properties has no
/// JSON at all.
pub fn rewrite(
    json: &[u8],
    redactions: &Redactions,
    key: Option<&Hmac<Sha256>>,
    into: &mut Vec<u8>,
) -> Result<u64, &'static str> {
    if json.is_empty() {
        return Ok(0);
    }
    let text = std::str::from_utf8(json).map_err(|_| NO_OBJECT)?;
    if text.trim_ascii() == "null" {
        into.extend_from_slice(json);
        return Ok(0);
    }
    let mut writer = Writer { key, into, redacted: 0 };
    writer.object(text, redactions)?;
    Ok(writer.redacted)
}

struct Writer<'w> {
    key: Option<&'w Hmac<Sha256>>,
    into: &'w mut Vec<u8>,
    redacted: u64,
}

impl Writer<'_> {
    /// Writes an object. Its entries lie between the ends of the values: `,"name":value`.
    fn object(&mut self, text: &str, redactions: &Redactions) -> Result<(), &'static str> {
        let entries = entries(text)?;
        let open = text.find('{').ok_or(NO_OBJECT)?.saturating_add(1);
        self.write(text.get(..open));
        let mut end = open;
        let mut first = true;
        for (name, value) in entries {
            let start = offset_in(text, value).ok_or(NO_OBJECT)?;
            let head = text.get(end..start).ok_or(NO_OBJECT)?;
            end = start.saturating_add(value.len());
            let redaction = redactions.properties.get(&*name);
            if let Some(Redaction::Whole(Action::Drop)) = redaction {
                self.redacted += 1;
                continue;
            }
            // The entry before this one may be gone, and with it the need for a comma.
            let head = if first { without_comma(head) } else { head };
            first = false;
            self.write(Some(head));
            match redaction {
                Some(Redaction::Whole(action)) => self.replaced(*action, value)?,
                Some(Redaction::Parts(parts)) => self.parts(value, parts, MAX_LISTS)?,
                None => self.write(Some(value)),
            }
        }
        self.write(text.get(end..));
        Ok(())
    }

    /// Writes a value of which parts are redacted: those of an object, or of each object in a list.
    fn parts(&mut self, value: &str, parts: &Redactions, lists: u32) -> Result<(), &'static str> {
        match value.as_bytes().first() {
            Some(b'{') => self.object(value, parts),
            Some(b'[') => {
                let lists = lists.checked_sub(1).ok_or(TOO_DEEP)?;
                let items = items(value)?;
                let mut end = 0;
                for item in items {
                    let start = offset_in(value, item).ok_or(NO_OBJECT)?;
                    self.write(value.get(end..start));
                    end = start.saturating_add(item.len());
                    self.parts(item, parts, lists)?;
                }
                self.write(value.get(end..));
                Ok(())
            }
            _ => {
                self.write(Some(value));
                Ok(())
            }
        }
    }

    fn replaced(&mut self, action: Action, value: &str) -> Result<(), &'static str> {
        if value == "null" {
            self.write(Some(value));
            return Ok(());
        }
        self.redacted += 1;
        match (action, self.key) {
            (Action::Hash, Some(key)) => {
                let text = match value.as_bytes().first() {
                    // Two spellings of one text have one hash.
                    Some(b'"') => {
                        serde_json::from_str::<Cow<'_, str>>(value).map_err(|_| NO_OBJECT)?
                    }
                    _ => Cow::Borrowed(value),
                };
                let mut mac = key.clone();
                mac.update(text.as_bytes());
                let hash = hex::encode(mac.finalize().into_bytes());
                self.into.push(b'"');
                self.into.extend_from_slice(hash.as_bytes());
                self.into.push(b'"');
            }
            _ => self.into.extend_from_slice(MASK),
        }
        Ok(())
    }

    fn write(&mut self, text: Option<&str>) {
        self.into.extend_from_slice(text.unwrap_or_default().as_bytes());
    }
}

/// Where a part of a text lies in it.
fn offset_in(text: &str, part: &str) -> Option<usize> {
    part.as_ptr().addr().checked_sub(text.as_ptr().addr())
}

/// What leads to a value, without the comma that divides it from the one before.
fn without_comma(head: &str) -> &str {
    head.trim_ascii_start().strip_prefix(',').unwrap_or(head)
}

/// Names, unescaped, and values of an object, in their order; a name may occur twice.
fn entries(text: &str) -> Result<Vec<(Cow<'_, str>, &str)>, &'static str> {
    struct Entries;

    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<(Cow<'de, str>, &'de str)>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(name) = map.next_key_seed(Name)? {
                let value: &RawValue = map.next_value()?;
                entries.push((name, value.get()));
            }
            Ok(entries)
        }
    }

    let mut json = serde_json::Deserializer::from_str(text);
    let entries = json.deserialize_map(Entries).map_err(|_| NO_OBJECT)?;
    json.end().map_err(|_| NO_OBJECT)?;
    Ok(entries)
}

/// A name, borrowed where it has no escapes.
struct Name;

impl<'de> serde::de::DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Cow<'de, str>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// The items of a list.
fn items(text: &str) -> Result<Vec<&str>, &'static str> {
    struct Items;

    impl<'de> Visitor<'de> for Items {
        type Value = Vec<&'de str>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = list.next_element::<&RawValue>()? {
                items.push(item.get());
            }
            Ok(items)
        }
    }

    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_seq(Items).map_err(|_| NO_OBJECT)
}
