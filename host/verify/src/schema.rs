//! The schema in a Parquet footer, read with bounds.
//!
//! The `parquet` crate (60.1) reads a schema by recursion and reserves memory for as many children
//! as an element says that it has: a guest's footer could end the process. So the schema is read
//! here, from Thrift's compact protocol, and the crate reads the rest of the footer with it.
use std::sync::Arc;

use parquet::basic::{Repetition, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor, Type, TypePtr};

use crate::compact::{Compact, CompactError, wire};

/// Columns and groups of one file.
const MAX_ELEMENTS: u64 = 10_000;

/// Groups in groups.
const MAX_DEPTH: usize = 32;

/// A schema that is none, or too large to be one of an export.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SchemaError {
    #[error("it does not begin with a version and a schema")]
    Beginning,
    #[error("its schema has {0} elements, more than {MAX_ELEMENTS}")]
    TooLarge(u64),
    #[error("its schema is more than {MAX_DEPTH} levels deep")]
    TooDeep,
    #[error("an element of its schema is no column and no group: {0}")]
    Element(String),
    #[error("its schema is damaged: {0}")]
    Compact(#[from] CompactError),
    #[error(transparent)]
    Type(#[from] ParquetError),
}

/// Reads the schema of a footer (`FileMetaData` of parquet.thrift, which begins with
/// `1: i32 version` and `2: list<SchemaElement> schema`), and leaves what follows it. Logical types are
/// left out.
pub(crate) fn read(thrift: &mut Compact<'_>) -> Result<SchemaDescPtr, SchemaError> {
    if thrift.field(0)? != Some((1, wire::I32)) {
        return Err(SchemaError::Beginning);
    }
    thrift.varint()?;
    if thrift.field(1)? != Some((2, wire::LIST)) {
        return Err(SchemaError::Beginning);
    }
    let (element_type, count) = thrift.list()?;
    if element_type != wire::STRUCT || count == 0 {
        return Err(SchemaError::Beginning);
    }
    if count > MAX_ELEMENTS {
        return Err(SchemaError::TooLarge(count));
    }
    let elements = (0..count).map(|_| element(thrift)).collect::<Result<Vec<_>, _>>()?;
    let mut elements = elements.into_iter();
    let root = elements.next().ok_or(SchemaError::Beginning)?;
    let fields = children(&mut elements, root.children.unwrap_or(0), MAX_DEPTH)?;
    if elements.next().is_some() {
        return Err(SchemaError::Element("it belongs to no group".to_owned()));
    }
    let root = Type::group_type_builder(&root.name).with_fields(fields).build()?;
    Ok(Arc::new(SchemaDescriptor::new(Arc::new(root))))
}

/// `SchemaElement` of parquet.thrift, as far as it says how columns are stored.
#[derive(Default)]
struct Element {
    physical_type: Option<i64>,
    type_length: Option<i32>,
    repetition: Option<i64>,
    name: String,
    children: Option<i64>,
}

fn children(
    elements: &mut std::vec::IntoIter<Element>,
    count: i64,
    depth: usize,
) -> Result<Vec<TypePtr>, SchemaError> {
    let depth = depth.checked_sub(1).ok_or(SchemaError::TooDeep)?;
    let mut types = Vec::new();
    for _ in 0..count {
        let element = elements.next().ok_or(CompactError::End)?;
        let repetition = match element.repetition {
            Some(0) => Repetition::REQUIRED,
            Some(1) => Repetition::OPTIONAL,
            Some(2) => Repetition::REPEATED,
            other => return Err(SchemaError::Element(format!("repetition {other:?}"))),
        };
        let built = match element.children {
            None | Some(0) => {
                let physical_type = physical_type(element.physical_type)?;
                Type::primitive_type_builder(&element.name, physical_type)
                    .with_repetition(repetition)
                    .with_length(element.type_length.unwrap_or(-1))
                    .build()?
            }
            Some(count) => Type::group_type_builder(&element.name)
                .with_repetition(repetition)
                .with_fields(children(elements, count, depth)?)
                .build()?,
        };
        types.push(Arc::new(built));
    }
    Ok(types)
}

fn physical_type(number: Option<i64>) -> Result<PhysicalType, SchemaError> {
    match number {
        Some(0) => Ok(PhysicalType::BOOLEAN),
        Some(1) => Ok(PhysicalType::INT32),
        Some(2) => Ok(PhysicalType::INT64),
        Some(3) => Ok(PhysicalType::INT96),
        Some(4) => Ok(PhysicalType::FLOAT),
        Some(5) => Ok(PhysicalType::DOUBLE),
        Some(6) => Ok(PhysicalType::BYTE_ARRAY),
        Some(7) => Ok(PhysicalType::FIXED_LEN_BYTE_ARRAY),
        other => Err(SchemaError::Element(format!("type {other:?}"))),
    }
}

fn element(thrift: &mut Compact<'_>) -> Result<Element, SchemaError> {
    let mut element = Element::default();
    let mut last_id = 0;
    while let Some((field, found)) = thrift.field(last_id)? {
        last_id = field;
        let expected = if field == 4 { wire::BINARY } else { wire::I32 };
        if (1..=5).contains(&field) && found != expected {
            return Err(CompactError::WireType { field, found }.into());
        }
        match field {
            1 => element.physical_type = Some(thrift.zigzag()?),
            2 => element.type_length = i32::try_from(thrift.zigzag()?).ok(),
            3 => element.repetition = Some(thrift.zigzag()?),
            4 => {
                let length = thrift.varint()?;
                // Readers refuse a file with another name.
                element.name = String::from_utf8(thrift.bytes(length)?.to_vec())
                    .map_err(|error| SchemaError::Element(format!("its name is {error}")))?;
            }
            5 => element.children = Some(thrift.zigzag()?),
            _ => thrift.skip(found)?,
        }
    }
    Ok(element)
}
