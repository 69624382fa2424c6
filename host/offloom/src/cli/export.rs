//! `offloom export`: exports a data directory into a folder of files.
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use offloom_authz::{Anonymous, Authorizer};
use offloom_export::{Request, Status, Stop, StopReason, Workers, default_workers};
use offloom_protocol::names::ExportId;
use offloom_protocol::store::Destination;
use offloom_weaviate_disk::{DataDirectory, SchemaFile};

use super::progress::Progress;
use super::scope::ScopeArgs;
use crate::guest::{self, GuestConfig};
use crate::signals::stop_signal;

/// What `offloom export` takes.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Weaviate's data directory (PERSISTENCE_DATA_PATH); it is only read. Several times: those of a
    /// cluster's nodes, which become one export
    #[arg(long, value_name = "DIR", required = true)]
    data_dir: Vec<PathBuf>,
    /// Where the export's folder is created, as file:///absolute/path/, a plain path, or s3://bucket/prefix/
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
    // The manifest lists these first, and then those of the shards.
    let printed = directory.warnings().len();
    let guest = guest::load(GuestConfig { guest: args.guest, cache_dir: args.cache_dir }).await?;
    let authorizer = Anonymous::on_command_line();
    let principal = authorizer.authenticate(None)?;
    let request = Request { id, destination, scope, options: args.guest_options };
    let planned = request.plan(&authorizer, &principal, directory, &guest).await?;
    let count = args.workers.map_or_else(default_workers, usize::from);
    let workers = Workers::new(count, tokio::runtime::Handle::current());
    // Before the id is taken: from then on the export ends in one outcome, also on a signal.
    let stop = Stop::default();
    let signals = tokio::spawn(stop_when(stop_signal()?, stop.clone()));
    let status = Arc::new(Status::default());
    let claimed = planned.claim(&status).await?;
    let folder = claimed.folder().url().to_owned();
    let shown = args.progress.show(Arc::clone(&status));
    let ended = claimed.run(&workers, status, &stop).await;
    signals.abort();
    if let Some(error) = ended.error {
        return Err(error.into());
    }
    shown.finish();
    let warnings = ended.manifest.map(|manifest| manifest.warnings).unwrap_or_default();
    for warning in warnings.iter().skip(printed) {
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

/// Ctrl-C and SIGTERM cancel the export: uploads are dropped, and the manifest says CANCELED.
async fn stop_when(signal: impl Future<Output = ()>, stop: Stop) {
    signal.await;
    eprintln!("stopping: unfinished files are dropped");
    stop.ask(StopReason::Canceled);
}
