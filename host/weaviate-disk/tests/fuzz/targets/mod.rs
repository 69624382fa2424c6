//! What each fuzz target does with an input. `fuzz/` runs them with new inputs, `main.rs` with the
//! kept ones.
#[path = "../../reader/allocations.rs"]
mod allocations;
#[allow(dead_code, reason = "the schema's own tests use the rest")]
#[path = "../../../../weaviate-schema/tests/schema/bbolt_file.rs"]
mod bbolt_file;
mod bucket;
#[allow(dead_code, reason = "the reader's own tests use the rest")]
#[path = "../../reader/rows.rs"]
mod rows;
mod schema;

pub use schema::{CLASSES, small_bbolt_file};

/// A fuzz target: it panics when the reader does, and when it breaks one of its promises.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 8] = [
    ("bbolt", schema::bbolt),
    ("key_tree", bucket::key_tree),
    ("object", bucket::object),
    ("raft_log", schema::raft_log),
    ("raft_snapshot", schema::raft_snapshot),
    ("schema_db", schema::schema_db),
    ("segment", bucket::segment),
    ("wal", bucket::wal),
];

/// Runs the target called `name`.
pub fn run(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|target| target.0 == name);
    target.unwrap_or_else(|| panic!("no target {name}")).1(input);
}
