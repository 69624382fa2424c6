//! Opens the data directories of a command.
use std::path::PathBuf;

use offloom_weaviate_disk::DataDirectory;

use crate::schema_file;

/// Opens data directories with an optional schema file.
///
/// # Errors
/// Those of the directories and of the file.
pub fn open(data_dirs: &[PathBuf], schema: Option<PathBuf>) -> anyhow::Result<DataDirectory> {
    let schema = schema.as_deref().map(schema_file::read).transpose()?;
    Ok(DataDirectory::open_nodes(data_dirs, schema)?)
}
