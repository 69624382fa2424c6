//! `schema.json`: the definitions from which the exported classes and their tenants can be created
//! again.
use std::collections::BTreeMap;

use offloom_protocol::manifest::{Attachment, ManifestError};
use offloom_protocol::names::ObjectKey;
use offloom_protocol::store::ExportFolder;
use offloom_weaviate_disk::schema::ShardStatus;
use offloom_weaviate_disk::{Class, Shard, SkipReason};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The definition of one class, as it was when the class was exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClassDefinition {
    name: String,
    /// JSON as the server wrote it: numbers and the order of members stay.
    definition: String,
    /// `None` if the class has no tenants of its own.
    tenants: Option<Vec<Tenant>>,
}

impl ClassDefinition {
    /// That of a class whose definition is known.
    pub fn of(class: &Class) -> Option<ClassDefinition> {
        let definition = class.definition.as_deref()?.to_owned();
        let tenants = class.multi_tenant.then(|| tenants(class));
        Some(ClassDefinition { name: class.name.to_string(), definition, tenants })
    }
}

/// The document. `classes` are as `GET /v1/schema` has them, `tenants` as
/// `GET /v1/schema/{class}/tenants` has those of each class.
#[derive(Serialize)]
struct Document<'a> {
    classes: Vec<&'a RawValue>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tenants: BTreeMap<&'a str, &'a [Tenant]>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tenant {
    name: String,
    activity_status: String,
}

/// Writes `schema.json`. Without any definition there is none.
///
/// # Errors
/// [`ManifestError`].
pub(crate) async fn write(
    folder: &ExportFolder,
    classes: impl Iterator<Item = &ClassDefinition>,
) -> Result<Option<Attachment>, ManifestError> {
    let Some(content) = document(classes)? else { return Ok(None) };
    Attachment::write(folder, ObjectKey::schema, content).await.map(Some)
}

fn document<'a>(
    classes: impl Iterator<Item = &'a ClassDefinition>,
) -> Result<Option<Vec<u8>>, ManifestError> {
    let mut document = Document { classes: Vec::new(), tenants: BTreeMap::new() };
    for ClassDefinition { name, definition, tenants } in classes {
        document.classes.push(serde_json::from_str(definition).map_err(ManifestError::Encode)?);
        if let Some(tenants) = tenants {
            document.tenants.insert(name, tenants);
        }
    }
    if document.classes.is_empty() {
        return Ok(None);
    }
    serde_json::to_vec(&document).map(Some).map_err(ManifestError::Encode)
}

/// Those that the schema knows, or, without one, those on disk, as active ones.
fn tenants(class: &Class) -> Vec<Tenant> {
    let known = |shard: &&Shard| !matches!(shard.skip_reason, Some(SkipReason::NotInSchema));
    let status = |shard: &Shard| shard.status.as_ref().unwrap_or(&ShardStatus::Hot).to_string();
    let shards = class.shards.iter().filter(known);
    let tenant =
        |shard: &Shard| Tenant { name: shard.name.to_string(), activity_status: status(shard) };
    shards.map(tenant).collect()
}

#[cfg(test)]
mod tests {
    use offloom_fixtures::unpack;
    use offloom_weaviate_disk::DataDirectory;
    use serde_json::{Value, json};

    use super::*;

    fn of(fixture: &str) -> (Value, Value, Value) {
        let fixture = unpack(fixture).unwrap();
        let directory = DataDirectory::open(&fixture.data_dir(), None).unwrap();
        let definitions: Vec<_> =
            directory.classes().iter().filter_map(ClassDefinition::of).collect();
        let document = document(definitions.iter()).unwrap().unwrap();
        let read = |path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        (
            serde_json::from_slice(&document).unwrap(),
            read(fixture.schema_file()),
            read(fixture.tenants_file()),
        )
    }

    fn sorted(list: &Value, by: &str) -> Vec<Value> {
        let mut list = list.as_array().unwrap().clone();
        list.sort_by_key(|item| item[by].as_str().unwrap().to_owned());
        list
    }

    /// What REST shows of a class and the server's own store has not, or the other way round.
    fn names_and_types(classes: &Value) -> Vec<Value> {
        let property = |property: &Value| json!([property["name"], property["dataType"]]);
        sorted(classes, "class")
            .iter()
            .map(|class| {
                let properties = class["properties"].as_array().map(Vec::as_slice);
                json!({
                    "class": class["class"],
                    "multiTenancy": class["multiTenancyConfig"]["enabled"],
                    "properties":
                        properties.unwrap_or_default().iter().map(property).collect::<Vec<_>>(),
                    "vectorizer": class["vectorizer"],
                    "vectors": class["vectorConfig"].as_object().map(|of| of.keys().cloned().collect::<Vec<_>>()),
                })
            })
            .collect()
    }

    #[test]
    fn it_says_what_the_server_said_over_rest() {
        for fixture in ["basic", "tenants", "options", "v1.28.16", "v1.24.26"] {
            let (document, schema, tenants) = of(fixture);
            assert_eq!(
                names_and_types(&document["classes"]),
                names_and_types(&schema["classes"]),
                "{fixture}"
            );
            for (class, of_class) in tenants.as_object().unwrap() {
                let expected = sorted(of_class, "name");
                let found = sorted(&document["tenants"][class], "name");
                assert_eq!(found, expected, "{fixture} {class}");
            }
        }
    }
}
