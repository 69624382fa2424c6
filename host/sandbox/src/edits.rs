//! The form of a column that a guest made: a value of the right type for each row, and nothing else.
use offloom_rows::{Column, DataType, Field, Values, VariableWidth, is_set};

/// What is wrong with a column, as the words after "have".
pub(crate) type Problem = &'static str;

/// Checks a column of so many rows.
pub(crate) fn check_column(column: &Column, field: &Field, rows: usize) -> Result<(), Problem> {
    if let Some(bits) = &column.validity {
        if bits.len() != rows.div_ceil(8) {
            return Err("another number of validity bits than rows");
        }
        if !field.nullable && !(0..rows).all(|row| is_set(bits, row)) {
            return Err("a null where none is allowed");
        }
    }
    check_values(&column.values, &field.data_type, rows)
}

fn check_values(values: &Values, data_type: &DataType, rows: usize) -> Result<(), Problem> {
    const COUNT: Problem = "another number of values than rows";
    let counted =
        |found: usize, expected: usize| if found == expected { Ok(()) } else { Err(COUNT) };
    match (data_type, values) {
        (DataType::Boolean, Values::Boolean(bits)) => counted(bits.len(), rows.div_ceil(8)),
        (DataType::Int64 | DataType::TimestampMillis, Values::Int64(numbers)) => {
            counted(numbers.len(), rows)
        }
        (DataType::Float64, Values::Float64(numbers)) => counted(numbers.len(), rows),
        (DataType::Uuid, Values::FixedWidth(bytes)) => {
            counted(bytes.len(), rows.saturating_mul(16))
        }
        (DataType::Binary, Values::VariableWidth(values)) => {
            check_offsets(&values.offsets, rows, values.bytes.len())
        }
        (DataType::Utf8 | DataType::Json, Values::VariableWidth(values)) => {
            check_offsets(&values.offsets, rows, values.bytes.len())?;
            check_text(values)
        }
        (DataType::Vector(_), Values::Vector(values)) => {
            check_offsets(&values.offsets, rows, components(&values.bytes)?)
        }
        (DataType::NamedVectors(_), Values::NamedVectors(map)) => {
            let entries = map.name_index.len();
            check_offsets(&map.row_offsets, rows, entries)?;
            check_offsets(&map.vector_offsets, entries, components(&map.components)?)?;
            check_names(&map.names, &map.name_index, &map.row_offsets)
        }
        (DataType::NamedMultiVectors(_), Values::NamedMultiVectors(map)) => {
            let entries = map.name_index.len();
            let vectors = map.vector_offsets.len().saturating_sub(1);
            check_offsets(&map.row_offsets, rows, entries)?;
            check_offsets(&map.list_offsets, entries, vectors)?;
            check_offsets(&map.vector_offsets, vectors, components(&map.components)?)?;
            check_names(&map.names, &map.name_index, &map.row_offsets)
        }
        _ => Err("values of another type"),
    }
}

fn components(bytes: &[u8]) -> Result<usize, Problem> {
    if bytes.len().is_multiple_of(4) { Ok(bytes.len() / 4) } else { Err("a part of a component") }
}

/// Offsets of `owners` that own `items` between them.
fn check_offsets(offsets: &[u32], owners: usize, items: usize) -> Result<(), Problem> {
    if offsets.len() != owners.saturating_add(1) {
        return Err("another number of offsets than rows");
    }
    let ends = (offsets.first().copied(), offsets.last().map(|last| *last as usize));
    if ends != (Some(0), Some(items)) || !offsets.is_sorted() {
        return Err("offsets that do not lead from 0 to the end of the values");
    }
    Ok(())
}

/// All rows at once, and the places where one ends: a character must not lie in two rows.
fn check_text(values: &VariableWidth) -> Result<(), Problem> {
    const PROBLEM: Problem = "text that is not UTF-8";
    let text = std::str::from_utf8(&values.bytes).map_err(|_| PROBLEM)?;
    let whole = values.offsets.iter().all(|offset| text.is_char_boundary(*offset as usize));
    if whole { Ok(()) } else { Err(PROBLEM) }
}

/// Each entry has a name, and those of a row ascend.
fn check_names(names: &[String], index: &[u16], row_offsets: &[u32]) -> Result<(), Problem> {
    let name = |place: usize| names.get(usize::from(*index.get(place)?));
    if !(0..index.len()).all(|place| name(place).is_some()) {
        return Err("an entry without a name");
    }
    let starts: std::collections::HashSet<usize> =
        row_offsets.iter().map(|offset| *offset as usize).collect();
    let ascends =
        |place: usize| starts.contains(&place) || name(place.saturating_sub(1)) < name(place);
    if (1..index.len()).all(ascends) { Ok(()) } else { Err("names of a row that do not ascend") }
}

#[cfg(test)]
mod tests {
    use offloom_rows::{MultiVectorMap, VectorMap};

    use super::*;

    fn check(data_type: DataType, values: Values) -> Result<(), Problem> {
        let field = Field { name: "c".to_owned(), data_type, nullable: false };
        check_column(&Column { validity: None, values }, &field, 2)
    }

    fn text(offsets: &[u32], bytes: &[u8]) -> Values {
        Values::VariableWidth(VariableWidth { offsets: offsets.into(), bytes: bytes.into() })
    }

    #[test]
    fn a_column_has_one_value_of_its_type_for_each_row() {
        assert_eq!(check(DataType::Int64, Values::Int64(vec![1, 2])), Ok(()));
        for (data_type, values, problem) in [
            (DataType::Int64, Values::Int64(vec![1]), "number of values"),
            (DataType::Int64, Values::Float64(vec![1.0, 2.0]), "another type"),
            (DataType::TimestampMillis, Values::Int64(vec![1; 3]), "number of values"),
            (DataType::Boolean, Values::Boolean(vec![0, 0]), "number of values"),
            (DataType::Uuid, Values::FixedWidth(vec![0; 31]), "number of values"),
            (DataType::Float64, Values::Float64(vec![]), "number of values"),
        ] {
            assert!(check(data_type, values).unwrap_err().contains(problem), "{problem}");
        }
    }

    #[test]
    fn text_is_utf_8_row_by_row() {
        let e = "é".as_bytes();
        assert_eq!(check(DataType::Utf8, text(&[0, 2, 2], e)), Ok(()));
        assert_eq!(check(DataType::Binary, text(&[0, 1, 2], e)), Ok(()));
        assert_eq!(check(DataType::Json, text(&[0, 1, 2], e)), Err("text that is not UTF-8"));
        assert_eq!(
            check(DataType::Utf8, text(&[0, 1, 2], b"\xffx")),
            Err("text that is not UTF-8")
        );
    }

    #[test]
    fn offsets_lead_from_0_to_the_end() {
        for offsets in [&[0, 1][..], &[0, 1, 2, 2], &[1, 1, 2], &[0, 1, 1], &[0, 3, 2], &[0, 1, 3]]
        {
            assert!(check(DataType::Utf8, text(offsets, b"ab")).is_err(), "{offsets:?}");
        }
        let vector = |offsets: &[u32], bytes: usize| {
            let values = VariableWidth { offsets: offsets.into(), bytes: vec![0; bytes] };
            check(DataType::Vector(None), Values::Vector(values))
        };
        assert_eq!(vector(&[0, 1, 2], 8), Ok(()));
        assert!(vector(&[0, 4, 8], 8).is_err());
        assert_eq!(vector(&[0, 1, 2], 9), Err("a part of a component"));
    }

    #[test]
    fn entries_have_names_that_ascend_in_their_row() {
        let named = |row_offsets: &[u32], name_index: &[u16]| {
            let entries = name_index.len() as u32;
            let map = VectorMap {
                names: vec!["a".to_owned(), "b".to_owned()],
                row_offsets: row_offsets.into(),
                name_index: name_index.into(),
                vector_offsets: (0..=entries).collect(),
                components: vec![0; 4 * entries as usize],
            };
            check(DataType::NamedVectors(Vec::new()), Values::NamedVectors(map))
        };
        assert_eq!(named(&[0, 2, 3], &[0, 1, 0]), Ok(()));
        assert_eq!(named(&[0, 2, 3], &[1, 0, 0]), Err("names of a row that do not ascend"));
        assert_eq!(named(&[0, 2, 3], &[0, 0, 0]), Err("names of a row that do not ascend"));
        assert_eq!(named(&[0, 2, 3], &[0, 2, 0]), Err("an entry without a name"));
        let multi = MultiVectorMap {
            names: vec!["a".to_owned()],
            row_offsets: vec![0, 1, 1],
            name_index: vec![0],
            list_offsets: vec![0, 2],
            vector_offsets: vec![0, 1, 1],
            components: vec![0; 4],
        };
        let check_multi = |map: MultiVectorMap| {
            check(DataType::NamedMultiVectors(Vec::new()), Values::NamedMultiVectors(map))
        };
        assert_eq!(check_multi(multi.clone()), Ok(()));
        assert!(check_multi(MultiVectorMap { list_offsets: vec![0, 3], ..multi }).is_err());
    }

    #[test]
    fn nulls_are_where_they_may_be() {
        let column =
            |bits: &[u8]| Column { validity: Some(bits.into()), values: Values::Int64(vec![0, 0]) };
        let field = |nullable| Field { name: "c".into(), data_type: DataType::Int64, nullable };
        assert_eq!(check_column(&column(&[0b01]), &field(true), 2), Ok(()));
        assert_eq!(check_column(&column(&[0b11]), &field(false), 2), Ok(()));
        assert!(check_column(&column(&[0b01]), &field(false), 2).is_err());
        assert!(check_column(&column(&[0b11, 0]), &field(true), 2).is_err());
    }
}
