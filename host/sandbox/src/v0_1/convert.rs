//! Rows, schemas and errors in the types of the contract. Buffers are moved, not copied.
use offloom_rows as rows;

use crate::error::{GuestError, Refusal};
use crate::log::escape;
use crate::v0_1::bindings::offloom::export::types;

pub(crate) fn schema(schema: &rows::Schema) -> types::Schema {
    types::Schema {
        class_name: schema.class_name.clone(),
        fields: schema.fields.iter().map(field).collect(),
        class_definition: schema.class_definition.clone(),
    }
}

fn field(field: &rows::Field) -> types::Field {
    types::Field {
        name: field.name.clone(),
        data_type: data_type(&field.data_type),
        nullable: field.nullable,
    }
}

fn data_type(data_type: &rows::DataType) -> types::DataType {
    use types::DataType as Wit;
    match data_type {
        rows::DataType::Boolean => Wit::Boolean,
        rows::DataType::Int64 => Wit::Int64,
        rows::DataType::Float64 => Wit::Float64,
        rows::DataType::TimestampMillis => Wit::TimestampMillis,
        rows::DataType::Uuid => Wit::Uuid,
        rows::DataType::Utf8 => Wit::Utf8,
        rows::DataType::Json => Wit::Json,
        rows::DataType::Binary => Wit::Binary,
        rows::DataType::Vector(dimensions) => Wit::Vector(*dimensions),
        rows::DataType::NamedVectors(vectors) => Wit::NamedVectors(named(vectors)),
        rows::DataType::NamedMultiVectors(vectors) => Wit::NamedMultiVectors(named(vectors)),
    }
}

fn named(vectors: &[rows::NamedVector]) -> Vec<types::NamedVector> {
    vectors
        .iter()
        .map(|vector| types::NamedVector {
            name: vector.name.clone(),
            dimensions: vector.dimensions,
        })
        .collect()
}

pub(crate) fn row_batch(batch: rows::RowBatch) -> types::RowBatch {
    types::RowBatch {
        row_count: batch.row_count,
        columns: batch.columns.into_iter().map(column_for_guest).collect(),
    }
}

/// A column as a guest gets it.
pub(crate) fn column_for_guest(column: rows::Column) -> types::Column {
    types::Column { validity: column.validity, values: values(column.values) }
}

fn values(values: rows::Values) -> types::Values {
    use types::Values as Wit;
    match values {
        rows::Values::Boolean(bits) => Wit::Boolean(bits),
        rows::Values::Int64(numbers) => Wit::Int64(numbers),
        rows::Values::Float64(numbers) => Wit::Float64(numbers),
        rows::Values::FixedWidth(bytes) => Wit::FixedWidth(bytes),
        rows::Values::VariableWidth(values) => Wit::VariableWidth(variable_width(values)),
        rows::Values::Vector(values) => Wit::Vector(variable_width(values)),
        rows::Values::NamedVectors(map) => Wit::NamedVectors(types::VectorMap {
            names: map.names,
            row_offsets: map.row_offsets,
            name_index: map.name_index,
            vector_offsets: map.vector_offsets,
            components: map.components,
        }),
        rows::Values::NamedMultiVectors(map) => Wit::NamedMultiVectors(types::MultiVectorMap {
            names: map.names,
            row_offsets: map.row_offsets,
            name_index: map.name_index,
            list_offsets: map.list_offsets,
            vector_offsets: map.vector_offsets,
            components: map.components,
        }),
    }
}

/// A column that a guest made. Its form is unchecked.
pub(crate) fn column(column: types::Column) -> rows::Column {
    use types::Values as Wit;
    let values = match column.values {
        Wit::Boolean(bits) => rows::Values::Boolean(bits),
        Wit::Int64(numbers) => rows::Values::Int64(numbers),
        Wit::Float64(numbers) => rows::Values::Float64(numbers),
        Wit::FixedWidth(bytes) => rows::Values::FixedWidth(bytes),
        Wit::VariableWidth(values) => rows::Values::VariableWidth(flat(values)),
        Wit::Vector(values) => rows::Values::Vector(flat(values)),
        Wit::NamedVectors(map) => rows::Values::NamedVectors(rows::VectorMap {
            names: map.names,
            row_offsets: map.row_offsets,
            name_index: map.name_index,
            vector_offsets: map.vector_offsets,
            components: map.components,
        }),
        Wit::NamedMultiVectors(map) => rows::Values::NamedMultiVectors(rows::MultiVectorMap {
            names: map.names,
            row_offsets: map.row_offsets,
            name_index: map.name_index,
            list_offsets: map.list_offsets,
            vector_offsets: map.vector_offsets,
            components: map.components,
        }),
    };
    rows::Column { validity: column.validity, values }
}

fn flat(values: types::VariableWidth) -> rows::VariableWidth {
    rows::VariableWidth { offsets: values.offsets, bytes: values.bytes }
}

/// A field that a guest asks for.
pub(crate) fn field_from_guest(field: types::Field) -> rows::Field {
    rows::Field {
        name: field.name,
        data_type: data_type_of(field.data_type),
        nullable: field.nullable,
    }
}

fn data_type_of(data_type: types::DataType) -> rows::DataType {
    use types::DataType as Wit;
    let named = |vectors: Vec<types::NamedVector>| {
        let vector = |vector: types::NamedVector| rows::NamedVector {
            name: vector.name,
            dimensions: vector.dimensions,
        };
        vectors.into_iter().map(vector).collect()
    };
    match data_type {
        Wit::Boolean => rows::DataType::Boolean,
        Wit::Int64 => rows::DataType::Int64,
        Wit::Float64 => rows::DataType::Float64,
        Wit::TimestampMillis => rows::DataType::TimestampMillis,
        Wit::Uuid => rows::DataType::Uuid,
        Wit::Utf8 => rows::DataType::Utf8,
        Wit::Json => rows::DataType::Json,
        Wit::Binary => rows::DataType::Binary,
        Wit::Vector(dimensions) => rows::DataType::Vector(dimensions),
        Wit::NamedVectors(vectors) => rows::DataType::NamedVectors(named(vectors)),
        Wit::NamedMultiVectors(vectors) => rows::DataType::NamedMultiVectors(named(vectors)),
    }
}

fn variable_width(values: rows::VariableWidth) -> types::VariableWidth {
    types::VariableWidth { offsets: values.offsets, bytes: values.bytes }
}

/// An error that a guest returned.
pub(crate) fn error(error: types::Error) -> GuestError {
    let text = |text: String| escape(&text, 1024);
    GuestError::Refused(match error {
        types::Error::Canceled => return GuestError::Canceled,
        types::Error::Unavailable(what) => Refusal::Unavailable(text(what)),
        types::Error::InvalidData(what) => Refusal::InvalidData(text(what)),
        types::Error::Unsupported(what) => Refusal::Unsupported(text(what)),
        types::Error::Other(what) => Refusal::Other(text(what)),
    })
}
