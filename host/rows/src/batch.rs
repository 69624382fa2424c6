//! Rows as flat buffers: each crosses the guest boundary in one copy.
use crate::shard_run::ShardRun;

/// Row `i` is `bytes[offsets[i]..offsets[i + 1]]`; `offsets` has one entry more than there are rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VariableWidth {
    /// Ascending, starting at 0. They count bytes; in a vector column, components.
    pub offsets: Vec<u32>,
    /// The values of all rows, end to end.
    pub bytes: Vec<u8>,
}

/// Row `i` owns the entries `row_offsets[i]..row_offsets[i + 1]`, sorted by name. Entry `k` is called
/// `names[name_index[k]]` and holds the components `vector_offsets[k]..vector_offsets[k + 1]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VectorMap {
    /// The names that occur in this batch.
    pub names: Vec<String>,
    /// Entries before each row; rows + 1 of them.
    pub row_offsets: Vec<u32>,
    /// Index into `names` of each entry.
    pub name_index: Vec<u16>,
    /// Components before each entry; entries + 1 of them.
    pub vector_offsets: Vec<u32>,
    /// Little-endian `f32`, four bytes per component.
    pub components: Vec<u8>,
}

/// As [`VectorMap`], but entry `k` is the list of vectors `list_offsets[k]..list_offsets[k + 1]`,
/// and vector `v` holds the components `vector_offsets[v]..vector_offsets[v + 1]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MultiVectorMap {
    /// The names that occur in this batch.
    pub names: Vec<String>,
    /// Entries before each row; rows + 1 of them.
    pub row_offsets: Vec<u32>,
    /// Index into `names` of each entry.
    pub name_index: Vec<u16>,
    /// Vectors before each entry; entries + 1 of them.
    pub list_offsets: Vec<u32>,
    /// Components before each vector; vectors + 1 of them.
    pub vector_offsets: Vec<u32>,
    /// Little-endian `f32`, four bytes per component.
    pub components: Vec<u8>,
}

/// The values of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// One bit per row, lowest bit first.
    Boolean(Vec<u8>),
    /// One per row.
    Int64(Vec<i64>),
    /// One per row.
    Float64(Vec<f64>),
    /// The same number of bytes per row: sixteen for a UUID.
    FixedWidth(Vec<u8>),
    /// Bytes or text.
    VariableWidth(VariableWidth),
    /// One vector per row; the offsets count components.
    Vector(VariableWidth),
    /// Vectors by name.
    NamedVectors(VectorMap),
    /// Lists of vectors by name.
    NamedMultiVectors(MultiVectorMap),
}

/// One column of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// One bit per row, lowest bit first, set if there is a value; `None` if no row is null.
    pub validity: Option<Vec<u8>>,
    /// The values; those of null rows are empty or zero.
    pub values: Values,
}

/// Rows of one class, in the columns of its [`crate::Schema`].
#[derive(Debug, Clone, PartialEq)]
pub struct RowBatch {
    /// Number of rows.
    pub row_count: u32,
    /// In the order of the schema's fields.
    pub columns: Vec<Column>,
}

impl RowBatch {
    /// The id of a row: the first column of every class. `None` if there is no such row.
    pub fn id(&self, row: usize) -> Option<[u8; 16]> {
        let Some(Column { values: Values::FixedWidth(ids), .. }) = self.columns.first() else {
            return None;
        };
        ids.as_chunks().0.get(row).copied()
    }
}

/// What a cursor yields: rows, and the shards that they come from. A guest sees only the rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The rows.
    pub rows: RowBatch,
    /// The shards of the rows, in order; the rows of all runs add up to `rows.row_count`.
    pub runs: Vec<ShardRun>,
}
