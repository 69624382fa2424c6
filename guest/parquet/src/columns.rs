//! One column of a batch becomes one Arrow array, without a copy where the bytes stay as they are.
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray,
    TimestampMillisecondArray, types::Int32Type,
};
use arrow_array::{DictionaryArray, PrimitiveArray};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::DataType as ArrowType;

use crate::bindings::offloom::export::types::{Column, Error, Values, VariableWidth};
use crate::typed;
use crate::vector_json::{multi_vectors_to_json, named_vectors_to_json};

/// A column as the writer takes it.
pub(crate) struct Encoded {
    pub(crate) array: ArrayRef,
    /// Numbers of vectors that are no JSON numbers (NaN, infinities) and became `null`.
    pub(crate) non_finite: u64,
}

impl Encoded {
    /// Without such numbers.
    pub(crate) fn new(array: ArrayRef) -> Encoded {
        Encoded { array, non_finite: 0 }
    }
}

/// The array of a column that has `rows` rows and is to be of type `target`.
pub(crate) fn encode(column: Column, rows: usize, target: &ArrowType) -> Result<Encoded, Error> {
    let nulls = column.validity.map(|bits| null_buffer(bits, rows)).transpose()?;
    let array: ArrayRef = match (column.values, target) {
        (Values::Boolean(bits), ArrowType::Boolean) => {
            if bits.len() < rows.div_ceil(8) {
                return Err(too_short("boolean"));
            }
            let bits = BooleanBuffer::new(Buffer::from_vec(bits), 0, rows);
            Arc::new(BooleanArray::new(bits, nulls))
        }
        (Values::Int64(values), ArrowType::Int64) => {
            Arc::new(Int64Array::try_new(ScalarBuffer::from(values), nulls).map_err(broken)?)
        }
        (Values::Int64(values), ArrowType::Timestamp(..)) => Arc::new(
            TimestampMillisecondArray::try_new(ScalarBuffer::from(values), nulls)
                .map_err(broken)?
                .with_timezone("UTC"),
        ),
        (Values::Float64(values), ArrowType::Float64) => {
            Arc::new(Float64Array::try_new(ScalarBuffer::from(values), nulls).map_err(broken)?)
        }
        (Values::FixedWidth(bytes), ArrowType::Utf8) => {
            let (offsets, text) = uuid_text(&bytes)?;
            Arc::new(StringArray::try_new(offsets, text, nulls).map_err(broken)?)
        }
        (Values::VariableWidth(values), ArrowType::Utf8) => {
            let offsets = byte_offsets(values.offsets, 1)?;
            let text = Buffer::from_vec(values.bytes);
            Arc::new(StringArray::try_new(offsets, text, nulls).map_err(broken)?)
        }
        (Values::VariableWidth(values), ArrowType::Binary) => binary(values, 1, nulls)?,
        (Values::Vector(values), ArrowType::Binary) => binary(values, 4, nulls)?,
        (Values::Vector(values), ArrowType::List(_)) => Arc::new(typed::lists(values, nulls)?),
        (Values::NamedVectors(map), ArrowType::Binary) => {
            let json = named_vectors_to_json(&map, nulls.as_ref(), rows)?;
            drop(map);
            return json.into_encoded(rows);
        }
        (Values::NamedMultiVectors(map), ArrowType::Binary) => {
            let json = multi_vectors_to_json(&map, nulls.as_ref(), rows)?;
            drop(map);
            return json.into_encoded(rows);
        }
        (_, target) => {
            return Err(Error::InvalidData(format!("the values of a column are no {target}")));
        }
    };
    of_rows(array, rows)
}

/// The class name, `rows` times.
pub(crate) fn class_name(name: &str, rows: usize) -> Result<Encoded, Error> {
    let keys: Int32Array = PrimitiveArray::new(ScalarBuffer::from(vec![0_i32; rows]), None);
    let names = Arc::new(StringArray::from(vec![name]));
    let array = DictionaryArray::<Int32Type>::try_new(keys, names).map_err(broken)?;
    of_rows(Arc::new(array), rows)
}

fn of_rows(array: ArrayRef, rows: usize) -> Result<Encoded, Error> {
    if array.len() != rows {
        return Err(Error::InvalidData(format!(
            "a column has {} values for {rows} rows",
            array.len()
        )));
    }
    Ok(Encoded::new(array))
}

fn binary(
    values: VariableWidth,
    bytes_each: u32,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, Error> {
    let offsets = byte_offsets(values.offsets, bytes_each)?;
    let array = BinaryArray::try_new(offsets, Buffer::from_vec(values.bytes), nulls);
    Ok(Arc::new(array.map_err(broken)?))
}

/// Checks what Arrow would panic on: offsets that fall, or that do not fit its `i32`.
pub(crate) fn byte_offsets(offsets: Vec<u32>, bytes_each: u32) -> Result<OffsetBuffer<i32>, Error> {
    let last = offsets.last().copied().ok_or_else(|| too_short("offsets"))?;
    let fits = last.checked_mul(bytes_each).is_some_and(|bytes| i32::try_from(bytes).is_ok());
    if !fits || !offsets.is_sorted() {
        return Err(Error::InvalidData("offsets of a column fall or are too large".to_owned()));
    }
    let offsets: Vec<i32> =
        offsets.into_iter().map(|offset| offset.wrapping_mul(bytes_each).cast_signed()).collect();
    Ok(OffsetBuffer::new(ScalarBuffer::from(offsets)))
}

pub(crate) fn null_buffer(bits: Vec<u8>, rows: usize) -> Result<NullBuffer, Error> {
    if bits.len() < rows.div_ceil(8) {
        return Err(too_short("validity"));
    }
    Ok(NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(bits), 0, rows)))
}

/// Two hexadecimal digits for every byte.
// It is evaluated when it is compiled: an index out of bounds would not compile.
#[allow(clippy::indexing_slicing)]
const HEX: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
};

/// Lower-case text with hyphens (`object-binary.md` 6), 36 characters a UUID.
fn uuid_text(bytes: &[u8]) -> Result<(OffsetBuffer<i32>, Buffer), Error> {
    const TEXT_BYTES: usize = 36;
    let (uuids, rest) = bytes.as_chunks::<16>();
    if !rest.is_empty() {
        return Err(too_short("uuid"));
    }
    let mut text = Vec::with_capacity(uuids.len().saturating_mul(TEXT_BYTES));
    for uuid in uuids {
        // Every index is that of a byte, so none is out of bounds.
        #[allow(clippy::indexing_slicing)]
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] =
            uuid.map(|byte| HEX[usize::from(byte)]);
        let dash = b'-';
        let line: [u8; TEXT_BYTES] = [
            a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1], dash, e[0], e[1], f[0], f[1], dash,
            g[0], g[1], h[0], h[1], dash, i[0], i[1], j[0], j[1], dash, k[0], k[1], l[0], l[1],
            m[0], m[1], n[0], n[1], o[0], o[1], p[0], p[1],
        ];
        text.extend_from_slice(&line);
    }
    let lengths = std::iter::repeat_n(TEXT_BYTES, uuids.len());
    Ok((OffsetBuffer::from_lengths(lengths), Buffer::from_vec(text)))
}

fn too_short(what: &str) -> Error {
    Error::InvalidData(format!("the {what} buffer of a column is too short"))
}

pub(crate) fn broken(error: arrow_schema::ArrowError) -> Error {
    Error::InvalidData(error.to_string())
}
