//! `encode`: encoding in the guest and the same code as native code, one thread, from memory to memory.
//!
//! It runs what its standard input asks for, so that its runs can alternate with those of other writers
//! (`tests/bench/encode.py`): a line `native` or `guest` encodes all rows once and is answered by one line of
//! JSON with the seconds, the processor seconds and the bytes.
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use offloom_encoder::Workload;
use offloom_rows::{RowBatch, Schema};
use offloom_sandbox::{Compiler, FileEncoder, Sandbox, SandboxConfig, SandboxLimits};
use serde_json::json;

use crate::blocks::{BatchCursor, block_of};
use crate::native::NativeFile;

/// What `encode` measures.
#[derive(Args)]
pub struct Encode {
    /// The kind of objects.
    #[arg(long)]
    workload: Name,
    /// How many objects, as whole blocks; by default as many as the workload is measured with.
    #[arg(long)]
    rows: Option<u64>,
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

/// A workload on the command line.
#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// 1,536 dimensions, 1 KB of properties.
    W1,
    /// No vector, 500 bytes of properties.
    W2,
    /// 384 dimensions, 300 bytes of properties.
    W3,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("not KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Both ways to encode, and the rows.
struct Bench {
    schema: Schema,
    blocks: Vec<Vec<RowBatch>>,
    native: NativeFile,
    guest: FileEncoder,
}

/// One run over all blocks.
#[derive(Default)]
struct Run {
    wall: Duration,
    processor: Duration,
    bytes: u64,
}

/// Encodes what standard input asks for.
///
/// # Errors
/// The guest writes other bytes than native code, or a run fails.
pub fn run(arguments: &Encode) -> anyhow::Result<()> {
    let workload = match arguments.workload {
        Name::W1 => Workload::W1,
        Name::W2 => Workload::W2,
        Name::W3 => Workload::W3,
    };
    let wasm = match &arguments.guest {
        Some(file) => file.clone(),
        None => {
            let guest_dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest");
            let target_dir = std::path::absolute(&arguments.target_dir)?;
            let packages = ["offloom-guest-parquet"];
            let built = crate::build_guest::build_guests(&guest_dir, &target_dir, packages);
            let [file] = built.map_err(anyhow::Error::msg)?;
            file
        }
    };
    let sandbox = Sandbox::new(SandboxConfig {
        compiler: Compiler::this_program([crate::COMPILE_GUEST]),
        cache_dir: None,
        limits: SandboxLimits::default(),
    })?;
    let guest = sandbox.load_exporter(&std::fs::read(wasm)?)?.for_export();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let options = &arguments.guest_options;
        let name = workload.class_name();
        let definition = json!({ "class": name, "properties": crate::generate::properties() });
        let definition = definition.to_string();
        let schema = Schema::of_class(name, false, Some(definition.clone()));
        let format = guest.describe(options).await?;
        let (mut blocks, mut rows, mut block_rows) = (Vec::new(), 0, 0);
        while rows < arguments.rows.unwrap_or(workload.rows()) {
            let (batches, count) = block_of(workload, rows, format.block_bytes);
            blocks.push(batches);
            rows += count;
            block_rows = count;
        }
        let guest = guest.open(&schema, options, format.block_bytes).await?;
        let native = NativeFile::open(name, &definition, options)?;
        let mut bench = Bench { schema, blocks, native, guest };
        bench.compare().await?;
        answer(&json!({ "rows": rows, "block_rows": block_rows }))?;
        for line in std::io::stdin().lock().lines() {
            let run = match line?.as_str() {
                "native" => bench.in_native().await?,
                "guest" => bench.in_guest().await?,
                other => bail!("{other:?} is neither native nor guest"),
            };
            answer(&json!({
                "seconds": run.wall.as_secs_f64(),
                "cpu": run.processor.as_secs_f64(),
                "bytes": run.bytes,
            }))?;
        }
        Ok(())
    })
}

fn answer(line: &serde_json::Value) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

impl Bench {
    /// Finds that the guest writes the bytes that native code writes. It warms both up, too.
    async fn compare(&mut self) -> anyhow::Result<()> {
        for block in &self.blocks {
            let by_native = self.native.encode(block.clone())?.concat();
            let by_guest = encode_in_guest(&mut self.guest, &self.schema, block.clone()).await?;
            ensure!(
                by_native == by_guest.concat(),
                "the guest writes other bytes than native code"
            );
        }
        Ok(())
    }

    async fn in_native(&self) -> anyhow::Result<Run> {
        let mut run = Run::default();
        for block in &self.blocks {
            let rows = block.clone();
            run.add(async { self.native.encode(rows) }).await?;
        }
        Ok(run)
    }

    async fn in_guest(&mut self) -> anyhow::Result<Run> {
        let mut run = Run::default();
        for block in &self.blocks {
            let rows = block.clone();
            run.add(encode_in_guest(&mut self.guest, &self.schema, rows)).await?;
        }
        Ok(run)
    }
}

impl Run {
    /// Does a piece of the work, and adds what it took.
    async fn add(
        &mut self,
        work: impl Future<Output = anyhow::Result<Vec<bytes::Bytes>>>,
    ) -> anyhow::Result<()> {
        let (begun, before) = (Instant::now(), processor_time()?);
        let pieces = work.await?;
        self.processor += processor_time()?.saturating_sub(before);
        self.wall += begun.elapsed();
        self.bytes += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        Ok(())
    }
}

async fn encode_in_guest(
    encoder: &mut FileEncoder,
    schema: &Schema,
    rows: Vec<RowBatch>,
) -> anyhow::Result<Vec<bytes::Bytes>> {
    let rows = BatchCursor::new(schema, rows);
    Ok(encoder.encode(Box::new(rows)).await.context("the guest failed")?.chunks)
}

/// Of the whole process.
fn processor_time() -> anyhow::Result<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Ok(Duration::new(time.tv_sec.try_into()?, time.tv_nsec.try_into()?))
}
