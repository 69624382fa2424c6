//! What each command in the RAFT log does, and what happens to those that cannot be applied.
use offloom_weaviate_schema::{
    ClassState, ClusterSchema, ReadFrom, SchemaError, SchemaWarning, ShardStatus,
};
use serde_json::{Value, json};

use crate::log::Log;

const NODES: [&str; 3] = ["n1", "n2", "n3"];

fn definition(class: &str, properties: &Value) -> Value {
    json!({
        "class": class,
        "multiTenancyConfig": {"enabled": false},
        "properties": properties,
        "replicationConfig": {"factor": 1},
    })
}

fn tenanted(class: &str, factor: u32) -> Value {
    json!({
        "class": class,
        "multiTenancyConfig": {"enabled": true},
        "properties": null,
        "replicationConfig": {"factor": factor},
    })
}

fn shards(shards: &[(&str, &[&str])]) -> Value {
    let shards = shards.iter().map(|(name, nodes)| {
        let state = json!({"name": name, "belongsToNodes": nodes, "ownsVirtual": ["x"]});
        (name.to_string(), state)
    });
    let physical: serde_json::Map<String, Value> = shards.collect();
    json!({"indexID": "i", "physical": physical, "virtual": [{"name": "x", "upper": 1}]})
}

fn no_shards() -> Value {
    json!({"physical": {}, "partitioningEnabled": true})
}

/// A log with the single-tenant class Article in one shard.
fn article() -> Log {
    let properties = json!([{"name": "title", "dataType": ["text"]}]);
    Log::new().add_class(&definition("Article", &properties), &shards(&[("s1", &["n1"])]))
}

/// A log with the multi-tenant class Shelf.
fn shelf(factor: u32) -> Log {
    Log::new().add_class(&tenanted("Shelf", factor), &no_shards())
}

fn placed(class: &ClassState) -> Vec<(String, String)> {
    let nodes = class.shards.iter().map(|(name, shard)| (name.clone(), shard.nodes.join(" ")));
    nodes.collect()
}

fn status(schema: &ClusterSchema, tenant: &str) -> ShardStatus {
    schema.classes["Shelf"].shards[tenant].status.clone()
}

/// The reasons of warnings that name commands, with their entries.
fn refused(schema: &ClusterSchema) -> Vec<(u64, &str)> {
    let refused = schema.warnings.iter().map(|warning| match warning {
        SchemaWarning::NotApplied { index, reason, .. } => (*index, reason.as_str()),
        other => panic!("{other}"),
    });
    refused.collect()
}

fn property_names(class: &ClassState) -> Vec<&str> {
    class.properties.iter().map(|property| property.name.as_str()).collect()
}

#[test]
fn an_added_class_stays_as_it_was_stored() {
    let stored = r#"{"a":1.50,"class":"Odd","properties":[],"z":{"b":1,"a":"é"}}"#;
    let payload = format!(r#"{{"Class":{stored},"State":{{"physical":null}}}}"#);
    let schema = Log::new().command(1, "Odd", payload.as_bytes()).read();
    let class = &schema.classes["Odd"];
    assert_eq!(class.definition, stored);
    assert!(!class.multi_tenant && class.shards.is_empty() && class.replication_factor == 1);
    assert_eq!(schema.read_from, ReadFrom::Raft { snapshot: None, entries: Some(1..=3) });
    assert_eq!(schema.warnings, []);
}

#[test]
fn a_class_that_exists_or_differs_in_case_only_is_refused() {
    let other = definition("ARTICLE", &json!([]));
    let schema = article()
        .add_class(&definition("Article", &json!([])), &shards(&[]))
        .add_class(&other, &shards(&[]))
        .json(4, "ARTICLE", &json!({"Class": other, "State": shards(&[])}))
        .json(1, "NoState", &json!({"Class": definition("NoState", &json!([])), "State": null}))
        .add_class(&definition("../etc", &json!([])), &shards(&[]))
        .command(1, "Broken", b"{\"Class\":")
        .read();
    let reasons = [
        (4, "class Article exists"),
        (5, "class Article exists"),
        (6, "class Article exists"),
        (7, "it has no sharding state"),
        (8, "`../etc` is not a class name"),
        (9, "its payload cannot be read: EOF while parsing a value at line 1 column 9"),
    ];
    assert_eq!(refused(&schema), reasons);
    assert!(schema.classes.keys().eq(["Article"]));
    assert_eq!(property_names(&schema.classes["Article"]), ["title"]);
}

#[test]
fn a_deleted_class_may_come_back_by_a_restore() {
    let log = article().command(3, "Article", b"").command(3, "Never", b"");
    assert!(log.read().classes.is_empty());
    let definition = definition("Article", &json!([{"name": "body", "dataType": ["text"]}]));
    let state = shards(&[("s2", &["n3"])]);
    let schema = log.json(4, "Article", &json!({"Class": definition, "State": state})).read();
    let class = &schema.classes["Article"];
    assert_eq!(property_names(class), ["body"]);
    assert_eq!(placed(class), [("s2".to_owned(), "n3".to_owned())]);
    assert_eq!(schema.warnings, []);
}

#[test]
fn an_update_replaces_its_members_and_removes_some_that_it_lacks() {
    let mut first = definition("Article", &json!([{"name": "title", "dataType": ["text"]}]));
    first["description"] = json!("old");
    first["vectorizer"] = json!("none");
    let update = json!({
        "class": "Article",
        "properties": null,
        "replicationConfig": {"factor": 2},
        "vectorConfig": {"v": {}},
    });
    let state = shards(&[("s1", &["n1", "n2"])]);
    let schema = Log::new()
        .add_class(&first, &state)
        .json(2, "Article", &json!({"Class": update, "State": null}))
        .read();
    let class = &schema.classes["Article"];
    let expected = json!({
        "class": "Article",
        "properties": [{"name": "title", "dataType": ["text"]}],
        "replicationConfig": {"factor": 2},
        "vectorConfig": {"v": {}},
        "vectorizer": "none",
    });
    assert_eq!(serde_json::from_str::<Value>(&class.definition).unwrap(), expected);
    assert_eq!(class.replication_factor, 2);
    assert_eq!(placed(class), [("s1".to_owned(), "n1 n2".to_owned())]);
    assert_eq!(schema.warnings, []);
}

#[test]
fn an_update_may_have_shards_but_no_factor_without_replicas() {
    let mut wider = definition("Article", &json!([]));
    wider["replicationConfig"]["factor"] = json!(2);
    let state = shards(&[("s1", &["n2"]), ("s2", &["n3"])]);
    let same = definition("Article", &json!([]));
    let unknown = definition("Unknown", &json!([]));
    let schema = article()
        .json(2, "Article", &json!({"Class": wider, "State": null}))
        .json(2, "Article", &json!({"Class": same, "State": state}))
        .json(2, "Unknown", &json!({"Class": unknown, "State": null}))
        .read();
    let reasons = [
        (4, "shard s1 has too few replicas for a replication factor of 2"),
        (6, "there is no such class"),
    ];
    assert_eq!(refused(&schema), reasons);
    let class = &schema.classes["Article"];
    assert_eq!(class.replication_factor, 1);
    assert_eq!(
        placed(class),
        [("s1".to_owned(), "n2".to_owned()), ("s2".to_owned(), "n3".to_owned())]
    );
}

#[test]
fn properties_are_added_merged_and_replaced() {
    let nested = |name: &str| json!({"name": name, "dataType": ["text"]});
    let object = |nested: &[Value]| {
        json!({
            "name": "Address",
            "dataType": ["object"],
            "nestedProperties": nested,
            "indexRangeFilters": false,
        })
    };
    let mut again = object(&[nested("STREET"), nested("city")]);
    again["name"] = json!("address");
    again["indexRangeFilters"] = json!(true);
    let replaced = json!({"name": "title", "dataType": ["text"], "indexSearchable": false});
    let schema = article()
        .json(5, "Article", &json!({"Properties": [object(&[nested("street")])]}))
        .json(5, "Article", &json!({"Property": {"name": "year", "dataType": ["int"]}}))
        .json(5, "Article", &json!({"Properties": [again]}))
        .json(6, "Article", &json!({"Property": replaced}))
        .json(6, "Article", &json!({"Property": {"name": "none", "dataType": ["int"]}}))
        .json(5, "Unknown", &json!({"Properties": []}))
        .read();
    assert_eq!(refused(&schema), [(8, "there is no such property"), (9, "there is no such class")]);
    let class = &schema.classes["Article"];
    let mut merged = object(&[nested("street"), nested("city")]);
    merged["indexRangeFilters"] = json!(true);
    let expected = json!([replaced, merged, {"name": "year", "dataType": ["int"]}]);
    let definition: Value = serde_json::from_str(&class.definition).unwrap();
    assert_eq!(definition["properties"], expected);
    assert_eq!(property_names(class), ["title", "Address", "year"]);
    assert_eq!(class.properties[1].nested_properties[1].name, "city");
}

#[test]
fn replicas_come_and_go() {
    let replica = |shard: &str, node: &str| json!({"Class": "Article", "Shard": shard, "TargetNode": node, "SchemaVersion": 1});
    let schema = article()
        .json(11, "Article", &replica("s1", "n2"))
        .json(11, "Article", &replica("s1", "n2"))
        .json(212, "Article", &replica("s1", "n3"))
        .json(12, "Article", &replica("s1", "n1"))
        .json(12, "Article", &replica("s9", "n1"))
        .read();
    assert_eq!(refused(&schema), [(8, "there is no shard s9")]);
    assert_eq!(placed(&schema.classes["Article"]), [("s1".to_owned(), "n2 n3".to_owned())]);
}

#[test]
fn tenants_are_assigned_to_the_nodes_in_turn() {
    let tenants = [("a", "HOT"), ("b", "COLD"), ("c", ""), ("d", "HOT")];
    let schema = shelf(1)
        .add_tenants("Shelf", &NODES, &tenants)
        // An existing tenant keeps its nodes and takes no turn.
        .add_tenants("Shelf", &NODES, &[("a", "COLD"), ("e", "HOT")])
        .read();
    let class = &schema.classes["Shelf"];
    let nodes: Vec<_> = placed(class).into_iter().map(|(_, nodes)| nodes).collect();
    assert_eq!(nodes, ["n1", "n2", "n3", "n1", "n1"]);
    assert_eq!(status(&schema, "a"), ShardStatus::Hot);
    assert_eq!(status(&schema, "b"), ShardStatus::Cold);
    assert_eq!(status(&schema, "c"), ShardStatus::Hot);
    assert_eq!(schema.warnings, []);
}

/// The first node of each tenant is the next one that was not first in this round. The nodes
/// that follow it hold the other replicas, and the round continues after them.
#[test]
fn replicas_of_tenants_are_on_neighbours() {
    let tenants = [("a", ""), ("b", ""), ("c", ""), ("d", "")];
    let schema = shelf(2).add_tenants("Shelf", &NODES, &tenants).read();
    let nodes: Vec<_> =
        placed(&schema.classes["Shelf"]).into_iter().map(|(_, nodes)| nodes).collect();
    assert_eq!(nodes, ["n1 n2", "n3 n1", "n2 n3", "n1 n2"]);
}

#[test]
fn tenants_that_cannot_be_placed_are_refused() {
    let many: Vec<String> = (0..1001).map(|node| format!("n{node}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let schema = shelf(2)
        .add_tenants("Shelf", &["n1"], &[("a", "")])
        .add_tenants("Shelf", &[], &[("a", "")])
        .add_tenants("Shelf", &["n1", "n2", "n1"], &[("a", "")])
        .add_tenants("Shelf", &many, &[("a", "")])
        .add_tenants("Unknown", &NODES, &[("a", "")])
        .add_class(&definition("Article", &json!([])), &shards(&[]))
        .add_tenants("Article", &NODES, &[("a", "")])
        .command(16, "Shelf", &[0xFF])
        .read();
    let refused = refused(&schema);
    let expected = [
        (4, "2 replicas need as many nodes, and the command has 1"),
        (5, "2 replicas need as many nodes, and the command has 0"),
        (6, "node n1 is listed twice"),
        (7, "the command has 1001 nodes, more than the limit of 1000"),
        (8, "there is no such class"),
        (10, "the class is not multi-tenant"),
    ];
    assert_eq!(refused[..6], expected);
    assert!(refused[6].1.starts_with("its payload cannot be read"), "{refused:?}");
    assert!(schema.classes["Shelf"].shards.is_empty());
}

#[test]
fn tenants_are_updated_and_deleted() {
    let schema = shelf(1)
        .add_tenants("Shelf", &NODES, &[("a", "HOT"), ("b", "HOT"), ("c", "HOT")])
        .update_tenants("Shelf", &NODES, &[("a", "COLD"), ("x", "COLD"), ("b", "WARM")])
        .delete_tenants("Shelf", &["c", "never"])
        .read();
    assert_eq!(refused(&schema), [(5, "there is no shard x")]);
    assert!(schema.classes["Shelf"].shards.keys().eq(["a", "b"]));
    assert_eq!(status(&schema, "a"), ShardStatus::Cold);
    assert_eq!(status(&schema, "b"), ShardStatus::Other("WARM".to_owned()));
}

#[test]
fn a_tenant_is_frozen_when_all_its_nodes_are_done() {
    let log = shelf(2)
        .add_tenants("Shelf", &NODES, &[("a", "HOT"), ("b", "HOT")])
        .update_tenants("Shelf", &NODES, &[("a", "FROZEN")])
        // Again, which changes nothing.
        .update_tenants("Shelf", &NODES, &[("a", "FROZEN")]);
    assert_eq!(status(&log.read(), "a"), ShardStatus::Freezing);
    let log = log.report("Shelf", "n1", 1, 2, ("a", "FROZEN"));
    assert_eq!(status(&log.read(), "a"), ShardStatus::Freezing);
    let log = log.report("Shelf", "n2", 1, 2, ("a", "FROZEN"));
    assert_eq!(status(&log.read(), "a"), ShardStatus::Frozen);
    // What was not started, and tenants that are not there.
    let schema = log
        .report("Shelf", "n1", 1, 2, ("b", "FROZEN"))
        .report("Shelf", "n1", 1, 2, ("x", "FROZEN"))
        .read();
    assert_eq!(status(&schema, "b"), ShardStatus::Hot);
    assert_eq!(refused(&schema), [(10, "there is no shard x")]);
}

#[test]
fn one_node_that_aborts_leaves_a_tenant_as_it_was() {
    let log = shelf(2)
        .add_tenants("Shelf", &NODES, &[("a", "COLD")])
        .update_tenants("Shelf", &NODES, &[("a", "FROZEN")])
        .report("Shelf", "n1", 1, 3, ("a", "COLD"));
    assert_eq!(status(&log.read(), "a"), ShardStatus::Cold);
    let log = log.report("Shelf", "n2", 1, 2, ("a", "FROZEN"));
    assert_eq!(status(&log.read(), "a"), ShardStatus::Cold);
}

#[test]
fn a_tenant_is_restored_from_cold_storage_to_the_current_nodes() {
    let log = shelf(1)
        .add_tenants("Shelf", &NODES, &[("a", "HOT"), ("b", "HOT")])
        .update_tenants("Shelf", &NODES, &[("b", "FROZEN")])
        .report("Shelf", "n2", 1, 2, ("b", "FROZEN"))
        .update_tenants("Shelf", &["n3", "n4"], &[("b", "COLD")])
        // Again, which changes nothing.
        .update_tenants("Shelf", &["n4", "n3"], &[("b", "COLD")]);
    let schema = log.read();
    assert_eq!(status(&schema, "b"), ShardStatus::Unfreezing);
    assert_eq!(placed(&schema.classes["Shelf"])[1].1, "n3");
    let aborted = log.clone().report("Shelf", "n3", 2, 3, ("b", ""));
    assert_eq!(status(&aborted.read(), "b"), ShardStatus::Unfreezing);
    let schema = log.report("Shelf", "n3", 2, 2, ("b", "")).read();
    assert_eq!(status(&schema, "b"), ShardStatus::Cold);
    assert_eq!(schema.warnings, []);
}

#[test]
fn unrelated_commands_are_ignored_and_unknown_ones_are_warnings() {
    let unrelated =
        [10, 40, 42, 60, 64, 65, 80, 85, 90, 94, 99, 200, 211, 213, 220, 225, 300, 309, 400];
    let mut log = article();
    for number in unrelated {
        log = log.command(number, "Article", b"anything");
    }
    let log = log.entry(4, None).entry(0, Some(b"")).command(7, "Article", b"?");
    let log = log.command(7, "Article", b"?");
    let warnings =
        [SchemaWarning::UnknownCommands { numbers: [0, 7].into(), entries: 3, first: 24 }];
    let schema = log.read();
    assert_eq!(schema.warnings, warnings);
    assert_eq!(schema.read_from, ReadFrom::Raft { snapshot: None, entries: Some(1..=26) });
}

#[test]
fn entries_that_raft_does_not_write_are_errors() {
    let reason = |log: Log| match log.try_read() {
        Err(SchemaError::LogEntry { index: 4, reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    let text = reason(article().entry(0, Some(b"\xFF\xFF")));
    assert!(text.starts_with("its Data is not a command"), "{text}");
    assert_eq!(reason(article().entry(0, None)), "it has no Data");
}

/// By shard: the entry that made it again, or 0.
fn made_again(schema: &ClusterSchema, class: &str) -> Vec<(String, u64)> {
    let shards = schema.classes[class].shards.iter();
    shards.map(|(name, shard)| (name.clone(), shard.made_again_at)).collect()
}

fn expected(shards: &[(&str, u64)]) -> Vec<(String, u64)> {
    shards.iter().map(|(name, index)| ((*name).to_owned(), *index)).collect()
}

#[test]
fn a_shard_remembers_the_entry_that_made_it_after_a_deletion() {
    let first = shelf(1).add_tenants("Shelf", &NODES, &[("a", ""), ("b", ""), ("c", "")]); // 4
    let tenants = first
        .delete_tenants("Shelf", &["a", "b"]) // 5
        .add_tenants("Shelf", &NODES, &[("a", "")]) // 6
        // Refused: in use.
        .add_tenants("Shelf", &NODES, &[("a", ""), ("c", "")]) // 7
        .update_tenants("Shelf", &NODES, &[("a", "COLD")]); // 8
    assert_eq!(made_again(&tenants.read(), "Shelf"), expected(&[("a", 6), ("c", 0)]));

    let class = tenants
        .command(3, "Shelf", b"") // 9
        .add_class(&tenanted("Shelf", 1), &no_shards()) // 10
        .add_tenants("Shelf", &NODES, &[("c", ""), ("d", "")]) // 11
        .command(3, "Shelf", b"") // 12
        .add_class(&tenanted("Shelf", 1), &no_shards()) // 13
        .add_tenants("Shelf", &NODES, &[("c", "")]); // 14
    assert_eq!(made_again(&class.read(), "Shelf"), expected(&[("c", 14)]));

    let single = article()
        .command(3, "Article", b"") // 4
        .add_class(&definition("Article", &json!([])), &shards(&[("s2", &["n1"])])); // 5
    assert_eq!(made_again(&single.read(), "Article"), expected(&[("s2", 5)]));
}

#[test]
fn a_class_is_deleted_whatever_the_case_of_its_name() {
    let log = article().command(3, "ARTICLE", b""); // 4
    assert!(log.read().classes.is_empty());
    let log = log.add_class(&definition("Article", &json!([])), &shards(&[("s2", &["n1"])])); // 5
    assert_eq!(made_again(&log.read(), "Article"), expected(&[("s2", 5)]));
}
