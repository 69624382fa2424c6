//! Every object of the real directories, compared by meaning with what the server itself said.
use std::collections::BTreeMap;

use offloom_fixtures::{Fixture, SINGLE_NODES};
use offloom_weaviate_disk::{
    Class, DataDirectory, Layout, LogFault, SchemaFile, SchemaSource, ShardWarning, Warning,
};
use serde_json::Value;
use uuid::Uuid;

use crate::rows::{self, LIMITS, Row};

/// Classes and ids with all rows of that id: one id may stand in several tenants.
pub type Objects = BTreeMap<(String, Uuid), Vec<Value>>;

pub fn rest_objects(fixture: &Fixture) -> Objects {
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

pub fn disk_objects(directory: &DataDirectory, block_bytes: u64) -> Objects {
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

/// REST prints the shortest digits that distinguish an `f32` from its neighbours.
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
pub fn sorted(objects: Objects) -> Objects {
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
            // 1.20 has no status yet: all are active.
            let status = tenant.get("activityStatus").map_or("HOT", |text| text.as_str().unwrap());
            if !["HOT", "ACTIVE"].contains(&status) {
                inactive.push((class.clone(), tenant["name"].as_str().unwrap().to_owned()));
            }
        }
    }
    inactive
}

fn without_schema_file(fixture: &Fixture) -> DataDirectory {
    DataDirectory::open(&fixture.data_dir(), None).unwrap()
}

fn with_schema_file(fixture: &Fixture) -> DataDirectory {
    let schema =
        SchemaFile::parse(&fixture.schema_file(), std::fs::read(fixture.schema_file())).unwrap();
    DataDirectory::open(&fixture.data_dir(), Some(schema)).unwrap()
}

#[test]
fn every_object_of_every_fixture_is_read_as_rest_shows_it() {
    for name in SINGLE_NODES {
        let fixture = offloom_fixtures::unpack(name).unwrap();
        let directory = without_schema_file(&fixture);
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
fn the_classes_are_those_of_the_server_with_a_schema_file_and_without() {
    for name in SINGLE_NODES {
        let fixture = offloom_fixtures::unpack(name).unwrap();
        let text = std::fs::read_to_string(fixture.schema_file()).unwrap();
        let mut rest: Value = serde_json::from_str(&text).unwrap();
        let rest: BTreeMap<String, bool> = rest["classes"]
            .as_array_mut()
            .unwrap()
            .iter()
            .map(|class| {
                let tenancy = class["multiTenancyConfig"]["enabled"] == true;
                (class["class"].as_str().unwrap().to_owned(), tenancy)
            })
            .collect();
        let directory = without_schema_file(&fixture);
        let described = with_schema_file(&fixture);
        for directory in [&directory, &described] {
            let classes = directory.classes().iter();
            let classes: BTreeMap<String, bool> =
                classes.map(|class| (class.name.to_string(), class.multi_tenant)).collect();
            assert_eq!(classes, rest, "{name}");
            assert_eq!(directory.warnings(), [], "{name}");
        }
        for (class, known) in directory.classes().iter().zip(described.classes()) {
            let (found, expected) = (format!("{:?}", class.shards), format!("{:?}", known.shards));
            assert_eq!(found, expected, "{name}");
        }
    }
}

#[test]
fn tenants_are_those_of_the_server_with_their_status() {
    for name in SINGLE_NODES {
        let fixture = offloom_fixtures::unpack(name).unwrap();
        let text = std::fs::read_to_string(fixture.tenants_file()).unwrap();
        let rest: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
        let directory = without_schema_file(&fixture);
        for class in directory.classes().iter().filter(|class| class.multi_tenant) {
            let mut expected: Vec<(String, String)> = rest[&*class.name]
                .as_array()
                .unwrap()
                .iter()
                .map(|tenant| {
                    let status = tenant["activityStatus"].as_str().unwrap_or("HOT");
                    (tenant["name"].as_str().unwrap().to_owned(), status.to_owned())
                })
                .collect();
            expected.sort();
            let shards = class.shards.iter();
            let tenants: Vec<(String, String)> = shards
                .map(|shard| (shard.name.to_string(), shard.status.clone().unwrap().to_string()))
                .collect();
            assert_eq!(tenants, expected, "{name}");
        }
    }
}

#[test]
fn where_the_schema_came_from_is_reported() {
    for (name, expected) in [
        ("basic", "RAFT log up to entry "),
        ("options", "RAFT snapshot 2-9-1795408308542"),
        ("v1.24.26", "schema.db"),
        ("v1.20.6", "schema.db"),
    ] {
        let fixture = offloom_fixtures::unpack(name).unwrap();
        let source = without_schema_file(&fixture).schema_from().to_string();
        assert!(source.starts_with(expected), "{source}");
        let source = with_schema_file(&fixture).schema_from().to_string();
        assert!(
            source.starts_with("schema file ") && source.ends_with("rest/schema.json"),
            "{source}"
        );
    }
}

#[test]
fn the_flat_layout_is_read_like_the_other_one() {
    let fixture = offloom_fixtures::unpack("v1.20.6").unwrap();
    let directory = without_schema_file(&fixture);
    assert_eq!(directory.nodes()[0].layout(), Layout::Flat);
    // Its logs are of version 0, and its objects hold their class names.
    std::fs::remove_file(fixture.data_dir().join("schema.db")).unwrap();
    let guessed = without_schema_file(&fixture);
    assert_eq!(*guessed.schema_from(), SchemaSource::Objects);
    assert_eq!(sorted(disk_objects(&guessed, 3_000)), sorted(disk_objects(&directory, 3_000)));
    for class in guessed.classes() {
        let known = rows::class(&directory, &class.name);
        assert_eq!(class.multi_tenant, known.multi_tenant);
        let names = |class: &Class| -> Vec<String> {
            class.shards.iter().map(|shard| shard.name.to_string()).collect()
        };
        let mut known = names(known);
        known.retain(|tenant| tenant != "never");
        assert_eq!(names(class), known);
    }
    // Without an object its class is unknown, and no row is lost.
    let never = Warning::NoShards { directory: "shelf_never_lsm".to_owned() };
    assert!(guessed.warnings().contains(&never), "{:?}", guessed.warnings());
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
    let [ShardWarning::TornLog { place, offset, dropped_bytes, fault }] = torn.as_slice() else {
        panic!("{torn:?}")
    };
    assert_eq!(&*place.class, "NamedVectors");
    assert_eq!(&*place.file, "segment-1795408287680239111.wal");
    assert_eq!(*fault, LogFault::Cut);
    assert_eq!(offset + dropped_bytes, 26_314);
}
