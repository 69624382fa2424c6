//! Opens the data directory of one or several nodes, and starts everything that reads from it
//! (`data-directory.md` 1 and 2).
use std::{path::Path, sync::Arc};

use offloom_weaviate_lsm::{descriptors::Descriptors, layout::Layout};

use crate::{
    catalog::{
        class::Class,
        classes::{self, Combined},
        effective_schema::SchemaSource,
        node::{self, Node, OpenedNode},
        node_names, on_disk,
        one_cluster::{self, Compared},
        stored_schemas::{self, StoredSchemas},
        warning::{self, Warning},
    },
    error::DiskError,
    look::{
        estimate::{self, ClassEstimate},
        inspect::{self, Survey},
    },
    schema::SchemaFile,
    unit::units::{UnitOptions, Units},
};

/// A Weaviate data directory, or those of several nodes of a cluster as one, opened for reading.
/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct DataDirectory {
    nodes: Arc<[Node]>,
    schema_from: SchemaSource,
    classes: Arc<[Class]>,
    warnings: Arc<[Warning]>,
    depends_on_objects: bool,
    descriptors: Descriptors,
}

impl DataDirectory {
    /// Lists classes and shards. The schema decides which classes and tenants exist: that of the
    /// file, or else the one that the server stored in the directory. Without either, class names
    /// come from the objects.
    ///
    /// # Errors
    /// When the directory cannot be read or is not one of Weaviate's; when the stored schema is
    /// broken and no file replaces it. What only concerns a class is in [`Class::faults`].
    pub fn open(path: &Path, schema: Option<SchemaFile>) -> Result<DataDirectory, DiskError> {
        DataDirectory::open_nodes(&[path], schema)
    }

    /// Opens the data directories of several nodes of one cluster as one. Every shard occurs once;
    /// the copies of a shard on several nodes are merged, see [`crate::ShardCopy`]. The schema is
    /// that of the node whose RAFT log goes furthest. Files of shards that were deleted while their node
    /// was down are left out.
    ///
    /// # Errors
    /// As [`DataDirectory::open`]; when no directory is given, or one is given twice, or two are not of
    /// two nodes of one cluster.
    pub fn open_nodes(
        paths: &[impl AsRef<Path>],
        schema: Option<SchemaFile>,
    ) -> Result<DataDirectory, DiskError> {
        let opened = paths.iter().map(|path| OpenedNode::open(path.as_ref()));
        let mut opened: Vec<OpenedNode> = opened.collect::<Result<_, _>>()?;
        if opened.is_empty() {
            return Err(DiskError::NoDirectory);
        }
        node::refuse_duplicates(&opened)?;
        let mut warnings = Vec::new();
        let directories: Vec<_> = opened.iter().map(|node| (&*node.path, &*node.root)).collect();
        let StoredSchemas { effective: mut known, own, servers } =
            stored_schemas::read(&directories, schema.as_ref(), &mut warnings)?;
        let mut on_disk = Vec::new();
        for node in &mut opened {
            let classes = on_disk::classes(node, &known, &mut warnings);
            if !classes.values().any(|class| class.has_data) && !node.is_used_by_server() {
                return Err(DiskError::NotADataDirectory { path: node.path.to_path_buf() });
            }
            on_disk.push(classes);
        }
        if let [classes] = on_disk.as_slice() {
            node_names::rename_only_node(&mut known, classes, servers.as_deref());
        }
        let compared = opened.iter().zip(&own).zip(&on_disk);
        let compared: Vec<Compared<'_>> = compared
            .map(|((node, own), classes)| Compared { path: &node.path, own, classes })
            .collect();
        let names = one_cluster::node_names(&compared, &known)?;
        let nodes: Vec<Node> =
            opened.into_iter().zip(names).map(|(node, names)| node.named(names)).collect();
        let Combined { classes, depend_on_objects } =
            classes::combine(&nodes, &own, &known, on_disk, &mut warnings);
        Ok(DataDirectory {
            nodes: nodes.into(),
            schema_from: known.source,
            classes: classes.into(),
            warnings: warnings.into(),
            depends_on_objects: depend_on_objects,
            descriptors: Descriptors::of_process(1),
        })
    }

    /// The same directory with another budget of open files than all of this process's. Each of
    /// several exports that run at once needs its own.
    #[must_use]
    pub fn with_descriptors(self, descriptors: Descriptors) -> DataDirectory {
        DataDirectory { descriptors, ..self }
    }

    /// The data directories in the order in which they were given, at least one.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The source of class names, multi-tenancy and tenants.
    pub fn schema_from(&self) -> &SchemaSource {
        &self.schema_from
    }

    /// The classes of the schema, with or without data; without a schema, those on disk. Sorted by
    /// name.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// What was guessed, left out or contradictory when the directory was opened.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Whether opening it again gives the same as long as its [`Fingerprint`] is the same. Not so where
    /// names of classes come from objects, in the layout before 1.22, and where something could not be
    /// examined.
    ///
    /// [`Fingerprint`]: crate::Fingerprint
    pub fn depends_on_entries_alone(&self) -> bool {
        let is_faulty = |class: &Class| {
            !class.faults.is_empty() || class.shards.iter().any(|shard| shard.fault.is_some())
        };
        !self.depends_on_objects
            && self.nodes.iter().all(|node| node.layout() == Layout::Hierarchical)
            && !self.classes.iter().any(is_faulty)
    }

    /// Those warnings that concern an export of `classes`, for readers who may not be allowed to know of
    /// other classes, nor of the tenants that a class lacks here.
    pub fn warnings_for_export<'a>(
        &self,
        classes: impl IntoIterator<Item = &'a Class>,
    ) -> Vec<String> {
        warning::for_export(&self.warnings, classes, &self.classes)
    }

    /// The files of the shards of `class`, without reading rows. Headers and logs are read. Faults of a
    /// shard are in its survey.
    pub fn survey(&self, class: &Class) -> Survey {
        inspect::survey(class, &self.nodes)
    }

    /// Reads every byte of the shards of `class`, and adds what is damaged to `survey`, which is that
    /// of the same class. Every file is read twice; `on_bytes` is called with the bytes that were read
    /// since the call before. Blocking, and as long as an export or longer.
    pub fn check(&self, class: &Class, survey: &mut Survey, on_bytes: &mut dyn FnMut(u64)) {
        survey.check(class, &self.nodes, &self.descriptors, on_bytes);
    }

    /// About how much `class` holds, from the sizes of its files: fast even for very many tenants.
    pub fn estimate(&self, class: &Class) -> ClassEstimate {
        estimate::estimate(class, &self.nodes)
    }

    /// The rows of `class`, cut into units. The files of a shard are opened when the iterator reaches
    /// it.
    pub fn units(&self, class: &Class, options: UnitOptions) -> Units {
        Units::new(self.nodes.clone(), self.descriptors.clone(), class.clone(), options)
    }
}
