//! Opens a data directory and lists its classes and shards (`data-directory.md` 1 and 2).
use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use cap_std::{ambient_authority, fs::Dir};
use offloom_rows::Schema;

use crate::{
    bucket::Bucket,
    descriptors::Descriptors,
    error::DiskError,
    inspect::{self, Survey},
    names,
    report::Warning,
    schema::{
        file::{SchemaClass, SchemaFile},
        objects,
    },
    units::{UnitOptions, Units},
};

/// Marks the layout of 1.22 and later.
const HIERARCHY_MARKER: &str = "migration1.22.fs.hierarchy";

/// A Weaviate data directory, opened for reading. Nothing outside of it is reached, nothing in it
/// is written. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DataDirectory {
    path: Arc<Path>,
    root: Arc<Dir>,
    schema_from: SchemaSource,
    classes: Arc<[Class]>,
    warnings: Arc<[Warning]>,
    descriptors: Descriptors,
}

/// Where class names and multi-tenancy were taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaSource {
    /// A saved answer of `GET /v1/schema`.
    File(Arc<Path>),
    /// The objects' own class names, and the names of directories and shards.
    Objects,
}

impl fmt::Display for SchemaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchemaSource::File(path) => write!(f, "schema file {}", path.display()),
            SchemaSource::Objects => f.write_str("objects and directory names"),
        }
    }
}

/// A class (collection) of a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// Exact name.
    pub name: Arc<str>,
    /// Its directory's name: the class's in lower case.
    pub directory: Arc<str>,
    /// Whether its shards are tenants.
    pub multi_tenant: bool,
    /// Whether the schema knows it; `None` when no schema was given.
    pub in_schema: Option<bool>,
    /// Its definition in the schema, JSON.
    pub definition: Option<Arc<str>>,
    /// The shards (tenants) that have a directory, in byte order of their names.
    pub shards: Arc<[String]>,
}

impl Class {
    /// The columns of its rows.
    pub fn row_schema(&self) -> Schema {
        let definition = self.definition.as_deref().map(str::to_owned);
        Schema::of_class(&self.name, self.multi_tenant, definition)
    }
}

/// A directory that may be a class's.
struct Candidate {
    directory: String,
    shards: Vec<String>,
    /// Whether a shard has `lsm/`: without it only a schema makes this a class.
    has_data: bool,
}

impl DataDirectory {
    /// Lists classes and shards. A schema decides which classes exist and which are multi-tenant;
    /// without one the objects' own class names are looked at.
    ///
    /// # Errors
    /// When the directory cannot be read, is none of Weaviate's, or has the layout of before 1.22.
    pub fn open(path: &Path, schema: Option<SchemaFile>) -> Result<DataDirectory, DiskError> {
        let failed = |source| DiskError::OpenDirectory { path: path.to_owned(), source };
        let root = Arc::new(Dir::open_ambient_dir(path, ambient_authority()).map_err(failed)?);
        let mut warnings = Vec::new();
        let mut top = list_directories(&root, "", names::is_class_directory)?;
        top.sort();
        let marked = root.try_exists(HIERARCHY_MARKER).map_err(failed)?;
        if !marked && let Some(example) = flat_shard(&root, &top) {
            return Err(DiskError::FlatLayout { path: path.to_owned(), example });
        }
        let mut candidates = BTreeMap::new();
        for directory in top {
            let candidate = Candidate::read(&root, directory, &mut warnings)?;
            candidates.insert(candidate.directory.clone(), candidate);
        }
        let mut classes = Vec::new();
        let has_schema = schema.is_some();
        let schema_from = schema
            .as_ref()
            .map_or(SchemaSource::Objects, |schema| SchemaSource::File(schema.path().into()));
        for described in schema.iter().flat_map(SchemaFile::classes) {
            let candidate = candidates.remove(&described.name.to_ascii_lowercase());
            classes.push(Class::described(described, candidate));
        }
        for candidate in candidates.into_values() {
            if candidate.has_data {
                let in_schema = has_schema.then_some(false);
                classes.push(Class::guessed(&root, candidate, in_schema, &mut warnings));
            } else {
                warnings.push(Warning::NoShards { directory: candidate.directory });
            }
        }
        if classes.is_empty() && !marked {
            let known = |name: &str| root.try_exists(name).unwrap_or(false);
            if !known("raft") && !known("schema.db") {
                return Err(DiskError::NotADataDirectory { path: path.to_owned() });
            }
        }
        classes.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(DataDirectory {
            path: path.into(),
            root,
            schema_from,
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

    /// Where class names and multi-tenancy were taken from.
    pub fn schema_from(&self) -> &SchemaSource {
        &self.schema_from
    }

    /// Sorted by name: those of the schema, with or without data, and those on disk that it lacks.
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
        inspect::survey(class.shards.iter().map(|shard| self.bucket(class, shard)))
    }

    /// The rows of `class`, cut into units. Shards are looked at when the iterator reaches them.
    pub fn units(&self, class: &Class, options: UnitOptions) -> Units {
        Units::new(self.clone(), class.clone(), options)
    }

    pub(crate) fn bucket(&self, class: &Class, shard: &str) -> Bucket {
        Bucket {
            root: self.root.clone(),
            class_directory: class.directory.clone(),
            class: class.name.clone(),
            shard: shard.into(),
        }
    }
}

impl Class {
    fn described(described: &SchemaClass, candidate: Option<Candidate>) -> Class {
        Class {
            name: described.name.as_str().into(),
            directory: described.name.to_ascii_lowercase().into(),
            multi_tenant: described.multi_tenant,
            in_schema: Some(true),
            definition: Some(described.definition.as_str().into()),
            shards: candidate.map(|candidate| candidate.shards).unwrap_or_default().into(),
        }
    }

    /// A class of which only the directory is known.
    fn guessed(
        root: &Arc<Dir>,
        candidate: Candidate,
        in_schema: Option<bool>,
        warnings: &mut Vec<Warning>,
    ) -> Class {
        let directory: Arc<str> = candidate.directory.as_str().into();
        let buckets = candidate.shards.iter().map(|shard| Bucket {
            root: root.clone(),
            class_directory: directory.clone(),
            class: directory.clone(),
            shard: shard.as_str().into(),
        });
        let name = objects::class_name(buckets).unwrap_or_else(|| {
            let name = names::capitalised(&directory);
            let directory = candidate.directory.clone();
            warnings.push(Warning::ClassNameGuessed { directory, name: name.clone() });
            name
        });
        let tenant = candidate.shards.iter().find(|shard| !names::is_generated_shard(shard));
        if let Some(shard) = tenant {
            let (class, shard) = (name.clone(), shard.clone());
            warnings.push(Warning::MultiTenancyGuessed { class, shard });
        }
        Class {
            name: name.into(),
            directory,
            multi_tenant: tenant.is_some(),
            in_schema,
            definition: None,
            shards: candidate.shards.into(),
        }
    }
}

impl Candidate {
    fn read(
        root: &Dir,
        directory: String,
        warnings: &mut Vec<Warning>,
    ) -> Result<Candidate, DiskError> {
        // Names with a dot are Weaviate's own: `.snapshots`, `<shard>.<nanos>.<hex>.deleteme`.
        let mut children = list_directories(root, &directory, |name| !name.contains('.'))?;
        children.sort();
        let (shards, unknown) = children.into_iter().partition(|name| names::is_shard(name));
        let unknown: Vec<String> = unknown;
        for name in unknown {
            let directory = format!("{directory}/{name}");
            warnings.push(Warning::UnknownDirectory { directory });
        }
        let shards: Vec<String> = shards;
        let has_data = shards.iter().any(|shard| root.is_dir(format!("{directory}/{shard}/lsm")));
        Ok(Candidate { directory, shards, has_data })
    }
}

/// The names of the directories in `entry` (the root when empty) that `wanted` accepts.
fn list_directories(
    root: &Dir,
    entry: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<String>, DiskError> {
    let shown = if entry.is_empty() { "." } else { entry };
    let failed = |source| DiskError::List { entry: shown.to_owned(), source };
    let mut names = Vec::new();
    for child in root.read_dir(shown).map_err(failed)? {
        let child = child.map_err(failed)?;
        let Ok(name) = child.file_name().into_string() else { continue };
        if !wanted(&name) {
            continue;
        }
        let kind = child.file_type().map_err(failed)?;
        let is_directory = if kind.is_symlink() {
            let path = format!("{shown}/{name}");
            match root.metadata(&path) {
                Ok(metadata) => metadata.is_dir(),
                Err(source) => return Err(DiskError::Link { entry: path, source }),
            }
        } else {
            kind.is_dir()
        };
        if is_directory {
            names.push(name);
        }
    }
    Ok(names)
}

/// A top-level directory that holds a shard as versions before 1.22 laid it out.
fn flat_shard(root: &Dir, directories: &[String]) -> Option<String> {
    let shards = directories.iter().filter(|name| name.ends_with("_lsm"));
    let mut shards = shards.filter(|name| root.is_dir(format!("{name}/objects")));
    shards.next().cloned()
}
