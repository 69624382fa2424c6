//! The values of one row, as CEL knows them. Only the properties that an expression names are parsed.
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use cel::Value;
use cel::objects::{Key, Map};
use chrono::{DateTime, Utc};
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::condition::Condition;

/// The properties of one row that an expression names.
#[derive(Default)]
pub struct Properties {
    /// Those that it names directly.
    pub named: Vec<(String, Value)>,
    /// All of them, if it names the map.
    pub all: HashMap<Key, Value>,
}

impl Properties {
    /// How many of those that the expression names directly have a value.
    pub fn has_values(&self) -> usize {
        self.named.iter().filter(|(_, value)| *value != Value::Null).count()
    }
}

/// Reads properties out of the JSON of a row. A row without properties has no JSON at all.
///
/// # Errors
/// It is not a JSON object.
pub fn properties(json: &[u8], condition: &Condition) -> Result<Properties, &'static str> {
    const NO_OBJECT: &str = "its properties are not a JSON object";
    if json.is_empty() || json.trim_ascii() == b"null" {
        return Ok(Properties::default());
    }
    let mut parser = serde_json::Deserializer::from_slice(json);
    let read = parser.deserialize_map(Read(condition)).map_err(|_| NO_OBJECT)?;
    parser.end().map_err(|_| NO_OBJECT)?;
    Ok(read)
}

/// The 16 bytes of an id as text.
pub fn id(bytes: [u8; 16]) -> Value {
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    let parts =
        [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| hex.get(range).unwrap_or_default());
    Value::String(Arc::new(parts.join("-")))
}

/// Milliseconds since the Unix epoch.
pub fn time(milliseconds: i64) -> Value {
    DateTime::<Utc>::from_timestamp_millis(milliseconds)
        .map_or(Value::Null, |time| Value::Timestamp(time.fixed_offset()))
}

struct Read<'c>(&'c Condition);

impl<'de> Visitor<'de> for Read<'_> {
    type Value = Properties;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Properties, A::Error> {
        let Read(condition) = self;
        let mut read = Properties::default();
        while let Some(name) = map.next_key::<String>()? {
            let named = condition.properties.get(&name).copied();
            if named.is_none() && !condition.all_properties {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let is_float = named.unwrap_or_else(|| condition.floats.contains(&name));
            let value = map.next_value_seed(Json { is_float })?;
            if named.is_some() {
                read.named.push((name.clone(), value.clone()));
            }
            if condition.all_properties {
                read.all.insert(name.into(), value);
            }
        }
        Ok(read)
    }
}

/// A JSON value. `is_float`: whole numbers are floating-point numbers too.
#[derive(Clone, Copy)]
struct Json {
    is_float: bool,
}

impl<'de> DeserializeSeed<'de> for Json {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Json {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(if self.is_float { Value::Float(value as f64) } else { Value::Int(value) })
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        match i64::try_from(value) {
            Ok(value) if !self.is_float => Ok(Value::Int(value)),
            _ if self.is_float => Ok(Value::Float(value as f64)),
            _ => Ok(Value::UInt(value)),
        }
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(Arc::new(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::List(Arc::new(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = HashMap::new();
        while let Some(name) = map.next_key::<String>()? {
            // The definition is not followed into objects: there, the form of a number decides.
            entries.insert(Key::from(name), map.next_value_seed(Json { is_float: false })?);
        }
        Ok(Value::Map(Map { map: Arc::new(entries) }))
    }
}
