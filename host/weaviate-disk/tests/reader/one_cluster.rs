//! Directories that are not of the nodes of one cluster are refused; those of one are not.
use std::{fs, path::Path};

use offloom_weaviate_disk::{ClusterFault, DataDirectory, DiskError, Warning};
use serde_json::json;

use crate::{
    bbolt_file::{self, Node, SHAPE, Tree},
    catalog::{Server, class, examples},
    log::{Log, field},
    shard::schema,
    stale::{found, newest_shelf, numbers, shelf},
};

/// The fault of two directories, in both orders.
fn fault(left: &Path, right: &Path) -> ClusterFault {
    let fault = |paths: [&Path; 2]| match DataDirectory::open_nodes(&paths, None) {
        Err(DiskError::NotOneCluster { path, other, fault }) => {
            let mut named = [path.as_path(), other.as_path()];
            named.sort();
            assert!(named == [left.min(right), left.max(right)], "{named:?}");
            fault
        }
        other => panic!("{other:?}"),
    };
    let found = fault([left, right]);
    assert_eq!(
        std::mem::discriminant(&fault([right, left])),
        std::mem::discriminant(&found),
        "{found}"
    );
    found
}

fn roots<'a>(left: &'a Server, right: &'a Server) -> [&'a Path; 2] {
    [left.root.path(), right.root.path()]
}

fn text(left: &Server, right: &Server) -> String {
    fault(left.root.path(), right.root.path()).to_string()
}

fn has_log(fixture: &str) -> bool {
    !["v1.20.6", "v1.24.26"].contains(&fixture)
}

#[test]
fn real_servers_of_different_clusters_are_refused() {
    let names = ["basic", "tenants", "options", "namespaces", "v1.20.6", "v1.24.26", "v1.28.16"];
    let fixtures = names.map(|name| (name, offloom_fixtures::unpack(name).unwrap()));
    for (index, (left_name, left)) in fixtures.iter().enumerate() {
        for (right_name, right) in &fixtures[index + 1..] {
            let fault = fault(&left.data_dir(), &right.data_dir());
            // RAFT's logs say so; `schema.db`, which has none, leaves the shards.
            let have_logs = [left_name, right_name].iter().all(|name| has_log(name));
            assert_eq!(
                matches!(fault, ClusterFault::Logs(_)),
                have_logs,
                "{left_name}, {right_name}"
            );
        }
    }
}

#[test]
fn nodes_of_two_real_clusters_are_refused() {
    let one = offloom_fixtures::unpack("cluster").unwrap();
    let other = offloom_fixtures::unpack("stale-node").unwrap();
    for (left, right) in [("node1", "node1"), ("node1", "node2"), ("node3", "node1")] {
        let fault = fault(&one.data_dir().join(left), &other.data_dir().join(right));
        assert!(matches!(fault, ClusterFault::Logs(_)), "{fault}");
    }
}

#[test]
fn two_copies_of_a_real_node_are_refused() {
    for name in ["basic", "v1.24.26"] {
        let left = offloom_fixtures::unpack(name).unwrap();
        let right = offloom_fixtures::unpack(name).unwrap();
        let fault = fault(&left.data_dir(), &right.data_dir());
        let ClusterFault::SameNode { node } = &fault else { panic!("{fault}") };
        assert_eq!(node, "node1");
    }
}

#[test]
fn two_copies_of_a_node_at_different_times_are_refused() {
    let older = class(Log::new(), "Article", false, &[("s1", "n1")]);
    let newer = class(older.clone(), "Note", false, &[("s2", "n1")]);
    let (left, right) = (Server::new(&older), Server::new(&newer));
    left.put("Article", "s1", 1);
    right.put("Article", "s1", 1);
    right.put("Note", "s2", 2);
    assert_eq!(
        text(&left, &right),
        "both hold the shards of node n1; of two copies of a node, give the newer one only, and of \
         two clusters, export each cluster by itself"
    );
}

#[test]
fn an_entry_that_differs_at_the_same_place_separates_clusters() {
    let left = Server::new(&class(Log::new(), "Article", false, &[("s1", "n1")]));
    left.put("Article", "s1", 1);
    // The same command at another time, and another command.
    let later = class(Log::new().at_time(0x19), "Article", false, &[("s1", "n2")]);
    let right = Server::new(&later);
    right.put("Article", "s1", 1);
    let expected = "entry 3 of term 2 differs in their RAFT logs; export each cluster by itself";
    assert_eq!(text(&left, &right), expected);
    let timed = |clock| Log::new().at_time(clock).entry(1, None).in_term(3);
    let noops = [0x18, 0x28].map(|clock| class(timed(clock), "Article", false, &[("s1", "n1")]));
    assert_eq!(text(&Server::new(&noops[0]), &Server::new(&noops[1])), expected);
}

#[test]
fn ids_of_clusters_separate_them_without_a_common_entry() {
    let with_id = |term: u8, id: &str| {
        let log = Log::new().in_term(term).command(400, "", &field(1, id.as_bytes()));
        // Set once: a later one does not count.
        log.command(400, "", &field(1, b"other"))
    };
    let [left, right] =
        [(2, "id-A"), (3, "id-B")].map(|(term, id)| Server::new(&with_id(term, id)));
    // The log of the later term comes first.
    assert_eq!(
        text(&left, &right),
        "their clusters have the ids id-B and id-A; export each cluster by itself"
    );
    let same = [2, 3].map(|term| Server::new(&with_id(term, "id-A")));
    DataDirectory::open_nodes(&roots(&same[0], &same[1]), None).unwrap();
}

#[test]
fn logs_that_part_and_were_both_applied_are_of_two_clusters() {
    // Two machines from one image.
    let image = class(Log::new(), "Article", false, &[("s1", "n1"), ("s2", "n2")]);
    let left = class(image.clone(), "Left", false, &[("s3", "n1")]);
    let right = class(image.in_term(3), "Right", false, &[("s4", "n2")]);
    let (left, right) = (Server::new(&left), Server::new(&right));
    left.put("Article", "s1", 1);
    left.put("Left", "s3", 1);
    right.put("Article", "s2", 2);
    right.put("Right", "s4", 2);
    assert_eq!(
        text(&left, &right),
        "their RAFT logs differ from entry 4 on, and each has applied its own; export each cluster \
         by itself"
    );
    // Without a directory of its own, that end was never committed.
    fs::remove_dir_all(left.root.path().join("left")).unwrap();
    let directory = DataDirectory::open_nodes(&roots(&left, &right), None).unwrap();
    assert_eq!(numbers(&directory, "Article"), found(&[("s1", 1), ("s2", 2)]));
}

#[test]
fn a_directory_without_log_and_without_a_known_shard_is_refused() {
    let newest = newest_shelf(&shelf());
    let other = Server::new(&Log::new());
    fs::remove_dir_all(other.root.path().join("raft")).unwrap();
    other.put("Article", "s1", 1);
    assert_eq!(fault(newest.root.path(), other.root.path()), ClusterFault::NoShardInSchema);
    // One known shard is enough, and so is none at all.
    other.put("Shelf", "k2", 2);
    let directory = DataDirectory::open_nodes(&roots(&newest, &other), None).unwrap();
    let deleted = Warning::ClassNotInSchema { directory: "article".to_owned() };
    assert_eq!(directory.warnings(), [deleted]);
    let empty = Server::new(&Log::new());
    fs::remove_dir_all(empty.root.path().join("raft")).unwrap();
    DataDirectory::open_nodes(&roots(&newest, &empty), None).unwrap();
}

#[test]
fn a_node_that_holds_mostly_copies_of_another_ones_shards_keeps_its_name() {
    // Its own shard, and three that are on their way to it.
    let placed = [("s1", "n1"), ("s2", "n1"), ("s3", "n1"), ("own", "n2")];
    let log = class(Log::new(), "Article", false, &placed);
    let (one, two) = (Server::new(&log), Server::new(&log));
    for shard in ["s1", "s2", "s3"] {
        one.put("Article", shard, 1);
        two.put("Article", shard, 2);
    }
    two.put("Article", "own", 2);
    let directory = DataDirectory::open_nodes(&roots(&one, &two), None).unwrap();
    let names: Vec<_> = directory.nodes().iter().map(|node| node.names().to_vec()).collect();
    assert_eq!(names, [["n1".into()], ["n2".into()]]);
    let expected = found(&[("own", 2), ("s1", 1), ("s2", 1), ("s3", 1)]);
    assert_eq!(numbers(&directory, "Article"), expected);
    let shards = examples(&["s1", "s2", "s3"]);
    let misplaced = Warning::CopiesMisplaced { class: "Article".to_owned(), shards };
    assert_eq!(directory.warnings(), [misplaced]);
}

#[test]
fn nodes_that_hold_every_shard_are_distinct() {
    let physical = json!({"s": {"name": "s", "belongsToNodes": ["n1", "n2", "n3"]}});
    let log = Log::new().add_class(&json!({"class": "Article"}), &json!({"physical": physical}));
    let servers = [1, 2, 3, 4].map(|_| Server::new(&log));
    for server in &servers {
        server.put("Article", "s", 1);
    }
    let paths: Vec<&Path> = servers.iter().map(|server| server.root.path()).collect();
    DataDirectory::open_nodes(&paths[..3], None).unwrap();
    // A fourth directory can be none of the three.
    let error = DataDirectory::open_nodes(&paths, None).unwrap_err();
    let DiskError::NotOneCluster { fault: ClusterFault::SameNode { .. }, .. } = &error else {
        panic!("{error}")
    };
}

#[test]
fn the_only_node_of_a_cluster_may_have_been_renamed() {
    let log = class(Log::of_servers(&["new"]), "Article", false, &[("s1", "old"), ("s2", "old")]);
    let log = class(log, "Note", false, &[("s3", "new")]);
    let log = class(log, "Shelf", true, &[]).add_tenants("Shelf", &["old"], &[("never", "")]);
    let node = Server::new(&log);
    for (class, shard) in [("Article", "s1"), ("Article", "s2"), ("Note", "s3")] {
        node.put(class, shard, 1);
    }
    let file = schema(
        node.root.path(),
        r#"{"classes": [{"class": "Article"}, {"class": "Note"}, {"class": "Shelf",
            "multiTenancyConfig": {"enabled": true}}]}"#,
    );
    for file in [None, Some(file)] {
        let directory = DataDirectory::open(node.root.path(), file).unwrap();
        assert_eq!(directory.warnings(), []);
        assert_eq!(directory.nodes()[0].names(), ["new".into()]);
        assert_eq!(numbers(&directory, "Article"), found(&[("s1", 1), ("s2", 1)]));
        assert_eq!(numbers(&directory, "Note"), found(&[("s3", 1)]));
    }
    // With a second node in the cluster, the shards of the other name are copies.
    let log = class(Log::of_servers(&["new", "old"]), "Article", false, &[("s1", "old")]);
    let log = class(log, "Note", false, &[("s2", "new"), ("s3", "new")]);
    let node = Server::new(&log);
    for (class, shard) in [("Article", "s1"), ("Note", "s2"), ("Note", "s3")] {
        node.put(class, shard, 1);
    }
    let directory = DataDirectory::open(node.root.path(), None).unwrap();
    let shards = examples(&["s1"]);
    let misplaced = Warning::ShardsMisplaced { class: "Article".to_owned(), shards };
    assert_eq!(directory.warnings(), [misplaced]);
    // Of a node that left, nothing is here: its shards are elsewhere.
    let log = class(Log::of_servers(&["n1"]), "Article", false, &[("s1", "n1"), ("s2", "gone")]);
    let node = Server::new(&log);
    node.put("Article", "s1", 1);
    let directory = DataDirectory::open(node.root.path(), None).unwrap();
    let elsewhere = Warning::ShardsElsewhere {
        class: "Article".to_owned(),
        shards: examples(&["s2"]),
        nodes: vec!["gone".to_owned()],
    };
    assert_eq!(directory.warnings(), [elsewhere]);
}

/// A `schema.db` with the class `Article`, whose shards lie on these nodes.
fn schema_db(shards: &[(&str, &[&str])]) -> Vec<u8> {
    let value = |json: serde_json::Value| Node::Value(json.to_string().into_bytes());
    let mut records = Tree::from([
        (vec![5, 0], value(json!({"class": "Article"}))),
        (vec![15, 0], value(json!({"physical": null}))),
    ]);
    for (shard, nodes) in shards {
        let record = value(json!({"name": shard, "belongsToNodes": nodes}));
        records.insert([&[4], shard.as_bytes()].concat(), record);
    }
    let bucket = Tree::from([
        (vec![1, 0], value(json!({"Version": 2}))),
        (b"\x02Article".to_vec(), Node::Bucket(records)),
    ]);
    bbolt_file::write(&Tree::from([(b"schema".to_vec(), Node::Bucket(bucket))]), SHAPE)
}

#[test]
fn a_server_before_raft_may_have_been_renamed() {
    let server = |shards: &[(&str, &[&str])]| {
        let server = Server::new(&Log::new());
        fs::remove_dir_all(server.root.path().join("raft")).unwrap();
        fs::write(server.root.path().join("schema.db"), schema_db(shards)).unwrap();
        server
    };
    let node = server(&[("s1", &["old"]), ("s2", &["old"]), ("s3", &["new"])]);
    for shard in ["s1", "s2", "s3"] {
        node.put("Article", shard, 1);
    }
    let directory = DataDirectory::open(node.root.path(), None).unwrap();
    assert_eq!(directory.warnings(), []);
    assert_eq!(numbers(&directory, "Article"), found(&[("s1", 1), ("s2", 1), ("s3", 1)]));
    // A copy of another node's shard is no sign of it, and that node's own shard is elsewhere.
    let node = server(&[("s1", &["n1"]), ("s2", &["n1", "n2"]), ("s3", &["n2"])]);
    node.put("Article", "s1", 1);
    node.put("Article", "s2", 1);
    let directory = DataDirectory::open(node.root.path(), None).unwrap();
    let elsewhere = Warning::ShardsElsewhere {
        class: "Article".to_owned(),
        shards: examples(&["s3"]),
        nodes: vec!["n2".to_owned()],
    };
    assert_eq!(directory.warnings(), [elsewhere]);
}
