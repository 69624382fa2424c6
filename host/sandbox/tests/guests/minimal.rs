//! The exporter that guest authors copy: short, and complete within its format.
use std::path::Path;

use offloom_rows::Schema;
use offloom_sandbox::{PlacedBlock, SandboxLimits};

use crate::rows::{Object, ObjectCursor};
use crate::support::{minimal_wasm, options, sandbox};

#[test]
fn it_stays_short_enough_to_copy() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest/minimal/src/lib.rs");
    let lines = std::fs::read_to_string(file).unwrap().lines().count();
    // Six of them describe the guest, which the contract asks for.
    assert!(lines <= 66, "{lines} lines");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_writes_one_json_object_a_row() {
    let guest =
        sandbox(SandboxLimits::default()).load_exporter(minimal_wasm()).unwrap().for_export();
    let format = guest.describe(&options(&[])).await.unwrap();
    assert_eq!((format.name.as_str(), format.extension.as_str()), ("jsonl", "jsonl"));
    let unknown = guest.describe(&options(&[("colour", "red")])).await.unwrap_err();
    assert!(unknown.to_string().contains("unsupported: colour"), "{unknown}");

    let schema = Schema::of_class("Shelf", true, None);
    let large = "x".repeat(3 << 20);
    let objects = vec![
        Object { tenant: "t-1".to_owned(), ..Object::new(1) },
        Object {
            tenant: "t-2".to_owned(),
            vector: Some(vec![0.1, -2.0, 1e-7, f32::NAN, f32::NEG_INFINITY]),
            properties: Some(format!(r#"{{"a":"{large}"}}"#).into_bytes()),
            ..Object::new(0xabc)
        },
    ];
    let mut encoder = guest.open(&schema, &options(&[]), format.block_bytes).await.unwrap();
    assert_eq!(encoder.prologue().await.unwrap(), "");
    let encoded = encoder.encode(ObjectCursor::boxed(&schema, objects)).await.unwrap();
    let times = r#""creation_time":1700000000000,"update_time":1700000000001"#;
    let expected = format!(
        "{{\"id\":\"{:032x}\",\"tenant\":\"t-1\",{times}}}\n\
         {{\"id\":\"{:032x}\",\"tenant\":\"t-2\",{times},\
         \"vector\":[0.1,-2,0.0000001,null,null],\"properties\":{{\"a\":\"{large}\"}}}}\n",
        1, 0xabc
    );
    assert!(encoded.chunks.concat() == expected.as_bytes());
    let placed = PlacedBlock { offset: 0, length: encoded.length, block: encoded.block };
    assert!(encoder.assemble(vec![placed]).await.unwrap().concat().is_empty());
    let empty = encoder.encode(ObjectCursor::boxed(&schema, vec![])).await.unwrap();
    assert_eq!((empty.length, empty.block.row_count), (0, 0));
}
