//! The part of a request that says what an export covers.
use std::collections::{BTreeMap, BTreeSet};

use offloom_weaviate_disk::{OnBadObject, PropertySelection, VectorSelection};
use serde::Deserialize;

use super::error::ApiError;
use crate::plan::capitalised;
use crate::scope::Scope;

/// Fields of a request. What is null or left out covers everything.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScopeBody {
    include: Option<Vec<String>>,
    exclude: Option<Vec<String>>,
    properties: Option<BTreeMap<String, PropertiesBody>>,
    vectors: Option<BTreeMap<String, VectorsBody>>,
    tenants: Option<BTreeMap<String, BTreeSet<String>>>,
    on_bad_object: Option<String>,
    allow_partial: Option<bool>,
}

/// `{"include": [..]}` or `{"exclude": [..]}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PropertiesBody {
    include: Option<BTreeSet<String>>,
    exclude: Option<BTreeSet<String>>,
}

/// `"all"`, `"none"`, or names.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "\"all\", \"none\" or a list of names")]
enum VectorsBody {
    Word(Word),
    Names(BTreeSet<String>),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    All,
    None,
}

impl ScopeBody {
    /// `quarantine_raw` is the operator's.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] for words that are not known and filters that say nothing.
    pub fn into_scope(self, quarantine_raw: bool) -> Result<Scope, ApiError> {
        let on_bad_object = self.on_bad_object.as_deref().map(str::parse::<OnBadObject>);
        let on_bad_object = on_bad_object
            .transpose()
            .map_err(|error| ApiError::Invalid(format!("onBadObject {error}")))?;
        let names = |names: Option<Vec<String>>| {
            names.unwrap_or_default().iter().map(|name| capitalised(name)).collect()
        };
        let mut properties = BTreeMap::new();
        for (class, body) in self.properties.unwrap_or_default() {
            properties.insert(capitalised(&class), body.into_selection(&class)?);
        }
        let vectors = self.vectors.unwrap_or_default().into_iter();
        let tenants = self.tenants.unwrap_or_default().into_iter();
        Ok(Scope {
            include: names(self.include),
            exclude: names(self.exclude),
            properties,
            vectors: vectors
                .map(|(class, body)| (capitalised(&class), body.into_selection()))
                .collect(),
            tenants: tenants.map(|(class, names)| (capitalised(&class), names)).collect(),
            on_bad_object: on_bad_object.unwrap_or_default(),
            quarantine_raw,
            allow_partial: self.allow_partial.unwrap_or_default(),
        })
    }
}

impl PropertiesBody {
    fn into_selection(self, class: &str) -> Result<PropertySelection, ApiError> {
        match (self.include, self.exclude) {
            (Some(names), None) => Ok(PropertySelection::Include(names)),
            (None, Some(names)) => Ok(PropertySelection::Exclude(names)),
            (None, None) | (Some(_), Some(_)) => Err(ApiError::Invalid(format!(
                "properties of the class {class}: give either include or exclude"
            ))),
        }
    }
}

impl VectorsBody {
    fn into_selection(self) -> VectorSelection {
        match self {
            VectorsBody::Word(Word::All) => VectorSelection::All,
            VectorsBody::Word(Word::None) => VectorSelection::None,
            VectorsBody::Names(names) => VectorSelection::Named(names),
        }
    }
}
