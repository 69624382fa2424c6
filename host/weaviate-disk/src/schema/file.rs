//! A saved answer of `GET /v1/schema` (`data-directory.md` 6.2).
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{error::DiskError, names};

/// A class as a schema file describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaClass {
    /// Exact name.
    pub name: String,
    /// Whether its shards are tenants.
    pub multi_tenant: bool,
    /// Its definition, JSON as it stands in the file.
    pub definition: String,
}

/// The classes of a schema file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaFile {
    path: PathBuf,
    classes: Vec<SchemaClass>,
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    classes: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClassFields {
    class: String,
    multi_tenancy_config: Option<MultiTenancyConfig>,
}

#[derive(Deserialize)]
struct MultiTenancyConfig {
    #[serde(default)]
    enabled: bool,
}

impl SchemaFile {
    /// Reads the file at `path`, which may lie anywhere.
    ///
    /// # Errors
    /// [`DiskError::SchemaFile`] when it cannot be read, is no such JSON, names a class that
    /// Weaviate would refuse, or two whose names differ in case only.
    pub fn read(path: &Path) -> Result<SchemaFile, DiskError> {
        let failed = |reason| DiskError::SchemaFile { path: path.to_owned(), reason };
        let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        let classes = parse(&text).map_err(failed)?;
        Ok(SchemaFile { path: path.to_owned(), classes })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The classes in the order of the file.
    pub fn classes(&self) -> &[SchemaClass] {
        &self.classes
    }
}

fn parse(text: &[u8]) -> Result<Vec<SchemaClass>, String> {
    let document: Document<'_> = serde_json::from_slice(text).map_err(|error| {
        format!("not a saved answer of GET /v1/schema ({{\"classes\": [...]}}): {error}")
    })?;
    let mut classes = Vec::new();
    let mut seen: HashMap<String, String> = HashMap::new();
    for definition in document.classes {
        let fields: ClassFields = serde_json::from_str(definition.get())
            .map_err(|error| format!("class {}: {error}", classes.len()))?;
        let name = fields.class;
        if !names::is_class_name(&name) {
            return Err(format!("`{name}` is no class name"));
        }
        if let Some(other) = seen.insert(name.to_ascii_lowercase(), name.clone()) {
            return Err(format!("classes {other} and {name} would share a directory"));
        }
        classes.push(SchemaClass {
            name,
            multi_tenant: fields.multi_tenancy_config.is_some_and(|config| config.enabled),
            definition: definition.get().to_owned(),
        });
    }
    Ok(classes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_tenancy_and_definitions() {
        let text = br#"{"classes": [
            {"class": "Article", "vectorizer":  "none"},
            {"class": "Shelf", "multiTenancyConfig": {"enabled": true}},
            {"class": "Note", "multiTenancyConfig": null}
        ]}"#;
        let classes = parse(text).unwrap();
        let flags: Vec<_> =
            classes.iter().map(|class| (class.name.as_str(), class.multi_tenant)).collect();
        assert_eq!(flags, [("Article", false), ("Shelf", true), ("Note", false)]);
        assert_eq!(classes[0].definition, r#"{"class": "Article", "vectorizer":  "none"}"#);
    }

    #[test]
    fn refuses_what_weaviate_would_not_save() {
        for (text, part) in [
            (&br#"{"objects": []}"#[..], "GET /v1/schema"),
            (br#"{"classes": [{"class": "../x"}]}"#, "`../x` is no class name"),
            (br#"{"classes": [{"name": "A"}]}"#, "class 0: missing field `class`"),
            (br#"{"classes": [{"class": "Ab"}, {"class": "AB"}]}"#, "Ab and AB"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
