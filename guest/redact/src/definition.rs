//! Whether a class has the properties: a name that is mistyped must not let its values through.
use serde::Deserialize;

use crate::options::{Redaction, Redactions};

/// As much as is read of the definition of a class (Weaviate's REST API).
#[derive(Deserialize)]
struct Definition {
    // Weaviate writes `null` for a class without properties.
    properties: Option<Vec<Property>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Property {
    name: String,
    nested_properties: Option<Vec<Property>>,
}

/// Looks every redaction up in the definition. One that cannot be read has no properties, so that it does
/// not switch the check off.
///
/// # Errors
/// The path of the first property that is not there.
pub fn check(definition: &str, redactions: &Redactions) -> Result<(), String> {
    let definition = serde_json::from_str::<Definition>(definition).ok();
    let properties = definition.and_then(|definition| definition.properties);
    check_in(properties.as_deref().unwrap_or_default(), redactions)
}

fn check_in(properties: &[Property], redactions: &Redactions) -> Result<(), String> {
    for (name, redaction) in &redactions.properties {
        let found = properties.iter().find(|property| property.name == *name);
        let property = found.ok_or_else(|| name.clone())?;
        if let Redaction::Parts(parts) = redaction {
            check_in(property.nested_properties.as_deref().unwrap_or_default(), parts)
                .map_err(|path| format!("{name}.{path}"))?;
        }
    }
    Ok(())
}
