//! A guest that writes down all that it is given, and all that it can find.
use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;

use crate::bindings::exports::offloom::export::exporter::{Class, Options, Schema, Selection};
use crate::bindings::offloom::export::types::{RowBatch, Values};

/// What `plan` is given, as text.
pub(crate) fn plan(classes: &[Class], selection: &Selection, options: &Options) -> String {
    let mut text = String::new();
    for Class { name, multi_tenant, object_count } in classes {
        let _ = write!(text, "{name} {multi_tenant} {object_count:?}; ");
    }
    let _ = write!(text, "include {:?} exclude {:?} ", selection.include, selection.exclude);
    let _ = write!(text, "options {options:?} {}", surroundings());
    text
}

/// What `open` is given.
pub(crate) fn schema(schema: &Schema, options: &Options) -> String {
    format!("{schema:?}\n{options:?}\n{}\n", surroundings())
}

/// Variables, arguments, input, files and the seed of random numbers.
pub(crate) fn surroundings() -> String {
    let mut input = Vec::new();
    let read = std::io::stdin().read_to_end(&mut input).map_err(|error| error.kind());
    format!(
        "variables {:?} arguments {:?} input {read:?} {input:?} seed {:x}",
        std::env::vars_os().collect::<Vec<_>>(),
        std::env::args_os().collect::<Vec<_>>(),
        RandomState::new().hash_one(0),
    )
}

/// The values of a batch, column by column.
pub(crate) fn rows(batch: &RowBatch) -> Vec<u8> {
    let mut bytes = format!("{} rows\n", batch.row_count).into_bytes();
    for column in &batch.columns {
        let values: &[u8] = match &column.values {
            Values::FixedWidth(values) => values,
            Values::VariableWidth(values) | Values::Vector(values) => &values.bytes,
            other => &format!("{other:?}").into_bytes(),
        };
        bytes.extend_from_slice(values);
        bytes.push(b'\n');
    }
    bytes
}
