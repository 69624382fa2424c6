//! `offloom export`: a data directory becomes a folder of files.
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use offloom_protocol::names::ExportId;
use offloom_protocol::store::Destination;
use offloom_sandbox::{ExporterGuest, GuestOptions, Sandbox, SandboxConfig};
use offloom_weaviate_disk::{DataDirectory, SchemaFile};
use tokio_util::sync::CancellationToken;

use super::progress::Progress;
use crate::plan::plan;
use crate::scheduler::{Export, Scheduler};
use crate::status::Status;

/// The exporter that is inside the binary: `guest/parquet`, built by `build.rs`.
static DEFAULT_GUEST: &[u8] = include_bytes!(env!("OFFLOOM_GUEST_WASM_PATH"));

/// What `offloom export` takes.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Weaviate's data directory (PERSISTENCE_DATA_PATH); it is only read
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Where the export's folder goes, as file:///absolute/path/ or a plain path
    #[arg(long, value_name = "URL")]
    to: String,
    /// Name of the export and of its folder: lowercase letters, digits, _ and - [default: export-<UTC time>]
    #[arg(long)]
    id: Option<String>,
    /// Export only these classes
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    include: Vec<String>,
    /// Export all classes but these
    #[arg(long, value_name = "C", value_delimiter = ',')]
    exclude: Vec<String>,
    /// A saved answer of GET /v1/schema: exact class names, and which are multi-tenant
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// An exporter of your own, a component of the world offloom:export/exporter-guest
    #[arg(long, value_name = "FILE")]
    guest: Option<PathBuf>,
    /// An option of the guest; may be given several times
    #[arg(long = "guest-option", value_name = "KEY=VALUE", value_parser = guest_option)]
    guest_options: Vec<(String, String)>,
    /// Guests that encode at the same time [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
    /// Where compiled guests are kept [default: $XDG_CACHE_HOME/offloom]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// How progress is shown on standard error
    #[arg(long, value_enum, default_value_t = Progress::Auto)]
    progress: Progress,
}

fn guest_option(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// Runs the command. The folder of the export is the last line of standard output.
pub async fn run(args: ExportArgs) -> anyhow::Result<ExitCode> {
    if !args.include.is_empty() && !args.exclude.is_empty() {
        bail!(
            "--include and --exclude cannot be used together: name the classes to export, or the ones to leave out"
        );
    }
    let destination = Destination::parse(&args.to)?;
    let id = args
        .id
        .as_deref()
        .map_or_else(|| Ok(ExportId::from_time(chrono::Utc::now())), ExportId::parse)?;
    let (data_dir, schema) = (args.data_dir.clone(), args.schema.clone());
    let directory = tokio::task::spawn_blocking(move || open(&data_dir, schema)).await??;
    for warning in directory.warnings() {
        eprintln!("warning: {warning}");
    }
    let guest = guest(args.guest.clone(), args.cache_dir.clone(), args.progress).await?;
    let options: GuestOptions = args.guest_options;
    let classes = plan(&directory, &guest, &options, &args.include, &args.exclude).await?;

    let status = Arc::new(Status::default());
    let cancel = CancellationToken::new();
    let shown = args.progress.show(Arc::clone(&status));
    let scheduler = Scheduler::new(directory, guest, workers(args.workers));
    let export = Export { id, destination, classes, options };
    let stop = tokio::spawn(cancel_on_signal(cancel.clone()));
    let outcome = scheduler.run(export, Arc::clone(&status), cancel).await;
    stop.abort();
    let exported = outcome?;
    shown.finish();
    for warning in &exported.manifest.warnings {
        eprintln!("warning: {warning}");
    }
    println!("{}", exported.folder);
    Ok(ExitCode::SUCCESS)
}

/// Opens a data directory with an optional schema file.
pub fn open(data_dir: &std::path::Path, schema: Option<PathBuf>) -> anyhow::Result<DataDirectory> {
    let schema = schema.map(|path| SchemaFile::read(&path)).transpose()?;
    Ok(DataDirectory::open(data_dir, schema)?)
}

async fn guest(
    file: Option<PathBuf>,
    cache_dir: Option<PathBuf>,
    progress: Progress,
) -> anyhow::Result<ExporterGuest> {
    let sandbox = Sandbox::new(SandboxConfig { cache_dir, ..SandboxConfig::default() })?;
    let bytes = match &file {
        Some(path) => std::fs::read(path)
            .with_context(|| format!("the guest {} cannot be read", path.display()))?
            .into(),
        None => std::borrow::Cow::Borrowed(DEFAULT_GUEST),
    };
    let compiling = tokio::task::spawn_blocking(move || sandbox.load_exporter(&bytes));
    if progress != Progress::None {
        tokio::pin!(compiling);
        // Compiling takes seconds and happens once for a guest; from the cache it takes none.
        tokio::select! {
            loaded = &mut compiling => return Ok(loaded??),
            () = tokio::time::sleep(std::time::Duration::from_millis(500)) => {
                eprintln!("compiling the guest (kept for the next time)");
            }
        }
        return Ok(compiling.await??);
    }
    Ok(compiling.await??)
}

fn workers(asked: Option<u16>) -> usize {
    asked.map_or_else(
        || std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        usize::from,
    )
}

/// Ctrl-C and SIGTERM end the export in good order: uploads are dropped, the manifest says CANCELED.
async fn cancel_on_signal(cancel: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    eprintln!("stopping: what was begun is dropped");
    cancel.cancel();
}
