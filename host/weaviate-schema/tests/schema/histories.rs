//! What the RAFT logs of two directories say of each other.
use std::fs;

use offloom_weaviate_schema::{Agreement, Foreign, History, Position, stored};
use serde_json::json;

use crate::{
    log::{Log, field},
    real::open,
};

fn class(log: Log, name: &str) -> Log {
    let physical = json!({"s": {"name": "s", "belongsToNodes": ["n1"]}});
    log.add_class(&json!({"class": name}), &json!({"physical": physical}))
}

fn history(log: &Log) -> History {
    log.read().history.unwrap()
}

fn agreement(left: &Log, right: &Log) -> Agreement {
    let (left, right) = (history(left), history(right));
    let agreement = left.agreement(&right);
    if !matches!(agreement, Agreement::Foreign(Foreign::ClusterIds { .. })) {
        assert_eq!(right.agreement(&left), agreement);
    }
    agreement
}

#[test]
fn a_log_that_goes_on_agrees_with_its_beginning() {
    let before = class(Log::of_servers(&["n1", "n2"]), "A");
    // Each node of a new cluster writes the first configuration in its own order.
    let other = class(Log::of_servers(&["n2", "n1"]), "A");
    let after = class(class(other, "B").in_term(9), "C");
    assert_eq!(agreement(&before, &after), Agreement::Same);
    assert_eq!(history(&before).last(), Position { term: 2, index: before.last() });
    assert_eq!(history(&after).last(), Position { term: 9, index: 5 });
    assert_eq!(history(&before).servers(), ["n1", "n2"]);
    assert!(history(&before).last() < history(&after).last());
}

#[test]
fn entries_of_the_same_place_are_compared_by_content_and_time() {
    let place = |index| Agreement::Foreign(Foreign::Entry(Position { term: 2, index }));
    let log = class(Log::new(), "A");
    assert_eq!(agreement(&log, &class(Log::new(), "B")), place(3));
    assert_eq!(agreement(&log, &class(Log::new().at_time(3), "A")), place(3));
    let noop = |clock| Log::new().at_time(clock).entry(1, None);
    assert_eq!(agreement(&noop(1), &noop(3)), place(3));
    // A version that rounds the time differs by a second at most.
    assert_eq!(agreement(&noop(1), &noop(2)), Agreement::Same);
}

#[test]
fn logs_part_where_their_terms_do() {
    let base = class(Log::new(), "A");
    let left = class(class(base.clone(), "B"), "C");
    let right = class(base.in_term(3), "D");
    let parted = Agreement::Parted { at: 4, have_common: true };
    assert_eq!(agreement(&left, &right), parted);
    assert!(history(&left).last() < history(&right).last());
}

#[test]
fn the_id_of_a_cluster_is_set_once() {
    let log = |first: &[u8], second: &[u8]| {
        let log = Log::new().command(400, "", first).at_time(1);
        log.command(400, "", &field(1, second))
    };
    let set = |id: &[u8]| log(&field(1, id), b"later");
    let Agreement::Foreign(Foreign::ClusterIds { left, right }) =
        agreement(&set(b"one"), &set(b"two"))
    else {
        panic!()
    };
    assert_eq!([left, right], ["one", "two"]);
    // What cannot be read, and an empty one, sets none.
    for bad in [&b"\xFF"[..], b""] {
        let log = log(bad, b"two");
        assert_eq!(log.read().warnings, []);
        let Agreement::Foreign(Foreign::ClusterIds { right, .. }) = agreement(&set(b"one"), &log)
        else {
            panic!()
        };
        assert_eq!(right, "two");
    }
}

#[test]
fn a_real_snapshot_stands_for_its_last_entry() {
    let fixture = offloom_fixtures::unpack("options").unwrap();
    let read = || stored::read(&open(&fixture.data_dir())).unwrap().unwrap().history.unwrap();
    let whole = read();
    assert_eq!(whole.servers(), ["node1"]);
    assert_eq!(whole.first(), Some(1));
    assert!(whole.has_all_after(0));
    fs::remove_file(fixture.data_dir().join("raft/raft.db")).unwrap();
    let alone = read();
    assert_eq!(alone.last(), Position { term: 2, index: 9 });
    assert_eq!(alone.servers(), ["node1"]);
    assert_eq!(alone.agreement(&whole), Agreement::Same);
    // Nothing shows what the snapshot hides.
    assert!(!alone.has_all_after(8) && alone.has_all_after(9));
}

#[test]
fn a_log_may_be_read_up_to_an_entry() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("raft")).unwrap();
    let log = class(class(Log::new(), "A"), "B");
    fs::write(root.path().join("raft/raft.db"), log.file(1)).unwrap();
    let names = |last: u64| -> Vec<String> {
        let schema = stored::read_up_to(&open(root.path()), last).unwrap().unwrap();
        assert_eq!(schema.history.unwrap().last().index, last.min(4));
        schema.classes.into_keys().collect()
    };
    assert_eq!(names(3), ["A"]);
    assert_eq!(names(99), ["A", "B"]);
}
