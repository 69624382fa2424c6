//! Combines the classes and shards of the schema with those in the data directories.
use std::{cell::Cell, collections::BTreeMap, path::Path, sync::Arc};

use offloom_weaviate_lsm::{LsmError, bucket::Bucket, layout::Layout};

use super::{
    class::{Attribution, Class, Shard, ShardLocation, SkipReason},
    effective_schema::{EffectiveClass, EffectiveSchema, SchemaSource},
    matching::Matching,
    namesakes,
    node::Node,
    object_names,
    on_disk::ClassOnDisk,
    stored_schemas::OwnSchema,
    warning::{Examples, Warning},
};
use crate::{error::DiskError, schema::names};

/// The shards of a class directory in all data directories.
#[derive(Debug, Default)]
struct LocatedClass {
    shards: BTreeMap<String, Vec<ShardLocation>>,
    /// Indexes of the nodes that have its directory.
    nodes: Vec<usize>,
    has_data: bool,
    faults: Vec<Arc<DiskError>>,
    shard_faults: BTreeMap<String, Arc<LsmError>>,
}

/// Schema and directories combined.
pub(crate) struct Combined {
    /// The classes of the schema, with or without data; without a schema, those that the directories
    /// suggest. Classes with data that a schema file lacks are among them, with that as their fault.
    /// Sorted by name.
    pub classes: Vec<Class>,
    /// Whether they depend on files of shards, and not on the schema and the lists of shards alone.
    pub depend_on_objects: bool,
}

/// Combines the schema with what is on disk. `own` has the own schema and `on_disk` the classes in the
/// directory of each node.
pub(crate) fn combine(
    nodes: &[Node],
    own: &[OwnSchema],
    known: &EffectiveSchema,
    on_disk: Vec<BTreeMap<String, ClassOnDisk>>,
    warnings: &mut Vec<Warning>,
) -> Combined {
    let mut located = locate(on_disk);
    let mut classes = Vec::new();
    let opens_shards = Cell::new(false);
    let opens_shards = &opens_shards;
    for (directory, class) in &known.classes {
        let on_disk = located.remove(directory);
        let directory = ClassDirectory { directory, known, nodes, own, opens_shards };
        classes.extend(directory.classes_of_schema(class, on_disk, warnings));
    }
    for (directory, class) in located {
        let found = ClassDirectory { directory: &directory, known, nodes, own, opens_shards };
        if let Some(name) = found.deleted_class(&class) {
            let mut shards = Examples::default();
            class.shards.keys().for_each(|shard| shards.add(shard));
            if class.has_data {
                warnings.push(Warning::OlderLives { class: name.to_owned(), shards });
            }
            continue;
        }
        match &known.source {
            _ if !class.has_data => warnings.push(Warning::NoShards { directory }),
            SchemaSource::Objects => classes.extend(found.guessed_classes(class, warnings)),
            SchemaSource::File(file) if !known.is_deleted(&directory) && found.may_hold(&class) => {
                classes.extend(found.classes_beside_file(file, class));
            }
            SchemaSource::File(_) | SchemaSource::Server(_) => {
                warnings.push(Warning::ClassNotInSchema { directory });
            }
        }
    }
    classes.sort_by(|left, right| left.name.cmp(&right.name));
    Combined { classes, depend_on_objects: opens_shards.get() }
}

fn locate(on_disk: Vec<BTreeMap<String, ClassOnDisk>>) -> BTreeMap<String, LocatedClass> {
    let mut located: BTreeMap<String, LocatedClass> = BTreeMap::new();
    for (node, classes) in on_disk.into_iter().enumerate() {
        for (directory, on_disk) in classes {
            let class = located.entry(directory).or_default();
            class.has_data = class.has_data || on_disk.has_data;
            class.nodes.push(node);
            class.faults.extend(on_disk.faults);
            class.shard_faults.extend(on_disk.shard_faults);
            for (shard, layout) in on_disk.shards {
                class.shards.entry(shard).or_default().push(ShardLocation { node, layout });
            }
        }
    }
    located
}

/// The directory of a class, or of several whose names differ in case alone.
struct ClassDirectory<'a> {
    directory: &'a str,
    known: &'a EffectiveSchema,
    nodes: &'a [Node],
    /// By node.
    own: &'a [OwnSchema],
    /// Set when a shard's files are opened.
    opens_shards: &'a Cell<bool>,
}

impl ClassDirectory<'_> {
    /// The classes of the schema that have this directory: `class`, and those that share it.
    fn classes_of_schema(
        &self,
        class: &EffectiveClass,
        located: Option<LocatedClass>,
        warnings: &mut Vec<Warning>,
    ) -> Vec<Class> {
        let has_directory = located.is_some();
        let beside = self.namesakes_beside_file(class, located.as_ref());
        let LocatedClass { shards, faults, shard_faults, .. } = located.unwrap_or_default();
        let faults: Arc<[Arc<DiskError>]> = faults.into();
        let classes: Vec<&EffectiveClass> = class.all().collect();
        let attributed = namesakes::attribute(&classes, shards, |shard, locations| {
            object_names::class_names(self.buckets(shard, locations))
        });
        let combined = classes.into_iter().zip(attributed).map(|(class, shards)| {
            let fault = class.fault.clone().or_else(|| self.unfit(class, has_directory));
            if let Some(fault) = fault {
                return self.class(class, Vec::new(), Arc::new([fault]));
            }
            let mut objects = BTreeMap::new();
            let mut on_disk = BTreeMap::new();
            for (name, (locations, attribution)) in shards {
                objects.insert(name.clone(), attribution);
                on_disk.insert(name, locations);
            }
            let mut shards = match &class.shards {
                Some(known) => {
                    let mut matching = Matching::new(class, self.directory, self.nodes, self.own);
                    let shards = matching.shards(known, on_disk);
                    // What cannot be listed is not known to be missing.
                    if faults.is_empty() {
                        matching.warn(has_directory, warnings);
                    }
                    shards
                }
                None => on_disk.into_iter().map(unmatched_shard).collect(),
            };
            // The directory of a class is made with the class, so that its tenants are gone with it.
            let is_gone = !has_directory
                && faults.is_empty()
                && self.nodes.iter().all(|node| node.layout() == Layout::Hierarchical);
            for shard in &mut shards {
                if is_gone && shard.skip_reason == Some(SkipReason::TenantWithoutData) {
                    shard.skip_reason = Some(SkipReason::NoData);
                }
                if let Some(attribution) = objects.remove(&*shard.name) {
                    shard.attribution = attribution;
                }
                shard.fault = shard_faults.get(&*shard.name).cloned();
            }
            if !faults.is_empty() {
                // Shards without a directory may lie in what cannot be listed.
                shards.retain(|shard| !shard.is_missing());
            }
            self.class(class, shards, faults.clone())
        });
        combined.chain(beside).collect()
    }

    fn class(
        &self,
        class: &EffectiveClass,
        shards: Vec<Shard>,
        faults: Arc<[Arc<DiskError>]>,
    ) -> Class {
        Class {
            name: class.name.as_str().into(),
            directory: self.directory.into(),
            multi_tenant: class.multi_tenant,
            definition: Some(class.definition.as_str().into()),
            shards: shards.into(),
            faults,
        }
    }

    /// The fault of a class that a schema file has, and this server has not. An empty class has a
    /// directory too, unless it is multi-tenant.
    fn unfit(&self, class: &EffectiveClass, has_directory: bool) -> Option<Arc<DiskError>> {
        let SchemaSource::File(file) = &self.known.source else { return None };
        let fits = match self.known.is_in_raft(self.directory, &class.name) {
            Some(true) => true,
            // The directory may be of a class that was deleted, and is wanted.
            Some(false) => has_directory && self.known.is_deleted(self.directory),
            None => has_directory || class.multi_tenant || class.shards.is_some(),
        };
        let fault =
            || DiskError::SchemaFileHas { file: file.to_path_buf(), class: class.name.clone() };
        (!fits).then(|| Arc::new(fault()))
    }

    /// The classes that no schema describes: their names come from their objects, or else from the
    /// directory.
    fn guessed_classes(&self, located: LocatedClass, warnings: &mut Vec<Warning>) -> Vec<Class> {
        let mut names = self.names_in_objects(&located);
        if names.is_empty() {
            let (directory, name) = (self.directory.to_owned(), names::capitalised(self.directory));
            warnings.push(Warning::ClassNameGuessed { directory, name: name.clone() });
            names.push(name);
        }
        let LocatedClass { shards, faults, shard_faults, .. } = located;
        let guessed: Vec<EffectiveClass> = names.into_iter().map(without_schema).collect();
        let classes: Vec<&EffectiveClass> = guessed.iter().collect();
        let attributed = namesakes::attribute(&classes, shards, |shard, locations| {
            object_names::class_names(self.buckets(shard, locations))
        });
        let faults: Arc<[Arc<DiskError>]> = faults.into();
        let classes = guessed.iter().zip(attributed).map(|(class, shards)| {
            let shard = |(name, (locations, attribution)): (String, (Vec<_>, Attribution))| {
                let fault = shard_faults.get(&name).cloned();
                Shard { attribution, fault, ..unmatched_shard((name, locations)) }
            };
            let shards: Vec<Shard> = shards.into_iter().map(shard).collect();
            let tenant = shards.iter().find(|shard| !names::is_generated_shard(&shard.name));
            if let Some(shard) = tenant {
                let (class, shard) = (class.name.clone(), shard.name.to_string());
                warnings.push(Warning::MultiTenancyGuessed { class, shard });
            }
            Class {
                name: class.name.as_str().into(),
                directory: self.directory.into(),
                multi_tenant: tenant.is_some(),
                definition: None,
                shards: shards.into(),
                faults: faults.clone(),
            }
        });
        classes.collect()
    }

    /// The classes that have data here, and that the schema file lacks.
    fn classes_beside_file(&self, file: &Path, located: LocatedClass) -> Vec<Class> {
        let mut names: Vec<String> = self.known.stored_names(self.directory).cloned().collect();
        if names.is_empty() {
            names = self.names_in_objects(&located);
        }
        if names.is_empty() {
            names.push(names::capitalised(self.directory));
        }
        names.into_iter().map(|name| self.class_beside_file(file, name)).collect()
    }

    /// The classes of the server's own schema that share the directory of `class`, and that the schema
    /// file lacks.
    fn namesakes_beside_file(
        &self,
        class: &EffectiveClass,
        located: Option<&LocatedClass>,
    ) -> Vec<Class> {
        let (SchemaSource::File(file), Some(located)) = (&self.known.source, located) else {
            return Vec::new();
        };
        let stored = self.known.stored_names(self.directory);
        let lacking = stored.filter(|name| class.all().all(|class| class.name != **name));
        let lacking: Vec<String> = lacking.cloned().collect();
        if lacking.is_empty() || !self.may_hold(located) {
            return Vec::new();
        }
        lacking.into_iter().map(|name| self.class_beside_file(file, name)).collect()
    }

    fn class_beside_file(&self, file: &Path, name: String) -> Class {
        let lacks = DiskError::SchemaFileLacks {
            file: file.to_owned(),
            class: name.clone(),
            directory: self.directory.to_owned(),
        };
        Class {
            name: name.into(),
            directory: self.directory.into(),
            multi_tenant: false,
            definition: None,
            shards: Arc::new([]),
            faults: Arc::new([Arc::new(lacks)]),
        }
    }

    /// The exact name of a class that was deleted while the nodes that have its directory were down.
    fn deleted_class(&self, located: &LocatedClass) -> Option<&str> {
        let older = |node: &usize| self.own.get(*node)?.older.as_ref()?.classes.get(self.directory);
        let names: Option<Vec<&str>> =
            located.nodes.iter().map(|node| older(node).map(|class| class.name.as_str())).collect();
        names?.first().copied()
    }

    /// Whether there may be an object.
    fn may_hold(&self, located: &LocatedClass) -> bool {
        let is_empty = |bucket: Bucket| match bucket.list() {
            Ok(files) => files.unwrap_or_default().iter().all(|file| file.bytes == 0),
            Err(_cannot_be_listed) => false,
        };
        !located.faults.is_empty()
            || !located.shard_faults.is_empty()
            || !self.all_buckets(located).all(is_empty)
    }

    fn names_in_objects(&self, located: &LocatedClass) -> Vec<String> {
        object_names::class_names(self.all_buckets(located))
    }

    fn all_buckets(&self, located: &LocatedClass) -> impl Iterator<Item = Bucket> {
        located.shards.iter().flat_map(|(shard, locations)| self.buckets(shard, locations))
    }

    fn buckets(&self, shard: &str, locations: &[ShardLocation]) -> Vec<Bucket> {
        self.opens_shards.set(true);
        let shard = unmatched_shard((shard.to_owned(), locations.to_owned()));
        let class = without_schema(self.directory.to_owned());
        let class = self.class(&class, Vec::new(), Arc::new([]));
        class.buckets(&shard, self.nodes).collect()
    }
}

/// A shard that no schema describes.
fn unmatched_shard((name, locations): (String, Vec<ShardLocation>)) -> Shard {
    Shard {
        name: name.into(),
        status: None,
        skip_reason: None,
        fault: None,
        attribution: Attribution::Names { others: Arc::new([]) },
        locations: locations.into(),
    }
}

/// A class that no schema describes.
fn without_schema(name: String) -> EffectiveClass {
    EffectiveClass {
        name,
        multi_tenant: false,
        definition: String::new(),
        shards: None,
        shards_changed_at: 0,
        fault: None,
        namesakes: Vec::new(),
    }
}
