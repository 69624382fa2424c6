//! The stored schema of every real directory, compared with the server's REST answers.
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::LazyLock,
};

use cap_std::{ambient_authority, fs::Dir};
use offloom_fixtures::{Fixture, NAMES};
use offloom_weaviate_schema::{ClusterSchema, Property, ReadFrom, ShardState, ShardStatus, stored};
use serde_json::Value;

/// The schema in one data directory, and REST's answers.
struct Case {
    name: String,
    schema: ClusterSchema,
    classes: Value,
    tenants: Value,
    nodes: Value,
}

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let mut cases = Vec::new();
    for name in NAMES {
        let fixture = offloom_fixtures::unpack(name).unwrap();
        for directory in data_directories(&fixture) {
            let directory = open(&fixture.data_dir().join(directory));
            cases.push(Case {
                name: name.to_owned(),
                schema: stored::read(&directory).unwrap().unwrap(),
                classes: json(&fixture.schema_file())["classes"].take(),
                tenants: json(&fixture.tenants_file()),
                nodes: json(&fixture.nodes_file())["nodes"].take(),
            });
        }
    }
    cases
});

/// Below the fixture's: those of the nodes of a cluster whose logs are up to date, or the directory
/// itself.
fn data_directories(fixture: &Fixture) -> Vec<&'static str> {
    let is_cluster = fixture.data_dir().join("node1").is_dir();
    let is_stale = fixture.folder().ends_with("stale-node");
    let nodes = if is_stale { vec!["node1", "node2"] } else { vec!["node1", "node2", "node3"] };
    if is_cluster { nodes } else { vec![""] }
}

pub fn open(directory: &Path) -> Dir {
    Dir::open_ambient_dir(directory, ambient_authority()).unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn classes_are_those_of_rest() {
    for Case { name, schema, classes, .. } in CASES.iter() {
        let rest: BTreeMap<String, &Value> =
            array(classes).iter().map(|class| (text(&class["class"]), class)).collect();
        assert!(schema.classes.keys().eq(rest.keys()), "{name}");
        for (class_name, class) in &schema.classes {
            let place = format!("{name}, {class_name}");
            let mut rest = rest[class_name].clone();
            let mut definition: Value = serde_json::from_str(&class.definition).unwrap();
            assert_eq!(
                class.multi_tenant,
                rest["multiTenancyConfig"]["enabled"] == true,
                "{place}"
            );
            let factor = rest["replicationConfig"]["factor"].as_u64().unwrap();
            assert_eq!(u64::from(class.replication_factor), factor, "{place}");
            assert_eq!(class.properties, properties(&rest["properties"]), "{place}");
            for definition in [&mut definition, &mut rest] {
                // Stored until 1.34; today's server works it out when it is asked.
                definition["replicationConfig"].as_object_mut().unwrap().remove("asyncEnabled");
            }
            assert_eq!(definition, rest, "{place}");
        }
    }
}

fn properties(rest: &Value) -> Vec<Property> {
    let property = |property: &Value| Property {
        name: text(&property["name"]),
        data_type: array(&property["dataType"]).iter().map(text).collect(),
        nested_properties: properties(&property["nestedProperties"]),
    };
    rest.as_array().into_iter().flatten().map(property).collect()
}

#[test]
fn tenants_and_their_status_are_those_of_rest() {
    for Case { name, schema, tenants, .. } in CASES.iter() {
        let mut rest = BTreeMap::new();
        for (class, tenants) in tenants.as_object().unwrap() {
            for tenant in array(tenants) {
                // 1.20 has no status yet: all are active.
                let status = tenant["activityStatus"].as_str().unwrap_or("HOT");
                rest.insert((class.clone(), text(&tenant["name"])), status.to_owned());
            }
        }
        let mut disk = BTreeMap::new();
        for (class, state) in schema.classes.iter().filter(|(_, class)| class.multi_tenant) {
            for (tenant, shard) in &state.shards {
                disk.insert((class.clone(), tenant.clone()), shard.status.to_string());
            }
        }
        assert_eq!(disk, rest, "{name}");
    }
}

#[test]
fn shards_are_on_the_nodes_that_rest_names() {
    for Case { name, schema, nodes, .. } in CASES.iter() {
        let mut rest = BTreeSet::new();
        for node in array(nodes) {
            for shard in array(&node["shards"]) {
                rest.insert((text(&shard["class"]), text(&shard["name"]), text(&node["name"])));
            }
        }
        let mut disk = BTreeSet::new();
        for (class_name, class) in &schema.classes {
            // REST names the shards that are loaded.
            let loaded = |(_, shard): &(&String, &ShardState)| shard.status == ShardStatus::Hot;
            for (shard_name, shard) in class.shards.iter().filter(loaded) {
                for node in shard.nodes.iter() {
                    disk.insert((class_name.clone(), shard_name.clone(), node.to_string()));
                }
            }
        }
        assert_eq!(disk, rest, "{name}");
    }
}

#[test]
fn the_newest_file_is_read_without_warnings() {
    for Case { name, schema, .. } in CASES.iter() {
        assert_eq!(schema.warnings, [], "{name}");
        match &schema.read_from {
            ReadFrom::Raft { snapshot, entries } if name == "options" => {
                assert_eq!(snapshot.as_deref(), Some("2-9-1795408308542"));
                assert_eq!(*entries, None);
            }
            ReadFrom::Raft { snapshot, entries } => {
                assert_eq!(*snapshot, None, "{name}");
                assert_eq!(entries.as_ref().unwrap().start(), &1, "{name}");
            }
            ReadFrom::SchemaDb { version } => {
                assert!(["v1.20.6", "v1.24.26"].contains(&name.as_str()), "{name}");
                assert_eq!(*version, 2);
            }
        }
    }
}
