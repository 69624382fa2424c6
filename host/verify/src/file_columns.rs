//! The columns of a Parquet file, as its footer names them.
use bytes::Bytes;
use parquet::schema::types::Type;

use crate::footer::{FooterError, check_length, read_footer};

/// A column at the top of a file's schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileColumn {
    /// Its name.
    pub name: String,
    /// Its logical type, or else its physical one; `group` for nested columns.
    pub kind: String,
    /// Whether a row may have no value.
    pub nullable: bool,
}

/// The columns of a file without rows. `file_end` is all that follows its first `offset` bytes.
///
/// # Errors
/// [`FooterError`]: it is no Parquet file without rows.
pub fn columns_of_empty_file(
    offset: u64,
    file_end: &[Bytes],
) -> Result<Vec<FileColumn>, FooterError> {
    let file_end = file_end.concat();
    check_length(file_end.len() as u64, &[])?;
    let metadata = read_footer(offset, &file_end, &[])?;
    let fields = metadata.file_metadata().schema().get_fields();
    Ok(fields.iter().map(|field| column(field)).collect())
}

fn column(field: &Type) -> FileColumn {
    let info = field.get_basic_info();
    let kind = match (info.logical_type_ref(), field) {
        (Some(logical), _) => format!("{logical:?}"),
        (None, Type::PrimitiveType { physical_type, .. }) => physical_type.to_string(),
        (None, Type::GroupType { .. }) => "group".to_owned(),
    };
    FileColumn { name: info.name().to_owned(), kind, nullable: field.is_optional() }
}
