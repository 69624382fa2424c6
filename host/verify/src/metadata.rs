//! A footer after its schema, walked with bounds before the library reads it.
//!
//! The `parquet` crate (60.1) reserves memory for as many elements as a list says that it has, reads a
//! value without a look at its wire type, and takes a list of booleans to have no bytes, however many
//! they are. So a guest's footer could end the process or occupy it for ever. What passes here has short
//! lists, and known fields have their types, so that the library sees the same fields.
use crate::compact::{Compact, CompactError, wire};

/// Elements of one list: more than a file has blocks, and as many as a schema may have.
const MAX_LIST_ELEMENTS: u64 = 10_000;

/// Columns of all row groups together. Each takes some 400 bytes of memory.
const MAX_COLUMN_CHUNKS: u64 = 500_000;

/// Field ids are 16 bits; the library would cut longer ones.
const MAX_FIELD_ID: i64 = i16::MAX as i64;

/// A footer that is not passed to the library.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MetadataError {
    #[error("{0}")]
    Compact(#[from] CompactError),
    #[error("a list has {0} elements, more than {MAX_LIST_ELEMENTS}")]
    LongList(u64),
    #[error("its row groups have {0} columns together, more than {MAX_COLUMN_CHUNKS}")]
    ColumnChunks(u64),
}

/// What a field holds.
enum Kind {
    /// A value of this wire type, which the library reads or skips.
    Value(u8),
    /// A boolean, whose value is its wire type.
    Bool,
    /// A list of such elements.
    List(&'static Kind),
    /// A struct with these fields, and unknown ones.
    Struct(Fields),
}

type Fields = &'static [(i64, Kind)];

const I32: Kind = Kind::Value(wire::I32);
const I64: Kind = Kind::Value(wire::I64);
const BINARY: Kind = Kind::Value(wire::BINARY);
/// A struct that the library reads none of, or reads field by field without values.
const STRUCT: Kind = Kind::Struct(&[]);

/// `FileMetaData` of parquet.thrift after its fields 1 and 2, as are those below.
const FILE: Fields = &[
    (3, I64),
    (4, Kind::List(&Kind::Struct(ROW_GROUP))),
    (5, Kind::List(&Kind::Struct(&[(1, BINARY), (2, BINARY)]))),
    (6, BINARY),
    (7, Kind::List(&STRUCT)),
    (8, STRUCT),
    (9, BINARY),
];
const ROW_GROUP: Fields = &[
    (1, Kind::List(&Kind::Struct(COLUMN_CHUNK))),
    (2, I64),
    (3, I64),
    (4, Kind::List(&Kind::Struct(&[(1, I32), (2, Kind::Bool), (3, Kind::Bool)]))),
    (5, I64),
    (6, I64),
    (7, Kind::Value(wire::I16)),
];
const COLUMN_CHUNK: Fields = &[
    (1, BINARY),
    (2, I64),
    (3, Kind::Struct(COLUMN)),
    (4, I64),
    (5, I32),
    (6, I64),
    (7, I32),
    (8, STRUCT),
    (9, BINARY),
];
const COLUMN: Fields = &[
    (1, I32),
    (2, Kind::List(&I32)),
    (3, Kind::List(&BINARY)),
    (4, I32),
    (5, I64),
    (6, I64),
    (7, I64),
    (8, Kind::List(&STRUCT)),
    (9, I64),
    (10, I64),
    (11, I64),
    // Statistics are skipped, see `footer::decode`.
    (12, STRUCT),
    (13, Kind::List(&STRUCT)),
    (14, I64),
    (15, I32),
    (16, STRUCT),
    (17, Kind::Struct(&[(1, Kind::Struct(BOUNDING_BOX)), (2, Kind::List(&I32))])),
];
const DOUBLE: Kind = Kind::Value(wire::DOUBLE);
const BOUNDING_BOX: Fields = &[
    (1, DOUBLE),
    (2, DOUBLE),
    (3, DOUBLE),
    (4, DOUBLE),
    (5, DOUBLE),
    (6, DOUBLE),
    (7, DOUBLE),
    (8, DOUBLE),
];

/// Walks what follows the schema, which has `columns`.
pub(crate) fn check(thrift: &mut Compact<'_>, columns: u64) -> Result<(), MetadataError> {
    let mut last_id = 2;
    while let Some((field, found)) = next_field(thrift, last_id)? {
        if (field, found) == (4, wire::LIST) {
            let (_, row_groups) = thrift.clone().list()?;
            let chunks = columns.saturating_mul(row_groups);
            if chunks > MAX_COLUMN_CHUNKS {
                return Err(MetadataError::ColumnChunks(chunks));
            }
        }
        known_or_skipped(thrift, field, found, FILE)?;
        last_id = field;
    }
    Ok(())
}

fn next_field(thrift: &mut Compact<'_>, last_id: i64) -> Result<Option<(i64, u8)>, MetadataError> {
    match thrift.field(last_id)? {
        Some((field, found)) if !(1..=MAX_FIELD_ID).contains(&field) => {
            Err(CompactError::WireType { field, found }.into())
        }
        next => Ok(next),
    }
}

fn known_or_skipped(
    thrift: &mut Compact<'_>,
    field: i64,
    found: u8,
    known: Fields,
) -> Result<(), MetadataError> {
    match known.iter().find(|(id, _)| *id == field) {
        Some((_, kind)) => value(thrift, field, found, kind),
        None => Ok(thrift.skip(found)?),
    }
}

fn value(
    thrift: &mut Compact<'_>,
    field: i64,
    found: u8,
    kind: &Kind,
) -> Result<(), MetadataError> {
    let fits = match kind {
        Kind::Value(wire_type) => found == *wire_type,
        Kind::Bool => found == wire::TRUE || found == wire::FALSE,
        Kind::List(_) => found == wire::LIST,
        Kind::Struct(_) => found == wire::STRUCT,
    };
    if !fits {
        return Err(CompactError::WireType { field, found }.into());
    }
    match kind {
        Kind::Value(_) | Kind::Bool => thrift.skip(found)?,
        Kind::List(element) => {
            let (element_type, count) = thrift.list()?;
            if count > MAX_LIST_ELEMENTS {
                return Err(MetadataError::LongList(count));
            }
            for _ in 0..count {
                value(thrift, field, element_type, element)?;
            }
        }
        Kind::Struct(known) => {
            let mut last_id = 0;
            while let Some((field, found)) = next_field(thrift, last_id)? {
                known_or_skipped(thrift, field, found, known)?;
                last_id = field;
            }
        }
    }
    Ok(())
}
