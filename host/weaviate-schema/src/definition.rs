//! The definition of a class: a JSON object whose members are kept as stored, and the changes that
//! the RAFT log makes to it (`data-directory.md` 5.1).
use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, value::RawValue};

/// Members that an update of a class removes if it lacks them. It leaves other members as they are.
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

/// The members of a class's JSON object, each as stored. Weaviate writes them sorted by name, and so
/// does [`Definition::to_text`].
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct Definition {
    members: BTreeMap<String, Box<RawValue>>,
}

/// A property of a class.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Property {
    /// Exact name.
    pub name: String,
    /// One data type, such as `text` or `int[]`; or the classes that a reference may lead to.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub data_type: Vec<String>,
    /// The properties of an `object` or `object[]`.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub nested_properties: Vec<Property>,
}

/// The members that are read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members {
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

/// What a definition states about its class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClassSettings {
    /// Exact name.
    pub name: String,
    /// Whether its shards are tenants.
    pub multi_tenant: bool,
    /// Replicas of each shard; 0 if the definition does not state it.
    pub replication_factor: u32,
    /// In the order of the definition.
    pub properties: Vec<Property>,
}

impl Definition {
    /// Reads name, multi-tenancy, replication factor and properties.
    ///
    /// # Errors
    /// If one of these members does not have the type that Weaviate gives it.
    pub fn settings(&self) -> Result<ClassSettings, serde_json::Error> {
        let members: Members = serde_json::from_str(&self.to_text())?;
        let factor = members.replication_config.map_or(0, |config| config.factor);
        Ok(ClassSettings {
            name: members.class,
            multi_tenant: members.multi_tenancy_config.is_some_and(|config| config.enabled),
            replication_factor: u32::try_from(factor).unwrap_or(0),
            properties: members.properties.unwrap_or_default(),
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

    /// Applies an UPDATE_CLASS. It replaces the properties if it has any: older versions did not
    /// change properties this way.
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

    /// Applies an ADD_PROPERTY. A property that exists receives the nested properties that it lacks
    /// and the new setting of its range index.
    pub fn add_properties(&mut self, added: Vec<Box<RawValue>>) -> Result<(), serde_json::Error> {
        let mut properties = self.properties()?;
        let mut positions = positions(properties.iter().map(|property| folded_name(property)));
        for property in added {
            let name = folded_name(&property);
            let old = positions.get(&name).and_then(|position| properties.get_mut(*position));
            match old {
                Some(old) => *old = merged(old, &property)?,
                None => {
                    positions.insert(name, properties.len());
                    properties.push(property);
                }
            }
        }
        self.set_properties(&properties)
    }

    /// Applies an UPDATE_PROPERTY: replaces the property of this name. `false` if there is none.
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

/// The name in lower case: names of properties compare without case.
fn folded_name(property: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let named: Option<Named> = serde_json::from_str(property.get()).ok();
    named.map(|property| property.name.to_lowercase())
}

/// The position of each name.
fn positions(names: impl Iterator<Item = Option<String>>) -> HashMap<Option<String>, usize> {
    names.enumerate().map(|(position, name)| (name, position)).collect()
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
    let mut positions = positions(nested.iter().map(name));
    for property in added {
        let name = name(&property);
        let old = positions.get(&name).and_then(|position| nested.get_mut(*position));
        match (old, property) {
            (Some(Value::Object(old)), Value::Object(newer)) => merge_nested(old, newer),
            (_, property) => {
                positions.insert(name, nested.len());
                nested.push(property);
            }
        }
    }
}

/// Go writes an empty list as `null`.
fn null_as_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
