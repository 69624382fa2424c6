//! What an export covers of a data directory, and how it handles data that cannot be read.
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use offloom_rows::ObjectLimit;
use offloom_weaviate_disk::schema::names::capitalised;
use offloom_weaviate_disk::{
    Class, FilterError, OnBadObject, PropertySelection, ReadOptions, RowFilter, TenantError,
    VectorSelection,
};
use serde::{Deserialize, Serialize};

/// The scope of a request. Class names are exact, see [`capitalised`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    /// The classes to export.
    pub classes: ClassSelection,
    /// Which properties of a class are exported; all if it is not named.
    pub properties: BTreeMap<String, PropertySelection>,
    /// Which vectors of a class are exported; all if it is not named.
    pub vectors: BTreeMap<String, VectorSelection>,
    /// Which tenants of a class are exported; all if it is not named.
    pub tenants: BTreeMap<String, BTreeSet<String>>,
    /// How an object that breaks its format is handled.
    pub on_bad_object: OnBadObject,
    /// Whether the operator lets quarantined objects keep their stored bytes.
    pub quarantine_raw: bool,
    /// Whether an export that lacks shards that cannot be read is a success.
    pub allow_partial: bool,
}

/// Which classes a request names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClassSelection {
    /// It names none: all classes.
    #[default]
    All,
    /// These classes.
    Include(BTreeSet<String>),
    /// All classes but these.
    Exclude(BTreeSet<String>),
}

impl ClassSelection {
    /// The selection of a request with the lists `include` and `exclude`, either of which may be
    /// empty. The names are made exact with [`capitalised`].
    ///
    /// # Errors
    /// [`ScopeError::IncludeAndExclude`].
    pub fn new(include: &[String], exclude: &[String]) -> Result<ClassSelection, ScopeError> {
        let exact = |names: &[String]| names.iter().map(|name| capitalised(name)).collect();
        match (include, exclude) {
            ([], []) => Ok(ClassSelection::All),
            (include, []) => Ok(ClassSelection::Include(exact(include))),
            ([], exclude) => Ok(ClassSelection::Exclude(exact(exclude))),
            _ => Err(ScopeError::IncludeAndExclude),
        }
    }

    /// The classes that it includes by name.
    pub fn included(&self) -> impl Iterator<Item = &String> {
        let included = match self {
            ClassSelection::Include(names) => Some(names),
            ClassSelection::All | ClassSelection::Exclude(_) => None,
        };
        included.into_iter().flatten()
    }

    /// Whether it covers the class.
    pub fn covers(&self, class: &str) -> bool {
        match self {
            ClassSelection::All => true,
            ClassSelection::Include(names) => names.contains(class),
            ClassSelection::Exclude(names) => !names.contains(class),
        }
    }
}

/// An invalid scope.
#[derive(Debug, thiserror::Error)]
pub enum ScopeError {
    /// Both lists of classes were given.
    #[error(
        "include and exclude cannot be given together: name the classes to export, or the ones to \
         leave out"
    )]
    IncludeAndExclude,
    /// A class has a filter or a list of tenants, and is not exported.
    #[error("{what} names the class {class}, which is not among those to export")]
    NotExported {
        /// Which part of the scope.
        what: &'static str,
        /// The class.
        class: String,
    },
    /// A filter names a property or vector that its class does not have.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// Tenants that the class does not have.
    #[error(transparent)]
    Tenants(#[from] TenantError),
}

impl Scope {
    /// Every class that it names, except those that it excludes.
    pub fn named_classes(&self) -> BTreeSet<&String> {
        let named = self.properties.keys().chain(self.vectors.keys()).chain(self.tenants.keys());
        self.classes.included().chain(named).collect()
    }

    /// Makes sure that every class with a filter, tenants or transforms is among `classes`, those to
    /// export.
    ///
    /// # Errors
    /// [`ScopeError::NotExported`].
    pub fn check_classes(
        &self,
        classes: &[Class],
        transformed: &[String],
    ) -> Result<(), ScopeError> {
        let properties = self.properties.keys().map(|class| ("properties", class));
        let vectors = self.vectors.keys().map(|class| ("vectors", class));
        let tenants = self.tenants.keys().map(|class| ("tenants", class));
        let transforms = transformed.iter().map(|class| ("transforms", class));
        let exported: HashSet<&str> = classes.iter().map(|class| &*class.name).collect();
        for (what, class) in properties.chain(vectors).chain(tenants).chain(transforms) {
            if !exported.contains(class.as_str()) {
                return Err(ScopeError::NotExported { what, class: class.clone() });
            }
        }
        Ok(())
    }

    /// The class with only the tenants of this scope, and how it is read. `object_limit` is the
    /// guest's.
    ///
    /// # Errors
    /// [`ScopeError::Filter`], [`ScopeError::Tenants`].
    pub fn apply(
        &self,
        class: Class,
        object_limit: ObjectLimit,
    ) -> Result<(Class, ReadOptions), ScopeError> {
        let filter = RowFilter {
            properties: self.properties.get(&*class.name).cloned().unwrap_or_default(),
            vectors: self.vectors.get(&*class.name).cloned().unwrap_or_default(),
        };
        filter.check(&class)?;
        let class = match self.tenants.get(&*class.name) {
            Some(tenants) => class.with_tenants(tenants)?,
            None => class,
        };
        let reading = ReadOptions {
            filter: Arc::new(filter),
            on_bad_object: self.on_bad_object,
            keep_raw: self.quarantine_raw && !self.narrows_rows(),
            object_limit,
        };
        Ok((class, reading))
    }

    /// Whether a part of some class is left out. Stored bytes would include that part.
    fn narrows_rows(&self) -> bool {
        let parts = [self.properties.len(), self.vectors.len(), self.tenants.len()];
        parts.iter().any(|count| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(multi_tenant: bool) -> Class {
        Class {
            name: "Shelf".into(),
            directory: "shelf".into(),
            multi_tenant,
            definition: None,
            shards: Arc::new([]),
            faults: Arc::new([]),
        }
    }

    fn scope(quarantine_raw: bool) -> Scope {
        Scope { on_bad_object: OnBadObject::Quarantine, quarantine_raw, ..Scope::default() }
    }

    #[test]
    fn stored_bytes_are_kept_only_where_nothing_is_filtered() {
        let keeps =
            |scope: &Scope| scope.apply(class(false), ObjectLimit::DEFAULT).unwrap().1.keep_raw;
        assert!(keeps(&scope(true)));
        assert!(!keeps(&scope(false)));
        // The filter may be on another class.
        let name = || "Other".to_owned();
        let mut filtered = scope(true);
        filtered.properties.insert(name(), PropertySelection::All);
        assert!(!keeps(&filtered));
        let mut filtered = scope(true);
        filtered.vectors.insert(name(), VectorSelection::None);
        assert!(!keeps(&filtered));
        let mut limited = scope(true);
        limited.tenants.insert(name(), BTreeSet::new());
        assert!(!keeps(&limited));
    }

    #[test]
    fn a_class_name_is_capitalised_as_weaviate_does() {
        for (given, exact) in [
            ("note", "Note"),
            ("Note_draft", "Note_draft"),
            ("team-a:note", "team-a:Note"),
            ("éclair", "éclair"),
            ("a:", "a:"),
            ("", ""),
        ] {
            assert_eq!(capitalised(given), exact);
        }
    }

    #[test]
    fn include_and_exclude_are_alternatives() {
        let names =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let select = |include: &[&str], exclude: &[&str]| {
            ClassSelection::new(&names(include), &names(exclude))
        };
        assert_eq!(select(&[], &[]).unwrap(), ClassSelection::All);
        let include = select(&["note"], &[]).unwrap();
        assert!(include.covers("Note") && !include.covers("Target"));
        let exclude = select(&[], &["note"]).unwrap();
        assert!(!exclude.covers("Note") && exclude.covers("Target"));
        assert!(matches!(select(&["a"], &["b"]), Err(ScopeError::IncludeAndExclude)));
    }

    #[test]
    fn what_is_filtered_must_be_exported() {
        let mut scope = scope(false);
        scope.vectors.insert("Shelf".to_owned(), VectorSelection::None);
        assert!(scope.check_classes(&[class(false)], &["Shelf".to_owned()]).is_ok());
        let refused = scope.check_classes(&[], &[]).unwrap_err().to_string();
        assert_eq!(refused, "vectors names the class Shelf, which is not among those to export");
        let transformed = ["Other".to_owned()];
        let refused = scope.check_classes(&[class(false)], &transformed).unwrap_err().to_string();
        assert_eq!(refused, "transforms names the class Other, which is not among those to export");
    }
}
