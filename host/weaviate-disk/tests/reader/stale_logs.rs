//! What the logs of several nodes say together: snapshots that hide lives, ends that were never
//! committed, and no log at all.
use std::fs;

use base64::{Engine, engine::general_purpose::STANDARD};
use offloom_weaviate_disk::{DataDirectory, Warning};
use serde_json::{Value, json};

use crate::{
    catalog::{Server, class, examples},
    log::Log,
    stale::{found, newest_shelf, numbers, older, open, shelf, stale_shelf, tenanted, warnings},
};

/// Gives the server a snapshot with these classes, as of log entry `last`, and leaves of its log the
/// entries from `first` on.
fn truncate(server: &Server, log: &Log, last: u64, first: usize, classes: &Value) {
    let raft = server.root.path().join("raft");
    let snapshot = raft.join(format!("snapshots/2-{last}-1795408306746"));
    fs::create_dir_all(&snapshot).unwrap();
    let schema = STANDARD.encode(classes.to_string());
    let state = json!({"node_id": "n1", "snapshot_id": "s", "schema": schema}).to_string();
    let checksum = crc::Crc::<u64>::new(&crc::CRC_64_XZ).checksum(state.as_bytes());
    let meta = json!({
        "Version": 1,
        "Index": last,
        "Term": 2,
        "Configuration": {"Servers": []},
        "Size": state.len(),
        "CRC": STANDARD.encode(checksum.to_be_bytes()),
    });
    fs::write(snapshot.join("meta.json"), meta.to_string()).unwrap();
    fs::write(snapshot.join("state.bin"), state).unwrap();
    fs::write(raft.join("raft.db"), log.file(first)).unwrap();
}

/// The class `Shelf` in a snapshot: `changed_at` is the last entry that changed its tenants.
fn shelf_record(tenants: &[(&str, &str)], changed_at: u64) -> Value {
    let physical = tenants.iter().map(|(tenant, node)| {
        ((*tenant).to_owned(), json!({"name": tenant, "belongsToNodes": [node]}))
    });
    let definition = json!({"class": "Shelf", "multiTenancyConfig": {"enabled": true}});
    json!({"Shelf": {
        "Class": definition,
        "ClassVersion": 1,
        "Sharding": {"physical": serde_json::Map::from_iter(physical)},
        "ShardVersion": changed_at,
    }})
}

const TENANTS: [(&str, &str); 3] = [("k1", "n1"), ("k2", "n2"), ("t", "n2")];

fn unknown(tenants: &[&str]) -> Warning {
    Warning::LivesUnknown { class: "Shelf".to_owned(), shards: examples(tenants) }
}

#[test]
fn the_entries_that_a_snapshot_includes_still_show_lives() {
    let log = shelf().delete_tenants("Shelf", &["t"]).add_tenants("Shelf", &["n2"], &[("t", "")]);
    let newest = newest_shelf(&log);
    truncate(&newest, &log, log.last(), 7, &shelf_record(&TENANTS, log.last()));
    let stale = stale_shelf(&shelf());
    let directory = open(&[&newest, &stale]);
    assert_eq!(warnings(&directory), [older("Shelf", &["t"])]);
    assert_eq!(numbers(&directory, "Shelf"), found(&[("k1", 1), ("k2", 2)]));
}

#[test]
fn lives_that_no_log_shows_any_more_are_reported() {
    let log = shelf().delete_tenants("Shelf", &["t"]).add_tenants("Shelf", &["n2"], &[("t", "")]);
    let log = class(log, "Note", false, &[("s", "n1")]);
    let newest = newest_shelf(&log);
    newest.put("Note", "s", 4);
    // The deletion is in the snapshot only.
    truncate(&newest, &log, log.last() - 1, 9, &shelf_record(&TENANTS, log.last() - 1));
    let stale = stale_shelf(&shelf());
    let directory = open(&[&newest, &stale]);
    assert_eq!(warnings(&directory), [unknown(&["k2", "t"])]);
    assert_eq!(numbers(&directory, "Shelf"), found(&[("k1", 1), ("k2", 2), ("t", 9)]));

    // The tenants have not changed since the stale node went down: all is known.
    truncate(&newest, &log, log.last() - 1, 9, &shelf_record(&TENANTS, shelf().last()));
    let directory = open(&[&newest, &stale]);
    assert_eq!(warnings(&directory), []);

    // Another node whose log goes back further knows them.
    truncate(&newest, &log, log.last() - 1, 9, &shelf_record(&TENANTS, log.last() - 1));
    let third = Server::new(&log);
    let directory = open(&[&newest, &third, &stale]);
    assert_eq!(warnings(&directory), [older("Shelf", &["t"])]);
}

#[test]
fn a_copy_of_an_unknown_life_gives_way_to_one_of_the_present() {
    let before = tenanted(shelf(), "Copied", 2).add_tenants("Copied", &["n1", "n2"], &[("c", "")]);
    let log = before.clone().delete_tenants("Copied", &["c"]);
    let log = log.add_tenants("Copied", &["n1", "n2"], &[("c", "")]);
    let (newest, stale) = (newest_shelf(&log), stale_shelf(&before));
    newest.put("Copied", "c", 5);
    stale.put("Copied", "c", 9);
    // A node without a log: its files may be of either life.
    fs::remove_dir_all(stale.root.path().join("raft")).unwrap();
    let paths = [newest.root.path(), stale.root.path()];
    let directory = DataDirectory::open_nodes(&paths, None).unwrap();
    assert_eq!(directory.warnings(), []);
    assert_eq!(numbers(&directory, "Copied"), found(&[("c", 5)]));
    assert_eq!(numbers(&directory, "Shelf"), found(&[("k1", 1), ("k2", 2), ("t", 9)]));
}

#[test]
fn a_node_without_log_may_have_an_older_life() {
    let log = shelf().delete_tenants("Shelf", &["t"]).add_tenants("Shelf", &["n2"], &[("t", "")]);
    let (newest, stale) = (newest_shelf(&log), stale_shelf(&shelf()));
    fs::remove_dir_all(stale.root.path().join("raft")).unwrap();
    let directory = open(&[&newest, &stale]);
    assert_eq!(directory.warnings(), [unknown(&["t"])]);
    assert_eq!(numbers(&directory, "Shelf"), found(&[("k1", 1), ("k2", 2), ("t", 9)]));
}

#[test]
fn the_log_of_the_later_term_wins_and_the_end_of_the_other_never_happened() {
    // A leader that lost its followers: longer, and not committed.
    let lost = shelf()
        .delete_tenants("Shelf", &["t"])
        .add_tenants("Shelf", &["n2"], &[("t", "")])
        .delete_tenants("Shelf", &["k2"]);
    let log = shelf().in_term(3).add_tenants("Shelf", &["n1"], &[("u", "")]);
    let newest = newest_shelf(&log);
    newest.put("Shelf", "u", 4);
    let stale = stale_shelf(&lost);
    let directory = open(&[&newest, &stale]);
    assert_eq!(directory.schema_from().to_string(), "RAFT log up to entry 7");
    let expected = found(&[("k1", 1), ("k2", 2), ("t", 9), ("u", 4)]);
    assert_eq!(numbers(&directory, "Shelf"), expected);
    assert_eq!(warnings(&directory), []);
    // What the newer log says of lives counts from where they part.
    let log = log.delete_tenants("Shelf", &["t"]).add_tenants("Shelf", &["n2"], &[("t", "")]);
    let newest = newest_shelf(&log);
    let directory = open(&[&newest, &stale]);
    assert_eq!(warnings(&directory), [older("Shelf", &["t"])]);
}

#[test]
fn two_stale_nodes_have_names_as_of_their_own_log() {
    let before = shelf();
    let log = before.clone().command(3, "Shelf", b"").json(
        1,
        "Note",
        &json!({
            "Class": {"class": "Note"},
            "State": {"physical": {"s": {"name": "s", "belongsToNodes": ["n3"]}}},
        }),
    );
    let (first, stale) = (newest_shelf(&before), stale_shelf(&before));
    let newest = Server::new(&log);
    newest.put("Note", "s", 3);
    for servers in [[&first, &stale, &newest], [&newest, &first, &stale]] {
        let directory = open(&servers);
        let mut names: Vec<_> =
            directory.nodes().iter().map(|node| node.names().to_vec()).collect();
        names.sort();
        assert_eq!(names, [["n1".into()], ["n2".into()], ["n3".into()]]);
        assert_eq!(numbers(&directory, "Note"), found(&[("s", 3)]));
        assert_eq!(warnings(&directory), [older("Shelf", &["k1", "k2", "t"])]);
    }
}
