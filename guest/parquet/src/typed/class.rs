//! The columns that a class gets: from its definition and the vectors that it declares.
use std::collections::{BTreeMap, HashSet};

use arrow_schema::{DataType as ArrowType, Field as ArrowField, Fields, TimeUnit};
use serde::Deserialize;

use crate::bindings::offloom::export::types::Error;

/// JSON of everything that no column can give back.
pub(crate) const REST: &str = "_rest";
/// JSON of the vectors that the class does not declare.
pub(crate) const OTHER_VECTORS: &str = "other_vectors";
/// Before the name of a property whose column would have the name of another.
const PROPERTY: &str = "property_";
/// Before the name of a named vector.
const VECTOR: &str = "vector_";

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Int,
    Number,
    Boolean,
    Date,
    Uuid,
    Geo,
    /// Any value, as JSON.
    Json,
}

/// A property that the class declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Property {
    pub(crate) name: String,
    /// The name of its column.
    pub(crate) column: String,
    pub(crate) kind: Kind,
    pub(crate) is_list: bool,
}

/// The class as Weaviate's REST shows it, as far as it is read here.
#[derive(Default, Deserialize)]
pub(crate) struct Definition {
    #[serde(default)]
    properties: Option<Vec<Declared>>,
    #[serde(default, rename = "vectorConfig")]
    vectors: Option<BTreeMap<String, DeclaredVector>>,
}

#[derive(Deserialize)]
struct DeclaredVector {
    #[serde(default, rename = "vectorIndexConfig")]
    index: Option<VectorIndex>,
}

#[derive(Deserialize)]
struct VectorIndex {
    #[serde(default)]
    multivector: Option<MultiVector>,
}

#[derive(Deserialize)]
struct MultiVector {
    #[serde(default)]
    enabled: bool,
}

#[derive(Deserialize)]
struct Declared {
    name: String,
    #[serde(rename = "dataType")]
    data_type: Vec<String>,
}

/// Names that are given away. Lower case: DuckDB and Spark take names that differ in case to be the
/// same.
pub(crate) struct Names(HashSet<String>);

impl Names {
    /// These are taken.
    pub(crate) fn new<'a>(taken: impl IntoIterator<Item = &'a str>) -> Names {
        Names(taken.into_iter().map(str::to_lowercase).collect())
    }

    /// The column of a named vector: `vector_` and its name, once more as long as that is taken.
    pub(crate) fn of_vector(&mut self, name: &str) -> String {
        self.prefixed(&format!("{VECTOR}{name}"), VECTOR)
    }

    fn prefixed(&mut self, name: &str, prefix: &str) -> String {
        let mut name = name.to_owned();
        while !self.0.insert(name.to_lowercase()) {
            name.insert_str(0, prefix);
        }
        name
    }
}

impl Definition {
    /// Reads a definition; without one, nothing is declared.
    pub(crate) fn read(definition: Option<&str>) -> Result<Definition, Error> {
        let Some(definition) = definition else { return Ok(Definition::default()) };
        serde_json::from_str(definition).map_err(|error| {
            Error::InvalidData(format!("the definition of the class cannot be read: {error}"))
        })
    }

    /// The names of the vectors, sorted: of those that are lists of vectors, or of the others.
    pub(crate) fn vectors(&self, are_lists: bool) -> Vec<String> {
        let is_list = |vector: &DeclaredVector| {
            let multivector = vector.index.as_ref().and_then(|index| index.multivector.as_ref());
            multivector.is_some_and(|multivector| multivector.enabled)
        };
        let vectors = self.vectors.iter().flatten();
        let wanted = vectors.filter(|(_, vector)| is_list(vector) == are_lists);
        wanted.map(|(name, _)| name.clone()).collect()
    }
}

/// The declared properties, in their order.
pub(crate) fn properties(definition: Definition, names: &mut Names) -> Vec<Property> {
    let declared = definition.properties.unwrap_or_default();
    // A property keeps its name if it can, wherever one with a longer name stands.
    let is_free: Vec<bool> =
        declared.iter().map(|property| names.0.insert(property.name.to_lowercase())).collect();
    let properties = declared.into_iter().zip(is_free).map(|(property, is_free)| {
        let column = match is_free {
            true => property.name.clone(),
            false => names.prefixed(&format!("{PROPERTY}{}", property.name), PROPERTY),
        };
        let (kind, is_list) = kind(&property.data_type);
        Property { name: property.name, column, kind, is_list }
    });
    properties.collect()
}

/// Its type, and whether it is a list of that.
fn kind(data_type: &[String]) -> (Kind, bool) {
    let [name] = data_type else { return (Kind::Json, false) };
    let (item, is_list) = match name.strip_suffix("[]") {
        Some(item) => (item, true),
        None => (name.as_str(), false),
    };
    let kind = match item {
        "text" | "string" => Kind::Text,
        "int" => Kind::Int,
        "number" => Kind::Number,
        "boolean" => Kind::Boolean,
        "date" => Kind::Date,
        "uuid" => Kind::Uuid,
        // Base64, as Weaviate shows it.
        "blob" if !is_list => Kind::Text,
        "geoCoordinates" if !is_list => Kind::Geo,
        _ => return (Kind::Json, false),
    };
    (kind, is_list)
}

impl Kind {
    /// The type of one value.
    pub(crate) fn arrow(self) -> ArrowType {
        match self {
            Kind::Text | Kind::Uuid | Kind::Json => ArrowType::Utf8,
            Kind::Int => ArrowType::Int64,
            Kind::Number => ArrowType::Float64,
            Kind::Boolean => ArrowType::Boolean,
            Kind::Date => ArrowType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Kind::Geo => ArrowType::Struct(geo_fields()),
        }
    }
}

impl Property {
    /// Its column.
    pub(crate) fn field(&self) -> ArrowField {
        let item = self.kind.arrow();
        let data_type = if self.is_list { list_of(item) } else { item };
        ArrowField::new(&self.column, data_type, true)
    }
}

/// Of `geoCoordinates`.
pub(crate) fn geo_fields() -> Fields {
    let field = |name: &str| ArrowField::new(name, ArrowType::Float64, false);
    vec![field("latitude"), field("longitude")].into()
}

/// A list whose elements are not null.
pub(crate) fn list_of(item: ArrowType) -> ArrowType {
    ArrowType::List(element(item))
}

/// The elements of a list, by the name that the Parquet format gives them.
pub(crate) fn element(item: ArrowType) -> arrow_schema::FieldRef {
    ArrowField::new("element", item, false).into()
}
