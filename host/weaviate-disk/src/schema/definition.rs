//! A class's definition as JSON whose members stay as they were stored, and the changes that the
//! RAFT log makes to it.
use std::collections::{BTreeMap, HashMap};

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
const RANGE_INDEX: &str = "indexRangeFilters";
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

    /// Adds the properties of an ADD_PROPERTY. One that exists gets the nested properties that it
    /// lacks, and the new setting of its range index.
    pub fn add_properties(&mut self, added: Vec<Box<RawValue>>) -> Result<(), serde_json::Error> {
        let mut properties = self.properties()?;
        let mut places = places(properties.iter().map(|property| folded_name(property)));
        for property in added {
            let name = folded_name(&property);
            let old = places.get(&name).and_then(|place| properties.get_mut(*place));
            match old {
                Some(old) => *old = merged(old, &property)?,
                None => {
                    places.insert(name, properties.len());
                    properties.push(property);
                }
            }
        }
        self.set_properties(&properties)
    }

    /// Puts the property of an UPDATE_PROPERTY in the place of the one of its name. `false` when
    /// there is none.
    pub fn update_property(&mut self, newer: Box<RawValue>) -> Result<bool, serde_json::Error> {
        let mut properties = self.properties()?;
        let name = folded_name(&newer);
        let old = properties.iter_mut().find(|old| folded_name(old) == name);
        let Some(old) = old.filter(|_| name.is_some()) else { return Ok(false) };
        *old = newer;
        self.set_properties(&properties)?;
        Ok(true)
    }

    fn properties(&self) -> Result<Vec<Box<RawValue>>, serde_json::Error> {
        let stored = self.members.get(PROPERTIES).map(|stored| stored.get());
        let properties: Option<Vec<_>> = serde_json::from_str(stored.unwrap_or("null"))?;
        Ok(properties.unwrap_or_default())
    }

    fn set_properties(&mut self, properties: &[Box<RawValue>]) -> Result<(), serde_json::Error> {
        self.members.insert(PROPERTIES.to_owned(), serde_json::value::to_raw_value(properties)?);
        Ok(())
    }
}

/// Names of properties compare without case.
fn folded_name(property: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let named: Option<Named> = serde_json::from_str(property.get()).ok();
    named.map(|property| property.name.to_lowercase())
}

/// Where each name stands.
fn places(names: impl Iterator<Item = Option<String>>) -> HashMap<Option<String>, usize> {
    names.enumerate().map(|(place, name)| (name, place)).collect()
}

fn merged(old: &RawValue, newer: &RawValue) -> Result<Box<RawValue>, serde_json::Error> {
    let mut old: Map<String, Value> = serde_json::from_str(old.get())?;
    let newer: Map<String, Value> = serde_json::from_str(newer.get())?;
    if let Some(range_index) = newer.get(RANGE_INDEX) {
        old.insert(RANGE_INDEX.to_owned(), range_index.clone());
    }
    merge_nested(&mut old, newer);
    serde_json::value::to_raw_value(&old)
}

/// Adds to `old` the nested properties of `newer` that it lacks, at every level.
fn merge_nested(old: &mut Map<String, Value>, mut newer: Map<String, Value>) {
    let Some(Value::Array(added)) = newer.remove(NESTED_PROPERTIES) else { return };
    let nested = old.entry(NESTED_PROPERTIES).or_insert(Value::Null);
    if nested.is_null() {
        *nested = Value::Array(Vec::new());
    }
    let Value::Array(nested) = nested else { return };
    let name = |property: &Value| Some(property.get("name")?.as_str()?.to_lowercase());
    let mut places = places(nested.iter().map(name));
    for property in added {
        let name = name(&property);
        let old = places.get(&name).and_then(|place| nested.get_mut(*place));
        match (old, property) {
            (Some(Value::Object(old)), Value::Object(newer)) => merge_nested(old, newer),
            (_, property) => {
                places.insert(name, nested.len());
                nested.push(property);
            }
        }
    }
}
