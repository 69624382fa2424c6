//! The JSON properties of the rows of a batch, taken apart into columns.
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow_array::{ArrayRef, StringArray};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::class::Property;
use super::items::{Fit, Items};
use crate::bindings::offloom::export::types::{Error, VariableWidth};
use crate::columns::broken;

/// Where the values of properties go.
pub(crate) struct PropertyIndex(HashMap<String, usize>);

impl PropertyIndex {
    pub(crate) fn new(properties: &[Property]) -> PropertyIndex {
        let names = properties.iter().enumerate().rev();
        // Of two with one name the first counts.
        PropertyIndex(names.map(|(index, property)| (property.name.clone(), index)).collect())
    }
}

/// What the properties of a batch became.
pub(crate) struct PropertyColumns {
    /// One for each property.
    pub(crate) arrays: Vec<ArrayRef>,
    pub(crate) rest: ArrayRef,
    /// Values that did not fit, for each property.
    pub(crate) misfits: Vec<u64>,
    /// Rows whose properties are no JSON object.
    pub(crate) no_objects: u64,
}

/// Takes the rows apart.
pub(crate) fn take_apart(
    properties: &[Property],
    index: &PropertyIndex,
    values: &VariableWidth,
    nulls: Option<&NullBuffer>,
    rows: usize,
) -> Result<PropertyColumns, Error> {
    let mut batch = Batch {
        items: properties.iter().map(Items::new).collect(),
        filled: vec![false; properties.len()],
        misfits: vec![0; properties.len()],
        places: Vec::new(),
        rest: Rest::default(),
        no_objects: 0,
    };
    for row in 0..rows {
        let start = values.offsets.get(row).map(|offset| *offset as usize);
        let end = values.offsets.get(row.saturating_add(1)).map(|offset| *offset as usize);
        let json = start.zip(end).and_then(|(start, end)| values.bytes.get(start..end));
        let json = json.ok_or_else(|| invalid("the offsets of properties do not fit"))?;
        if nulls.is_none_or(|nulls| nulls.is_valid(row)) && !json.is_empty() {
            batch.push(properties, index, json)?;
        }
        batch.end_row()?;
    }
    let arrays = batch.items.into_iter().map(Items::into_array).collect::<Result<_, _>>()?;
    let rest = batch.rest.into_array()?;
    Ok(PropertyColumns { arrays, rest, misfits: batch.misfits, no_objects: batch.no_objects })
}

struct Batch {
    items: Vec<Items>,
    /// Whether the row that is being read has had a value of each property.
    filled: Vec<bool>,
    misfits: Vec<u64>,
    /// The property that each key of the row before was: rows of a class have the same keys in the same
    /// order, mostly, and to compare is faster than to look up.
    places: Vec<usize>,
    rest: Rest,
    no_objects: u64,
}

impl Batch {
    fn push(
        &mut self,
        properties: &[Property],
        index: &PropertyIndex,
        json: &[u8],
    ) -> Result<(), Error> {
        let json = std::str::from_utf8(json)
            .map_err(|_| invalid("the properties of a row are not UTF-8"))?;
        if json == "null" {
            return Ok(());
        }
        let Ok(Entries(entries)) = serde_json::from_str(json) else {
            self.no_objects = self.no_objects.saturating_add(1);
            return self.rest.push_text(json);
        };
        for (at, (Key(key), value)) in entries.into_iter().enumerate() {
            let expected = self.places.get(at).copied();
            let is_it = |place: &usize| properties.get(*place).is_some_and(|it| it.name == key);
            let place = expected.filter(is_it).or_else(|| index.0.get(key.as_ref()).copied());
            self.places.truncate(if expected == place { self.places.len() } else { at });
            if self.places.len() == at {
                self.places.push(place.unwrap_or(usize::MAX));
            }
            let filled = place.and_then(|place| self.filled.get_mut(place));
            // A key that comes twice fits once.
            let is_new = filled.is_some_and(|filled| !std::mem::replace(filled, true));
            let items = place.filter(|_| is_new).and_then(|place| self.items.get_mut(place));
            let fit = match (items, value.get()) {
                (Some(items), "null") => {
                    items.push_null()?;
                    Fit::Whole
                }
                (Some(items), json) => items.push(json)?,
                (None, _) => Fit::Partly,
            };
            if fit == Fit::Misfit
                && let Some(misfits) = place.and_then(|place| self.misfits.get_mut(place))
            {
                *misfits = misfits.saturating_add(1);
            }
            if fit != Fit::Whole {
                self.rest.push(&key, value.get())?;
            }
        }
        Ok(())
    }

    fn end_row(&mut self) -> Result<(), Error> {
        for (filled, items) in self.filled.iter_mut().zip(&mut self.items) {
            if !std::mem::replace(filled, false) {
                items.push_null()?;
            }
        }
        self.rest.end_row()
    }
}

/// `{"key":value}` of each row, null for a row without.
struct Rest {
    text: Vec<u8>,
    offsets: Vec<i32>,
    valid: Vec<bool>,
}

impl Default for Rest {
    fn default() -> Rest {
        Rest { text: Vec::new(), offsets: vec![0], valid: Vec::new() }
    }
}

impl Rest {
    fn is_empty(&self) -> bool {
        let end = self.offsets.last().copied().unwrap_or(0);
        self.text.len() == end.unsigned_abs() as usize
    }

    fn push(&mut self, key: &str, json: &str) -> Result<(), Error> {
        self.text.push(if self.is_empty() { b'{' } else { b',' });
        serde_json::to_writer(&mut self.text, key).map_err(|error| invalid(&error.to_string()))?;
        self.text.push(b':');
        self.text.extend_from_slice(json.as_bytes());
        Ok(())
    }

    /// The whole row, as a JSON string.
    fn push_text(&mut self, text: &str) -> Result<(), Error> {
        serde_json::to_writer(&mut self.text, text).map_err(|error| invalid(&error.to_string()))
    }

    fn end_row(&mut self) -> Result<(), Error> {
        let start = self.offsets.last().copied().unwrap_or(0).unsigned_abs() as usize;
        self.valid.push(self.text.len() > start);
        if self.text.get(start) == Some(&b'{') {
            self.text.push(b'}');
        }
        let end = i32::try_from(self.text.len())
            .map_err(|_| Error::Unsupported("2 GiB of properties in one batch".to_owned()))?;
        self.offsets.push(end);
        Ok(())
    }

    fn into_array(self) -> Result<ArrayRef, Error> {
        let array = StringArray::try_new(
            OffsetBuffer::new(ScalarBuffer::from(self.offsets)),
            Buffer::from_vec(self.text),
            Some(NullBuffer::from(self.valid)),
        );
        Ok(Arc::new(array.map_err(broken)?))
    }
}

/// An object, its values as they were written.
struct Entries<'a>(Vec<(Key<'a>, &'a RawValue)>);

#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entries<'de>, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Entries<'de>;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

fn invalid(what: &str) -> Error {
    Error::InvalidData(what.to_owned())
}
