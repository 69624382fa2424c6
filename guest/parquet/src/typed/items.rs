//! The values of one property, row by row, from their JSON to an Arrow array.
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::class::{Kind, Property, element, geo_fields};
use super::scalar::{Date, date, integer, is_uuid, number, text};
use crate::bindings::offloom::export::types::Error;
use crate::columns::broken;

/// What became of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// The column has it.
    Whole,
    /// The column has it, but not all that its text says: the offset of a time.
    Partly,
    /// The column cannot have it.
    Misfit,
}

/// The values of a property in one batch.
pub(crate) struct Items {
    kind: Kind,
    valid: Vec<bool>,
    /// Where each list ends, after a 0.
    list_offsets: Option<Vec<i32>>,
    values: Values,
}

/// One a row, or one an element of a list.
enum Values {
    Text { bytes: Vec<u8>, offsets: Vec<i32> },
    Int(Vec<i64>),
    Number(Vec<f64>),
    Boolean(Vec<bool>),
    Geo { latitude: Vec<f64>, longitude: Vec<f64> },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Geo<'a> {
    #[serde(borrow)]
    latitude: &'a RawValue,
    #[serde(borrow)]
    longitude: &'a RawValue,
}

impl Items {
    /// Without rows.
    pub(crate) fn new(property: &Property) -> Items {
        let values = match property.kind {
            Kind::Text | Kind::Uuid | Kind::Json => {
                Values::Text { bytes: Vec::new(), offsets: vec![0] }
            }
            Kind::Int | Kind::Date => Values::Int(Vec::new()),
            Kind::Number => Values::Number(Vec::new()),
            Kind::Boolean => Values::Boolean(Vec::new()),
            Kind::Geo => Values::Geo { latitude: Vec::new(), longitude: Vec::new() },
        };
        let list_offsets = property.is_list.then(|| vec![0]);
        Items { kind: property.kind, valid: Vec::new(), list_offsets, values }
    }

    /// Adds a row with this value, or without one if it does not fit.
    pub(crate) fn push(&mut self, json: &str) -> Result<Fit, Error> {
        let fit = match self.list_offsets {
            None => self.values.push(self.kind, json)?,
            Some(_) => self.push_list(json)?,
        };
        if fit == Fit::Misfit {
            self.push_null()?
        } else {
            self.end_row(true)?
        }
        Ok(fit)
    }

    fn push_list(&mut self, json: &str) -> Result<Fit, Error> {
        let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(json) else {
            return Ok(Fit::Misfit);
        };
        let before = self.values.count();
        let mut all = Fit::Whole;
        for element in elements {
            match self.values.push(self.kind, element.get())? {
                Fit::Whole => {}
                Fit::Partly => all = Fit::Partly,
                Fit::Misfit => {
                    self.values.truncate(before);
                    return Ok(Fit::Misfit);
                }
            }
        }
        Ok(all)
    }

    /// Adds a row without a value.
    pub(crate) fn push_null(&mut self) -> Result<(), Error> {
        if self.list_offsets.is_none() {
            self.values.push_empty()?;
        }
        self.end_row(false)
    }

    fn end_row(&mut self, valid: bool) -> Result<(), Error> {
        self.valid.push(valid);
        if let Some(offsets) = &mut self.list_offsets {
            offsets.push(i32::try_from(self.values.count()).map_err(|_| too_long())?);
        }
        Ok(())
    }

    /// All rows.
    pub(crate) fn into_array(self) -> Result<ArrayRef, Error> {
        let nulls = Some(NullBuffer::from(self.valid));
        match self.list_offsets {
            None => self.values.into_array(self.kind, nulls),
            Some(offsets) => {
                let values = self.values.into_array(self.kind, None)?;
                let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
                let element = element(self.kind.arrow());
                let list = ListArray::try_new(element, offsets, values, nulls);
                Ok(Arc::new(list.map_err(broken)?))
            }
        }
    }
}

impl Values {
    fn push(&mut self, kind: Kind, json: &str) -> Result<Fit, Error> {
        let mut fit = Fit::Whole;
        match self {
            Values::Text { bytes, offsets } => {
                match kind {
                    Kind::Json => bytes.extend_from_slice(json.as_bytes()),
                    _ => match text(json).filter(|text| kind != Kind::Uuid || is_uuid(text)) {
                        Some(text) => bytes.extend_from_slice(text.as_bytes()),
                        None => return Ok(Fit::Misfit),
                    },
                }
                offsets.push(i32::try_from(bytes.len()).map_err(|_| too_long())?);
            }
            Values::Int(values) if kind == Kind::Date => match date(json) {
                Some(Date { microseconds, is_utc }) => {
                    values.push(microseconds);
                    fit = if is_utc { Fit::Whole } else { Fit::Partly };
                }
                None => return Ok(Fit::Misfit),
            },
            Values::Int(values) => match integer(json) {
                Some(value) => values.push(value),
                None => return Ok(Fit::Misfit),
            },
            Values::Number(values) => match number(json) {
                Some(value) => values.push(value),
                None => return Ok(Fit::Misfit),
            },
            Values::Boolean(values) => match json {
                "true" => values.push(true),
                "false" => values.push(false),
                _ => return Ok(Fit::Misfit),
            },
            Values::Geo { latitude, longitude } => {
                let geo = serde_json::from_str::<Geo<'_>>(json).ok();
                let place = geo.and_then(|geo| {
                    Some((number(geo.latitude.get())?, number(geo.longitude.get())?))
                });
                let Some(place) = place else { return Ok(Fit::Misfit) };
                latitude.push(place.0);
                longitude.push(place.1);
            }
        }
        Ok(fit)
    }

    /// What stands where there is no value.
    fn push_empty(&mut self) -> Result<(), Error> {
        match self {
            Values::Text { bytes, offsets } => {
                offsets.push(i32::try_from(bytes.len()).map_err(|_| too_long())?);
            }
            Values::Int(values) => values.push(0),
            Values::Number(values) => values.push(0.0),
            Values::Boolean(values) => values.push(false),
            Values::Geo { latitude, longitude } => {
                latitude.push(0.0);
                longitude.push(0.0);
            }
        }
        Ok(())
    }

    fn count(&self) -> usize {
        match self {
            Values::Text { offsets, .. } => offsets.len().saturating_sub(1),
            Values::Int(values) => values.len(),
            Values::Number(values) => values.len(),
            Values::Boolean(values) => values.len(),
            Values::Geo { latitude, .. } => latitude.len(),
        }
    }

    /// Takes the last values away until there are `count`.
    fn truncate(&mut self, count: usize) {
        match self {
            Values::Text { bytes, offsets } => {
                offsets.truncate(count.saturating_add(1));
                // Offsets grew from 0 with the bytes, so the last one is a length of them.
                bytes.truncate(offsets.last().map_or(0, |end| end.unsigned_abs() as usize));
            }
            Values::Int(values) => values.truncate(count),
            Values::Number(values) => values.truncate(count),
            Values::Boolean(values) => values.truncate(count),
            Values::Geo { latitude, longitude } => {
                latitude.truncate(count);
                longitude.truncate(count);
            }
        }
    }

    fn into_array(self, kind: Kind, nulls: Option<NullBuffer>) -> Result<ArrayRef, Error> {
        let array: ArrayRef = match self {
            Values::Text { bytes, offsets } => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
                let bytes = Buffer::from_vec(bytes);
                Arc::new(StringArray::try_new(offsets, bytes, nulls).map_err(broken)?)
            }
            Values::Int(values) if kind == Kind::Date => {
                let array = TimestampMicrosecondArray::try_new(values.into(), nulls);
                Arc::new(array.map_err(broken)?.with_timezone("UTC"))
            }
            Values::Int(values) => {
                Arc::new(Int64Array::try_new(values.into(), nulls).map_err(broken)?)
            }
            Values::Number(values) => {
                Arc::new(Float64Array::try_new(values.into(), nulls).map_err(broken)?)
            }
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.into(), nulls)),
            Values::Geo { latitude, longitude } => {
                let parts = [latitude, longitude]
                    .map(|values| Arc::new(Float64Array::from(values)) as ArrayRef);
                let array = StructArray::try_new(geo_fields(), parts.into(), nulls);
                Arc::new(array.map_err(broken)?)
            }
        };
        Ok(array)
    }
}

fn too_long() -> Error {
    Error::Unsupported("2 GiB of values in one batch".to_owned())
}
