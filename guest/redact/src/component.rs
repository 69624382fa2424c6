//! What the host calls: the column `properties`, one batch at a time.
use crate::bindings::exports::offloom::export::about;
use crate::bindings::exports::offloom::export::transform::{
    Edits, Error, Field, Guest, GuestTransformer, Options, RowBatch, Schema, Shape, Transformer,
};
use crate::bindings::offloom::export::types::{Column, DataType, Values, VariableWidth};
use crate::definition;
use crate::options::{KNOWN, Settings};

/// The column that it rewrites.
const PROPERTIES: &str = "properties";

struct Redact;

/// The settings for the rows of one class.
struct Redactor {
    settings: Settings,
    field: Field,
}

impl about::Guest for Redact {
    fn describe_guest() -> about::Description {
        let option = |(key, summary, secret): (&str, &str, bool)| about::KnownOption {
            key: key.to_owned(),
            summary: summary.to_owned(),
            secret,
        };
        about::Description {
            summary: "Drops, hashes or masks properties.".to_owned(),
            options: KNOWN.map(option).into(),
        }
    }
}

impl Guest for Redact {
    type Transformer = Redactor;
}

impl GuestTransformer for Redactor {
    fn open(input: Schema, options: Options) -> Result<Transformer, Error> {
        let settings = Settings::parse(&options).map_err(Error::Unsupported)?;
        let field = input.fields.into_iter().find(|field| field.name == PROPERTIES);
        let Some(field) = field.filter(|field| matches!(field.data_type, DataType::Json)) else {
            let problem =
                format!("class {} has no column `properties` with JSON", input.class_name);
            return Err(Error::Unsupported(problem));
        };
        if let (true, Some(definition)) = (settings.must_exist, &input.class_definition) {
            definition::check(definition, &settings.redactions).map_err(|path| {
                Error::Unsupported(format!(
                    "class {} has no property `{path}`; name the classes that have it, or give \
                     missing=ignore",
                    input.class_name
                ))
            })?;
        }
        Ok(Transformer::new(Redactor { settings, field }))
    }

    fn shape(&self) -> Shape {
        Shape {
            reads: vec![PROPERTIES.to_owned()],
            writes: vec![self.field.clone()],
            drops: Vec::new(),
        }
    }

    fn apply(&self, batch: RowBatch) -> Result<Edits, Error> {
        let Some(Column { validity, values: Values::VariableWidth(properties) }) =
            batch.columns.into_iter().next()
        else {
            return Err(Error::InvalidData("the column `properties` is not there".to_owned()));
        };
        let mut rewritten = VariableWidth {
            offsets: Vec::with_capacity(properties.offsets.len()),
            bytes: Vec::with_capacity(properties.bytes.len()),
        };
        rewritten.offsets.push(0);
        let mut refused = Vec::new();
        let mut redacted = 0;
        for (row, ends) in (0_u32..).zip(properties.offsets.windows(2)) {
            let &[start, end] = ends else { continue };
            let json = properties.bytes.get(start as usize..end as usize).unwrap_or_default();
            let before = rewritten.bytes.len();
            match self.settings.redact(json, &mut rewritten.bytes) {
                Ok(count) => redacted += count,
                Err(reason) => {
                    rewritten.bytes.truncate(before);
                    refused.push((row, reason.to_owned()));
                }
            }
            let end = u32::try_from(rewritten.bytes.len())
                .map_err(|_| Error::Other("the properties of a batch are too large".to_owned()))?;
            rewritten.offsets.push(end);
        }
        let column = Column { validity, values: Values::VariableWidth(rewritten) };
        let counters = vec![("redacted".to_owned(), redacted)];
        Ok(Edits { keep: None, columns: vec![column], refused, counters })
    }
}

#[allow(unsafe_code)]
mod exported {
    use super::Redact;

    crate::bindings::export!(Redact with_types_in crate::bindings);
}
