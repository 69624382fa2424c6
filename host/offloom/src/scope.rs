//! What of a data directory an export covers, and what becomes of data that cannot be read.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use offloom_weaviate_disk::{
    Class, FilterError, OnBadObject, PropertySelection, ReadOptions, RowFilter, TenantError,
    VectorSelection,
};

/// What an export covers, as it was asked for. Class names have their first letter capitalised.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Classes to export; empty for all.
    pub include: Vec<String>,
    /// Classes to leave out.
    pub exclude: Vec<String>,
    /// Which properties of a class go out; all where it is not named.
    pub properties: BTreeMap<String, PropertySelection>,
    /// Which vectors of a class go out; all where it is not named.
    pub vectors: BTreeMap<String, VectorSelection>,
    /// Which tenants of a class go out; all where it is not named.
    pub tenants: BTreeMap<String, BTreeSet<String>>,
    /// What becomes of an object that breaks its format.
    pub on_bad_object: OnBadObject,
    /// Whether the operator lets quarantined objects keep their stored bytes.
    pub quarantine_raw: bool,
    /// Whether an export without what cannot be read is a success.
    pub allow_partial: bool,
}

/// A scope that cannot be meant.
#[derive(Debug, thiserror::Error)]
pub enum ScopeError {
    /// A class has a filter or a list of tenants, and is not exported.
    #[error("{what} names the class {class}, which is not among those to export")]
    NotExported {
        /// Which part of the scope.
        what: &'static str,
        /// The class.
        class: String,
    },
    /// A filter names what its class does not have.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// Tenants that the class does not have.
    #[error(transparent)]
    Tenants(#[from] TenantError),
}

impl Scope {
    /// Every class that it names.
    pub fn named_classes(&self) -> BTreeSet<&String> {
        let named = self.properties.keys().chain(self.vectors.keys()).chain(self.tenants.keys());
        self.include.iter().chain(named).collect()
    }

    /// Makes sure that what has filters or tenants is among `classes`, those to export.
    ///
    /// # Errors
    /// [`ScopeError::NotExported`].
    pub fn check_classes(&self, classes: &[Class]) -> Result<(), ScopeError> {
        let properties = self.properties.keys().map(|class| ("properties", class));
        let vectors = self.vectors.keys().map(|class| ("vectors", class));
        let tenants = self.tenants.keys().map(|class| ("tenants", class));
        for (what, class) in properties.chain(vectors).chain(tenants) {
            if !classes.iter().any(|exported| *exported.name == **class) {
                return Err(ScopeError::NotExported { what, class: class.clone() });
            }
        }
        Ok(())
    }

    /// The class with its tenants of this scope alone, and how it is read.
    ///
    /// # Errors
    /// [`ScopeError::Filter`], [`ScopeError::Tenants`].
    pub fn apply(&self, class: Class) -> Result<(Class, ReadOptions), ScopeError> {
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
        };
        Ok((class, reading))
    }

    /// Whether a part of some class is left out: stored bytes would bypass that.
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
        }
    }

    fn scope(quarantine_raw: bool) -> Scope {
        Scope { on_bad_object: OnBadObject::Quarantine, quarantine_raw, ..Scope::default() }
    }

    #[test]
    fn stored_bytes_are_kept_only_where_nothing_is_filtered() {
        let keeps = |scope: &Scope| scope.apply(class(false)).unwrap().1.keep_raw;
        assert!(keeps(&scope(true)));
        assert!(!keeps(&scope(false)));
        // Whatever class the filter is on.
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
    fn what_is_filtered_must_be_exported() {
        let mut scope = scope(false);
        scope.vectors.insert("Shelf".to_owned(), VectorSelection::None);
        assert!(scope.check_classes(&[class(false)]).is_ok());
        let refused = scope.check_classes(&[]).unwrap_err().to_string();
        assert_eq!(refused, "vectors names the class Shelf, which is not among those to export");
    }
}
