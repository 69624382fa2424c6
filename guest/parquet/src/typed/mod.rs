//! The typed layout: a column of its type for each property and each named vector of a class.
//!
//! `class` (which columns), `rows` (JSON properties become columns) with `items` (of one property) and
//! `scalar` (single values), and `vectors`.
mod class;
mod items;
mod rows;
mod scalar;
mod vectors;

use arrow_schema::{DataType as ArrowType, Field as ArrowField};

use crate::bindings::offloom::export::types::{
    Column, DataType, Error, NamedVector, Schema, Values, VariableWidth,
};
use crate::columns::{Encoded, null_buffer};
use class::{Definition, Names, OTHER_VECTORS, Property, REST};
use rows::PropertyIndex;
pub(crate) use vectors::{lists, vector_type};

/// Properties whose misfits are counted by their name; further ones share a counter. A block has at most
/// 64 counters.
const MAX_COUNTERS: usize = 56;
/// What counts misfits, before the name of a property or alone.
const MISFITS: &str = "misfits";
/// Bytes of a counter's name at the most.
const MAX_COUNTER_NAME_BYTES: usize = 64;

/// How the rows of a class are taken apart.
pub(crate) struct Typed {
    properties: Vec<Property>,
    index: PropertyIndex,
    /// Columns of a batch.
    properties_at: Option<usize>,
    named: Option<Declared>,
    multi: Option<Declared>,
}

/// A column of a batch with vectors by name, and the names that the class declares.
struct Declared {
    at: usize,
    names: Vec<String>,
}

/// The columns of a batch, taken apart.
pub(crate) struct TakenApart {
    /// In the order of the fields.
    pub(crate) columns: Vec<Encoded>,
    /// Values that did not fit, for each counter.
    pub(crate) misfits: Vec<(String, u64)>,
}

impl Typed {
    /// Plans the columns of a class: those that are made here, in their order. All others stay as they
    /// are, except those that [`Typed::takes`].
    pub(crate) fn new(schema: &Schema) -> Result<(Typed, Vec<ArrowField>), Error> {
        let definition = Definition::read(schema.class_definition.as_deref())?;
        let fields = || schema.fields.iter().enumerate();
        let mut properties_at = None;
        let (mut named, mut multi) = (None, None);
        for (at, field) in fields() {
            match &field.data_type {
                DataType::Json if field.name == "properties" => properties_at = Some(at),
                DataType::NamedVectors(declared) => {
                    named = Some(Declared::new(at, declared, definition.vectors(false)));
                }
                DataType::NamedMultiVectors(declared) => {
                    multi = Some(Declared::new(at, declared, definition.vectors(true)));
                }
                _ => {}
            }
        }
        let typed_at = [properties_at, named.as_ref().map(|d| d.at), multi.as_ref().map(|d| d.at)];
        let kept = fields().filter(|(at, _)| !typed_at.contains(&Some(*at)));
        let kept = kept.map(|(_, field)| field.name.as_str());
        if let Some(name) = kept.clone().find(|name| [OTHER_VECTORS, REST].contains(name)) {
            return Err(Error::Unsupported(format!(
                "column `{name}` is made by this exporter, but the rows have one too"
            )));
        }
        // A property cannot take the name of a column that classes have, even if this one lacks it.
        let always = ["id", "tenant", "creation_time", "update_time", "vector"];
        let mut names = Names::new(kept.chain(always).chain([OTHER_VECTORS, REST]));
        let mut of_vectors = Vec::new();
        for name in named.iter().flat_map(|declared| &declared.names) {
            of_vectors.push(ArrowField::new(names.of_vector(name), vector_type(), true));
        }
        for name in multi.iter().flat_map(|declared| &declared.names) {
            let lists = class::list_of(vector_type());
            of_vectors.push(ArrowField::new(names.of_vector(name), lists, true));
        }
        let properties = match properties_at {
            Some(_) => class::properties(definition, &mut names),
            None => Vec::new(),
        };
        let mut fields: Vec<ArrowField> = properties.iter().map(Property::field).collect();
        fields.append(&mut of_vectors);
        fields.push(ArrowField::new(OTHER_VECTORS, ArrowType::Utf8, true));
        fields.push(ArrowField::new(REST, ArrowType::Utf8, true));
        let index = PropertyIndex::new(&properties);
        Ok((Typed { properties, index, properties_at, named, multi }, fields))
    }

    /// How many of the columns that are made are properties: the first ones.
    pub(crate) fn properties(&self) -> usize {
        self.properties.len()
    }

    /// Whether the column of this index of a batch is taken apart.
    pub(crate) fn takes(&self, at: usize) -> bool {
        let named = self.named.as_ref().is_some_and(|declared| declared.at == at);
        let multi = self.multi.as_ref().is_some_and(|declared| declared.at == at);
        self.properties_at == Some(at) || named || multi
    }

    /// Takes the columns of a batch apart that are not columns of the file.
    pub(crate) fn take_apart(
        &self,
        columns: &mut [Option<Column>],
        rows: usize,
    ) -> Result<TakenApart, Error> {
        let mut take =
            |at: Option<usize>| at.and_then(|at| columns.get_mut(at)).and_then(Option::take);
        let properties = self.property_columns(take(self.properties_at), rows)?;
        let mut encoded: Vec<Encoded> = properties.arrays.into_iter().map(Encoded::new).collect();

        let named = take(self.named.as_ref().map(|declared| declared.at));
        let named = named.map(|column| match column.values {
            Values::NamedVectors(map) => Ok(map),
            _ => Err(other_values()),
        });
        let named = named.transpose()?.zip(self.named.as_ref());
        let multi = take(self.multi.as_ref().map(|declared| declared.at));
        let multi = multi.map(|column| match column.values {
            Values::NamedMultiVectors(map) => Ok(map),
            _ => Err(other_values()),
        });
        let multi = multi.transpose()?.zip(self.multi.as_ref());
        if let Some((map, declared)) = &named {
            for name in &declared.names {
                encoded.push(Encoded::new(vectors::named(name, map, rows)?));
            }
        }
        if let Some((map, declared)) = &multi {
            for name in &declared.names {
                encoded.push(Encoded::new(vectors::multi(name, map, rows)?));
            }
        }
        let single = named.as_ref().map(|(map, declared)| (map, declared.names.as_slice()));
        let lists = multi.as_ref().map(|(map, declared)| (map, declared.names.as_slice()));
        let mut others = vectors::others(single, lists, rows)?.into_encoded(rows)?;
        others.array = vectors::into_text(&others.array)?;
        encoded.push(others);
        encoded.push(Encoded::new(properties.rest));

        let counts = properties.misfits.iter().enumerate().filter(|(_, count)| **count > 0);
        let mut misfits: Vec<(String, u64)> =
            counts.map(|(at, count)| (self.counter(at), *count)).collect();
        if properties.no_objects > 0 {
            misfits.push((MISFITS.to_owned(), properties.no_objects));
        }
        Ok(TakenApart { columns: encoded, misfits })
    }

    fn property_columns(
        &self,
        column: Option<Column>,
        rows: usize,
    ) -> Result<rows::PropertyColumns, Error> {
        let empty = VariableWidth { offsets: vec![0; rows.saturating_add(1)], bytes: Vec::new() };
        let (validity, values) = match column {
            Some(Column { validity, values: Values::VariableWidth(values) }) => (validity, values),
            Some(_) => return Err(other_values()),
            None => (None, empty),
        };
        let nulls = validity.map(|bits| null_buffer(bits, rows)).transpose()?;
        rows::take_apart(&self.properties, &self.index, &values, nulls.as_ref(), rows)
    }

    /// The counter of the misfits of a property.
    fn counter(&self, at: usize) -> String {
        let name = self.properties.get(at).map_or("", |property| property.name.as_str());
        let counter = format!("{MISFITS}.{name}");
        let is_name = counter.len() <= MAX_COUNTER_NAME_BYTES
            && counter.bytes().all(|byte| byte.is_ascii_graphic());
        if at < MAX_COUNTERS && is_name { counter } else { MISFITS.to_owned() }
    }
}

impl Declared {
    /// Those that the column declares, or else the definition.
    fn new(at: usize, declared: &[NamedVector], defined: Vec<String>) -> Declared {
        let names: Vec<String> = declared.iter().map(|vector| vector.name.clone()).collect();
        Declared { at, names: if names.is_empty() { defined } else { names } }
    }
}

fn other_values() -> Error {
    Error::InvalidData("the values of a column are not of its type".to_owned())
}
