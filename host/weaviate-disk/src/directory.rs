//! Opens a data directory and lists its classes and shards (`data-directory.md` 1 and 2).
use std::{path::Path, sync::Arc};

use cap_std::{ambient_authority, fs::Dir};

use crate::{
    bucket::Bucket,
    catalog,
    class::{Class, Shard},
    descriptors::Descriptors,
    error::DiskError,
    inspect::{self, Survey},
    layout::{Layout, Listing},
    report::Warning,
    schema::{
        file::SchemaFile,
        known::{Known, SchemaSource},
    },
    units::{UnitOptions, Units},
};

/// A Weaviate data directory, opened for reading. Nothing outside of it is reached, nothing in it
/// is written. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DataDirectory {
    path: Arc<Path>,
    root: Arc<Dir>,
    layout: Layout,
    schema_from: SchemaSource,
    classes: Arc<[Class]>,
    warnings: Arc<[Warning]>,
    descriptors: Descriptors,
}

impl DataDirectory {
    /// Lists classes and shards. The schema decides which classes and tenants there are: that of
    /// the file, or else the one that the server kept in the directory. Without either, the
    /// objects' own class names are looked at.
    ///
    /// # Errors
    /// When the directory cannot be read or is none of Weaviate's; when the server's schema is
    /// broken and no file stands in for it; when shards of the flat layout cannot be told apart.
    pub fn open(path: &Path, schema: Option<SchemaFile>) -> Result<DataDirectory, DiskError> {
        let failed = |source| DiskError::OpenDirectory { path: path.to_owned(), source };
        let root = Arc::new(Dir::open_ambient_dir(path, ambient_authority()).map_err(failed)?);
        let mut warnings = Vec::new();
        let listing = Listing::read(&root, path)?;
        let known = Known::read(&root, schema.as_ref(), &mut warnings)?;
        let found = listing.classes(&root, &known, &mut warnings)?;
        let classes = catalog::classes(&root, &known, found, &mut warnings);
        if classes.is_empty() && !listing.marked {
            let exists = |name: &str| root.try_exists(name).unwrap_or(false);
            if !exists("raft") && !exists("schema.db") {
                return Err(DiskError::NotADataDirectory { path: path.to_owned() });
            }
        }
        Ok(DataDirectory {
            path: path.into(),
            root,
            layout: listing.layout,
            schema_from: known.source,
            classes: classes.into(),
            warnings: warnings.into(),
            descriptors: Descriptors::of_process(1),
        })
    }

    /// The same directory with another budget of open files than this process's whole. An export
    /// that runs beside others needs one of its own.
    #[must_use]
    pub fn with_descriptors(self, descriptors: Descriptors) -> DataDirectory {
        DataDirectory { descriptors, ..self }
    }

    pub(crate) fn descriptors(&self) -> &Descriptors {
        &self.descriptors
    }

    /// The directory as it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How its shards lie.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Where class names, multi-tenancy and tenants were taken from.
    pub fn schema_from(&self) -> &SchemaSource {
        &self.schema_from
    }

    /// Sorted by name: those of the schema, with or without data; without a schema, those on disk.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// What was guessed or left out when the directory was opened.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// What the shards of `class` consist of, without reading rows. Logs are read.
    ///
    /// # Errors
    /// Only when a bucket cannot be listed: what is wrong with a shard's files is in its survey.
    pub fn survey(&self, class: &Class) -> Result<Survey, DiskError> {
        inspect::survey(class.shards.iter().map(|shard| (shard, self.bucket(class, shard))))
    }

    /// The rows of `class`, cut into units. Shards are looked at when the iterator reaches them.
    pub fn units(&self, class: &Class, options: UnitOptions) -> Units {
        Units::new(self.clone(), class.clone(), options)
    }

    pub(crate) fn bucket(&self, class: &Class, shard: &Shard) -> Bucket {
        Bucket {
            root: self.root.clone(),
            class_directory: class.directory.clone(),
            class: class.name.clone(),
            shard: shard.name.clone(),
            layout: shard.layout,
        }
    }
}
