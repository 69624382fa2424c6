//! Every object of the real directories, compared by meaning with what the server itself said.
use std::collections::BTreeMap;

use offloom_fixtures::{Fixture, SINGLE_NODES};
use offloom_weaviate_disk::{DataDirectory, LogFault, SchemaFile, Warning};
use serde_json::Value;
use uuid::Uuid;

use crate::rows::{self, LIMITS, Row};

/// Classes and ids with all rows of that id: one id may stand in several tenants.
type Objects = BTreeMap<(String, Uuid), Vec<Value>>;

fn rest_objects(fixture: &Fixture) -> Objects {
    let text = std::fs::read_to_string(fixture.objects_jsonl()).unwrap();
    let mut objects = Objects::new();
    for line in text.lines() {
        let mut object: Value = serde_json::from_str(line).unwrap();
        let fields = object.as_object_mut().unwrap();
        let class = fields["class"].as_str().unwrap().to_owned();
        let id = fields["id"].as_str().unwrap().parse().unwrap();
        fields.retain(|name, _| {
            ["creationTimeUnix", "lastUpdateTimeUnix", "properties", "vector", "vectors"]
                .contains(&name.as_str())
        });
        for name in ["vector", "vectors"] {
            if let Some(vectors) = fields.get_mut(name) {
                *vectors = as_f32(vectors.take());
            }
        }
        objects.entry((class, id)).or_default().push(by_meaning(object));
    }
    objects
}

fn disk_objects(directory: &DataDirectory, block_bytes: u64) -> Objects {
    let mut objects = Objects::new();
    for class in directory.classes() {
        let rows = rows::read(directory, class, block_bytes, LIMITS).unwrap();
        for row in rows.all() {
            let key = (class.name.to_string(), Uuid::from_bytes(row.id));
            objects.entry(key).or_default().push(by_meaning(as_rest(&row)));
        }
    }
    objects
}

/// A row in the form of REST.
fn as_rest(row: &Row) -> Value {
    let floats = |bytes: &[u8]| -> Value {
        let floats = bytes
            .chunks_exact(4)
            .map(|float| Value::from(f32::from_le_bytes(float.try_into().unwrap())));
        floats.collect()
    };
    let mut object = serde_json::json!({
        "creationTimeUnix": row.created_ms,
        "lastUpdateTimeUnix": row.updated_ms,
    });
    if let Some(properties) = &row.properties {
        object["properties"] = serde_json::from_slice(properties).unwrap();
    }
    if let Some(vector) = &row.vector {
        object["vector"] = floats(vector);
    }
    let mut vectors = serde_json::Map::new();
    for (name, vector) in row.named.iter().flatten() {
        vectors.insert(name.clone(), floats(vector));
    }
    for (name, list) in row.multi.iter().flatten() {
        vectors.insert(name.clone(), list.iter().map(|vector| floats(vector)).collect());
    }
    if !vectors.is_empty() {
        object["vectors"] = vectors.into();
    }
    object
}

/// REST prints the shortest digits that tell an `f32` from its neighbours.
fn as_f32(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::from(number.as_f64().unwrap() as f32),
        Value::Array(values) => values.into_iter().map(as_f32).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, as_f32(value))).collect()
        }
        other => other,
    }
}

/// REST adds `href` to references and empty `properties`, loses the sign of -0 in these dumps, and
/// prints integers without a fraction. Everything is compared as `f64`.
fn by_meaning(value: Value) -> Value {
    match value {
        Value::Number(number) => {
            let number = number.as_f64().unwrap();
            Value::from(if number == 0.0 { 0.0 } else { number })
        }
        Value::Array(values) => values.into_iter().map(by_meaning).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(name, value)| {
                let empty = value.as_object().is_some_and(serde_json::Map::is_empty);
                name != "href" && !value.is_null() && !empty
            })
            .map(|(name, value)| (name, by_meaning(value)))
            .collect(),
        other => other,
    }
}

/// Several objects of one id stand in no particular order.
fn sorted(objects: Objects) -> Objects {
    let sort = |mut values: Vec<Value>| {
        values.sort_by_key(Value::to_string);
        values
    };
    objects.into_iter().map(|(key, values)| (key, sort(values))).collect()
}

/// Class and id of rows that REST does not show, because their tenant is inactive.
fn inactive_tenants(fixture: &Fixture) -> Vec<(String, String)> {
    let path = fixture.folder().join("rest/tenants.json");
    let Ok(text) = std::fs::read_to_string(path) else { return Vec::new() };
    let tenants: BTreeMap<String, Vec<BTreeMap<String, Value>>> =
        serde_json::from_str(&text).unwrap();
    let mut inactive = Vec::new();
    for (class, tenants) in tenants {
        for tenant in tenants {
            let status = tenant["activityStatus"].as_str().unwrap();
            if !["HOT", "ACTIVE"].contains(&status) {
                inactive.push((class.clone(), tenant["name"].as_str().unwrap().to_owned()));
            }
        }
    }
    inactive
}

#[test]
fn every_object_of_every_fixture_is_read_as_rest_shows_it() {
    for name in SINGLE_NODES {
        let fixture = offloom_fixtures::unpack(name).unwrap();
        let schema = SchemaFile::read(&fixture.schema_file()).unwrap();
        let directory = DataDirectory::open(&fixture.data_dir(), Some(schema)).unwrap();
        let expected = sorted(rest_objects(&fixture));
        assert!(!expected.is_empty());
        assert_eq!(directory.warnings(), [], "{name}");
        let inactive = inactive_tenants(&fixture);
        for block_bytes in [1, 3_000, 32 << 20] {
            let mut found = disk_objects(&directory, block_bytes);
            // Rows of inactive tenants are there too; here they must not hide another difference.
            for (class_name, tenant) in &inactive {
                let class = rows::class(&directory, class_name);
                let rows = rows::read(&directory, class, block_bytes, LIMITS).unwrap().all();
                for row in rows.iter().filter(|row| row.tenant.as_ref() == Some(tenant)) {
                    let key = (class_name.clone(), Uuid::from_bytes(row.id));
                    let object = by_meaning(as_rest(row));
                    let values = found.get_mut(&key).unwrap();
                    values.remove(values.iter().position(|value| *value == object).unwrap());
                    if values.is_empty() {
                        found.remove(&key);
                    }
                }
            }
            let found = sorted(found);
            let ids = |objects: &Objects| objects.keys().cloned().collect::<Vec<_>>();
            assert_eq!(ids(&found), ids(&expected), "{name}, blocks of {block_bytes}");
            for (key, values) in &expected {
                assert_eq!(&found[key], values, "{name}: {key:?}");
            }
        }
    }
}

#[test]
fn names_and_tenancy_without_a_schema_are_those_of_the_server() {
    for name in SINGLE_NODES {
        let fixture = offloom_fixtures::unpack(name).unwrap();
        let directory = DataDirectory::open(&fixture.data_dir(), None).unwrap();
        let schema = SchemaFile::read(&fixture.schema_file()).unwrap();
        let described = DataDirectory::open(&fixture.data_dir(), Some(schema)).unwrap();
        for class in directory.classes() {
            let known = described.classes().iter().find(|known| known.name == class.name);
            match known {
                Some(known) => {
                    assert_eq!(class.multi_tenant, known.multi_tenant, "{name}: {}", class.name);
                    assert_eq!(class.shards, known.shards);
                }
                // The names are not in the objects of `options`, nor of a class without any.
                None => assert!(
                    directory.warnings().iter().any(|warning| matches!(
                        warning,
                        Warning::ClassNameGuessed { name, .. } if *name == *class.name
                    )),
                    "{name}: {}",
                    class.name
                ),
            }
        }
    }
}

#[test]
fn the_torn_log_of_a_killed_server_is_read_up_to_its_last_whole_record() {
    let fixture = offloom_fixtures::unpack("crashed").unwrap();
    let directory = DataDirectory::open(&fixture.data_dir(), None).unwrap();
    let mut torn = Vec::new();
    for class in directory.classes() {
        let rows = rows::read(&directory, class, 32 << 20, LIMITS).unwrap();
        torn.extend(rows.shards.into_iter().flat_map(|shard| shard.warnings));
    }
    let [Warning::TornLog { place, offset, dropped_bytes, fault }] = torn.as_slice() else {
        panic!("{torn:?}")
    };
    assert_eq!(&*place.class, "NamedVectors");
    assert_eq!(&*place.file, "segment-1795408287680239111.wal");
    assert_eq!(*fault, LogFault::Cut);
    assert_eq!(offset + dropped_bytes, 26_314);
}
