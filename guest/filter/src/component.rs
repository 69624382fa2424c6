//! What the host calls: the columns that the expression names, one batch at a time.
use std::sync::Arc;

use cel::objects::Map;
use cel::{Context, Value};

use crate::bindings::exports::offloom::export::about;
use crate::bindings::exports::offloom::export::transform::{
    Edits, Error, Guest, GuestTransformer, Options, RowBatch, Schema, Shape, Transformer,
};
use crate::bindings::offloom::export::types::{Column, Values};
use crate::condition::{Condition, PROPERTIES};
use crate::options::{KNOWN, OnError, Settings};
use crate::row;

/// Why a row is refused for which the expression has no answer.
const NO_ANSWER: &str = "the expression fails for it, or is neither true nor false";

struct Filter;

/// The expression for the rows of one class.
struct ClassFilter {
    condition: Condition,
    on_error: OnError,
    functions: Context<'static, 'static>,
}

impl about::Guest for Filter {
    fn describe_guest() -> about::Description {
        let option = |(key, summary): (&str, &str)| about::KnownOption {
            key: key.to_owned(),
            summary: summary.to_owned(),
            secret: false,
        };
        about::Description {
            summary: "Keeps the rows for which an expression is true.".to_owned(),
            options: KNOWN.map(option).into(),
        }
    }
}

impl Guest for Filter {
    type Transformer = ClassFilter;
}

impl GuestTransformer for ClassFilter {
    fn open(input: Schema, options: Options) -> Result<Transformer, Error> {
        let settings = Settings::parse(&options).map_err(Error::Unsupported)?;
        let columns: Vec<&str> = input.fields.iter().map(|field| field.name.as_str()).collect();
        let condition = Condition::new(&settings, &columns, input.class_definition.as_deref())
            .map_err(|problem| {
                Error::Unsupported(format!("class {}: {problem}", input.class_name))
            })?;
        let (on_error, functions) = (settings.on_error, Context::default());
        Ok(Transformer::new(ClassFilter { condition, on_error, functions }))
    }

    fn shape(&self) -> Shape {
        let mut reads: Vec<String> =
            self.condition.columns.iter().map(|column| (*column).to_owned()).collect();
        if self.condition.reads_properties() {
            reads.push(PROPERTIES.to_owned());
        }
        Shape { reads, writes: Vec::new(), drops: Vec::new() }
    }

    fn apply(&self, batch: RowBatch) -> Result<Edits, Error> {
        let rows = batch.row_count as usize;
        let mut keep = vec![0_u8; rows.div_ceil(8)];
        let mut refused = Vec::new();
        let (mut failed, mut lacking) = (0_u64, 0_u64);
        for row in 0..rows {
            let keeps = match (self.answer(&batch, row), self.on_error) {
                (Ok(Answer::Holds(holds)), _) => holds,
                (Ok(Answer::NoValue), _) => {
                    lacking += 1;
                    false
                }
                (Ok(Answer::None), OnError::Drop) => {
                    failed += 1;
                    false
                }
                (Ok(Answer::None), OnError::Keep) => {
                    failed += 1;
                    true
                }
                (Ok(Answer::None), OnError::Refuse) => {
                    failed += 1;
                    refused.push((row as u32, NO_ANSWER.to_owned()));
                    false
                }
                (Err(problem), _) => {
                    refused.push((row as u32, problem.to_owned()));
                    false
                }
            };
            if let (true, Some(byte)) = (keeps, keep.get_mut(row / 8)) {
                *byte |= 1 << (row % 8);
            }
        }
        let counters =
            vec![("withoutAnswer".to_owned(), failed), ("withoutValue".to_owned(), lacking)];
        Ok(Edits { keep: Some(keep), columns: Vec::new(), refused, counters })
    }
}

/// What the expression says of a row.
enum Answer {
    /// It is true or false.
    Holds(bool),
    /// It fails, and the row lacks a property that it names: `a > 1` says nothing of a row without `a`.
    NoValue,
    /// It fails, or is neither true nor false.
    None,
}

impl ClassFilter {
    /// Evaluates the expression for one row.
    fn answer(&self, batch: &RowBatch, row: usize) -> Result<Answer, &'static str> {
        let condition = &self.condition;
        let mut context = self.functions.new_inner_scope();
        let mut lacks_one = false;
        let mut columns = batch.columns.iter();
        for name in &condition.columns {
            let value = columns.next().map_or(Value::Null, |column| value(column, row, name));
            context.add_variable_from_value(*name, value);
        }
        if condition.reads_properties() {
            let json = columns.next().and_then(|column| text(column, row)).unwrap_or_default();
            let read = row::properties(json, condition)?;
            lacks_one = read.has_values() < condition.properties.len();
            for name in condition.properties.keys() {
                context.add_variable_from_value(name.as_str(), Value::Null);
            }
            for (name, value) in read.named {
                context.add_variable_from_value(name, value);
            }
            if condition.all_properties {
                let all = Value::Map(Map { map: Arc::new(read.all) });
                context.add_variable_from_value(PROPERTIES, all);
            }
        }
        Ok(match condition.holds(&context) {
            Some(holds) => Answer::Holds(holds),
            None if lacks_one => Answer::NoValue,
            None => Answer::None,
        })
    }
}

/// A value of one of the columns that are no properties.
fn value(column: &Column, row: usize, name: &str) -> Value {
    match &column.values {
        Values::FixedWidth(ids) => {
            ids.as_chunks().0.get(row).map_or(Value::Null, |id| row::id(*id))
        }
        Values::Int64(times) if name.ends_with("_time") => {
            times.get(row).map_or(Value::Null, |time| row::time(*time))
        }
        _ => text(column, row)
            .and_then(|text| std::str::from_utf8(text).ok())
            .map_or(Value::Null, Value::from),
    }
}

/// The bytes of a text.
fn text(column: &Column, row: usize) -> Option<&[u8]> {
    let Values::VariableWidth(values) = &column.values else { return None };
    let start = *values.offsets.get(row)? as usize;
    let end = *values.offsets.get(row.checked_add(1)?)? as usize;
    values.bytes.get(start..end)
}

#[allow(unsafe_code)]
mod exported {
    use super::Filter;

    crate::bindings::export!(Filter with_types_in crate::bindings);
}
