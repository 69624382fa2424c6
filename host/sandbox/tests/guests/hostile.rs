//! Guests that misbehave: each ends in its named error, the process lives on, and a neighbour that
//! works at the same time gets the bytes that it gets alone.
use std::time::Duration;

use offloom_rows::{CursorError, Schema};
use offloom_sandbox::{
    Block, Breach, ContractBreach, EncodedBlock, FileEncoder, GuestError, GuestRun, OfferedClass,
    PlacedBlock, Refusal, SandboxLimits, Selection, TrapKind,
};

use crate::rows::{Object, ObjectCursor};
use crate::support::{hostile_wasm, log_lines, options, parquet_guest, sandbox};

const MIB: u64 = 1024 * 1024;

/// Limits of time that a test can wait for; the others are the real ones. Only for guests that never
/// end: on a busy machine honest work can take as long.
fn short() -> SandboxLimits {
    SandboxLimits {
        cpu_between_moves: Duration::from_millis(300),
        wall_per_call: Duration::from_millis(1500),
        ..SandboxLimits::default()
    }
}

fn hostile() -> GuestRun {
    hostile_with(SandboxLimits::default())
}

fn hostile_with(limits: SandboxLimits) -> GuestRun {
    sandbox(limits).load_exporter(hostile_wasm()).unwrap().for_export()
}

fn schema() -> Schema {
    Schema::of_class("Article", false, None)
}

fn objects() -> Vec<Object> {
    (0..500)
        .map(|index| Object {
            vector: Some(vec![index as f32; 100]),
            properties: Some(format!(r#"{{"n":{index}}}"#).into_bytes()),
            ..Object::new(index)
        })
        .collect()
}

async fn open(behaviour: &str) -> FileEncoder {
    hostile().open(&schema(), &options(&[("do", behaviour)]), MIB).await.unwrap()
}

/// Encodes with a guest that misbehaves, while the default guest encodes beside it.
async fn encode(behaviour: &str) -> Result<EncodedBlock, GuestError> {
    encode_with(open(behaviour).await, behaviour).await
}

async fn encode_with(
    mut encoder: FileEncoder,
    behaviour: &str,
) -> Result<EncodedBlock, GuestError> {
    let neighbour = parquet_guest();
    let mut alone = neighbour.open(&schema(), &options(&[]), MIB).await.unwrap();
    let alone = alone.encode(ObjectCursor::boxed(&schema(), objects())).await.unwrap();

    let mut beside = neighbour.open(&schema(), &options(&[]), MIB).await.unwrap();
    let beside =
        tokio::spawn(async move { beside.encode(ObjectCursor::boxed(&schema(), objects())).await });
    let result = encoder.encode(ObjectCursor::boxed(&schema(), objects())).await;
    let beside = beside.await.unwrap().unwrap();
    assert_eq!(beside.chunks, alone.chunks, "a neighbour of `{behaviour}` got other bytes");
    if result.is_err() {
        let again = encoder.encode(ObjectCursor::boxed(&schema(), objects())).await;
        assert!(matches!(again, Err(GuestError::Ended)), "{again:?}");
    }
    result
}

async fn error_of(behaviour: &str) -> GuestError {
    encode(behaviour).await.expect_err(behaviour)
}

macro_rules! assert_error {
    ($error:expr, $pattern:pat $(if $guard:expr)?) => {
        let error = $error;
        assert!(matches!(&error, $pattern $(if $guard)?), "{error:?}: {error}");
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn without_misbehaviour_nothing_is_refused() {
    let block = encode("").await.unwrap();
    assert_eq!(block.block.row_count, 500);
    assert_eq!(block.length, 500 * 16);
    assert_eq!(block.runs.len(), 1);
    assert_eq!(block.runs[0].rows, 500);
    let placed = PlacedBlock { offset: 4, length: block.length, block: block.block };
    let mut encoder = open("").await;
    assert_eq!(encoder.prologue().await.unwrap(), "ids:");
    assert_eq!(encoder.assemble(vec![placed]).await.unwrap().concat(), b";1 blocks");
    let format = hostile().describe(&options(&[])).await.unwrap();
    assert_eq!(format.block_bytes, MIB, "clamped");
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_work_is_stopped() {
    let floods = [
        "loop",
        "call-flood",
        "compress-flood",
        "fill-flood",
        "pack-flood",
        "splice-nothing-flood",
    ];
    for behaviour in floods {
        let guest = hostile_with(short());
        let encoder = guest.open(&schema(), &options(&[("do", behaviour)]), MIB).await.unwrap();
        assert_error!(
            encode_with(encoder, behaviour).await.unwrap_err(),
            GuestError::Limit(Breach::CpuBetweenMoves(limit)) if *limit == short().cpu_between_moves
        );
    }
    let in_all = SandboxLimits { cpu_per_export: Some(Duration::from_millis(100)), ..short() };
    let guest = hostile_with(in_all);
    let mut encoder = guest.open(&schema(), &options(&[("do", "loop")]), MIB).await.unwrap();
    assert_error!(
        encoder.encode(ObjectCursor::boxed(&schema(), objects())).await.unwrap_err(),
        GuestError::Limit(Breach::CpuPerExport(_))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn short_calls_have_a_limit_on_the_wall() {
    let limits = SandboxLimits { wall_per_call: Duration::from_millis(100), ..short() };
    let guest = hostile_with(limits);
    let error = guest.describe(&options(&[("do", "describe-loop")])).await.unwrap_err();
    assert_error!(error, GuestError::Limit(Breach::Wall(_)));
    let mut encoder =
        guest.open(&schema(), &options(&[("do", "prologue-loop")]), MIB).await.unwrap();
    assert_error!(encoder.prologue().await.unwrap_err(), GuestError::Limit(Breach::Wall(_)));
    let mut encoder =
        guest.open(&schema(), &options(&[("do", "assemble-loop")]), MIB).await.unwrap();
    assert_error!(encoder.assemble(vec![]).await.unwrap_err(), GuestError::Limit(Breach::Wall(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_has_a_cap() {
    for behaviour in ["memory", "memory-grow"] {
        assert_error!(
            error_of(behaviour).await,
            GuestError::Limit(Breach::Memory { wanted, limit })
                if *limit == 256 * 1024 * 1024 && wanted > limit
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traps_are_named() {
    assert_error!(
        error_of("panic").await,
        GuestError::Trap { kind: TrapKind::Unreachable, log }
            if log.contains(r"I \u{1b}[31mpanic\u{1b}[0m") && !log.contains('\u{1b}')
    );
    assert_error!(error_of("exit").await, GuestError::Trap { kind: TrapKind::Exit(_), .. });
    assert_error!(
        error_of("recursion").await,
        GuestError::Trap { kind: TrapKind::StackOverflow | TrapKind::MemoryOutOfBounds, .. }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_that_a_guest_does_not_have_are_refused() {
    let handles = [
        "forged-handle",
        "dropped-handle",
        "foreign-handle",
        "held-forged",
        "held-dropped",
        "held-foreign",
    ];
    for behaviour in handles {
        assert_error!(
            error_of(behaviour).await,
            GuestError::Trap { kind: TrapKind::BadHandle(_), .. }
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn output_has_limits() {
    let limit = 2 * MIB + 32 * MIB;
    assert_error!(
        error_of("output-flood").await,
        GuestError::Limit(Breach::Output { limit: said }) if *said == limit
    );
    assert_error!(
        error_of("write-huge").await,
        GuestError::Limit(Breach::Write { bytes: 1_048_577, limit: 1_048_576 })
    );
    assert_error!(
        open("assemble-flood").await.assemble(vec![]).await.unwrap_err(),
        GuestError::Limit(Breach::Output { .. })
    );
    assert_error!(
        open("prologue-huge").await.prologue().await.unwrap_err(),
        GuestError::Limit(Breach::Prologue { .. })
    );
    // Three million writes of a byte are three pieces, not three million.
    let block = encode("write-single-bytes").await.unwrap();
    assert_eq!(block.length, 3_000_000 + 500 * 16);
    assert_eq!(block.chunks.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn output_of_all_blocks_is_bound_to_their_rows() {
    let limits =
        SandboxLimits { output_extra_bytes: 1000, output_factor: 1, ..SandboxLimits::default() };
    let guest = hostile_with(limits);
    let mut encoder =
        guest.open(&schema(), &options(&[("do", "write-single-bytes")]), MIB).await.unwrap();
    assert_error!(
        encoder.encode(ObjectCursor::boxed(&schema(), objects())).await.unwrap_err(),
        GuestError::Limit(Breach::Output { .. })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_and_counters_have_limits() {
    assert_error!(
        error_of("note-huge").await,
        GuestError::Limit(Breach::Notes { limit }) if *limit == 32 * MIB
    );
    for behaviour in ["counters-many", "counters-newline"] {
        assert_error!(error_of(behaviour).await, GuestError::Contract(ContractBreach::Counters));
    }
    let block = Block { row_count: 1, note: vec![0; 33 << 20], counters: vec![] };
    let placed = PlacedBlock { offset: 4, length: 1, block };
    assert_error!(
        open("").await.assemble(vec![placed]).await.unwrap_err(),
        GuestError::Limit(Breach::Notes { .. })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_accounted_for() {
    assert_error!(
        error_of("say-more").await,
        GuestError::Contract(ContractBreach::RowCount { handed_out: 500, said: 501 })
    );
    assert_error!(
        error_of("say-fewer").await,
        GuestError::Contract(ContractBreach::RowCount { handed_out: 500, said: 499 })
    );
    assert_error!(
        error_of("read-nothing").await,
        GuestError::Contract(ContractBreach::RowsLeft(0))
    );
    assert_error!(error_of("read-once").await, GuestError::Contract(ContractBreach::RowsLeft(1)));
    let mut encoder = open("bytes-without-rows").await;
    assert_error!(
        encoder.encode(ObjectCursor::boxed(&schema(), vec![])).await.unwrap_err(),
        GuestError::Contract(ContractBreach::BytesWithoutRows(5))
    );
    assert_error!(
        error_of("write-nothing").await,
        GuestError::Contract(ContractBreach::RowsWithoutBytes(500))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_beyond_the_limits_of_a_batch_are_cut_down() {
    // The cursor itself asserts the limits that it is asked for.
    assert_eq!(encode("next-again").await.unwrap().block.row_count, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_rows_is_kept_whatever_the_guest_makes_of_it() {
    for behaviour in ["", "swallow-errors"] {
        let broken = CursorError::InvalidData("segment-1.db at 4711: torn".into());
        let cursor = ObjectCursor::new(&schema(), objects(), Some(broken));
        let error = open(behaviour).await.encode(Box::new(cursor)).await.unwrap_err();
        assert_error!(
            error,
            GuestError::Rows(CursorError::InvalidData(source))
                if source.to_string() == "segment-1.db at 4711: torn"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compression_is_lent_within_bounds() {
    assert_error!(
        error_of("compress-huge").await,
        GuestError::Limit(Breach::Compress { bytes: 34_603_009, limit: 34_603_008 })
    );
    assert_error!(error_of("compress-level").await, GuestError::Refused(Refusal::Unsupported(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_what_is_handed_over() {
    let objects: Vec<Object> = (0..700_u16)
        .map(|index| Object {
            vector: (index % 3 > 0).then(|| vec![f32::from(index); usize::from(index % 50)]),
            named: (0..index % 4).map(|n| (format!("v{n}"), vec![f32::from(n); 3])).collect(),
            multi: (0..index % 3).map(|n| (format!("m{n}"), vec![vec![0.5]; 2])).collect(),
            properties: (index % 5 > 0).then(|| vec![b'x'; usize::from(index)]),
            ..Object::new(index.into())
        })
        .collect();
    let dump = async |behaviour| {
        let mut encoder = open(behaviour).await;
        let block = encoder.encode(ObjectCursor::boxed(&schema(), objects.clone())).await.unwrap();
        let text = String::from_utf8_lossy(&block.chunks.concat()).into_owned();
        text.replace("dump-held", "dump")
    };
    let handed_over = dump("dump").await;
    assert_eq!(dump("dump-held").await, handed_over);
    assert!(handed_over.len() > 300_000, "{}", handed_over.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn held_buffers_have_limits() {
    assert_error!(
        error_of("held-hoard").await,
        GuestError::Limit(Breach::Held { limit }) if *limit == 128 * MIB
    );
    assert_error!(error_of("held-many").await, GuestError::Limit(Breach::Resources));
    assert_error!(
        error_of("splice-flood").await,
        GuestError::Limit(Breach::Output { limit }) if *limit == 34 * MIB
    );
    assert_error!(
        error_of("pack-huge").await,
        GuestError::Limit(Breach::Compress { bytes, limit: 34_603_008 }) if *bytes > 40 << 20
    );
    assert_error!(error_of("pack-brotli").await, GuestError::Refused(Refusal::Unsupported(_)));
    for behaviour in ["splice-beyond", "splice-overflow", "read-beyond", "pack-beyond"] {
        assert_error!(
            error_of(behaviour).await,
            GuestError::Trap { kind: TrapKind::Other(text), .. } if text.contains("of a buffer of")
        );
    }
    // Three million pieces of a byte are gathered, and keep no buffer.
    let block = encode("splice-single-bytes").await.unwrap();
    assert_eq!(block.length, 3_000_000 + 500 * 16);
    assert_eq!(block.chunks.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_have_a_limit() {
    let result = hostile().open(&schema(), &options(&[("do", "open-resource-flood")]), MIB).await;
    assert_error!(result.map(|_| ()).unwrap_err(), GuestError::Limit(Breach::Resources));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_checked() {
    for behaviour in ["extension-path", "extension-empty"] {
        assert_error!(
            hostile().describe(&options(&[("do", behaviour)])).await.unwrap_err(),
            GuestError::Contract(ContractBreach::Extension(_))
        );
    }
    assert_error!(
        hostile().describe(&options(&[("do", "refuse-with-ansi")])).await.unwrap_err(),
        GuestError::Refused(Refusal::Unsupported(text))
            if text == r"\u{1b}[2J\u{1b}[31mall is well\u{d}\u{a}"
    );
    let offered =
        [OfferedClass { name: "Article".to_owned(), multi_tenant: false, object_count: None }];
    let plan = async |behaviour| {
        let guest = hostile();
        guest.plan(&offered, &Selection::default(), &options(&[("do", behaviour)])).await
    };
    assert_eq!(plan("").await.unwrap(), ["Article"]);
    assert_error!(
        plan("plan-outside").await.unwrap_err(),
        GuestError::Contract(ContractBreach::NotOffered(name)) if name == "Secret"
    );
    assert_error!(
        plan("plan-twice").await.unwrap_err(),
        GuestError::Contract(ContractBreach::PlannedTwice(name)) if name == "Article"
    );
    assert_error!(
        plan("plan-no-utf8").await.unwrap_err(),
        GuestError::Trap { kind: TrapKind::Other(text), .. } if text.contains("utf-8")
    );
    assert_error!(
        plan("plan-huge").await.unwrap_err(),
        GuestError::Limit(Breach::CallBytes { .. })
    );
}

/// Held by the tests that flood the log: all tests of the process write to the same one, and these
/// count its lines.
static FLOODS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_escaped_and_bounded() {
    let _alone = FLOODS.lock().await;
    let lines = log_lines();
    let dropped_before = lines.containing("log exceeded its limit").len();
    encode("log-injection").await.unwrap();
    let injected = lines.containing("fake");
    assert_eq!(injected.len(), 1, "{injected:?}");
    assert!(injected[0].contains(r"\u{1b}[2J\u{202e}fake\u{d}level=INFO all is well yyy"));
    assert!(injected[0].len() < 1400, "{}", injected[0].len());

    encode("log-flood").await.unwrap();
    let flood = lines.containing("of a flood");
    let bytes: usize = flood.iter().map(String::len).sum();
    assert!((1000..3000).contains(&flood.len()), "{} lines", flood.len());
    assert!(bytes < 1_000_000, "{bytes} bytes");
    let dropped = lines.containing("log exceeded its limit");
    assert_eq!(dropped.len() - dropped_before, 1, "{dropped:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_export_has_a_log_budget_of_its_own() {
    let _alone = FLOODS.lock().await;
    let lines = log_lines();
    let loaded = sandbox(SandboxLimits::default()).load_exporter(hostile_wasm()).unwrap();
    let flood_lines = async |guest: &GuestRun| {
        let before = lines.containing("of a second flood").len();
        let options = options(&[("do", "log-second-flood")]);
        let mut encoder = guest.open(&schema(), &options, MIB).await.unwrap();
        encoder.encode(ObjectCursor::boxed(&schema(), objects())).await.unwrap();
        lines.containing("of a second flood").len() - before
    };
    let first = loaded.for_export();
    let logged = flood_lines(&first).await;
    assert!((1000..3000).contains(&logged), "{logged} lines");
    assert_eq!(flood_lines(&first.clone()).await, 0, "clones share the budget of their export");
    assert_eq!(flood_lines(&loaded.for_export()).await, logged, "the next export logs again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encode_that_is_dropped_ends_its_encoder_and_nothing_else() {
    let mut encoder = open("loop").await;
    let call = encoder.encode(ObjectCursor::boxed(&schema(), objects()));
    assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err());
    let again = encoder.encode(ObjectCursor::boxed(&schema(), objects())).await;
    assert_error!(again.unwrap_err(), GuestError::Ended);
    encode("").await.unwrap();
}
