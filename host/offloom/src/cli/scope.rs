//! The options that say what an export covers.
use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use clap::Args;
use offloom_export::{ClassSelection, Scope};
use offloom_weaviate_disk::schema::names::capitalised;
use offloom_weaviate_disk::{OnBadObject, PropertySelection, VectorSelection};

/// What an export covers of a data directory, and how it handles data that cannot be read.
#[derive(Debug, Args)]
pub struct ScopeArgs {
    /// Export only these classes
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = class_name)]
    include: Vec<String>,
    /// Export all classes but these
    #[arg(long, value_name = "C", value_delimiter = ',', value_parser = class_name)]
    exclude: Vec<String>,
    /// Properties of a class to export, or, each with a minus, to leave out: Article=title,body or
    /// Article=-secret; may be given several times
    #[arg(long, value_name = "CLASS=A,B", value_parser = properties)]
    properties: Vec<(String, PropertySelection)>,
    /// Vectors of a class to export: all, none, or names (the unnamed one is `default`); may be
    /// given several times
    #[arg(long, value_name = "CLASS=all|none|A,B", value_parser = vectors)]
    vectors: Vec<(String, VectorSelection)>,
    /// Tenants of a class to export; may be given several times
    #[arg(long, value_name = "CLASS=A,B", value_parser = tenants)]
    tenants: Vec<(String, BTreeSet<String>)>,
    /// How to handle an object that cannot be decoded: `fail` ends the export, `skip` leaves it
    /// out and counts it, `quarantine` also lists it in quarantine/
    #[arg(long, value_name = "POLICY", default_value = "fail")]
    on_bad_object: OnBadObject,
    /// Keep the stored bytes of quarantined objects, unless a filter or a tenant limit is active
    #[arg(long)]
    quarantine_raw: bool,
    /// Succeed without shards that cannot be read; the manifest says what is missing
    #[arg(long)]
    allow_partial: bool,
}

impl ScopeArgs {
    /// The scope of the options.
    ///
    /// # Errors
    /// Options that contradict each other.
    pub fn into_scope(self) -> anyhow::Result<Scope> {
        Ok(Scope {
            classes: ClassSelection::new(&self.include, &self.exclude)?,
            properties: by_class("--properties", self.properties)?,
            vectors: by_class("--vectors", self.vectors)?,
            tenants: by_class("--tenants", self.tenants)?,
            on_bad_object: self.on_bad_object,
            quarantine_raw: self.quarantine_raw,
            allow_partial: self.allow_partial,
        })
    }
}

fn by_class<T>(option: &str, given: Vec<(String, T)>) -> anyhow::Result<BTreeMap<String, T>> {
    let mut of_classes = BTreeMap::new();
    for (class, value) in given {
        if of_classes.insert(capitalised(&class), value).is_some() {
            bail!("{option} is given twice for the class {class}");
        }
    }
    Ok(of_classes)
}

/// A name out of `A, B`.
fn class_name(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("expected a class name".to_owned()),
        name => Ok(name.to_owned()),
    }
}

fn class_and_names(text: &str) -> Result<(String, BTreeSet<String>), String> {
    let expected = || "expected CLASS=NAME,NAME".to_owned();
    let (class, names) = text.split_once('=').ok_or_else(expected)?;
    let (class, names) = (class.trim(), names.split(',').map(|name| name.trim().to_owned()));
    let names: BTreeSet<String> = names.collect();
    if class.is_empty() || names.contains("") {
        return Err(expected());
    }
    Ok((class.to_owned(), names))
}

fn properties(text: &str) -> Result<(String, PropertySelection), String> {
    let (class, names) = class_and_names(text)?;
    let excluded: BTreeSet<String> =
        names.iter().filter_map(|name| name.strip_prefix('-')).map(str::to_owned).collect();
    let selection = match excluded.len() {
        0 => PropertySelection::Include(names),
        all if all == names.len() => PropertySelection::Exclude(excluded),
        _ => return Err("either every name has a minus, or none has".to_owned()),
    };
    Ok((class, selection))
}

fn vectors(text: &str) -> Result<(String, VectorSelection), String> {
    let (class, names) = class_and_names(text)?;
    let only = |word: &str| names.len() == 1 && names.contains(word);
    let selection = if only("all") {
        VectorSelection::All
    } else if only("none") {
        VectorSelection::None
    } else {
        VectorSelection::Named(names)
    };
    Ok((class, selection))
}

fn tenants(text: &str) -> Result<(String, BTreeSet<String>), String> {
    class_and_names(text)
}
