//! A class's definition as JSON whose members stay as they were stored, and the changes that the
//! RAFT log makes to it.
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use super::cluster::Property;

/// What an update of a class may take away by leaving it out. Other members stay when the update
/// lacks them.
const REMOVABLE: [&str; 7] = [
    "description",
    "invertedIndexConfig",
    "multiTenancyConfig",
    "objectTTLConfig",
    "replicationConfig",
    "vectorConfig",
    "vectorIndexConfig",
];
const PROPERTIES: &str = "properties";
const NESTED_PROPERTIES: &str = "nestedProperties";

/// The members of a class's JSON object, each as stored. Weaviate writes them in the order of
/// their names, and so does [`Definition::to_text`].
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(super) struct Definition {
    members: BTreeMap<String, Box<RawValue>>,
}

/// The members that say how the class is kept.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    class: String,
    multi_tenancy_config: Option<MultiTenancyConfig>,
    replication_config: Option<ReplicationConfig>,
    properties: Option<Vec<Property>>,
}

#[derive(Debug, Deserialize)]
struct MultiTenancyConfig {
    #[serde(default)]
    enabled: bool,
}

#[derive(Debug, Deserialize)]
struct ReplicationConfig {
    #[serde(default)]
    factor: i64,
}

/// What a definition says of its class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClassFacts {
    /// Exact name.
    pub name: String,
    /// Whether its shards are tenants.
    pub multi_tenant: bool,
    /// Copies of each shard; 0 when it does not say.
    pub replication_factor: u32,
    pub properties: Vec<Property>,
}

impl Definition {
    /// # Errors
    /// When a member that this reads has another shape than Weaviate gives it.
    pub fn facts(&self) -> Result<ClassFacts, serde_json::Error> {
        let kept: Kept = serde_json::from_str(&self.to_text())?;
        let factor = kept.replication_config.map_or(0, |config| config.factor);
        Ok(ClassFacts {
            name: kept.class,
            multi_tenant: kept.multi_tenancy_config.is_some_and(|config| config.enabled),
            replication_factor: u32::try_from(factor).unwrap_or(0),
            properties: kept.properties.unwrap_or_default(),
        })
    }

    /// The whole definition, JSON.
    pub fn to_text(&self) -> String {
        let members: Vec<String> = self
            .members
            .iter()
            .map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), value.get()))
            .collect();
        format!("{{{}}}", members.join(","))
    }

    /// Takes over what an UPDATE_CLASS carries. Its properties count unless they are missing,
    /// because older versions did not change them this way.
    pub fn update(&mut self, newer: Definition) {
        let is_null = |value: &RawValue| value.get() == "null";
        for name in REMOVABLE {
            self.members.remove(name);
        }
        for (name, value) in newer.members {
            if !is_null(&value) {
                self.members.insert(name, value);
            }
        }
    }

    /// Adds the properties of an ADD_PROPERTY. One that exists (names compare without case) gets
    /// the nested properties that it lacks, and the new setting of its range index.
    pub fn add_properties(&mut self, added: Vec<Box<RawValue>>) -> Result<(), serde_json::Error> {
        self.edit_properties(|properties| {
            for property in added {
                match properties.iter_mut().find(|old| same_name(old, &property)) {
                    Some(old) => {
                        let mut merged: Map<String, Value> = serde_json::from_str(old.get())?;
                        let newer: Map<String, Value> = serde_json::from_str(property.get())?;
                        let range_index = newer.get("indexRangeFilters").cloned();
                        merged.extend(range_index.map(|set| ("indexRangeFilters".to_owned(), set)));
                        merge_nested(&mut merged, newer);
                        *old = serde_json::value::to_raw_value(&merged)?;
                    }
                    None => properties.push(property),
                }
            }
            Ok(())
        })
    }

    /// Puts the property of an UPDATE_PROPERTY in the place of the one of its name. `false` when
    /// there is none.
    pub fn update_property(&mut self, newer: Box<RawValue>) -> Result<bool, serde_json::Error> {
        let mut found = false;
        self.edit_properties(|properties| {
            if let Some(old) = properties.iter_mut().find(|old| same_name(old, &newer)) {
                *old = newer;
                found = true;
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn edit_properties(
        &mut self,
        edit: impl FnOnce(&mut Vec<Box<RawValue>>) -> Result<(), serde_json::Error>,
    ) -> Result<(), serde_json::Error> {
        let stored = self.members.get(PROPERTIES);
        let mut properties: Option<Vec<Box<RawValue>>> =
            stored.map(|stored| serde_json::from_str(stored.get())).transpose()?.flatten();
        edit(properties.get_or_insert_default())?;
        self.members.insert(PROPERTIES.to_owned(), serde_json::value::to_raw_value(&properties)?);
        Ok(())
    }
}

fn same_name(left: &RawValue, right: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let name = |property: &RawValue| serde_json::from_str::<Named>(property.get()).ok();
    match (name(left), name(right)) {
        (Some(left), Some(right)) => left.name.to_lowercase() == right.name.to_lowercase(),
        _ => false,
    }
}

/// Adds to `old` the nested properties of `newer` that it lacks, at every level.
fn merge_nested(old: &mut Map<String, Value>, mut newer: Map<String, Value>) {
    let Some(Value::Array(added)) = newer.remove(NESTED_PROPERTIES) else { return };
    let name =
        |property: &Value| property.get("name").and_then(Value::as_str).map(str::to_lowercase);
    let nested = old.entry(NESTED_PROPERTIES).or_insert(Value::Null);
    if nested.is_null() {
        *nested = Value::Array(Vec::new());
    }
    let Value::Array(nested) = nested else { return };
    for property in added {
        match (nested.iter_mut().find(|old| name(old) == name(&property)), property) {
            (Some(Value::Object(old)), Value::Object(newer)) => merge_nested(old, newer),
            (_, property) => nested.push(property),
        }
    }
}
