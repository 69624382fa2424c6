//! Reads the schema file that a user names.
use std::path::Path;

use offloom_protocol::named_file;
use offloom_weaviate_disk::SchemaFile;
use offloom_weaviate_disk::schema::SchemaFileError;

/// A schema of many thousand classes has some megabytes.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// The schema file at `path`. Blocking.
///
/// # Errors
/// [`SchemaFileError`].
pub fn read(path: &Path) -> Result<SchemaFile, SchemaFileError> {
    SchemaFile::parse(path, named_file::read(path, MAX_BYTES))
}
