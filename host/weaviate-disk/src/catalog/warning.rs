//! What was guessed, skipped or contradictory when a data directory was opened.
use std::{
    collections::{HashMap, HashSet},
    fmt,
    path::PathBuf,
};

use super::class::Class;
use crate::schema::{ReadFrom, SchemaWarning};

/// Shards that a warning is about: their number, and the names of the first ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examples {
    /// The names of the first ones, at most five.
    pub first: Vec<String>,
    /// Their number.
    pub total: usize,
}

impl Examples {
    const KEPT: usize = 5;

    pub(crate) fn add(&mut self, name: &str) {
        if self.first.len() < Examples::KEPT {
            self.first.push(name.to_owned());
        }
        self.total = self.total.saturating_add(1);
    }
}

/// `1 shard (a) is`, or `7 shards (a, b, c, d, e and 2 more) are`; without any, `some shards are`.
impl fmt::Display for Examples {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.total == 0 {
            return formatter.write_str("some shards are");
        }
        let (noun, verb) = if self.total == 1 { ("shard", "is") } else { ("shards", "are") };
        write!(formatter, "{} {noun} ({}", self.total, self.first.join(", "))?;
        let more = self.total.saturating_sub(self.first.len());
        if more > 0 {
            write!(formatter, " and {more} more")?;
        }
        write!(formatter, ") {verb}")
    }
}

/// Something about the directory that the operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// Neither a schema nor an object has the exact class name.
    ClassNameGuessed {
        /// Directory of the class.
        directory: String,
        /// The name that is used.
        name: String,
    },
    /// There is no schema, and a shard's name is not one that Weaviate generates.
    MultiTenancyGuessed {
        /// Exact class name.
        class: String,
        /// That shard.
        shard: String,
    },
    /// A class on disk is not in the schema; it is left out.
    ClassNotInSchema {
        /// Directory of the class.
        directory: String,
    },
    /// Shards on disk are not in the schema, although their class is; they are left out.
    ShardsNotInSchema {
        /// Exact class name.
        class: String,
        /// Those shards.
        shards: Examples,
    },
    /// Shards were deleted while a node was down, and some made again; its files of them are left out.
    OlderLives {
        /// Exact class name.
        class: String,
        /// Those shards.
        shards: Examples,
    },
    /// Shards lie on a node whose log ends so early that none says whether they were deleted since and
    /// made again; they are read.
    LivesUnknown {
        /// Exact class name.
        class: String,
        /// Those shards.
        shards: Examples,
    },
    /// Shards of a class without tenants should lie on this node and do not.
    ShardsMissing {
        /// Exact class name.
        class: String,
        /// Whether the class has a directory.
        has_directory: bool,
        /// Those shards.
        shards: Examples,
    },
    /// The schema places shards on disk on other nodes; they are read.
    ShardsMisplaced {
        /// Exact class name.
        class: String,
        /// Those shards.
        shards: Examples,
    },
    /// Shards lie only on other nodes.
    ShardsElsewhere {
        /// Exact class name.
        class: String,
        /// Those shards.
        shards: Examples,
        /// Names of those nodes.
        nodes: Vec<String>,
    },
    /// The server's stored schema cannot be read; a schema file is used, or that of another node.
    ServerSchema {
        /// The data directory.
        path: PathBuf,
        /// Why.
        reason: String,
        /// Whether another node's schema has the tenants and their states.
        tenants_known: bool,
    },
    /// The schemas of two nodes differ; the newer one is used.
    SchemasDiffer {
        /// The data directory with the older one.
        path: PathBuf,
        /// The older schema.
        source: ReadFrom,
        /// The newer schema.
        newer: ReadFrom,
    },
    /// Shards have a copy on a node that the schema does not place them on, besides those on their
    /// own nodes; that copy is left out.
    CopiesMisplaced {
        /// Exact class name.
        class: String,
        /// Those shards.
        shards: Examples,
    },
    /// One of their nodes does not have these shards.
    CopiesMissing {
        /// Exact class name.
        class: String,
        /// Those shards.
        shards: Examples,
    },
    /// A warning about the server's stored schema.
    Schema(SchemaWarning),
    /// A directory could be a class's, but has no shard.
    NoShards {
        /// The directory.
        directory: String,
    },
    /// The name of a directory is not that of a class or shard.
    UnknownDirectory {
        /// Path relative to the data directory.
        directory: String,
    },
}

impl fmt::Display for Warning {
    // Over 60 lines: one text for each variant.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::ClassNameGuessed { directory, name } => write!(
                formatter,
                "directory {directory} is exported as class {name}: no object has the exact name; \
                 give a schema file (--schema)"
            ),
            Warning::MultiTenancyGuessed { class, shard } => write!(
                formatter,
                "class {class} is exported as multi-tenant because of its shard {shard}; give a \
                 schema file (--schema) to be sure"
            ),
            Warning::ClassNotInSchema { directory } => {
                write!(formatter, "directory {directory} is left out: the schema has no such class")
            }
            Warning::ShardsNotInSchema { class, shards } => write!(
                formatter,
                "class {class}: {shards} on disk and not in the schema, and left out"
            ),
            Warning::OlderLives { class, shards } => write!(
                formatter,
                "class {class}: {shards} in the directory of a node that was down when they were \
                 deleted, or deleted and made again; its files of them are left out"
            ),
            Warning::LivesUnknown { class, shards } => write!(
                formatter,
                "class {class}: {shards} in the directory of a node of which no RAFT log says whether \
                 they were deleted and made again since it was down: deleted objects may be among their \
                 rows; start the node with its cluster once to be sure"
            ),
            Warning::ShardsMissing { class, has_directory, shards } => write!(
                formatter,
                "class {class}: {shards} in the schema and not on disk{}",
                if *has_directory { "" } else { "; the class has no directory either" }
            ),
            Warning::ShardsMisplaced { class, shards } => write!(
                formatter,
                "class {class}: {shards} on disk, although the schema places them on other nodes: \
                 a copy that was being made may not be whole"
            ),
            Warning::ShardsElsewhere { class, shards, nodes } => write!(
                formatter,
                "class {class}: {shards} only on other nodes ({}), whose data directories were not \
                 given",
                nodes.join(", ")
            ),
            Warning::ServerSchema { path, reason, tenants_known } => write!(
                formatter,
                "the server's own schema in {} cannot be read{}: {reason}",
                path.display(),
                if *tenants_known { "" } else { ", so the states of tenants are not known" }
            ),
            Warning::SchemasDiffer { path, source, newer } => write!(
                formatter,
                "the schema in {} ({source}) differs from the newer one, which is used ({newer})",
                path.display()
            ),
            Warning::CopiesMisplaced { class, shards } => write!(
                formatter,
                "class {class}: {shards} also in the directory of a node that the schema does not \
                 place them on; that copy is left out"
            ),
            Warning::CopiesMissing { class, shards } => write!(
                formatter,
                "class {class}: {shards} missing in the directory of a node that the schema places \
                 them on"
            ),
            Warning::Schema(warning) => warning.fmt(formatter),
            Warning::NoShards { directory } => {
                write!(formatter, "directory {directory} has no shard and is left out")
            }
            Warning::UnknownDirectory { directory } => write!(
                formatter,
                "directory {directory} is left out: its name is not one that Weaviate gives"
            ),
        }
    }
}

/// Those of `warnings` that concern an export of `classes`, as text for its readers, who may not be
/// allowed to know of other classes: warnings that name another class are left out, and so are
/// reasons that could name one. Where only some tenants of a class are exported, no shard is named: it
/// may be another tenant. `all` are the classes with all their tenants.
pub(crate) fn for_export<'a>(
    warnings: &[Warning],
    classes: impl IntoIterator<Item = &'a Class>,
    all: &[Class],
) -> Vec<String> {
    let shards: HashMap<&str, usize> =
        all.iter().map(|class| (&*class.name, class.shards.len())).collect();
    let (mut names, mut directories) = (HashSet::new(), HashSet::new());
    let mut of_some_tenants = HashSet::new();
    for class in classes {
        if shards.get(&*class.name).is_some_and(|all| class.shards.len() < *all) {
            of_some_tenants.insert(&*class.name);
        }
        names.insert(&*class.name);
        directories.insert(&*class.directory);
    }
    let is_exported = |named: Named<'_>| match named {
        Named::Class(name) => names.contains(name),
        Named::Directory(directory) => directories.contains(directory),
        Named::Nothing => true,
    };
    let text = |warning: &Warning| match warning {
        Warning::ServerSchema { path, tenants_known, .. } => format!(
            "the server's own schema in {} cannot be read{}",
            path.display(),
            if *tenants_known { "" } else { ", so the states of tenants are not known" }
        ),
        Warning::Schema(SchemaWarning::SnapshotSkipped { snapshot, .. }) => {
            format!("RAFT snapshot {snapshot} is skipped")
        }
        other => other.to_string(),
    };
    let anonymous = |warning: &Warning| match warning.named() {
        Named::Class(class) if of_some_tenants.contains(class) => warning.without_shards(),
        _ => Some(warning.clone()),
    };
    let exported = warnings.iter().filter(|warning| is_exported(warning.named()));
    exported.filter_map(anonymous).map(|warning| text(&warning)).collect()
}

/// The class that a warning names.
enum Named<'a> {
    /// By its exact name.
    Class(&'a str),
    /// By its directory, or what may be one.
    Directory(&'a str),
    /// It names none.
    Nothing,
}

impl Warning {
    /// The same without names and numbers of shards; `None` if nothing would be left.
    fn without_shards(&self) -> Option<Warning> {
        let mut anonymous = self.clone();
        match &mut anonymous {
            Warning::ShardsNotInSchema { shards, .. }
            | Warning::OlderLives { shards, .. }
            | Warning::LivesUnknown { shards, .. }
            | Warning::ShardsMissing { shards, .. }
            | Warning::ShardsMisplaced { shards, .. }
            | Warning::ShardsElsewhere { shards, .. }
            | Warning::CopiesMisplaced { shards, .. }
            | Warning::CopiesMissing { shards, .. } => *shards = Examples::default(),
            // Who asks for tenants knows that there are some.
            Warning::MultiTenancyGuessed { .. } => return None,
            Warning::ClassNameGuessed { .. }
            | Warning::ClassNotInSchema { .. }
            | Warning::ServerSchema { .. }
            | Warning::SchemasDiffer { .. }
            | Warning::Schema(_)
            | Warning::NoShards { .. }
            | Warning::UnknownDirectory { .. } => {}
        }
        Some(anonymous)
    }

    fn named(&self) -> Named<'_> {
        match self {
            Warning::ClassNameGuessed { name: class, .. }
            | Warning::MultiTenancyGuessed { class, .. }
            | Warning::ShardsNotInSchema { class, .. }
            | Warning::OlderLives { class, .. }
            | Warning::LivesUnknown { class, .. }
            | Warning::ShardsMissing { class, .. }
            | Warning::ShardsMisplaced { class, .. }
            | Warning::ShardsElsewhere { class, .. }
            | Warning::CopiesMisplaced { class, .. }
            | Warning::CopiesMissing { class, .. }
            | Warning::Schema(SchemaWarning::NotApplied { class, .. }) => Named::Class(class),
            Warning::ClassNotInSchema { directory } | Warning::NoShards { directory } => {
                Named::Directory(directory)
            }
            // A directory in that of a class.
            Warning::UnknownDirectory { directory } => {
                Named::Directory(directory.split('/').next().unwrap_or(directory))
            }
            Warning::ServerSchema { .. }
            | Warning::SchemasDiffer { .. }
            | Warning::Schema(
                SchemaWarning::SnapshotSkipped { .. } | SchemaWarning::UnknownCommands { .. },
            ) => Named::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::catalog::class::{Attribution, Shard};

    fn class(name: &str) -> Class {
        Class {
            name: name.into(),
            directory: name.to_ascii_lowercase().into(),
            multi_tenant: false,
            definition: None,
            shards: Arc::new([]),
            faults: Arc::new([]),
        }
    }

    /// One of each kind that names a class, for this class.
    fn naming(class: &str) -> Vec<Warning> {
        let name = || class.to_owned();
        let directory = || class.to_ascii_lowercase();
        let shards = Examples::default;
        vec![
            Warning::ClassNameGuessed { directory: directory(), name: name() },
            Warning::MultiTenancyGuessed { class: name(), shard: "s".to_owned() },
            Warning::ClassNotInSchema { directory: directory() },
            Warning::ShardsNotInSchema { class: name(), shards: shards() },
            Warning::ShardsMissing { class: name(), has_directory: true, shards: shards() },
            Warning::ShardsMisplaced { class: name(), shards: shards() },
            Warning::ShardsElsewhere { class: name(), shards: shards(), nodes: Vec::new() },
            Warning::CopiesMisplaced { class: name(), shards: shards() },
            Warning::CopiesMissing { class: name(), shards: shards() },
            Warning::Schema(SchemaWarning::NotApplied {
                index: 7,
                command: "ADD_CLASS",
                class: name(),
                reason: "r".to_owned(),
            }),
            Warning::OlderLives { class: name(), shards: shards() },
            Warning::LivesUnknown { class: name(), shards: shards() },
            Warning::NoShards { directory: directory() },
            Warning::UnknownDirectory { directory: format!("{}/a b", directory()) },
        ]
    }

    #[test]
    fn a_warning_that_names_another_class_is_not_for_the_export() {
        let all = [naming("Secret"), naming("Note")].concat();
        let kept: Vec<String> = naming("Note").iter().map(ToString::to_string).collect();
        assert_eq!(for_export(&all, [&class("Note"), &class("Target")], &[]), kept);
        assert!(for_export(&all, [&class("Notes")], &[]).is_empty());
    }

    #[test]
    fn an_export_of_some_tenants_names_no_others() {
        let mut shards = Examples::default();
        shards.add("other-tenant");
        let warnings = [
            Warning::ShardsMisplaced { class: "Note".to_owned(), shards },
            Warning::MultiTenancyGuessed { class: "Note".to_owned(), shard: "other-tenant".into() },
        ];
        let shard = |name: &str| Shard {
            name: name.into(),
            status: None,
            skip_reason: None,
            fault: None,
            attribution: Attribution::Schema,
            locations: Box::new([]),
        };
        let of = |shards: Vec<_>| Class { shards: shards.into(), ..class("Note") };
        let all = [of(vec![shard("mine"), shard("other-tenant")])];
        assert!(for_export(&warnings, &all, &all).concat().contains("other-tenant"));
        let texts = for_export(&warnings, [&of(vec![shard("mine")])], &all);
        assert_eq!(texts.len(), 1);
        assert!(texts[0].starts_with("class Note: some shards are on disk, although"), "{texts:?}");
        assert!(!texts.concat().contains("other-tenant"), "{texts:?}");
    }

    #[test]
    fn a_warning_that_names_no_class_stays_without_reasons_that_may_name_one() {
        let reason = || "class Secret: there is no such class".to_owned();
        let warnings = [
            Warning::ServerSchema { path: "/data".into(), reason: reason(), tenants_known: false },
            Warning::Schema(SchemaWarning::SnapshotSkipped {
                snapshot: "3-17".to_owned(),
                reason: reason(),
            }),
            Warning::Schema(SchemaWarning::UnknownCommands {
                numbers: [94].into(),
                entries: 3,
                first: 7,
            }),
        ];
        let texts = for_export(&warnings, [&class("Note")], &[]);
        assert_eq!(texts.len(), 3);
        assert_eq!(
            texts[0],
            "the server's own schema in /data cannot be read, so the states of tenants are not known"
        );
        assert_eq!(texts[1], "RAFT snapshot 3-17 is skipped");
        assert!(!texts.concat().contains("Secret"), "{texts:?}");
    }
}
