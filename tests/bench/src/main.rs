//! Encoding in the guest against the same code as native code: one thread, processor time, block by
//! block in pairs, on the workloads of `performance.md`. Ends with status 1 below the goal.
mod blocks;
mod native;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;
use offloom_encoder::Workload;
use offloom_rows::Schema;
use offloom_sandbox::{ExporterGuest, FileEncoder, Sandbox, SandboxConfig};

use crate::blocks::{BatchCursor, block_of};
use crate::native::NativeFile;

#[path = "../../../guest/build_guest.rs"]
mod build_guest;

/// The speed of native code that the guest must reach on every workload.
const GOAL: f64 = 0.85;

#[derive(Parser)]
#[command(about = "Measures encoding in the guest against the same code natively")]
struct Arguments {
    /// Share of the workloads' rows, in percent.
    #[arg(long, default_value_t = 20)]
    rows_percent: u64,
    /// Cargo's target directory, in which the guest is built.
    #[arg(long, default_value = "target")]
    target_dir: PathBuf,
    /// Option of the guest, KEY=VALUE.
    #[arg(long = "guest-option", value_parser = key_value)]
    guest_options: Vec<(String, String)>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("not KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let guest_dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest");
    let target_dir = std::path::absolute(&arguments.target_dir)?;
    let wasm = build_guest::build_guest(&guest_dir, &target_dir, "offloom-guest-parquet")
        .map_err(anyhow::Error::msg)?;
    let guest = Sandbox::new(SandboxConfig::default())?.load_exporter(&std::fs::read(wasm)?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;

    println!("encode, one thread, processor time; native code = 1; goal {GOAL}");
    println!("workload     rows  native rows/s  guest rows/s  bytes/row  ratio");
    let mut reached = true;
    for workload in [Workload::W1, Workload::W2, Workload::W3] {
        let measured = runtime.block_on(measure(&guest, workload, &arguments))?;
        let ratio = measured.native.as_secs_f64() / measured.guest.as_secs_f64();
        println!(
            "{workload:?}       {:8}  {:13.0}  {:12.0}  {:9.0}  {ratio:.3}",
            measured.rows,
            measured.rows as f64 / measured.native.as_secs_f64(),
            measured.rows as f64 / measured.guest.as_secs_f64(),
            measured.output_bytes as f64 / measured.rows as f64,
        );
        reached &= ratio >= GOAL;
    }
    Ok(if reached { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Default)]
struct Measured {
    rows: u64,
    native: Duration,
    guest: Duration,
    output_bytes: u64,
}

async fn measure(
    guest: &ExporterGuest,
    workload: Workload,
    arguments: &Arguments,
) -> anyhow::Result<Measured> {
    let options = &arguments.guest_options;
    let schema = Schema::of_class(workload.class_name(), false, None);
    let format = guest.describe(options).await?;
    let mut encoder = guest.open(&schema, options, format.block_bytes).await?;
    let native = NativeFile::open(workload.class_name(), options)?;

    let goal_rows = workload.rows() * arguments.rows_percent / 100;
    let mut measured = Measured::default();
    let mut first_row = 0;
    for round in 0_u64.. {
        if measured.rows >= goal_rows {
            break;
        }
        let (batches, rows) = block_of(workload, first_row, format.block_bytes);
        first_row += rows;
        let for_guest = BatchCursor::new(&schema, batches.clone());
        // Alternating, so that neither side always finds what the other left in the caches.
        let (native_time, guest_time, from_native, from_guest);
        if round.is_multiple_of(2) {
            (from_native, native_time) = timed(async { native.encode(batches) }).await?;
            (from_guest, guest_time) = timed(encode_in_guest(&mut encoder, for_guest)).await?;
        } else {
            (from_guest, guest_time) = timed(encode_in_guest(&mut encoder, for_guest)).await?;
            (from_native, native_time) = timed(async { native.encode(batches) }).await?;
        }
        ensure!(from_native.concat() == from_guest.concat(), "the guest writes other bytes than native code");
        // The first block finds everything cold, on both sides.
        if round > 0 {
            measured.rows += rows;
            measured.native += native_time;
            measured.guest += guest_time;
            measured.output_bytes += from_guest.iter().map(|piece| piece.len() as u64).sum::<u64>();
        }
    }
    Ok(measured)
}

async fn encode_in_guest(
    encoder: &mut FileEncoder,
    rows: BatchCursor,
) -> anyhow::Result<Vec<bytes::Bytes>> {
    Ok(encoder.encode(Box::new(rows)).await.context("the guest failed")?.chunks)
}

/// What a piece of work answers, and the processor time of the whole process that it took.
async fn timed<T>(
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<(T, Duration)> {
    let before = processor_time()?;
    let answer = work.await?;
    Ok((answer, processor_time()?.saturating_sub(before)))
}

fn processor_time() -> anyhow::Result<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Ok(Duration::new(time.tv_sec.try_into()?, time.tv_nsec.try_into()?))
}
