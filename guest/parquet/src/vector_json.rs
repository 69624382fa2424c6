//! Named vectors and multi vectors as JSON text, digit for digit as upstream writes it.
use std::sync::Arc;

use arrow_array::BinaryArray;
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

use crate::bindings::offloom::export::types::{Error, MultiVectorMap, VectorMap};
use crate::columns::{Encoded, broken};

/// The longest number as text, `-1.2345678e-10,`.
const MAX_NUMBER_BYTES: usize = 15;

/// The text of a column, row by row.
pub(crate) struct JsonColumn {
    text: Vec<u8>,
    offsets: Vec<i32>,
    valid: Vec<bool>,
    non_finite: u64,
}

impl JsonColumn {
    /// Takes room for the text of all numbers at once: a row of many megabytes would otherwise need
    /// half as much memory again each time that its text grows.
    pub(crate) fn with_room(rows: usize, component_bytes: usize) -> JsonColumn {
        let mut offsets = Vec::with_capacity(rows.saturating_add(1));
        offsets.push(0);
        let text = Vec::with_capacity((component_bytes / 4).saturating_mul(MAX_NUMBER_BYTES));
        JsonColumn { text, offsets, valid: Vec::with_capacity(rows), non_finite: 0 }
    }

    fn end_row(&mut self, valid: bool) -> Result<(), Error> {
        let end = i32::try_from(self.text.len())
            .map_err(|_| Error::Unsupported("2 GiB of vectors as text in one batch".to_owned()))?;
        self.offsets.push(end);
        self.valid.push(valid);
        Ok(())
    }

    /// Vectors of `dimensions` numbers, `bytes` long: `[0.1,2]`.
    pub(crate) fn push_vector(&mut self, bytes: &[u8]) {
        self.text.push(b'[');
        let (numbers, _) = bytes.as_chunks::<4>();
        let mut digits = zmij::Buffer::new();
        for (index, number) in numbers.iter().enumerate() {
            if index > 0 {
                self.text.push(b',');
            }
            let number = f32::from_le_bytes(*number);
            if number.is_finite() {
                push_number(&mut self.text, digits.format_finite(number).as_bytes());
            } else {
                self.text.extend_from_slice(b"null");
                self.non_finite = self.non_finite.saturating_add(1);
            }
        }
        self.text.push(b']');
    }

    /// Vectors of one entry: `[[0.1,2],[3]]`.
    pub(crate) fn push_vectors(&mut self, map: &MultiVectorMap, entry: usize) -> Result<(), Error> {
        self.text.push(b'[');
        for (index, number) in range(&map.list_offsets, entry)?.enumerate() {
            if index > 0 {
                self.text.push(b',');
            }
            self.push_vector(vector(&map.components, &map.vector_offsets, number)?);
        }
        self.text.push(b']');
        Ok(())
    }

    /// The name of the next entry of a row, whose value follows.
    pub(crate) fn begin_entry(&mut self, name: &str) {
        self.text.push(if self.is_row_empty() { b'{' } else { b',' });
        self.text.extend_from_slice(&quote(name));
    }

    /// Ends a row of entries, which is null without any.
    pub(crate) fn end_entries(&mut self) -> Result<(), Error> {
        let valid = !self.is_row_empty();
        if valid {
            self.text.push(b'}');
        }
        self.end_row(valid)
    }

    fn is_row_empty(&self) -> bool {
        let start = self.offsets.last().copied().unwrap_or(0);
        self.text.len() == start.unsigned_abs() as usize
    }

    pub(crate) fn into_encoded(mut self, rows: usize) -> Result<Encoded, Error> {
        if self.valid.len() != rows {
            return Err(broken_map());
        }
        self.text.shrink_to_fit();
        let array = BinaryArray::try_new(
            OffsetBuffer::new(ScalarBuffer::from(self.offsets)),
            Buffer::from_vec(self.text),
            Some(NullBuffer::from(self.valid)),
        );
        Ok(Encoded { array: Arc::new(array.map_err(broken)?), non_finite: self.non_finite })
    }
}

/// `{"a":[0.1,2],"b":[]}`, null where a row has no entries.
pub(crate) fn named_vectors_to_json(
    map: &VectorMap,
    nulls: Option<&NullBuffer>,
    rows: usize,
) -> Result<JsonColumn, Error> {
    let column = JsonColumn::with_room(rows, map.components.len());
    let row_offsets = &map.row_offsets;
    rows_to_json(column, &map.names, row_offsets, &map.name_index, nulls, rows, |column, entry| {
        column.push_vector(vector(&map.components, &map.vector_offsets, entry)?);
        Ok(())
    })
}

/// `{"a":[[0.1,2],[3]],"b":[]}`, null where a row has no entries.
pub(crate) fn multi_vectors_to_json(
    map: &MultiVectorMap,
    nulls: Option<&NullBuffer>,
    rows: usize,
) -> Result<JsonColumn, Error> {
    let column = JsonColumn::with_room(rows, map.components.len());
    let row_offsets = &map.row_offsets;
    rows_to_json(column, &map.names, row_offsets, &map.name_index, nulls, rows, |column, entry| {
        column.push_vectors(map, entry)
    })
}

fn rows_to_json(
    mut column: JsonColumn,
    names: &[String],
    row_offsets: &[u32],
    name_index: &[u16],
    nulls: Option<&NullBuffer>,
    rows: usize,
    mut push_value: impl FnMut(&mut JsonColumn, usize) -> Result<(), Error>,
) -> Result<JsonColumn, Error> {
    let quoted: Vec<Vec<u8>> = names.iter().map(|name| quote(name)).collect();
    for row in 0..rows {
        let entries = range(row_offsets, row)?;
        let valid = !entries.is_empty() && nulls.is_none_or(|nulls| nulls.is_valid(row));
        if valid {
            column.text.push(b'{');
            let first = entries.start;
            for entry in entries {
                if entry > first {
                    column.text.push(b',');
                }
                let name = name_index.get(entry).and_then(|index| quoted.get(usize::from(*index)));
                column.text.extend_from_slice(name.ok_or_else(broken_map)?);
                push_value(&mut column, entry)?;
            }
            column.text.push(b'}');
        }
        column.end_row(valid)?;
    }
    Ok(column)
}

/// What `offsets` say of item `index`: where it begins and ends.
pub(crate) fn range(offsets: &[u32], index: usize) -> Result<std::ops::Range<usize>, Error> {
    let start = offsets.get(index).ok_or_else(broken_map)?;
    let end = offsets.get(index.saturating_add(1)).ok_or_else(broken_map)?;
    if start > end {
        return Err(broken_map());
    }
    // A guest's usize has 32 bits or more.
    Ok(*start as usize..*end as usize)
}

/// The components of vector `index`.
pub(crate) fn vector<'a>(
    components: &'a [u8],
    offsets: &[u32],
    index: usize,
) -> Result<&'a [u8], Error> {
    let range = range(offsets, index)?;
    components
        .get(range.start.saturating_mul(4)..range.end.saturating_mul(4))
        .ok_or_else(broken_map)
}

pub(crate) fn broken_map() -> Error {
    Error::InvalidData("the offsets of named vectors do not fit together".to_owned())
}

/// `"name":`. Weaviate's names need no escapes; should one, the text stays JSON.
fn quote(name: &str) -> Vec<u8> {
    let mut quoted = vec![b'"'];
    for character in name.chars() {
        match character {
            '"' | '\\' => quoted.extend([b'\\', character as u8]),
            '\0'..='\x1f' => {
                quoted.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
            }
            _ => quoted.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    quoted.extend_from_slice(b"\":");
    quoted
}

/// Appends a number as Go's `strconv` writes it with format `g`, precision -1 and 32 bits
/// (`object-binary.md` 6): the shortest digits, with an exponent below 1e-4 and from 1e6.
/// `shortest` has those digits already, with or without an exponent.
fn push_number(text: &mut Vec<u8>, shortest: &[u8]) {
    let (sign, unsigned) = match shortest.split_first() {
        Some((b'-', unsigned)) => (&b"-"[..], unsigned),
        _ => (&b""[..], shortest),
    };
    text.extend_from_slice(sign);
    let plain = unsigned.strip_suffix(b".0").unwrap_or(unsigned);
    let whole_digits = plain.iter().position(|byte| *byte == b'.').unwrap_or(plain.len());
    if whole_digits <= 6 && !plain.starts_with(b"0.0000") && !plain.contains(&b'e') {
        text.extend_from_slice(plain);
        return;
    }
    let Scientific { digits, exponent } = Scientific::parse(plain);
    let mut digits = digits.iter();
    if !(-4..6).contains(&exponent) {
        text.extend(digits.next());
        if digits.len() > 0 {
            text.push(b'.');
            text.extend(digits);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        text.extend_from_slice(format!("e{sign}{:02}", exponent.unsigned_abs()).as_bytes());
    } else if exponent < 0 {
        text.extend_from_slice(b"0.");
        text.extend(std::iter::repeat_n(b'0', exponent.unsigned_abs().saturating_sub(1) as usize));
        text.extend(digits);
    } else {
        for _ in 0..=exponent {
            text.push(*digits.next().unwrap_or(&b'0'));
        }
        if digits.len() > 0 {
            text.push(b'.');
            text.extend(digits);
        }
    }
}

/// A number as `d.ddd` times ten to the power of `exponent`.
struct Scientific {
    /// Without leading or trailing zeros.
    digits: Vec<u8>,
    exponent: i32,
}

impl Scientific {
    /// Reads what a number printer wrote: digits, perhaps a point, perhaps an exponent. Not zero.
    fn parse(text: &[u8]) -> Scientific {
        let mut parts = text.splitn(2, |byte| *byte == b'e');
        let mantissa = parts.next().unwrap_or_default();
        let written = parts
            .next()
            .and_then(|text| std::str::from_utf8(text).ok()?.parse::<i32>().ok())
            .unwrap_or(0);
        let point = mantissa.iter().position(|byte| *byte == b'.').unwrap_or(mantissa.len());
        let mut digits: Vec<u8> = mantissa.iter().copied().filter(|byte| *byte != b'.').collect();
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        digits.drain(..zeros);
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        let before_point = i32::try_from(point).unwrap_or(0).saturating_sub(1);
        let leading = i32::try_from(zeros).unwrap_or(0);
        Scientific {
            digits,
            exponent: before_point.saturating_sub(leading).saturating_add(written),
        }
    }
}
