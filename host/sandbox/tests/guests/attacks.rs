//! Attacks that no compiler of a language makes, as text: each ends in its named error, and the loaded
//! guest, its neighbours and the process are as before.
use std::time::Duration;

use offloom_rows::Schema;
use offloom_sandbox::{Breach, EncodedBlock, GuestError, SandboxLimits, TrapKind};

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
    let guest = sandbox(limits).load_exporter(&component(code)).unwrap().for_export();
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

/// What a module's own maximum refuses is not counted: the guest gets -1 as often as it asks, and what it
/// may have afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_growth_that_fails_is_not_counted() {
    let code = "
        (local $count i32)
        (loop $again
          (if (i32.ne (memory.grow (i32.const 100)) (i32.const -1)) (then unreachable))
          (if (i32.ne (table.grow $t (ref.null func) (i32.const 90)) (i32.const -1)) (then unreachable))
          (local.set $count (i32.add (local.get $count) (i32.const 1)))
          (br_if $again (i32.lt_u (local.get $count) (i32.const 3000))))
        (if (i32.ne (memory.grow (i32.const 50)) (i32.const 4)) (then unreachable))
        (if (i32.ne (table.grow $t (ref.null func) (i32.const 10)) (i32.const 10)) (then unreachable))";
    let items = "(table $t 10 20 funcref)";
    let code = [("maximum", "54"), ("items", items), ("encode", code)];
    encode(SandboxLimits::default(), &code).await.unwrap();
}

/// All instances of an export, one after the other or at the same time, share its processor time.
#[tokio::test(flavor = "multi_thread")]
async fn processor_time_is_that_of_the_export() {
    let limit = Duration::from_millis(400);
    let limits = SandboxLimits { cpu_per_export: Some(limit), ..SandboxLimits::default() };
    let spin = "(local $count i32) (loop $again
        (local.set $count (i32.add (local.get $count) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $count) (i32.const 50000000))))";
    let guest = sandbox(limits).load_exporter(&component(&[("describe", spin)])).unwrap();
    let run = guest.for_export();
    let mut described = 0;
    let error = loop {
        match run.describe(&options(&[])).await {
            Ok(_) => described += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, GuestError::Limit(Breach::CpuPerExport(said)) if said == limit));
    assert!(described > 0, "one call of the guest needs more than all may have");
    // The next export has its own.
    guest.for_export().describe(&options(&[])).await.unwrap();
}

/// The last words are what the guest wrote last, whether the log still took it or not.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_words_are_the_last_lines() {
    let items = r#"(data (i32.const 3000) "the last line but one\0athe last line\0a\0a")"#;
    let code = "
        (local $count i32)
        (memory.fill (i32.const 4096) (i32.const 120) (i32.const 60000))
        (memory.fill (i32.const 4096) (i32.const 10) (i32.const 1))
        (memory.fill (i32.const 4300) (i32.const 10) (i32.const 1))
        (local.set $self (call $stderr))
        (loop $again
          (call $log (local.get $self) (i32.const 4096) (i32.const 205) (i32.const 600))
          (local.set $count (i32.add (local.get $count) (i32.const 1)))
          (br_if $again (i32.lt_u (local.get $count) (i32.const 5000))))
        (call $log (local.get $self) (i32.const 3000) (i32.const 37) (i32.const 600))
        unreachable";
    let code = [("imports", LOG), ("items", items), ("encode", code)];
    let error = encode(SandboxLimits::default(), &code).await.unwrap_err();
    let GuestError::Trap { kind: TrapKind::Unreachable, log } = &error else { panic!("{error:?}") };
    let wanted = format!("{} / the last line but one / the last line", "x".repeat(203));
    assert_eq!(*log, wanted);
}
