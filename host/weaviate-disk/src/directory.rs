//! Opens a data directory, or those of several nodes, and lists classes and shards
//! (`data-directory.md` 1 and 2).
use std::{path::Path, sync::Arc};

use crate::{
    bucket::Bucket,
    catalog::{
        self,
        effective_schema::{EffectiveSchema, SchemaSource},
    },
    class::{Class, Shard},
    descriptors::Descriptors,
    error::DiskError,
    estimate::{self, ClassEstimate},
    inspect::{self, Survey},
    nodes::{self, Node, OpenedNode},
    report::Warning,
    schema::SchemaFile,
    units::{UnitOptions, Units},
};

/// A Weaviate data directory, or those of a cluster's nodes as one, opened for reading. Cheap to
/// clone.
#[derive(Debug, Clone)]
pub struct DataDirectory {
    nodes: Arc<[Node]>,
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
        DataDirectory::open_nodes(&[path], schema)
    }

    /// Opens the data directories of several nodes of one cluster, as one. Every shard is there
    /// once; one that several nodes hold is merged: see [`crate::ShardCopies`]. The schema is that
    /// of the node whose RAFT index is the highest.
    ///
    /// # Errors
    /// As [`DataDirectory::open`]; when a directory is given twice, or none is.
    pub fn open_nodes(
        paths: &[impl AsRef<Path>],
        schema: Option<SchemaFile>,
    ) -> Result<DataDirectory, DiskError> {
        let opened = paths.iter().map(|path| OpenedNode::open(path.as_ref()));
        let opened: Vec<OpenedNode> = opened.collect::<Result<_, _>>()?;
        if opened.is_empty() {
            return Err(DiskError::NoDirectory);
        }
        nodes::refuse_twins(&opened)?;
        let mut warnings = Vec::new();
        let directories = opened.iter().map(|node| (&*node.path, &*node.root));
        let known = EffectiveSchema::read(directories, schema.as_ref(), &mut warnings)?;
        let (mut nodes, mut found) = (Vec::new(), Vec::new());
        for node in opened {
            let classes = node.listing.classes(&node.root, &known, &mut warnings)?;
            if !classes.values().any(|class| class.has_data) && !node.is_a_servers() {
                return Err(DiskError::NotADataDirectory { path: node.path.to_path_buf() });
            }
            nodes.push(node.named(&known, &classes));
            found.push(classes);
        }
        let classes = catalog::classes(&nodes, &known, found, &mut warnings);
        Ok(DataDirectory {
            nodes: nodes.into(),
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

    /// The directories in the order in which they were given, at least one.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
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
        let shards = class.shards.iter();
        inspect::survey(shards.map(|shard| (shard, self.buckets(class, shard))))
    }

    /// How much `class` holds, about, from the sizes of its files: fast even for very many tenants.
    pub fn estimate(&self, class: &Class) -> ClassEstimate {
        let shards = class.shards.iter().filter(|shard| shard.skip_reason.is_none());
        let buckets = shards.flat_map(|shard| self.buckets(class, shard));
        estimate::estimate(buckets.map(|(_, bucket)| bucket))
    }

    /// The rows of `class`, cut into units. Shards are looked at when the iterator reaches them.
    pub fn units(&self, class: &Class, options: UnitOptions) -> Units {
        Units::new(self.clone(), class.clone(), options)
    }

    /// Where the shard's objects lie, in every directory that holds it.
    pub(crate) fn buckets<'a>(
        &'a self,
        class: &'a Class,
        shard: &'a Shard,
    ) -> impl Iterator<Item = (&'a Node, Bucket)> {
        let told = self.nodes.len() > 1;
        shard.held_by.iter().filter_map(move |held| {
            let node = self.nodes.get(held.node)?;
            let bucket = Bucket {
                root: node.root.clone(),
                node: told.then(|| node.shared_path()),
                class_directory: class.directory.clone(),
                class: class.name.clone(),
                shard: shard.name.clone(),
                layout: held.layout,
            };
            Some((node, bucket))
        })
    }
}
