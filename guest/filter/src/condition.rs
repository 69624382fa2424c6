//! The expression, what it names, and where each name's value is.
use std::collections::BTreeMap;

use cel::parser::{Expression, PrattParser};
use cel::{Context, Value};
use serde::Deserialize;

use crate::names::free_names;
use crate::options::Settings;

/// The column with all properties, and the name of the map of them.
pub const PROPERTIES: &str = "properties";

/// Columns that an expression may name.
pub const COLUMNS: [&str; 4] = ["id", "tenant", "creation_time", "update_time"];

/// As much as is read of the definition of a class (Weaviate's REST API).
#[derive(Deserialize)]
struct Definition {
    #[serde(default)]
    properties: Vec<Property>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Property {
    name: String,
    #[serde(default)]
    data_type: Vec<String>,
}

/// The expression for the rows of one class.
pub struct Condition {
    expression: Expression,
    /// The columns that it names, each of [`COLUMNS`].
    pub columns: Vec<&'static str>,
    /// The properties that it names, and whether each holds floating-point numbers.
    pub properties: BTreeMap<String, bool>,
    /// Whether it names all properties as a map.
    pub all_properties: bool,
    /// Those of all properties that hold floating-point numbers.
    pub floats: Vec<String>,
}

impl Condition {
    /// Compiles the expression, and looks its names up in the columns and the definition of the class.
    ///
    /// # Errors
    /// What is wrong with the expression.
    pub fn new(
        settings: &Settings,
        columns: &[&str],
        definition: Option<&str>,
    ) -> Result<Condition, String> {
        let text = &settings.expression;
        // The other parser of this crate imports clocks, which guests are not granted.
        let expression = PrattParser::default()
            .parse(text)
            .map_err(|error| format!("the expression `{text}`: {error}"))?;
        // A definition that cannot be read leaves the names unchecked.
        let definition: Option<Definition> =
            definition.and_then(|text| serde_json::from_str(text).ok());
        let known: Option<BTreeMap<String, bool>> = definition.map(|definition| {
            let properties = definition.properties.into_iter();
            properties.map(|property| (property.name, is_float(&property.data_type))).collect()
        });
        let mut condition = Condition {
            columns: Vec::new(),
            properties: BTreeMap::new(),
            all_properties: false,
            floats: Vec::new(),
            expression,
        };
        let names: Vec<String> =
            free_names(&condition.expression).into_iter().map(str::to_owned).collect();
        for name in names {
            if let Some(column) = COLUMNS.into_iter().find(|column| *column == name) {
                if !columns.contains(&column) {
                    return Err(format!("the class has no column `{column}`"));
                }
                condition.columns.push(column);
            } else if name == PROPERTIES {
                condition.all_properties = true;
            } else {
                let found = known.as_ref().map(|known| known.get(&name).copied());
                if found == Some(None) && settings.must_exist {
                    return Err(format!(
                        "the class has no property `{name}`; name the classes that have it, or give \
                         missing=ignore"
                    ));
                }
                condition.properties.insert(name, found.flatten().unwrap_or(false));
            }
        }
        let floats = known.into_iter().flatten().filter(|(_, is_float)| *is_float);
        condition.floats = floats.map(|(name, _)| name).collect();
        Ok(condition)
    }

    /// Whether it reads the properties of rows.
    pub fn reads_properties(&self) -> bool {
        self.all_properties || !self.properties.is_empty()
    }

    /// Evaluates the expression for one row; `None` if it fails or is neither true nor false.
    pub fn holds(&self, context: &Context<'_, '_>) -> Option<bool> {
        match context.resolve(&self.expression) {
            Ok(Value::Bool(holds)) => Some(holds),
            Ok(_) | Err(_) => None,
        }
    }
}

/// `3` of a number is 3.0, and of an int 3: CEL does not mix them.
fn is_float(data_type: &[String]) -> bool {
    data_type.iter().any(|data_type| data_type == "number" || data_type == "number[]")
}
