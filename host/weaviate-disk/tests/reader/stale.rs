//! Nodes that were down while shards were deleted and made again: what their directories still hold
//! does not count.
use std::path::Path;

use offloom_weaviate_disk::{DataDirectory, DiskError, LsmError, SchemaFile, SkipReason, Warning};
use serde_json::{Value, json};

use crate::{
    catalog::{Server, class, examples},
    log::Log,
    nodes::nodes_of_cluster,
    real::{disk_objects, rest_objects, sorted},
    rows::{self, LIMITS},
};

/// A multi-tenant class whose tenants have this many copies.
pub fn tenanted(log: Log, name: &str, copies: u32) -> Log {
    let definition = json!({
        "class": name,
        "multiTenancyConfig": {"enabled": true},
        "replicationConfig": {"factor": copies},
    });
    log.add_class(&definition, &json!({"physical": {}}))
}

/// `Shelf` with tenant `k1` on node `n1`, `k2` and `t` on `n2`.
pub fn shelf() -> Log {
    tenanted(Log::new(), "Shelf", 1)
        .add_tenants("Shelf", &["n1"], &[("k1", "")])
        .add_tenants("Shelf", &["n2"], &[("k2", "")])
        .add_tenants("Shelf", &["n2"], &[("t", "")])
}

/// The directory of `n2` as of [`shelf`]: object 9 is in the first life of `t`.
pub fn stale_shelf(log: &Log) -> Server {
    let server = Server::new(log);
    server.put("Shelf", "k2", 2);
    server.put("Shelf", "t", 9);
    server
}

/// The directory of `n1`, with the newest log.
pub fn newest_shelf(log: &Log) -> Server {
    let server = Server::new(log);
    server.put("Shelf", "k1", 1);
    server
}

/// Opens the directories in this order and in the opposite one; what they say is the same.
pub fn open(servers: &[&Server]) -> DataDirectory {
    let mut paths: Vec<&Path> = servers.iter().map(|server| server.root.path()).collect();
    let directory = DataDirectory::open_nodes(&paths, None).unwrap();
    paths.reverse();
    let reversed = DataDirectory::open_nodes(&paths, None).unwrap();
    for class in directory.classes() {
        assert_eq!(numbers(&reversed, &class.name), numbers(&directory, &class.name));
    }
    let texts = |directory: &DataDirectory| {
        let mut texts: Vec<String> = directory.warnings().iter().map(Warning::to_string).collect();
        texts.sort();
        texts
    };
    assert_eq!(texts(&reversed), texts(&directory));
    directory
}

/// Shard and number of every object of a class.
pub fn numbers(directory: &DataDirectory, class: &str) -> Vec<(String, u8)> {
    let class = rows::class(directory, class);
    let read = rows::read(directory, class, 1 << 20, LIMITS).unwrap();
    let number = |row: &rows::Row| (class.shards[row.shard as usize].name.to_string(), row.id[15]);
    read.all().iter().map(number).collect()
}

pub fn found(expected: &[(&str, u8)]) -> Vec<(String, u8)> {
    expected.iter().map(|(shard, number)| ((*shard).to_owned(), *number)).collect()
}

/// The warnings without those that the schemas differ, of which there is one at least.
pub fn warnings(directory: &DataDirectory) -> Vec<Warning> {
    let differ = |warning: &&Warning| matches!(warning, Warning::SchemasDiffer { .. });
    let all = directory.warnings();
    assert!(all.iter().any(|warning| differ(&warning)), "{all:?}");
    all.iter().filter(|warning| !differ(warning)).cloned().collect()
}

pub fn older(class: &str, shards: &[&str]) -> Warning {
    Warning::OlderLives { class: class.to_owned(), shards: examples(shards) }
}

pub fn skipped(directory: &DataDirectory, class: &str) -> Vec<(String, SkipReason)> {
    let shards = rows::class(directory, class).shards.iter();
    shards.filter_map(|shard| Some((shard.name.to_string(), shard.skip_reason.clone()?))).collect()
}

#[test]
fn a_tenant_that_was_made_again_on_the_stale_node_has_no_rows() {
    let log = shelf().delete_tenants("Shelf", &["t"]).add_tenants("Shelf", &["n2"], &[("t", "")]);
    let (newest, stale) = (newest_shelf(&log), stale_shelf(&shelf()));
    let directory = open(&[&newest, &stale]);
    assert_eq!(numbers(&directory, "Shelf"), found(&[("k1", 1), ("k2", 2)]));
    // The schemas are the same, but for the entries that made the tenant.
    assert_eq!(directory.warnings(), [older("Shelf", &["t"])]);
    assert_eq!(skipped(&directory, "Shelf"), [("t".to_owned(), SkipReason::OlderLife)]);
}

#[test]
fn a_tenant_that_was_made_again_elsewhere_has_the_rows_of_its_present_life() {
    let log = shelf().delete_tenants("Shelf", &["t"]).add_tenants("Shelf", &["n1"], &[("t", "")]);
    let newest = newest_shelf(&log);
    newest.put("Shelf", "t", 3);
    let stale = stale_shelf(&shelf());
    let directory = open(&[&newest, &stale]);
    assert_eq!(numbers(&directory, "Shelf"), found(&[("k1", 1), ("k2", 2), ("t", 3)]));
    assert_eq!(warnings(&directory), [older("Shelf", &["t"])]);
    // Its node's directory is not given: that is said too.
    let log = shelf().delete_tenants("Shelf", &["t"]).add_tenants("Shelf", &["n3"], &[("t", "")]);
    let (newest, stale) = (newest_shelf(&log), stale_shelf(&shelf()));
    let directory = open(&[&newest, &stale]);
    let elsewhere = Warning::ShardsElsewhere {
        class: "Shelf".to_owned(),
        shards: examples(&["t"]),
        nodes: vec!["n3".to_owned()],
    };
    assert_eq!(warnings(&directory), [older("Shelf", &["t"]), elsewhere]);
    assert_eq!(numbers(&directory, "Shelf"), found(&[("k1", 1), ("k2", 2)]));
}

#[test]
fn a_tenant_that_was_deleted_is_named_as_such() {
    let log = shelf().delete_tenants("Shelf", &["t"]);
    let (newest, stale) = (newest_shelf(&log), stale_shelf(&shelf()));
    let directory = open(&[&newest, &stale]);
    assert_eq!(numbers(&directory, "Shelf"), found(&[("k1", 1), ("k2", 2)]));
    assert_eq!(warnings(&directory), [older("Shelf", &["t"])]);
    assert_eq!(skipped(&directory, "Shelf"), [("t".to_owned(), SkipReason::OlderLife)]);
}

#[test]
fn of_a_class_that_was_made_again_no_tenant_of_before_counts() {
    let log = tenanted(shelf().command(3, "Shelf", b""), "Shelf", 1)
        .add_tenants("Shelf", &["n1"], &[("k1", "")])
        .add_tenants("Shelf", &["n2"], &[("k2", "")]);
    let newest = Server::new(&log);
    newest.put("Shelf", "k1", 11);
    let stale = stale_shelf(&shelf());
    let directory = open(&[&newest, &stale]);
    assert_eq!(numbers(&directory, "Shelf"), found(&[("k1", 11)]));
    assert_eq!(warnings(&directory), [older("Shelf", &["k2", "t"])]);
}

#[test]
fn a_class_that_was_deleted_is_left_out_and_named() {
    let log = class(shelf().command(3, "shelf", b""), "Note", false, &[("s", "n1")]);
    let newest = Server::new(&log);
    newest.put("Note", "s", 4);
    let stale = stale_shelf(&shelf());
    let directory = open(&[&newest, &stale]);
    let names: Vec<&str> = directory.classes().iter().map(|class| &*class.name).collect();
    assert_eq!(names, ["Note"]);
    assert_eq!(numbers(&directory, "Note"), found(&[("s", 4)]));
    assert_eq!(warnings(&directory), [older("Shelf", &["k2", "t"])]);
}

#[test]
fn of_a_tenant_that_was_made_again_twice_the_last_life_counts() {
    let second =
        shelf().delete_tenants("Shelf", &["t"]).add_tenants("Shelf", &["n3"], &[("t", "")]);
    let second = second.add_tenants("Shelf", &["n3"], &[("k3", "")]);
    let third =
        second.clone().delete_tenants("Shelf", &["t"]).add_tenants("Shelf", &["n1"], &[("t", "")]);
    let (newest, middle) = (newest_shelf(&third), Server::new(&second));
    newest.put("Shelf", "t", 7);
    middle.put("Shelf", "t", 8);
    middle.put("Shelf", "k3", 3);
    let stale = stale_shelf(&shelf());
    for servers in [[&newest, &middle, &stale], [&middle, &newest, &stale]] {
        let directory = open(&servers);
        let expected = found(&[("k1", 1), ("k2", 2), ("k3", 3), ("t", 7)]);
        assert_eq!(numbers(&directory, "Shelf"), expected);
        assert_eq!(warnings(&directory), [older("Shelf", &["t"])]);
    }
}

#[test]
fn of_two_copies_the_one_of_the_present_life_counts() {
    let before = tenanted(shelf(), "Copied", 2).add_tenants("Copied", &["n1", "n2"], &[("c", "")]);
    let log = before.clone().delete_tenants("Copied", &["c"]).add_tenants(
        "Copied",
        &["n1", "n2"],
        &[("c", ""), ("d", "")],
    );
    let (newest, stale) = (newest_shelf(&log), stale_shelf(&before));
    newest.put("Copied", "c", 5);
    newest.put("Copied", "d", 6);
    stale.put("Copied", "c", 9);
    let directory = open(&[&newest, &stale]);
    assert_eq!(numbers(&directory, "Copied"), found(&[("c", 5), ("d", 6)]));
    // The stale node never saw `d`, so that its copy is not missing.
    assert_eq!(warnings(&directory), [older("Copied", &["c"])]);
}

#[test]
fn of_a_class_without_tenants_that_was_made_again_no_shard_is_missing() {
    let place = |shards: &[(&str, &str)]| -> Value {
        let physical = shards.iter().map(|(shard, node)| {
            ((*shard).to_owned(), json!({"name": shard, "belongsToNodes": [node]}))
        });
        json!({"physical": serde_json::Map::from_iter(physical)})
    };
    let definition = json!({"class": "Article"});
    let before = shelf().add_class(&definition, &place(&[("s1", "n1"), ("s2", "n2")]));
    let log = before.clone().command(3, "Article", b"");
    let log = log.add_class(&definition, &place(&[("r1", "n1"), ("r2", "n2")]));
    let (newest, stale) = (newest_shelf(&log), stale_shelf(&before));
    newest.put("Article", "r1", 1);
    stale.put("Article", "s2", 9);
    let directory = open(&[&newest, &stale]);
    assert_eq!(numbers(&directory, "Article"), found(&[("r1", 1)]));
    assert_eq!(warnings(&directory), [older("Article", &["s2"])]);
    let reasons =
        [("r2".to_owned(), SkipReason::MadeLater), ("s2".to_owned(), SkipReason::OlderLife)];
    assert_eq!(skipped(&directory, "Article"), reasons);
    // On its own node, a shard that the node should have is missing.
    std::fs::remove_dir_all(newest.root.path().join("article/r1")).unwrap();
    let directory =
        DataDirectory::open_nodes(&[newest.root.path(), stale.root.path()], None).unwrap();
    let read = rows::read(&directory, rows::class(&directory, "Article"), 1 << 20, LIMITS);
    assert!(matches!(read, Err(DiskError::Lsm(LsmError::Lost { .. }))));
    let missing = Warning::ShardsMissing {
        class: "Article".to_owned(),
        has_directory: true,
        shards: examples(&["r1"]),
    };
    assert_eq!(warnings(&directory), [missing, older("Article", &["s2"])]);
}

#[test]
fn a_shard_that_was_made_later_may_be_on_a_node_that_was_not_given() {
    let definition = json!({"class": "Article"});
    let physical = json!({"s": {"name": "s", "belongsToNodes": ["n2", "n3"]}});
    let log = shelf().add_class(&definition, &json!({"physical": physical}));
    let (newest, stale) = (newest_shelf(&log), stale_shelf(&shelf()));
    let directory = open(&[&newest, &stale]);
    let elsewhere = Warning::ShardsElsewhere {
        class: "Article".to_owned(),
        shards: examples(&["s"]),
        nodes: vec!["n3".to_owned()],
    };
    assert_eq!(warnings(&directory), [elsewhere]);
}

#[test]
fn a_replica_that_moved_away_is_not_read_on_its_old_node() {
    let before = class(shelf(), "Article", false, &[("s", "n2")]);
    let replica = |node: &str| json!({"Class": "Article", "Shard": "s", "TargetNode": node});
    let log = before.clone().json(11, "Article", &replica("n1"));
    let log = log.json(12, "Article", &replica("n2"));
    let (newest, stale) = (newest_shelf(&log), stale_shelf(&before));
    newest.put("Article", "s", 1);
    stale.put("Article", "s", 9);
    let directory = open(&[&newest, &stale]);
    assert_eq!(numbers(&directory, "Article"), found(&[("s", 1)]));
    let shards = examples(&["s"]);
    let misplaced = Warning::CopiesMisplaced { class: "Article".to_owned(), shards };
    assert_eq!(warnings(&directory), [misplaced]);
}

#[test]
fn a_stale_node_alone_has_the_life_that_its_log_knows() {
    let stale = stale_shelf(&shelf());
    let directory = open(&[&stale]);
    assert_eq!(numbers(&directory, "Shelf"), found(&[("k2", 2), ("t", 9)]));
    let elsewhere = Warning::ShardsElsewhere {
        class: "Shelf".to_owned(),
        shards: examples(&["k1"]),
        nodes: vec!["n1".to_owned()],
    };
    assert_eq!(directory.warnings(), [elsewhere]);
}

/// A node was down while tenants and classes were deleted and made again (`stale-node`).
#[test]
fn the_first_life_on_a_real_stale_node_does_not_count() {
    let fixture = offloom_fixtures::unpack("stale-node").unwrap();
    let [one, two, stale] = nodes_of_cluster(&fixture.data_dir());
    let expected = sorted(rest_objects(&fixture));
    let schema = || {
        Some(
            SchemaFile::parse(&fixture.schema_file(), std::fs::read(fixture.schema_file()))
                .unwrap(),
        )
    };
    for (paths, schema) in [
        ([&stale, &one, &two], None),
        ([&one, &stale, &two], schema()),
        ([&two, &one, &stale], None),
        ([&stale, &two, &one], schema()),
    ] {
        let directory = DataDirectory::open_nodes(&paths, schema).unwrap();
        for node in directory.nodes() {
            let name = node.path().file_name().unwrap().to_str().unwrap();
            assert_eq!(node.names(), [name.into()]);
        }
        assert_eq!(sorted(disk_objects(&directory, 3_000)), expected);
        let lives = [
            older("Again", &["XlYs0AwllbNh", "kQrf1xu5bw3M", "y9h8cnBANmKU"]),
            older("Kind", &["x", "y"]),
            older("Ten1", &["t2", "t3", "t8"]),
            older("Ten3", &["t0", "t1", "t2"]),
        ];
        assert_eq!(warnings(&directory), lives);
        // Its only node was down when it was made again.
        let ten1 = rows::class(&directory, "Ten1");
        let only_old = ten1.shards.iter().find(|shard| &*shard.name == "t2").unwrap();
        assert_eq!(only_old.skip_reason, Some(SkipReason::OlderLife));
    }
}

/// Alone, the stale node's own log is all that is known: its shards are of their last life.
#[test]
fn a_real_stale_node_alone_is_read_as_of_its_own_log() {
    let fixture = offloom_fixtures::unpack("stale-node").unwrap();
    let [_, _, stale] = nodes_of_cluster(&fixture.data_dir());
    let directory = DataDirectory::open(&stale, None).unwrap();
    assert_eq!(directory.nodes()[0].names(), ["node3".into()]);
    for class in directory.classes() {
        let read: Vec<_> = class.shards.iter().map(|shard| shard.skip_reason.clone()).collect();
        assert!(read.iter().all(Option::is_none), "{}: {read:?}", class.name);
    }
}
