//! Attacks that no compiler of a language makes, as text: each ends in its named error, and the loaded
//! guest, its neighbours and the process are as before.
use std::time::Duration;

use offloom_rows::Schema;
use offloom_sandbox::{
    Breach, EncodedBlock, ExporterGuest, GuestError, GuestRun, OfferedClass, PlacedBlock,
    SandboxLimits, Selection, TrapKind,
};

use crate::rows::{Object, ObjectCursor};
use crate::support::{hostile_wasm, options, parquet_guest, sandbox};
use crate::wat_guest::{component, with_items};

const MIB: u64 = 1024 * 1024;

fn schema() -> Schema {
    Schema::of_class("Article", false, None)
}

fn objects() -> Vec<Object> {
    (0..500).map(Object::new).collect()
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
    let spin = "(local.set 0 (i32.const 0)) (loop $again
        (local.set 0 (i32.add (local.get 0) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get 0) (i32.const 50000000))))";
    let guest = sandbox(limits).load_exporter(&component(&[("describe", spin)])).unwrap();
    let run = guest.for_export();
    let (mut described, mut ended) = (0, None);
    while ended.is_none() && described < 200 {
        match run.describe(&options(&[])).await {
            Ok(_) => described += 1,
            Err(error) => ended = Some(error),
        }
    }
    let error = ended.expect("200 calls, each of a tenth of the limit or more");
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

const SPIN: &str = "(loop $for-ever (br $for-ever))";

/// The calls of an export, one after the other; the first error ends it. Returns what a file holds.
async fn export(run: &GuestRun, pairs: &[(&str, &str)]) -> Result<Vec<u8>, GuestError> {
    let options = options(pairs);
    let format = run.describe(&options).await?;
    let offered =
        [OfferedClass { name: "Article".to_owned(), multi_tenant: false, object_count: None }];
    let planned = run.plan(&offered, &Selection::default(), &options).await?;
    assert_eq!(planned, ["Article"]);
    let mut encoder = run.open(&schema(), &options, format.block_bytes).await?;
    let mut file = encoder.prologue().await?.to_vec();
    let encoded = encoder.encode(ObjectCursor::boxed(&schema(), objects())).await?;
    let offset = file.len() as u64;
    file.extend(encoded.chunks.concat());
    let placed = PlacedBlock { offset, length: encoded.length, block: encoded.block };
    file.extend(encoder.assemble(vec![placed]).await?.concat());
    Ok(file)
}

/// Exports with an attack, while the default guest exports beside it; then without.
async fn attacked(guest: &ExporterGuest, name: &str) -> GuestError {
    static ALONE: tokio::sync::OnceCell<Vec<u8>> = tokio::sync::OnceCell::const_new();
    let alone = ALONE.get_or_init(async || export(&parquet_guest(), &[]).await.unwrap()).await;
    let beside = tokio::spawn(async { export(&parquet_guest(), &[]).await });
    let error = export(&guest.for_export(), &[("do", name)]).await;
    assert_eq!(beside.await.unwrap().unwrap(), *alone, "a neighbour of `{name}` got other bytes");
    let Err(error) = error else { panic!("{name} did no harm to itself") };
    error
}

/// `code` at `mark`, once the guest is given an option. Afterwards the same loaded guest exports.
async fn attack(name: &str, limits: SandboxLimits, code: &[(&str, &str)]) -> GuestError {
    let guarded: Vec<(&str, String)> = code
        .iter()
        .map(|(mark, code)| match *mark {
            "imports" | "items" => (*mark, (*code).to_owned()),
            _ => (*mark, format!("(if (global.get $attack) (then {code}))")),
        })
        .collect();
    let code: Vec<(&str, &str)> = guarded.iter().map(|(mark, code)| (*mark, &**code)).collect();
    let guest = sandbox(limits).load_exporter(&component(&code)).unwrap();
    let error = attacked(&guest, name).await;
    assert_eq!(export(&guest.for_export(), &[]).await.unwrap(), b"idsids", "after `{name}`");
    error
}

/// What is trapped, in wasmtime's words.
async fn trap(name: &str, code: &[(&str, &str)]) -> String {
    let error = attack(name, SandboxLimits::default(), code).await;
    let GuestError::Trap { kind, .. } = error else { panic!("{name}: {error:?}") };
    kind.to_string()
}

const DROP_FILE: &str = r#"(import "[export]offloom:export/exporter@0.1.0" "[resource-drop]file" (func $drop-file (param i32)))"#;

#[tokio::test(flavor = "multi_thread")]
async fn loops_end_wherever_they_are() {
    let limits =
        SandboxLimits { cpu_between_moves: Duration::from_millis(300), ..SandboxLimits::default() };
    let imports = format!("{LOG} {DROP_FILE}");
    let drop = "(call $drop-file (call $new-file (i32.const 1)))";
    // `a` and a line feed, again and again: as many lines as bytes allow.
    let lines = "(i32.store16 (i32.const 4096) (i32.const 0x0a61))
        (memory.copy (i32.const 4098) (i32.const 4096) (i32.const 2))
        (local.set $self (call $stderr))
        (loop $for-ever
          (call $log (local.get $self) (i32.const 4096) (i32.const 65536) (i32.const 600))
          (br $for-ever))";
    for (name, code) in [
        ("loop in realloc", vec![("realloc", SPIN)]),
        ("loop in a destructor", vec![("imports", &imports), ("dtor", SPIN), ("encode", drop)]),
        ("loop in post-return", vec![("post", SPIN)]),
        ("log flood by time", vec![("imports", &imports), ("encode", lines)]),
    ] {
        let error = attack(name, limits.clone(), &code).await;
        let stopped = matches!(error, GuestError::Limit(Breach::CpuBetweenMoves(_)));
        assert!(stopped, "{name}: {error:?}");
    }
    for (name, items) in [
        ("loop in start", format!("(func $spin {SPIN}) (start $spin)")),
        ("loop in initialize", format!(r#"(func (export "_initialize") {SPIN})"#)),
    ] {
        let code = component(&[("items", &items)]);
        let error = attacked(&sandbox(limits.clone()).load_exporter(&code).unwrap(), name).await;
        let stopped = matches!(error, GuestError::Limit(Breach::CpuBetweenMoves(_)));
        assert!(stopped, "{name}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pointers_lists_and_discriminants_are_checked() {
    let note = |pointer: i32, length: i32| {
        format!(
            "(i32.store (i32.const 272) (i32.const {pointer})) (i32.store (i32.const 276) (i32.const {length}))"
        )
    };
    let returned = |pointer: i32| format!("(return (i32.const {pointer}))");
    let store =
        |address: u32, byte: u32| format!("(i32.store8 (i32.const {address}) (i32.const {byte}))");
    let error = format!("{} {}", store(256, 1), store(264, 9));
    let utf8 = store(4095, 255)
        + "(i32.store (i32.const 264) (i32.const 4095)) (i32.store (i32.const 268) (i32.const 1))";
    let compress = r#"(import "offloom:export/codec@0.1.0" "compress" (func $compress (param i32 i32 i32 i32 i32)))"#;
    let algorithm =
        "(call $compress (i32.const 9) (i32.const 1) (i32.const 16) (i32.const 3) (i32.const 600))";
    for (name, code, words) in [
        (
            "a list beyond the memory",
            vec![("answer", note(262_140, 100))],
            "list pointer/length out of bounds of memory",
        ),
        (
            "a list that wraps",
            vec![("answer", note(-16, 100))],
            "list pointer/length out of bounds of memory",
        ),
        (
            "a return pointer beyond the memory",
            vec![("answer", returned(-8))],
            "pointer out of bounds of memory",
        ),
        (
            "an unaligned return pointer",
            vec![("answer", returned(257))],
            "return pointer not aligned",
        ),
        ("the same of plan", vec![("plan-answer", returned(258))], "return pointer not aligned"),
        (
            "the same of describe",
            vec![("describe-answer", returned(260))],
            "return pointer not aligned",
        ),
        (
            "an unaligned realloc",
            vec![("realloc", returned(4099))],
            "realloc return: result not aligned",
        ),
        (
            "realloc beyond the memory",
            vec![("realloc", returned(-8))],
            "realloc return: beyond end of memory",
        ),
        ("a result of no case", vec![("answer", store(256, 7))], "invalid expected discriminant"),
        ("the same of plan", vec![("plan-answer", store(256, 7))], "invalid expected discriminant"),
        (
            "the same of describe",
            vec![("describe-answer", store(256, 255))],
            "invalid expected discriminant",
        ),
        ("an error of no case", vec![("answer", error)], "unexpected discriminant: 9"),
        ("no UTF-8", vec![("describe-answer", utf8)], "invalid utf-8 sequence"),
        (
            "an algorithm of no case",
            vec![("imports", compress.to_owned()), ("encode", algorithm.to_owned())],
            "unexpected discriminant: 9",
        ),
    ] {
        let code: Vec<(&str, &str)> = code.iter().map(|(mark, code)| (*mark, &**code)).collect();
        let said = trap(name, &code).await;
        assert!(said.contains(words), "{name}: {said}");
    }
}

/// The guest may leave neither while the host allocates in it nor after its answer.
#[tokio::test(flavor = "multi_thread")]
async fn no_call_leaves_the_guest_from_realloc_or_post_return() {
    for mark in ["realloc", "post"] {
        let said = trap(mark, &[("imports", LOG), (mark, "(drop (call $stderr))")]).await;
        assert_eq!(said, "wasm trap: cannot leave component instance", "{mark}");
    }
}

/// 64 KiB of memory that are in a result half a million times.
#[tokio::test(flavor = "multi_thread")]
async fn lists_that_share_their_bytes_count_each_time() {
    let fill = |stride: u32, count: u32| {
        format!(
            "(local.set 0 (i32.const 0)) (drop (memory.grow (i32.const 200)))
             (loop $more
               (i32.store (i32.add (i32.const 131072) (i32.mul (local.get 0) (i32.const {stride}))) (i32.const 65536))
               (i32.store offset=4 (i32.add (i32.const 131072) (i32.mul (local.get 0) (i32.const {stride}))) (i32.const 65536))
               (local.set 0 (i32.add (local.get 0) (i32.const 1)))
               (br_if $more (i32.lt_u (local.get 0) (i32.const {count}))))"
        )
    };
    let names = fill(8, 500_000)
        + "(i32.store (i32.const 260) (i32.const 131072)) (i32.store (i32.const 264) (i32.const 500000))";
    let counters = fill(16, 500_000)
        + "(i32.store (i32.const 280) (i32.const 131072)) (i32.store (i32.const 284) (i32.const 500000))";
    for (mark, code) in [("plan-answer", &names), ("answer", &counters)] {
        let error = attack(mark, SandboxLimits::default(), &[(mark, code)]).await;
        let stopped = matches!(error, GuestError::Limit(Breach::CallBytes { .. }));
        assert!(stopped, "{mark}: {error:?}");
    }
}

/// More than one module, each within its own limits.
#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_a_component_are_counted_together() {
    let instances = |module: &str, count: usize| {
        format!(
            "(core module $part {module}) {}",
            "(core instance (instantiate $part))".repeat(count)
        )
    };
    for (name, items, words) in [
        ("many memories", instances("(memory 1)", 5), "memory count too high at 5"),
        ("many instances", instances("", 65), "instance count too high at 65"),
        ("many tables", instances(&"(table 1 funcref)".repeat(33), 1), "table count too high"),
        ("large tables", instances("(table 30000 funcref)", 4), "more than 100000 table elements"),
        ("large memories", instances("(memory 1600)", 3), "more than 268435456 bytes of memory"),
    ] {
        let code = with_items(&component(&[]), &items);
        let guest = sandbox(SandboxLimits::default()).load_exporter(&code).unwrap();
        let error = attacked(&guest, name).await.to_string();
        assert!(error.contains(words), "{name}: {error}");
    }
    // As many as there may be are no harm.
    let code = with_items(&component(&[]), &instances("(memory 100)", 3));
    let guest = sandbox(SandboxLimits::default()).load_exporter(&code).unwrap();
    assert_eq!(export(&guest.for_export(), &[]).await.unwrap(), b"idsids");
}

/// What the granted part of WASI does with arguments that nobody needs.
#[tokio::test(flavor = "multi_thread")]
async fn odd_calls_of_wasi_end_in_a_trap() {
    let imports = format!(
        r#"{LOG}
        (import "wasi:cli/stdin@0.2.6" "get-stdin" (func $stdin (result i32)))
        (import "wasi:io/streams@0.2.6" "[method]input-stream.read" (func $read (param i32 i64 i32)))
        (import "wasi:io/streams@0.2.6" "[method]output-stream.write-zeroes" (func $zeroes (param i32 i64 i32)))
        (import "wasi:io/streams@0.2.6" "[method]output-stream.blocking-write-zeroes-and-flush" (func $flush (param i32 i64 i32)))
        (import "wasi:io/streams@0.2.6" "[method]output-stream.splice" (func $splice (param i32 i32 i64 i32)))
        (import "wasi:io/streams@0.2.6" "[method]output-stream.subscribe" (func $subscribe (param i32) (result i32)))
        (import "wasi:io/poll@0.2.6" "poll" (func $poll (param i32 i32 i32)))"#
    );
    let poll = |count: u32| {
        format!(
            "(drop (memory.grow (i32.const 1000))) (local.set $self (call $subscribe (call $stderr)))
             (local.set $read (i64.const 0))
             (loop $more
               (i32.store (i32.add (i32.const 4096) (i32.mul (i32.wrap_i64 (local.get $read)) (i32.const 4))) (local.get $self))
               (local.set $read (i64.add (local.get $read) (i64.const 1)))
               (br_if $more (i64.lt_u (local.get $read) (i64.const {count}))))
             (global.set $heap (i32.const 50000000))
             (call $poll (i32.const 4096) (i32.const {count}) (i32.const 600)) unreachable"
        )
    };
    let stderr = "(call $stderr)";
    for (name, code, words) in [
        (
            "zeroes",
            format!("(call $zeroes {stderr} (i64.const -1) (i32.const 600))"),
            "more zeroes than",
        ),
        (
            "flush",
            format!("(call $flush {stderr} (i64.const 4097) (i32.const 600))"),
            "expected at most 4096",
        ),
        (
            "poll of nothing",
            "(call $poll (i32.const 0) (i32.const 0) (i32.const 600))".to_owned(),
            "empty poll list",
        ),
        ("poll of many", poll(1_000_000), "too many resources at once"),
        ("poll of more", poll(10_000_000), "handed to the host in one call"),
        // There is nothing to read, and the guest ends itself.
        (
            "read",
            "(call $read (call $stdin) (i64.const -1) (i32.const 600)) unreachable".to_owned(),
            "unreachable code",
        ),
        (
            "splice",
            format!(
                "(call $splice {stderr} (call $stdin) (i64.const -1) (i32.const 600)) unreachable"
            ),
            "unreachable code",
        ),
    ] {
        let code = [("imports", &*imports), ("encode", &*code)];
        let error = attack(name, SandboxLimits::default(), &code).await.to_string();
        assert!(error.contains(words), "{name}: {error}");
    }
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Each round holds 250 MiB until the guest ends. Other tests run at the same time, so the bound is
/// wide: half of what the rounds would leave.
#[tokio::test(flavor = "multi_thread")]
async fn memory_is_back_after_each_attack() {
    let guest = sandbox(SandboxLimits::default()).load_exporter(hostile_wasm()).unwrap();
    let before = resident();
    let mut after = Vec::new();
    for _ in 0..9 {
        for behaviour in ["memory", "note-huge", "plan-huge"] {
            export(&guest.for_export(), &[("do", behaviour)]).await.unwrap_err();
        }
        after.push(resident());
    }
    after.sort();
    let median = after[after.len() / 2];
    assert!(median < before + (1 << 30), "{before} bytes before, {after:?} after each round");
}
