//! Real files, damaged at random: an error or a schema, never a panic, a hang or much memory.
use std::{fs, sync::LazyLock, time::Instant};

use offloom_weaviate_schema::{SchemaError, bbolt::Database, raft, schema_db};
use proptest::prelude::*;

use crate::{
    allocations,
    bbolt_file::{self, Node, SHAPE, Tree},
    log::Log,
};

/// Real `raft.db` and `schema.db` files.
static FILES: LazyLock<Vec<(&str, Vec<u8>)>> = LazyLock::new(|| {
    let mut files = Vec::new();
    for (fixture, file) in [
        ("tenants", "raft/raft.db"),
        ("v1.28.16", "raft/raft.db"),
        ("rbac", "raft/raft.db"),
        ("v1.20.6", "schema.db"),
        ("v1.24.26", "schema.db"),
    ] {
        let fixture = offloom_fixtures::unpack(fixture).unwrap();
        files.push((file, fs::read(fixture.data_dir().join(file)).unwrap()));
    }
    files
});

/// Reads a file as what its name says. The largest allocation is a small multiple of the file.
fn read(name: &str, bytes: Vec<u8>) -> Result<usize, SchemaError> {
    let limit_bytes = 2 * bytes.len() + (1 << 16);
    let started = Instant::now();
    let (read, largest_bytes) = allocations::largest_bytes(|| {
        let database = Database::from_bytes(name, bytes)?;
        let schema = match name {
            "schema.db" => schema_db::read_database(&database)?,
            _ => raft::read_database(&database)?,
        };
        Ok(schema.classes.len())
    });
    assert!(largest_bytes <= limit_bytes, "{largest_bytes} bytes at once");
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
    read
}

/// A change of a few bytes: mostly of headers, which decide where everything else is.
#[derive(Debug, Clone)]
struct Change {
    page: prop::sample::Index,
    offset: usize,
    bytes: Vec<u8>,
}

fn changes() -> impl Strategy<Value = Change> {
    let offset = prop_oneof![2 => 0usize..16, 3 => 16usize..400, 2 => 0usize..4096];
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..5),
        Just(vec![0xFF; 4]),
        Just(vec![0; 8]),
        (0u8..30).prop_map(|page| vec![page, 0, 0, 0]),
    ];
    (any::<prop::sample::Index>(), offset, bytes).prop_map(|(page, offset, bytes)| Change {
        page,
        offset,
        bytes,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn damaged_real_files(
        file in any::<prop::sample::Index>(),
        changes in prop::collection::vec(changes(), 1..6),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let (name, bytes) = &FILES[file.index(FILES.len())];
        let mut bytes = bytes.clone();
        for change in changes {
            let start = change.page.index(bytes.len() / 4096) * 4096 + change.offset;
            for (byte, changed) in bytes.iter_mut().skip(start).zip(change.bytes) {
                *byte = changed;
            }
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let _ = read(name, bytes);
    }

    #[test]
    fn any_bytes_as_an_entry_or_a_payload(
        entry in prop::collection::vec(any::<u8>(), 0..200),
        commands in prop::collection::vec(
            (0u64..25, prop::collection::vec(any::<u8>(), 0..60)), 0..20,
        ),
    ) {
        let class = serde_json::json!({"class": "A", "multiTenancyConfig": {"enabled": true}});
        let mut log = Log::new().add_class(&class, &serde_json::json!({}));
        for (number, payload) in &commands {
            log = log.command(*number, "A", payload);
        }
        prop_assert!(log.try_read().is_ok());
        let logs = Tree::from([(1u64.to_be_bytes().to_vec(), Node::Value(entry))]);
        let tree = Tree::from([(b"logs".to_vec(), Node::Bucket(logs))]);
        let _ = read("raft/raft.db", bbolt_file::write(&tree, SHAPE));
    }

    #[test]
    fn any_bytes_as_a_file(bytes in prop::collection::vec(any::<u8>(), 0..20_000)) {
        prop_assert!(read("raft/raft.db", bytes.clone()).is_err() || bytes.is_empty());
    }
}

/// Entries that would be slow if work grew with the square of their size.
#[test]
fn large_commands_take_little_time() {
    let started = Instant::now();
    let property = |number: u32| {
        let nested = serde_json::json!([{"name": format!("n{number}"), "dataType": ["int"]}]);
        serde_json::json!({
            "name": format!("p{number}"),
            "dataType": ["object"],
            "nestedProperties": nested,
        })
    };
    let properties: Vec<_> = (0..20_000).map(property).collect();
    let object = |nested: &serde_json::Value| {
        serde_json::json!({
            "Properties": [{"name": "all", "dataType": ["object"], "nestedProperties": nested}],
        })
    };
    let nested = serde_json::Value::from(properties.clone());
    let schema = Log::new()
        .add_class(&serde_json::json!({"class": "A"}), &serde_json::json!({}))
        .json(5, "A", &serde_json::json!({"Properties": properties}))
        .json(5, "A", &serde_json::json!({"Properties": properties}))
        .json(5, "A", &object(&nested))
        .json(5, "A", &object(&nested))
        .read();
    assert_eq!(schema.warnings, []);
    assert_eq!(schema.classes["A"].properties.len(), 20_001);
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

/// An entry that says much in few bytes: many tenants, each on many nodes.
#[test]
fn a_small_log_does_not_become_a_large_schema() {
    let class = serde_json::json!({
        "class": "A",
        "multiTenancyConfig": {"enabled": true},
        "replicationConfig": {"factor": 900},
    });
    let nodes: Vec<String> = (0..1000).map(|node| format!("node{node}")).collect();
    let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
    let tenants: Vec<String> = (0..20_000).map(|tenant| format!("{tenant}")).collect();
    let tenants: Vec<(&str, &str)> = tenants.iter().map(|tenant| (tenant.as_str(), "")).collect();
    let log = Log::new()
        .add_class(&class, &serde_json::json!({}))
        .add_tenants("A", &nodes, &tenants)
        .file(1);
    let database = Database::from_bytes("raft/raft.db", log).unwrap();
    let schema = raft::read_database(&database).unwrap();
    let shards = &schema.classes["A"].shards;
    assert_eq!(shards.len(), 20_000);
    let mut lists: Vec<_> = shards.values().map(|shard| shard.nodes.as_ptr()).collect();
    lists.sort();
    lists.dedup();
    assert!(lists.len() <= 1000, "{} lists of nodes", lists.len());
}
