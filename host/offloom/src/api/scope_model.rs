//! What an export covers, as a request says it.
use std::collections::{BTreeMap, BTreeSet};

use offloom_export::{ClassSelection, Scope};
use offloom_weaviate_disk::schema::names::capitalised;
use offloom_weaviate_disk::{OnBadObject, PropertySelection, VectorSelection};
use serde::Deserialize;
use utoipa::ToSchema;

use super::body::{ExpectedObject, JsonObject};
use super::error::ApiError;
use super::schemas;

/// The fields that say what an export covers. Null or absent fields cover everything.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExportScope)]
pub struct ScopeBody {
    /// These classes alone. Not together with `exclude`.
    include: Option<Vec<String>>,
    /// All classes but these.
    exclude: Option<Vec<String>>,
    /// Which properties of a class are exported.
    #[schema(schema_with = schemas::property_lists)]
    properties: Option<BTreeMap<String, JsonObject<PropertiesBody>>>,
    /// Which vectors of a class are exported. The one without a name is `default`.
    #[schema(schema_with = schemas::vector_lists)]
    vectors: Option<BTreeMap<String, VectorsBody>>,
    /// Which tenants of a class are exported.
    tenants: Option<BTreeMap<String, BTreeSet<String>>>,
    /// What happens to an object that cannot be decoded; `fail` unless it is given.
    #[schema(schema_with = schemas::bad_object_policy)]
    on_bad_object: Option<String>,
    /// Whether to succeed without shards and classes that cannot be read.
    allow_partial: Option<bool>,
}

/// `{"include": [..]}` or `{"exclude": [..]}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PropertiesBody {
    include: Option<BTreeSet<String>>,
    exclude: Option<BTreeSet<String>>,
}

impl ExpectedObject for PropertiesBody {
    const EXPECTED: &'static str = "an object with include or exclude";
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
    /// Number of names in all its lists.
    pub fn names(&self) -> usize {
        let classes = [&self.include, &self.exclude].map(|list| list.as_ref().map_or(0, Vec::len));
        let properties = self.properties.iter().flatten().map(|(_, body)| body.0.names());
        let vectors = self.vectors.iter().flatten().map(|(_, body)| body.names());
        let tenants = self.tenants.iter().flatten().map(|(_, names)| names.len());
        // The class is one more.
        let of_class = properties.chain(vectors).chain(tenants);
        classes
            .into_iter()
            .chain(of_class.map(|names| names.saturating_add(1)))
            .fold(0, usize::saturating_add)
    }

    /// The scope of the request. `quarantine_raw` is a setting of the operator.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] for unknown words, contradictions and filters without a list.
    pub fn into_scope(self, quarantine_raw: bool) -> Result<Scope, ApiError> {
        let on_bad_object = self.on_bad_object.as_deref().map(str::parse::<OnBadObject>);
        let on_bad_object = on_bad_object
            .transpose()
            .map_err(|error| ApiError::Invalid(format!("onBadObject {error}")))?;
        let (include, exclude) =
            (self.include.unwrap_or_default(), self.exclude.unwrap_or_default());
        let mut properties = BTreeMap::new();
        for (class, JsonObject(body)) in self.properties.unwrap_or_default() {
            properties.insert(capitalised(&class), body.into_selection(&class)?);
        }
        let vectors = self.vectors.unwrap_or_default().into_iter();
        let tenants = self.tenants.unwrap_or_default().into_iter();
        Ok(Scope {
            classes: ClassSelection::new(&include, &exclude)?,
            properties,
            vectors: vectors
                .map(|(class, body)| Ok((capitalised(&class), body.into_selection(&class)?)))
                .collect::<Result<_, ApiError>>()?,
            tenants: tenants.map(|(class, names)| (capitalised(&class), names)).collect(),
            on_bad_object: on_bad_object.unwrap_or_default(),
            quarantine_raw,
            allow_partial: self.allow_partial.unwrap_or_default(),
        })
    }
}

impl PropertiesBody {
    fn names(&self) -> usize {
        let lists = [&self.include, &self.exclude];
        lists.map(|list| list.as_ref().map_or(0, BTreeSet::len)).into_iter().sum()
    }

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
    fn names(&self) -> usize {
        match self {
            VectorsBody::Word(_) => 0,
            VectorsBody::Names(names) => names.len(),
        }
    }

    fn into_selection(self, class: &str) -> Result<VectorSelection, ApiError> {
        match self {
            VectorsBody::Word(Word::All) => Ok(VectorSelection::All),
            VectorsBody::Word(Word::None) => Ok(VectorSelection::None),
            VectorsBody::Names(names) if names.is_empty() => Err(ApiError::Invalid(format!(
                "vectors of the class {class}: name at least one, or give \"none\""
            ))),
            VectorsBody::Names(names) => Ok(VectorSelection::Named(names)),
        }
    }
}
