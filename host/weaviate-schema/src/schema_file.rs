//! A schema file: a saved answer of `GET /v1/schema` (`data-directory.md` 6, way 6.2).
use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::names;

/// What some editors put before the text of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A class in a schema file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaClass {
    /// Exact name.
    pub name: String,
    /// Whether its shards are tenants.
    pub multi_tenant: bool,
    /// Its definition: JSON, exactly as in the file.
    pub definition: String,
}

/// The classes of a schema file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaFile {
    path: PathBuf,
    classes: Vec<SchemaClass>,
}

/// Why a schema file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("schema file {path}: {fault}")]
pub struct SchemaFileError {
    /// The file, as given.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub fault: SchemaFileFault,
}

/// What is wrong with a schema file.
#[derive(Debug, thiserror::Error)]
pub enum SchemaFileFault {
    /// The system could not open or read the file.
    #[error("{0}")]
    Read(io::Error),
    /// The file is not the JSON of an answer.
    #[error("not a saved answer of GET /v1/schema ({{\"classes\": [...]}}): {0}")]
    Answer(serde_json::Error),
    /// A class lacks its name, or a member has the wrong type.
    #[error("class {index}: {source}")]
    Class {
        /// Index of the class in the file, from 0.
        index: usize,
        /// What is wrong, with line and column within the class.
        source: serde_json::Error,
    },
    /// Weaviate does not accept this name for a class.
    #[error("`{name}` is not a class name")]
    Name {
        /// As in the file.
        name: String,
    },
    /// Two classes have the same name.
    #[error("class {name} occurs twice")]
    Twice {
        /// As in the file.
        name: String,
    },
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
    /// Takes what was read from the file at `path`, which need not be in a data directory.
    ///
    /// # Errors
    /// See [`SchemaFileFault`].
    pub fn parse(path: &Path, read: io::Result<Vec<u8>>) -> Result<SchemaFile, SchemaFileError> {
        let failed = |fault| SchemaFileError { path: path.to_owned(), fault };
        let text = read.map_err(|error| failed(SchemaFileFault::Read(error)))?;
        let classes = parse(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text)).map_err(failed)?;
        Ok(SchemaFile { path: path.to_owned(), classes })
    }

    /// The path of the file, as given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The classes in the order of the file.
    pub fn classes(&self) -> &[SchemaClass] {
        &self.classes
    }
}

fn parse(text: &[u8]) -> Result<Vec<SchemaClass>, SchemaFileFault> {
    let document: Document<'_> = serde_json::from_slice(text).map_err(SchemaFileFault::Answer)?;
    let mut classes = Vec::new();
    let mut seen = HashSet::new();
    for definition in document.classes {
        let fields: ClassFields = serde_json::from_str(definition.get())
            .map_err(|source| SchemaFileFault::Class { index: classes.len(), source })?;
        let name = fields.class;
        if !names::is_class_name(&name) {
            return Err(SchemaFileFault::Name { name });
        }
        if !seen.insert(name.clone()) {
            return Err(SchemaFileFault::Twice { name });
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
            {"class": "Note", "multiTenancyConfig": null},
            {"class": "NOTE"}
        ]}"#;
        let classes = parse(text).unwrap();
        let flags: Vec<_> =
            classes.iter().map(|class| (class.name.as_str(), class.multi_tenant)).collect();
        assert_eq!(flags, [("Article", false), ("Shelf", true), ("Note", false), ("NOTE", false)]);
        assert_eq!(classes[0].definition, r#"{"class": "Article", "vectorizer":  "none"}"#);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        let text = b"\xef\xbb\xbf{\"classes\": [{\"class\": \"Note\"}]}".to_vec();
        let file = SchemaFile::parse(Path::new("schema.json"), Ok(text)).unwrap();
        assert_eq!(file.classes().len(), 1);
    }

    #[test]
    fn refuses_what_weaviate_would_not_save() {
        for (text, part) in [
            (&br#"{"objects": []}"#[..], "GET /v1/schema"),
            (br#"{"classes": [{"class": "../x"}]}"#, "`../x` is not a class name"),
            (br#"{"classes": [{"name": "A"}]}"#, "class 0: missing field `class`"),
            (br#"{"classes": [{"class": "Ab"}, {"class": "Ab"}]}"#, "class Ab occurs twice"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
