//! The schema in a Parquet footer, read with bounds.
//!
//! The `parquet` crate (60.1) reads a schema by recursion and reserves memory for as many children
//! as an element says that it has: a guest's footer could end the process. So the schema is read
//! here, from Thrift's compact protocol, and the crate reads the rest of the footer with it.
use std::sync::Arc;

use parquet::basic::{Repetition, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor, Type, TypePtr};

/// Columns and groups of one file.
const MAX_ELEMENTS: u64 = 10_000;

/// Groups in groups; also structs and lists in values that are skipped.
const MAX_DEPTH: usize = 32;

/// Wire types of the compact protocol.
mod wire {
    pub(super) const TRUE: u8 = 1;
    pub(super) const FALSE: u8 = 2;
    pub(super) const BYTE: u8 = 3;
    pub(super) const I16: u8 = 4;
    pub(super) const I32: u8 = 5;
    pub(super) const I64: u8 = 6;
    pub(super) const DOUBLE: u8 = 7;
    pub(super) const BINARY: u8 = 8;
    pub(super) const LIST: u8 = 9;
    pub(super) const SET: u8 = 10;
    pub(super) const STRUCT: u8 = 12;
}

/// A schema that is none, or too large to be one of an export.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SchemaError {
    #[error("it does not begin with a version and a schema")]
    Beginning,
    #[error("its schema ends early")]
    End,
    #[error("its schema has {0} elements, more than {MAX_ELEMENTS}")]
    TooLarge(u64),
    #[error("its schema is more than {MAX_DEPTH} levels deep")]
    TooDeep,
    #[error("an element of its schema has the wire type {found} in field {field}")]
    WireType { field: i64, found: u8 },
    #[error("an element of its schema is no column and no group: {0}")]
    Element(String),
    #[error(transparent)]
    Type(#[from] ParquetError),
}

/// Reads the schema of a footer (`FileMetaData` of parquet.thrift, which begins with
/// `1: i32 version` and `2: list<SchemaElement> schema`). Logical types are left out.
pub(crate) fn read(footer: &[u8]) -> Result<SchemaDescPtr, SchemaError> {
    let mut thrift = Compact { rest: footer };
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
    let elements = (0..count).map(|_| thrift.element()).collect::<Result<Vec<_>, _>>()?;
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
        let element = elements.next().ok_or(SchemaError::End)?;
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

/// A reader of Thrift's compact protocol.
struct Compact<'a> {
    rest: &'a [u8],
}

impl<'a> Compact<'a> {
    fn byte(&mut self) -> Result<u8, SchemaError> {
        let (&byte, rest) = self.rest.split_first().ok_or(SchemaError::End)?;
        self.rest = rest;
        Ok(byte)
    }

    fn bytes(&mut self, length: u64) -> Result<&'a [u8], SchemaError> {
        let length = usize::try_from(length).map_err(|_| SchemaError::End)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(SchemaError::End)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Seven bits a byte, lowest first.
    fn varint(&mut self) -> Result<u64, SchemaError> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(SchemaError::End)
    }

    fn zigzag(&mut self) -> Result<i64, SchemaError> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg())
    }

    /// Id and wire type of the next field of a struct, or `None` at its end.
    fn field(&mut self, last_id: i64) -> Result<Option<(i64, u8)>, SchemaError> {
        let header = self.byte()?;
        match (header >> 4, header & 0x0F) {
            (_, 0) => Ok(None),
            (0, wire_type) => Ok(Some((self.zigzag()?, wire_type))),
            (delta, wire_type) => Ok(Some((last_id.saturating_add(i64::from(delta)), wire_type))),
        }
    }

    /// Wire type and number of the elements of a list.
    fn list(&mut self) -> Result<(u8, u64), SchemaError> {
        let header = self.byte()?;
        let count = match header >> 4 {
            15 => self.varint()?,
            short => u64::from(short),
        };
        Ok((header & 0x0F, count))
    }

    fn element(&mut self) -> Result<Element, SchemaError> {
        let mut element = Element::default();
        let mut last_id = 0;
        while let Some((field, found)) = self.field(last_id)? {
            last_id = field;
            let expected = if field == 4 { wire::BINARY } else { wire::I32 };
            if (1..=5).contains(&field) && found != expected {
                return Err(SchemaError::WireType { field, found });
            }
            match field {
                1 => element.physical_type = Some(self.zigzag()?),
                2 => element.type_length = i32::try_from(self.zigzag()?).ok(),
                3 => element.repetition = Some(self.zigzag()?),
                4 => {
                    let length = self.varint()?;
                    element.name = String::from_utf8_lossy(self.bytes(length)?).into_owned();
                }
                5 => element.children = Some(self.zigzag()?),
                _ => self.skip(found, MAX_DEPTH)?,
            }
        }
        Ok(element)
    }

    fn skip(&mut self, wire_type: u8, depth: usize) -> Result<(), SchemaError> {
        let depth = depth.checked_sub(1).ok_or(SchemaError::TooDeep)?;
        match wire_type {
            wire::TRUE | wire::FALSE => {}
            wire::BYTE => drop(self.byte()?),
            wire::I16 | wire::I32 | wire::I64 => drop(self.varint()?),
            wire::DOUBLE => drop(self.bytes(8)?),
            wire::BINARY => {
                let length = self.varint()?;
                self.bytes(length)?;
            }
            wire::LIST | wire::SET => {
                let (element_type, count) = self.list()?;
                for _ in 0..count {
                    // A boolean takes a byte in a list and none in a field.
                    match element_type {
                        wire::TRUE | wire::FALSE => drop(self.byte()?),
                        other => self.skip(other, depth)?,
                    }
                }
            }
            wire::STRUCT => {
                while let Some((_, wire_type)) = self.field(0)? {
                    self.skip(wire_type, depth)?;
                }
            }
            found => return Err(SchemaError::WireType { field: 0, found }),
        }
        Ok(())
    }
}
