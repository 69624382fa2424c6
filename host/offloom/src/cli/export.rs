//! `offloom export`: a data directory becomes a folder of files.
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use offloom_protocol::names::ExportId;
use offloom_protocol::store::Destination;
use offloom_sandbox::{GuestOptions, SandboxConfig};
use offloom_weaviate_disk::{DataDirectory, SchemaFile};

use super::progress::Progress;
use super::scope::ScopeArgs;
use crate::export::{Export, Stop, StopReason, Workers};
use crate::guest;
use crate::plan::plan;
use crate::signals::told_to_stop;
use crate::status::Status;
use crate::worker::default_workers;

/// What `offloom export` takes.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Weaviate's data directory (PERSISTENCE_DATA_PATH); it is only read. Several times: those of a
    /// cluster's nodes, which become one export
    #[arg(long, value_name = "DIR", required = true)]
    data_dir: Vec<PathBuf>,
    /// Where the export's folder goes, as file:///absolute/path/, a plain path, or s3://bucket/prefix/
    #[arg(long, value_name = "URL")]
    to: String,
    /// Name of the export and of its folder: lowercase letters, digits, _ and - [default: export- and the UTC time]
    #[arg(long)]
    id: Option<String>,
    #[command(flatten)]
    scope: ScopeArgs,
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
    let scope = args.scope.into_scope()?;
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
    // The manifest has these first, and then those of the shards.
    let told = directory.warnings().len();
    let sandbox = SandboxConfig { cache_dir: args.cache_dir, ..SandboxConfig::default() };
    let guest = guest::load(args.guest, sandbox).await?;
    let options: GuestOptions = args.guest_options;
    let classes = plan(&directory, directory.classes(), &guest, &options, &scope).await?;

    let count = args.workers.map_or_else(default_workers, usize::from);
    let workers = Workers::new(count, tokio::runtime::Handle::current());
    destination.check_access().await?;
    let export = Export {
        id,
        destination,
        directory,
        classes,
        guest,
        options,
        allow_partial: scope.allow_partial,
    };
    // Before the id is taken: from then on the export ends in one outcome, whoever interrupts it.
    let stop = Stop::default();
    let signals = tokio::spawn(stop_when(told_to_stop()?, stop.clone()));
    let claimed = export.claim().await?;
    let folder = claimed.folder().url().to_owned();
    let status = Arc::new(Status::default());
    claimed.announce(&status);
    let shown = args.progress.show(Arc::clone(&status));
    let ended = claimed.run(&workers, status, &stop).await;
    signals.abort();
    if let Some(error) = ended.error {
        return Err(error.into());
    }
    shown.finish();
    let warnings = ended.manifest.map(|manifest| manifest.warnings).unwrap_or_default();
    for warning in warnings.iter().skip(told) {
        eprintln!("warning: {warning}");
    }
    println!("{folder}");
    Ok(ExitCode::SUCCESS)
}

/// Opens data directories with an optional schema file.
pub fn open(data_dirs: &[PathBuf], schema: Option<PathBuf>) -> anyhow::Result<DataDirectory> {
    let schema = schema.map(|path| SchemaFile::read(&path)).transpose()?;
    Ok(DataDirectory::open_nodes(data_dirs, schema)?)
}

/// Ctrl-C and SIGTERM end the export in good order: uploads are dropped, the manifest says CANCELED.
async fn stop_when(told: impl Future<Output = ()>, stop: Stop) {
    told.await;
    eprintln!("stopping: what was begun is dropped");
    stop.ask(StopReason::Canceled);
}
