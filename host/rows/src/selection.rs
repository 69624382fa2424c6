//! Some rows of a batch: what is left when others are dropped, or what fits into a smaller batch.
use std::ops::Range;

use crate::batch::{Column, MultiVectorMap, RowBatch, Values, VariableWidth, VectorMap};

impl RowBatch {
    /// A copy of the rows of `ranges`, which ascend, do not overlap and end within the batch.
    #[must_use]
    pub fn select(&self, ranges: &[Range<usize>]) -> RowBatch {
        let columns = self.columns.iter().map(|column| column.select(ranges)).collect();
        RowBatch { row_count: u32::try_from(count(ranges)).unwrap_or(u32::MAX), columns }
    }

    /// As [`RowBatch::select`], but the batch itself where all rows stay.
    #[must_use]
    pub fn keep(self, ranges: &[Range<usize>]) -> RowBatch {
        if count(ranges) == self.row_count as usize { self } else { self.select(ranges) }
    }

    /// Bytes of the values of each row, without offsets and names: what [`crate::BatchLimits`] counts.
    pub fn row_bytes(&self) -> Vec<u64> {
        let mut rows = vec![0_u64; self.row_count as usize];
        for column in &self.columns {
            for (row, bytes) in rows.iter_mut().enumerate() {
                *bytes = bytes.saturating_add(column.values.bytes_of(row));
            }
        }
        rows
    }

    /// Bytes of all values, without offsets and names.
    pub fn value_bytes(&self) -> u64 {
        let bytes = self.columns.iter().map(|column| match &column.values {
            Values::Boolean(bytes) | Values::FixedWidth(bytes) => bytes.len(),
            Values::Int64(numbers) => numbers.len().saturating_mul(8),
            Values::Float64(numbers) => numbers.len().saturating_mul(8),
            Values::VariableWidth(values) | Values::Vector(values) => values.bytes.len(),
            Values::NamedVectors(map) => map.components.len(),
            Values::NamedMultiVectors(map) => map.components.len(),
        });
        bytes.fold(0, |sum, bytes| sum.saturating_add(bytes as u64))
    }
}

fn count(ranges: &[Range<usize>]) -> usize {
    ranges.iter().map(ExactSizeIterator::len).fold(0, usize::saturating_add)
}

impl Column {
    fn select(&self, ranges: &[Range<usize>]) -> Column {
        let validity = self.validity.as_ref().map(|bits| select_bits(bits, ranges));
        let values = match &self.values {
            Values::Boolean(bits) => Values::Boolean(select_bits(bits, ranges)),
            Values::Int64(numbers) => Values::Int64(gather(numbers, ranges, 1)),
            Values::Float64(numbers) => Values::Float64(gather(numbers, ranges, 1)),
            // Sixteen bytes a row: the only fixed width there is.
            Values::FixedWidth(bytes) => Values::FixedWidth(gather(bytes, ranges, 16)),
            Values::VariableWidth(values) => Values::VariableWidth(values.select(ranges, 1)),
            Values::Vector(values) => Values::Vector(values.select(ranges, COMPONENT_BYTES)),
            Values::NamedVectors(map) => Values::NamedVectors(map.select(ranges)),
            Values::NamedMultiVectors(map) => Values::NamedMultiVectors(map.select(ranges)),
        };
        Column { validity, values }
    }
}

/// Bytes of an `f32`.
const COMPONENT_BYTES: usize = 4;

impl VariableWidth {
    fn select(&self, ranges: &[Range<usize>], width: usize) -> VariableWidth {
        let (offsets, items) = spans(&self.offsets, ranges);
        VariableWidth { offsets, bytes: gather(&self.bytes, &items, width) }
    }
}

impl VectorMap {
    fn select(&self, ranges: &[Range<usize>]) -> VectorMap {
        let (row_offsets, entries) = spans(&self.row_offsets, ranges);
        let (vector_offsets, components) = spans(&self.vector_offsets, &entries);
        VectorMap {
            names: self.names.clone(),
            row_offsets,
            name_index: gather(&self.name_index, &entries, 1),
            vector_offsets,
            components: gather(&self.components, &components, COMPONENT_BYTES),
        }
    }
}

impl MultiVectorMap {
    fn select(&self, ranges: &[Range<usize>]) -> MultiVectorMap {
        let (row_offsets, entries) = spans(&self.row_offsets, ranges);
        let (list_offsets, vectors) = spans(&self.list_offsets, &entries);
        let (vector_offsets, components) = spans(&self.vector_offsets, &vectors);
        MultiVectorMap {
            names: self.names.clone(),
            row_offsets,
            name_index: gather(&self.name_index, &entries, 1),
            list_offsets,
            vector_offsets,
            components: gather(&self.components, &components, COMPONENT_BYTES),
        }
    }
}

impl Values {
    /// Bytes of one row.
    fn bytes_of(&self, row: usize) -> u64 {
        let between = |offsets: &[u32], first: usize, last: usize| {
            let (first, last) = (at(offsets, first), at(offsets, last));
            u64::from(last.saturating_sub(first))
        };
        let components = |count: u64| count.saturating_mul(COMPONENT_BYTES as u64);
        let entries = |offsets: &[u32]| {
            (at(offsets, row) as usize, at(offsets, row.saturating_add(1)) as usize)
        };
        match self {
            Values::Boolean(_) => 1,
            Values::Int64(_) | Values::Float64(_) => 8,
            Values::FixedWidth(_) => 16,
            Values::VariableWidth(values) => between(&values.offsets, row, row.saturating_add(1)),
            Values::Vector(values) => {
                components(between(&values.offsets, row, row.saturating_add(1)))
            }
            Values::NamedVectors(map) => {
                let (first, last) = entries(&map.row_offsets);
                components(between(&map.vector_offsets, first, last))
            }
            Values::NamedMultiVectors(map) => {
                let (first, last) = entries(&map.row_offsets);
                let (first, last) = (at(&map.list_offsets, first), at(&map.list_offsets, last));
                components(between(&map.vector_offsets, first as usize, last as usize))
            }
        }
    }
}

fn at(offsets: &[u32], index: usize) -> u32 {
    offsets.get(index).copied().unwrap_or_default()
}

/// The offsets of the rows of `ranges`, and which items they own.
fn spans(offsets: &[u32], ranges: &[Range<usize>]) -> (Vec<u32>, Vec<Range<usize>>) {
    let mut kept = vec![0_u32];
    let mut items = Vec::with_capacity(ranges.len());
    let mut end = 0_u32;
    for range in ranges {
        let own = offsets.get(range.start..=range.end).unwrap_or_default();
        let (Some(first), Some(last)) = (own.first(), own.last()) else { continue };
        let moved = own.iter().skip(1).map(|offset| offset.saturating_sub(*first));
        kept.extend(moved.map(|offset| end.saturating_add(offset)));
        end = end.saturating_add(last.saturating_sub(*first));
        items.push(*first as usize..*last as usize);
    }
    (kept, items)
}

/// The values of `ranges`, `width` for each item.
fn gather<T: Copy>(values: &[T], ranges: &[Range<usize>], width: usize) -> Vec<T> {
    let mut kept = Vec::with_capacity(count(ranges).saturating_mul(width).min(values.len()));
    for range in ranges {
        let bounds = range.start.saturating_mul(width)..range.end.saturating_mul(width);
        kept.extend_from_slice(values.get(bounds).unwrap_or_default());
    }
    kept
}

fn select_bits(bits: &[u8], ranges: &[Range<usize>]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(bits.len());
    let rows = ranges.iter().cloned().flatten();
    for (place, row) in rows.enumerate() {
        if place.is_multiple_of(8) {
            kept.push(0);
        }
        if let (true, Some(byte)) = (is_set(bits, row), kept.last_mut()) {
            *byte |= 1 << (place % 8);
        }
    }
    kept
}

/// Whether bit `row` is set, lowest bit first; `false` beyond the end.
pub fn is_set(bits: &[u8], row: usize) -> bool {
    bits.get(row / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(rows: &[&str]) -> VariableWidth {
        let mut values = VariableWidth { offsets: vec![0], bytes: Vec::new() };
        for row in rows {
            values.bytes.extend_from_slice(row.as_bytes());
            values.offsets.push(values.bytes.len() as u32);
        }
        values
    }

    /// Ten rows with a column of every kind. Row `n` has values made of `n`.
    fn batch() -> RowBatch {
        let ten = 0..10_u32;
        let floats = |count: u32| (0..count).flat_map(|n| (n as f32).to_le_bytes()).collect();
        let column = |values| Column { validity: None, values };
        RowBatch {
            row_count: 10,
            columns: vec![
                column(Values::Boolean(vec![0b1010_1010, 0b10])),
                Column {
                    validity: Some(vec![0b0101_0101, 0b01]),
                    values: Values::Int64(ten.clone().map(i64::from).collect()),
                },
                column(Values::Float64(ten.clone().map(f64::from).collect())),
                column(Values::FixedWidth(ten.clone().flat_map(|n| [n as u8; 16]).collect())),
                column(Values::VariableWidth(text(&[
                    "", "b", "cc", "", "e", "ff", "g", "", "i", "j",
                ]))),
                // Row n has n % 3 components.
                column(Values::Vector(VariableWidth {
                    offsets: vec![0, 0, 1, 3, 3, 4, 6, 6, 7, 9, 9],
                    bytes: floats(9),
                })),
                // Row n has n % 2 entries of two components.
                column(Values::NamedVectors(VectorMap {
                    names: vec!["a".to_owned(), "b".to_owned()],
                    row_offsets: vec![0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5],
                    name_index: vec![0, 1, 0, 1, 0],
                    vector_offsets: vec![0, 2, 4, 6, 8, 10],
                    components: floats(10),
                })),
                // The same, each entry with a list of two vectors of one component.
                column(Values::NamedMultiVectors(MultiVectorMap {
                    names: vec!["a".to_owned(), "b".to_owned()],
                    row_offsets: vec![0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5],
                    name_index: vec![0, 1, 0, 1, 0],
                    list_offsets: vec![0, 2, 4, 6, 8, 10],
                    vector_offsets: (0..=10).collect(),
                    components: floats(10),
                })),
            ],
        }
    }

    #[test]
    fn rows_are_selected_from_columns_of_every_kind() {
        let selected = batch().select(&[1..3, 5..6, 9..10]);
        assert_eq!(selected.row_count, 4);
        let floats =
            |of: &[u32]| of.iter().flat_map(|n| (*n as f32).to_le_bytes()).collect::<Vec<u8>>();
        let [boolean, int, float, id, words, vector, named, multi] = &*selected.columns else {
            panic!()
        };
        assert_eq!(boolean.values, Values::Boolean(vec![0b1101]));
        assert_eq!(int.validity, Some(vec![0b0010]));
        assert_eq!(int.values, Values::Int64(vec![1, 2, 5, 9]));
        assert_eq!(float.values, Values::Float64(vec![1.0, 2.0, 5.0, 9.0]));
        let ids = [1, 2, 5, 9].into_iter().flat_map(|n| [n; 16]).collect();
        assert_eq!(id.values, Values::FixedWidth(ids));
        assert_eq!(words.values, Values::VariableWidth(text(&["b", "cc", "ff", "j"])));
        let expected =
            VariableWidth { offsets: vec![0, 1, 3, 5, 5], bytes: floats(&[0, 1, 2, 4, 5]) };
        assert_eq!(vector.values, Values::Vector(expected));
        let Values::NamedVectors(map) = &named.values else { panic!() };
        assert_eq!((&*map.row_offsets, &*map.name_index), (&[0, 1, 1, 2, 3][..], &[0, 0, 0][..]));
        assert_eq!(map.vector_offsets, [0, 2, 4, 6]);
        assert_eq!(map.components, floats(&[0, 1, 4, 5, 8, 9]));
        let Values::NamedMultiVectors(map) = &multi.values else { panic!() };
        assert_eq!(
            (&*map.list_offsets, &*map.vector_offsets),
            (&[0, 2, 4, 6][..], &[0, 1, 2, 3, 4, 5, 6][..])
        );
        assert_eq!(map.components, floats(&[0, 1, 4, 5, 8, 9]));
    }

    #[test]
    fn all_rows_are_the_same_batch_and_none_is_an_empty_one() {
        assert_eq!(batch().select(&[0..4, 4..10]), batch());
        assert_eq!(batch().keep(std::slice::from_ref(&(0..10))), batch());
        assert_eq!(
            batch().keep(std::slice::from_ref(&(3..5))),
            batch().select(std::slice::from_ref(&(3..5)))
        );
        let none = batch().select(&[]);
        assert_eq!(none.row_count, 0);
        assert_eq!(none.columns[4].values, Values::VariableWidth(text(&[])));
    }

    #[test]
    fn the_bytes_of_the_rows_are_those_of_the_batch() {
        let rows = batch().row_bytes();
        // One boolean counts a byte here, and a bit in the batch.
        let booleans = 10 - 2;
        assert_eq!(rows.iter().sum::<u64>(), batch().value_bytes() + booleans);
        assert_eq!(rows[0], 1 + 8 + 8 + 16);
        assert_eq!(rows[5], 1 + 8 + 8 + 16 + 2 + 8 + 8 + 8);
    }
}
