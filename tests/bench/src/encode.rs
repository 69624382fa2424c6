//! `encode`: encoding in the guest against the same code as native code, one thread, block by block in
//! pairs, on three workloads.
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use offloom_encoder::Workload;
use offloom_rows::Schema;
use offloom_sandbox::{Compiler, FileEncoder, GuestRun, Sandbox, SandboxConfig, SandboxLimits};

use crate::blocks::{BatchCursor, block_of};
use crate::native::NativeFile;

/// The speed of native code that the guest must reach on every workload.
const GOAL: f64 = 0.85;

/// Pairs of runs on each block.
const PAIRS: u32 = 5;

/// What `encode` measures.
#[derive(Args)]
pub struct Encode {
    /// Share of the workloads' rows, in percent.
    #[arg(long, default_value_t = 20)]
    rows_percent: u64,
    /// Only this workload: w1, w2 or w3.
    #[arg(long)]
    workload: Option<String>,
    /// Cargo's target directory, in which the guest is built.
    #[arg(long, default_value = "target")]
    target_dir: PathBuf,
    /// Another build of the default guest, instead of building it.
    #[arg(long)]
    guest: Option<PathBuf>,
    /// Option of the guest, KEY=VALUE.
    #[arg(long = "guest-option", value_parser = key_value)]
    guest_options: Vec<(String, String)>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("not KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Prints the table.
pub fn run(arguments: &Encode) -> anyhow::Result<()> {
    let wasm = match &arguments.guest {
        Some(file) => file.clone(),
        None => {
            let guest_dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest");
            let target_dir = std::path::absolute(&arguments.target_dir)?;
            crate::build_guest::build_guest(&guest_dir, &target_dir, "offloom-guest-parquet")
                .map_err(anyhow::Error::msg)?
        }
    };
    let sandbox = Sandbox::new(SandboxConfig {
        compiler: Compiler::this_program([crate::COMPILE_GUEST]),
        cache_dir: None,
        limits: SandboxLimits::default(),
    })?;
    let guest = sandbox.load_exporter(&std::fs::read(wasm)?)?.for_export();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;

    println!("encode, one thread, processor time; native code = 1; goal {GOAL}");
    println!("workload     rows  native rows/s  guest rows/s  bytes/row  ratio (quartiles)");
    for workload in [Workload::W1, Workload::W2, Workload::W3] {
        let name = format!("{workload:?}").to_lowercase();
        if arguments.workload.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        let measured = runtime.block_on(measure(&guest, workload, arguments))?;
        let ratio = measured.ratio_at(0.5);
        println!(
            "{workload:?}       {:8}  {:13.0}  {:12.0}  {:9.0}  {ratio:.3} ({:.3} to {:.3})",
            measured.rows,
            measured.runs_rows as f64 / measured.native.as_secs_f64(),
            measured.runs_rows as f64 / measured.guest.as_secs_f64(),
            measured.output_bytes as f64 / measured.rows as f64,
            measured.ratio_at(0.25),
            measured.ratio_at(0.75),
        );
    }
    Ok(())
}

#[derive(Default)]
struct Measured {
    rows: u64,
    output_bytes: u64,
    /// Rows and times of all runs.
    runs_rows: u64,
    native: Duration,
    guest: Duration,
    /// Of each pair: time of native code over time of the guest.
    ratios: Vec<f64>,
}

impl Measured {
    /// The ratio that this share of the pairs does not exceed. The two runs of a pair find the machine
    /// equally busy, so the median of their ratios says more than the ratio of the sums.
    fn ratio_at(&self, share: f64) -> f64 {
        let mut ratios = self.ratios.clone();
        ratios.sort_by(f64::total_cmp);
        let index = (share * ratios.len().saturating_sub(1) as f64).round() as usize;
        ratios.get(index).copied().unwrap_or(f64::NAN)
    }
}

async fn measure(
    guest: &GuestRun,
    workload: Workload,
    arguments: &Encode,
) -> anyhow::Result<Measured> {
    let options = &arguments.guest_options;
    let schema = Schema::of_class(workload.class_name(), false, None);
    let format = guest.describe(options).await?;
    let mut encoder = guest.open(&schema, options, format.block_bytes).await?;
    let native = NativeFile::open(workload.class_name(), options)?;

    let goal_rows = workload.rows() * arguments.rows_percent / 100;
    let mut measured = Measured::default();
    let mut first_row = 0;
    // One block in advance: the first finds everything cold, on both sides.
    for round in 0_u64.. {
        if measured.rows >= goal_rows {
            break;
        }
        let (batches, rows) = block_of(workload, first_row, format.block_bytes);
        first_row += rows;
        for pair in 0..PAIRS {
            let (for_native, for_guest) = (batches.clone(), batches.clone());
            let for_guest = BatchCursor::new(&schema, for_guest);
            let in_native = timed(async { native.encode(for_native) });
            let in_guest = timed(encode_in_guest(&mut encoder, for_guest));
            // Alternating, so that neither side always finds what the other left in the caches.
            let (by_native, by_guest) = if pair % 2 == 0 {
                let by_native = in_native.await?;
                (by_native, in_guest.await?)
            } else {
                let by_guest = in_guest.await?;
                (in_native.await?, by_guest)
            };
            let bytes = by_native.0.concat();
            ensure!(bytes == by_guest.0.concat(), "the guest writes other bytes than native code");
            if round == 0 {
                continue;
            }
            let (native_time, guest_time) = (by_native.1, by_guest.1);
            measured.ratios.push(native_time.as_secs_f64() / guest_time.as_secs_f64());
            measured.native += native_time;
            measured.guest += guest_time;
            measured.runs_rows += rows;
            if pair == 0 {
                measured.rows += rows;
                measured.output_bytes += bytes.len() as u64;
            }
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
async fn timed<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<(T, Duration)> {
    let before = processor_time()?;
    let answer = work.await?;
    Ok((answer, processor_time()?.saturating_sub(before)))
}

fn processor_time() -> anyhow::Result<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Ok(Duration::new(time.tv_sec.try_into()?, time.tv_nsec.try_into()?))
}
