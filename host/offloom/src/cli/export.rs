//! `offloom export`: exports a data directory into a folder of files.
use std::ffi::OsString;
use std::future::Future;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use clap::Args;
use offloom_authz::{AllowAll, Principal};
use offloom_export::{
    ExportError, Planned, Request, Status, Stop, StopReason, TransferError, Workers, authorize,
    default_workers,
};
use offloom_protocol::access::PassedChecks;
use offloom_protocol::digest::DigestAlgorithm;
use offloom_protocol::names::ExportId;
use offloom_protocol::store::Destination;
use offloom_weaviate_disk::DataDirectory;

use super::exit_status::{self, CommandError};
use super::missing;
use super::progress::Progress;
use super::scope::ScopeArgs;
use super::transform::TransformArg;
use crate::guest::{self, GuestConfig};
use crate::max_object_bytes::MaxObjectBytes;
use crate::schema_file;
use crate::signals::{StopSignal, stop_signal};
use crate::terminal::{errln, outln};

/// What `offloom export` takes.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Weaviate's data directory (PERSISTENCE_DATA_PATH); it is only read. Several times: those of a
    /// cluster's nodes, which become one export
    #[arg(long, value_name = "DIR", required = true)]
    data_dir: Vec<PathBuf>,
    /// Where the export's folder is created, as file:///absolute/path/, a plain path, s3://bucket/prefix/,
    /// gs://bucket/prefix/ or az://container/prefix/
    #[arg(long, value_name = "URL")]
    to: OsString,
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
    /// Processor time of such a guest in one export, in seconds
    #[arg(long, value_name = "N", default_value_t = guest::DEFAULT_CPU_SECONDS)]
    guest_cpu_seconds: NonZeroU64,
    /// An option of the guest; may be given several times
    #[arg(long = "guest-option", value_name = "KEY=VALUE", value_parser = guest_option)]
    guest_options: Vec<(String, String)>,
    /// What rows pass before they are encoded: filter, redact or a file, with options after `?`, such as
    /// redact?drop=email; several times: one after the other
    #[arg(long = "transform", value_name = "GUEST[?K=V&...]")]
    transforms: Vec<TransformArg>,
    /// Guests that encode at the same time [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
    /// Where compiled guests are kept [default: $XDG_CACHE_HOME/offloom]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// The largest object that is exported, such as 100MiB; at most 512 MiB. A guest may then take more
    /// memory [default: 32MiB]
    #[arg(long, env = "OFFLOOM_MAX_OBJECT_BYTES", value_name = "SIZE")]
    max_object_bytes: Option<MaxObjectBytes>,
    /// How the files are digested, blake3 or sha256
    #[arg(long, env = "OFFLOOM_DIGEST", value_name = "ALGORITHM", default_value_t)]
    digest: DigestAlgorithm,
    /// How progress is shown on standard error
    #[arg(long, value_enum, default_value_t = Progress::Auto)]
    progress: Progress,
}

/// `KEY=VALUE`.
pub fn guest_option(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// Runs the command. The folder of the export is the last line of standard output.
pub async fn run(args: ExportArgs) -> anyhow::Result<ExitCode> {
    let destination = Destination::parse(&args.to).map_err(CommandError::usage)?;
    let id = args
        .id
        .as_deref()
        .map_or_else(|| Ok(ExportId::from_time(chrono::Utc::now())), ExportId::parse)
        .map_err(CommandError::usage)?;
    let mut stopped = Box::pin(stop_signal()?);
    let progress = args.progress;
    let count = args.workers.map_or_else(default_workers, usize::from);
    let workers = Workers::new(count, tokio::runtime::Handle::current());
    let planned = tokio::select! {
        planned = plan(args, id, destination, &workers) => planned?,
        signal = &mut stopped => {
            let source = anyhow::anyhow!("stopped before anything was written");
            return Err(CommandError::Stopped { signal, source }.into());
        }
    };
    // They were printed, and the manifest begins with them.
    let printed = planned.directory_warnings().len();
    // Before the id is taken: from then on the export ends in one outcome, also on a signal.
    let stop = Stop::default();
    let stopped_by = Arc::new(OnceLock::new());
    let signals = tokio::spawn(stop_when(stopped, stop.clone(), Arc::clone(&stopped_by)));
    let status = Arc::new(Status::default());
    let claimed = planned.claim(&status).await?;
    let folder = claimed.folder().url().to_owned();
    let shown = progress.show(Arc::clone(&status));
    let ended = claimed.run(&workers, status, &stop).await;
    signals.abort();
    if let Some(error) = ended.error {
        return Err(end(error, stopped_by.get().copied()));
    }
    shown.finish();
    let Some(manifest) = ended.manifest else { anyhow::bail!("the export has no manifest") };
    for warning in manifest.warnings.iter().skip(printed) {
        errln!("warning: {warning}");
    }
    outln!("{folder}");
    if !manifest.partial {
        return Ok(ExitCode::SUCCESS);
    }
    missing::print(&manifest.missing);
    errln!("partial: the export has all the rest; export_metadata.json lists what is missing");
    Ok(ExitCode::from(exit_status::PARTIAL))
}

/// Opens the directories, loads the guest and plans the export: nothing is written.
async fn plan(
    args: ExportArgs,
    id: ExportId,
    destination: Destination,
    workers: &Workers,
) -> anyhow::Result<Planned> {
    let scope = args.scope.into_scope().map_err(CommandError::usage)?;
    let (data_dir, schema) = (args.data_dir, args.schema);
    let directory = tokio::task::spawn_blocking(move || open(&data_dir, schema)).await??;
    for warning in directory.warnings() {
        errln!("warning: {warning}");
    }
    let config = GuestConfig {
        guest: args.guest,
        exporter: None,
        cache_dir: args.cache_dir,
        max_object_bytes: args.max_object_bytes.unwrap_or_default(),
        guest_cpu_seconds: args.guest_cpu_seconds,
    };
    let sandbox = guest::sandbox(&config)?;
    let exporter = guest::load(&sandbox, config.guest.as_deref()).await?;
    let mut transforms = Vec::new();
    for transform in args.transforms {
        transforms.push(transform.load(&sandbox).await?);
    }
    let principal = Principal::on_command_line();
    let authorized = authorize(&AllowAll, &principal, directory, &scope)?;
    let (options, digest) = (args.guest_options, args.digest);
    let file_format = None;
    let request = Request { id, destination, scope, options, transforms, digest, file_format };
    let passed = PassedChecks::default();
    Ok(request.plan(authorized, &exporter, &passed, workers).await?)
}

/// The error of an export that did not succeed. An export may fail for another reason although a
/// signal came.
fn end(error: ExportError, stopped_by: Option<StopSignal>) -> anyhow::Error {
    match (&error, stopped_by) {
        (ExportError::Transfer(TransferError::Canceled), Some(signal)) => {
            CommandError::Stopped { signal, source: error.into() }.into()
        }
        _ => error.into(),
    }
}

/// Opens data directories with an optional schema file.
pub fn open(data_dirs: &[PathBuf], schema: Option<PathBuf>) -> anyhow::Result<DataDirectory> {
    let schema = schema.as_deref().map(schema_file::read).transpose()?;
    Ok(DataDirectory::open_nodes(data_dirs, schema)?)
}

/// Ctrl-C, SIGTERM and SIGHUP cancel the export: uploads are dropped, and the manifest says CANCELED.
async fn stop_when(
    signal: impl Future<Output = StopSignal>,
    stop: Stop,
    stopped_by: Arc<OnceLock<StopSignal>>,
) {
    // Only this task sets it.
    let _ = stopped_by.set(signal.await);
    errln!("stopping: unfinished files are dropped");
    stop.ask(StopReason::Canceled);
}
