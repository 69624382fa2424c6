//! The rows of an exported file with tenants, read column by column with parquet-rs.
use std::fs::File;
use std::path::Path;

use parquet::column::reader::ColumnReader;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};

/// One row as it is in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedRow {
    pub id: String,
    pub class_name: String,
    pub tenant: String,
    pub created_ms: i64,
    pub updated_ms: i64,
    pub vector: Option<Vec<u8>>,
    pub named_vectors: Option<Vec<u8>>,
    pub multi_vectors: Option<Vec<u8>>,
    pub properties: Option<Vec<u8>>,
}

/// Names of the columns, in the order of [`ExportedRow`]'s fields.
const COLUMNS: [&str; 9] = [
    "id",
    "class_name",
    "tenant",
    "creation_time",
    "update_time",
    "vector",
    "named_vectors",
    "multi_vectors",
    "properties",
];

/// Calls `on_row` with every row of `file`, in order. One row group is in memory.
pub fn read_rows(file: &Path, mut on_row: impl FnMut(ExportedRow)) {
    let reader = SerializedFileReader::new(File::open(file).unwrap()).unwrap();
    let columns = reader.metadata().file_metadata().schema_descr_ptr();
    let names: Vec<&str> = columns.columns().iter().map(|column| column.name()).collect();
    assert_eq!(names, COLUMNS);
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).unwrap();
        let [id, class_name, tenant] = [0, 1, 2].map(|at| texts(&*group, at).into_iter());
        let [created, updated] = [3, 4].map(|at| numbers(&*group, at).into_iter());
        let [vector, named, multi, properties] =
            [5, 6, 7, 8].map(|at| bytes(&*group, at).into_iter());
        let times = created.zip(updated);
        let names = id.zip(class_name).zip(tenant);
        let values = vector.zip(named).zip(multi.zip(properties));
        for (((id, class_name), tenant), ((created_ms, updated_ms), values)) in
            names.zip(times.zip(values))
        {
            let ((vector, named_vectors), (multi_vectors, properties)) = values;
            on_row(ExportedRow {
                id,
                class_name,
                tenant,
                created_ms,
                updated_ms,
                vector,
                named_vectors,
                multi_vectors,
                properties,
            });
        }
    }
}

fn rows(group: &dyn RowGroupReader) -> usize {
    usize::try_from(group.metadata().num_rows()).unwrap()
}

fn numbers(group: &dyn RowGroupReader, column: usize) -> Vec<i64> {
    let ColumnReader::Int64ColumnReader(mut reader) = group.get_column_reader(column).unwrap()
    else {
        panic!("column {column} holds no numbers")
    };
    let mut values = Vec::new();
    let (read, ..) = reader.read_records(usize::MAX, None, None, &mut values).unwrap();
    assert_eq!((read, values.len()), (rows(group), rows(group)));
    values
}

fn bytes(group: &dyn RowGroupReader, column: usize) -> Vec<Option<Vec<u8>>> {
    let ColumnReader::ByteArrayColumnReader(mut reader) = group.get_column_reader(column).unwrap()
    else {
        panic!("column {column} holds no bytes")
    };
    let optional = group.metadata().column(column).column_descr().max_def_level() == 1;
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    let into_levels = optional.then_some(&mut levels);
    let (read, ..) = reader.read_records(usize::MAX, into_levels, None, &mut values).unwrap();
    assert_eq!(read, rows(group));
    let mut values = values.into_iter().map(|value| value.data().to_vec());
    if !optional {
        return values.map(Some).collect();
    }
    let rows = levels.iter().map(|level| (*level == 1).then(|| values.next().unwrap())).collect();
    assert!(values.next().is_none());
    rows
}

fn texts(group: &dyn RowGroupReader, column: usize) -> Vec<String> {
    let texts = bytes(group, column).into_iter();
    texts.map(|text| String::from_utf8(text.unwrap()).unwrap()).collect()
}
