//! What a transform makes of the columns of a class, checked once before its first batch.
use std::collections::HashSet;

use offloom_rows::{Column, DataType, Field, MultiVectorMap, RowBatch, Schema, Values};
use offloom_rows::{VariableWidth, VectorMap};

use crate::error::TransformBreach;
use crate::limits::{MAX_COLUMN_NAME_BYTES, MAX_COLUMNS};
use crate::log::escape;
use crate::v0_1::bindings::transform::exports::offloom::export::transform as wit;
use crate::v0_1::convert;

/// Columns that say who a row belongs to.
const FIXED: [&str; 2] = ["id", "tenant"];

/// Which rows of a class a transform gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All: it may add, retype and remove columns.
    Class,
    /// Those of single tenants, which share the columns of the class with the others: it may neither add
    /// nor retype columns, and one that it drops becomes null.
    Tenants,
}

/// The columns before and after a transform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Columns of the input that it reads, in its order.
    pub(crate) reads: Vec<usize>,
    /// What it writes.
    pub(crate) writes: Vec<Field>,
    /// Where each column of the output comes from.
    columns: Vec<Origin>,
    /// The columns of the output.
    pub(crate) output: Schema,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    /// A column of the input.
    Input(usize),
    /// A column of the edits.
    Written(usize),
    /// No values, in place of a column that is dropped.
    Null(DataType),
}

impl Shape {
    /// Checks what a transform says of itself against the columns that it gets.
    pub(crate) fn new(
        input: &Schema,
        shape: wit::Shape,
        reach: Reach,
    ) -> Result<Shape, TransformBreach> {
        let wit::Shape { reads, writes, drops } = shape;
        let writes: Vec<Field> = writes.into_iter().map(convert::field_from_guest).collect();
        once(&reads)?;
        once(writes.iter().map(|field| &field.name).chain(&drops))?;
        let reads = reads.iter().map(|name| position(input, name)).collect::<Result<_, _>>()?;
        for name in writes.iter().map(|field| &field.name).chain(&drops) {
            if let Some(fixed) = FIXED.into_iter().find(|fixed| fixed == name) {
                return Err(TransformBreach::FixedColumn(fixed));
            }
        }
        drops.iter().try_for_each(|name| position(input, name).map(|_| ()))?;
        let mut output = Output::default();
        for (index, field) in input.fields.iter().enumerate() {
            let written = writes.iter().enumerate().find(|(_, write)| write.name == field.name);
            match (written, reach) {
                (Some((place, write)), Reach::Class) => {
                    output.push(Origin::Written(place), write.clone());
                }
                (Some((place, write)), Reach::Tenants) => {
                    if write.data_type != field.data_type || (write.nullable && !field.nullable) {
                        return Err(of_tenants("retypes", field));
                    }
                    output.push(Origin::Written(place), field.clone());
                }
                (None, _) if !drops.contains(&field.name) => {
                    output.push(Origin::Input(index), field.clone());
                }
                (None, Reach::Class) => {}
                (None, Reach::Tenants) if field.nullable => {
                    output.push(Origin::Null(field.data_type.clone()), field.clone());
                }
                (None, Reach::Tenants) => return Err(of_tenants("drops", field)),
            }
        }
        for (place, write) in writes.iter().enumerate() {
            if input.fields.iter().any(|field| field.name == write.name) {
                continue;
            }
            check_name(&write.name)?;
            if reach == Reach::Tenants {
                return Err(of_tenants("adds", write));
            }
            output.push(Origin::Written(place), write.clone());
        }
        if output.fields.len() > MAX_COLUMNS {
            return Err(TransformBreach::TooManyColumns(MAX_COLUMNS));
        }
        let Output { columns, fields } = output;
        Ok(Shape { reads, writes, columns, output: Schema { fields, ..input.clone() } })
    }

    /// The columns that the transform reads, for the time of a call out of the batch.
    pub(crate) fn take_read(&self, batch: &mut RowBatch) -> Vec<Column> {
        let taken = |index: &usize| {
            let column = batch.columns.get_mut(*index);
            column.map_or_else(nothing, |column| std::mem::replace(column, nothing()))
        };
        self.reads.iter().map(taken).collect()
    }

    /// Puts them back.
    pub(crate) fn put_back(&self, batch: &mut RowBatch, read: Vec<Column>) {
        for (index, column) in self.reads.iter().zip(read) {
            if let Some(place) = batch.columns.get_mut(*index) {
                *place = column;
            }
        }
    }

    /// The batch with the columns of the output. `written` are the columns of the edits.
    pub(crate) fn rebuild(&self, batch: RowBatch, written: Vec<Column>) -> RowBatch {
        let row_count = batch.row_count;
        let mut input: Vec<Column> = batch.columns;
        let mut written = written;
        let take = |columns: &mut Vec<Column>, index: usize| {
            columns
                .get_mut(index)
                .map_or_else(nothing, |column| std::mem::replace(column, nothing()))
        };
        let columns = self.columns.iter().map(|origin| match origin {
            Origin::Input(index) => take(&mut input, *index),
            Origin::Written(place) => take(&mut written, *place),
            Origin::Null(data_type) => null_column(data_type, row_count as usize),
        });
        RowBatch { row_count, columns: columns.collect() }
    }
}

#[derive(Default)]
struct Output {
    columns: Vec<Origin>,
    fields: Vec<Field>,
}

impl Output {
    fn push(&mut self, origin: Origin, field: Field) {
        self.columns.push(origin);
        self.fields.push(field);
    }
}

fn position(input: &Schema, name: &str) -> Result<usize, TransformBreach> {
    let found = input.fields.iter().position(|field| field.name == name);
    found.ok_or_else(|| TransformBreach::UnknownColumn(shown(name)))
}

fn once<'a>(names: impl IntoIterator<Item = &'a String>) -> Result<(), TransformBreach> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(TransformBreach::ColumnTwice(shown(name)));
        }
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), TransformBreach> {
    let fits = (1..=MAX_COLUMN_NAME_BYTES).contains(&name.len());
    if fits && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(TransformBreach::ColumnName(shown(name)))
}

fn of_tenants(change: &'static str, field: &Field) -> TransformBreach {
    TransformBreach::TenantColumn { change, column: shown(&field.name) }
}

fn shown(name: &str) -> String {
    escape(name, MAX_COLUMN_NAME_BYTES)
}

/// What stands for a column that is elsewhere.
fn nothing() -> Column {
    Column { validity: None, values: Values::Boolean(Vec::new()) }
}

fn null_column(data_type: &DataType, rows: usize) -> Column {
    let offsets = || vec![0; rows.saturating_add(1)];
    let empty = || VariableWidth { offsets: offsets(), bytes: Vec::new() };
    let values = match data_type {
        DataType::Boolean => Values::Boolean(vec![0; rows.div_ceil(8)]),
        DataType::Int64 | DataType::TimestampMillis => Values::Int64(vec![0; rows]),
        DataType::Float64 => Values::Float64(vec![0.0; rows]),
        DataType::Uuid => Values::FixedWidth(vec![0; rows.saturating_mul(16)]),
        DataType::Utf8 | DataType::Json | DataType::Binary => Values::VariableWidth(empty()),
        DataType::Vector(_) => Values::Vector(empty()),
        DataType::NamedVectors(_) => Values::NamedVectors(VectorMap {
            row_offsets: offsets(),
            vector_offsets: vec![0],
            ..VectorMap::default()
        }),
        DataType::NamedMultiVectors(_) => Values::NamedMultiVectors(MultiVectorMap {
            row_offsets: offsets(),
            list_offsets: vec![0],
            vector_offsets: vec![0],
            ..MultiVectorMap::default()
        }),
    };
    Column { validity: Some(vec![0; rows.div_ceil(8)]), values }
}
