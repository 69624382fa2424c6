//! Attacks that no compiler of a language makes, as text: each ends in its named error, and the loaded
//! guest, its neighbours and the process are as before.
use std::time::Duration;

use offloom_rows::Schema;
use offloom_sandbox::{Breach, EncodedBlock, GuestError, SandboxLimits};

use crate::rows::{Object, ObjectCursor};
use crate::support::{options, sandbox};
use crate::wat_guest::component;

const MIB: u64 = 1024 * 1024;

fn schema() -> Schema {
    Schema::of_class("Article", false, None)
}

fn objects() -> Vec<Object> {
    (0..500).map(Object::new).collect()
}

/// Limits of time that a test can wait for, for guests that never end.
fn short() -> SandboxLimits {
    SandboxLimits { cpu_between_moves: Duration::from_millis(300), ..SandboxLimits::default() }
}

async fn encode(limits: SandboxLimits, code: &[(&str, &str)]) -> Result<EncodedBlock, GuestError> {
    let guest = sandbox(limits).load_exporter(&component(code)).unwrap();
    let mut encoder = guest.open(&schema(), &options(&[]), MIB).await?;
    encoder.encode(ObjectCursor::boxed(&schema(), objects())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exporter_in_text_is_an_exporter() {
    let block = encode(SandboxLimits::default(), &[]).await.unwrap();
    assert_eq!((block.block.row_count, block.chunks.concat()), (500, b"ids".to_vec()));
}

const LOG: &str = r#"(import "wasi:cli/stderr@0.2.6" "get-stderr" (func $stderr (result i32)))
    (import "wasi:io/streams@0.2.6" "[method]output-stream.write" (func $log (param i32 i32 i32 i32)))"#;

/// Between two calls of the host that follow each other the guest's code looks at no clock.
#[tokio::test(flavor = "multi_thread")]
async fn host_calls_in_a_row_are_stopped() {
    let limits =
        SandboxLimits { cpu_between_moves: Duration::from_millis(5), ..SandboxLimits::default() };
    let imports = r#"(import "wasi:cli/stderr@0.2.6" "get-stderr" (func $stderr (result i32)))
        (import "wasi:io/streams@0.2.6" "[method]output-stream.subscribe" (func $subscribe (param i32) (result i32)))
        (import "wasi:io/poll@0.2.6" "[method]pollable.ready" (func $ready (param i32) (result i32)))"#;
    // Functions that need no memory are called without code of wit-component in between.
    let call = "(drop (call $ready (local.get $self)))";
    let calls = format!(
        "(local.set $self (call $subscribe (call $stderr))) {} unreachable",
        call.repeat(200_000)
    );
    let error = encode(limits, &[("imports", imports), ("encode", &calls)]).await.unwrap_err();
    assert!(matches!(error, GuestError::Limit(Breach::CpuBetweenMoves(_))), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_write_to_the_log_is_refused() {
    let write = |bytes: u32| {
        format!("(call $log (call $stderr) (i32.const 4096) (i32.const {bytes}) (i32.const 600))")
    };
    let encode = async |bytes| {
        encode(SandboxLimits::default(), &[("imports", LOG), ("encode", &write(bytes))]).await
    };
    encode(65_536).await.unwrap();
    let error = encode(65_537).await.unwrap_err();
    let breach = Breach::LogWrite { bytes: 65_537, limit: 65_536 };
    assert!(matches!(&error, GuestError::Limit(said) if *said == breach), "{error:?}");
}
