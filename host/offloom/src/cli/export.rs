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
    Authorized, Claimed, ExportError, NamedExporter, Planned, Request, Status, Stop, StopReason,
    TransferError, Workers, authorize, default_workers,
};
use offloom_protocol::access::PassedChecks;
use offloom_protocol::digest::DigestAlgorithm;
use offloom_protocol::names::ExportId;
use offloom_protocol::store::Destination;
use tracing::Instrument;

use super::command_journal::{CommandJournal, CommandRecord, Loaded};
use super::dry_run;
use super::exit_status::{self, CommandError};
use super::missing;
use super::progress::Progress;
use super::resume;
use super::scope::ScopeArgs;
use super::transform::TransformArg;
use crate::export_index::IndexConfig;
use crate::guest;
use crate::load::LoadConfig;
use crate::max_object_bytes::MaxObjectBytes;
use crate::signals::{StopSignal, stop_signal};
use crate::terminal::{errln, outln};

/// What `offloom export` takes.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Weaviate's data directory (PERSISTENCE_DATA_PATH); it is only read. Several times: those of a
    /// cluster's nodes, which become one export
    #[arg(long, value_name = "DIR", required_unless_present = "resume")]
    data_dir: Vec<PathBuf>,
    /// Where the export's folder is created, as file:///absolute/path/, a plain path, s3://bucket/prefix/,
    /// gs://bucket/prefix/ or az://container/prefix/
    #[arg(long, value_name = "URL", required_unless_present = "resume")]
    to: Option<OsString>,
    /// Name of the export and of its folder: lowercase letters, digits, _ and - [default: export- and the UTC time]
    #[arg(long)]
    id: Option<String>,
    /// Carry an interrupted export on: the URL of its own folder. What it was asked for is in the journal
    #[arg(long, value_name = "URL", conflicts_with_all = ["to", "id"])]
    resume: Option<OsString>,
    /// With --resume: take the export from the process that has it, or had it without leaving a journal
    /// here. Every class is written again, so the other options are needed as for a new export
    #[arg(long, requires = "resume", requires = "data_dir")]
    take_over: bool,
    /// Where the journal of a running export is kept [default: $XDG_STATE_HOME/offloom]
    #[arg(long, env = "OFFLOOM_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
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
    #[command(flatten)]
    load: LoadConfig,
    /// Show what would be read and written, and write nothing
    #[arg(long, conflicts_with = "resume")]
    dry_run: bool,
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
    let progress = args.progress;
    let count = args.workers.map_or_else(default_workers, usize::from);
    let workers = Workers::new(count, tokio::runtime::Handle::current());
    let workers = args.load.limit_reading(workers);
    args.load.limit_traffic();
    if args.dry_run {
        return dry_run::run(args, &workers).await;
    }
    let mut stopped = Box::pin(stop_signal()?);
    let status = Arc::new(Status::default());
    // Its id is found with what the export is about.
    let span = tracing::error_span!("export", id = tracing::field::Empty);
    let begun = tokio::select! {
        begun = begin(args, &workers, &status).instrument(span.clone()) => begun?,
        signal = &mut stopped => {
            let source = anyhow::anyhow!("stopped before anything was written");
            return Err(CommandError::Stopped { signal, source }.into());
        }
    };
    // From the claim on the export ends in one outcome, also on a signal.
    let stop = Stop::default();
    let stopped_by = Arc::new(OnceLock::new());
    let signals = tokio::spawn(stop_when(stopped, stop.clone(), Arc::clone(&stopped_by)));
    let Begun { ready, printed, journal } = begun;
    let claimed = match ready {
        Ready::Planned(planned) => {
            let store = match &journal {
                Some((journal, command)) => Some(journal.begin(command).await?),
                None => None,
            };
            match planned.claim(&status, store).instrument(span.clone()).await {
                Ok(claimed) => claimed,
                Err(error) => {
                    if let Some((journal, _)) = journal {
                        journal.remove().await?;
                    }
                    return Err(error.into());
                }
            }
        }
        Ready::Claimed(claimed) => *claimed,
    };
    span.record("id", claimed.id().as_str());
    let folder = claimed.folder().url().to_owned();
    let shown = progress.show(Arc::clone(&status));
    let ended = claimed.run(&workers, status, &stop).instrument(span).await;
    signals.abort();
    if let Some(error) = ended.error {
        let is_canceled = matches!(error, ExportError::Transfer(TransferError::Canceled));
        match journal {
            Some((journal, _)) if is_canceled => journal.remove().await?,
            Some((journal, _)) => {
                // What may come later is written now; without it more is read again.
                if let Err(error) = journal.store().write(Vec::new()).await {
                    errln!("warning: {error}");
                }
                errln!("carry it on, when the cause is gone: offloom export --resume {folder}");
            }
            None => {}
        }
        return Err(end(error, stopped_by.get().copied()));
    }
    shown.finish();
    if let Some((journal, _)) = journal {
        journal.remove().await?;
    }
    let Some(manifest) = ended.manifest else { anyhow::bail!("the export has no manifest") };
    for warning in manifest.warnings.iter().skip(printed) {
        errln!("warning: {warning}");
    }
    if let Some(resumed) = &manifest.resumed {
        errln!(
            "carried on as attempt {}: {} classes and {} parts were there already",
            resumed.attempt,
            resumed.classes_kept,
            resumed.parts_kept
        );
    }
    outln!("{folder}");
    if !manifest.partial {
        return Ok(ExitCode::SUCCESS);
    }
    missing::print(&manifest.missing);
    errln!("partial: the export has all the rest; export_metadata.json lists what is missing");
    Ok(ExitCode::from(exit_status::PARTIAL))
}

impl ExportArgs {
    /// Lowers the priority of input and output if that is asked for.
    pub fn lower_priority(&self) {
        self.load.lower_priority();
    }
}

/// An export that can run.
struct Begun {
    ready: Ready,
    /// Warnings that were printed, with which the manifest begins.
    printed: usize,
    /// Where it is written down, with the command, if there is a place for it.
    journal: Option<(CommandJournal, CommandRecord)>,
}

enum Ready {
    /// Its id is taken next.
    Planned(Box<Planned>),
    /// It is carried on.
    Claimed(Box<Claimed>),
}

/// Checks the destination, opens the directories, loads the guests and plans the export, or finds what is
/// left to do of one that was interrupted.
async fn begin(args: ExportArgs, workers: &Workers, status: &Status) -> anyhow::Result<Begun> {
    let (destination, id) = place(&args)?;
    let state_dir = IndexConfig { state_dir: args.state_dir.clone() }.state_dir();
    let folder = format!("{}{id}/", destination.url());
    if args.resume.is_some() && !args.take_over {
        let Some(journal) = CommandJournal::open(state_dir, &folder, true).await? else {
            return resume::no_journal(&destination, &id, &folder).await;
        };
        let place = (&destination, &id, folder.as_str());
        let (claimed, command) =
            resume::carry_on(&journal, &args.data_dir, place, workers, status).await?;
        let printed = claimed.warnings();
        return Ok(Begun {
            ready: Ready::Claimed(Box::new(claimed)),
            printed,
            journal: Some((journal, command)),
        });
    }
    let take_over = args.take_over;
    let (planned, command) = plan(args, id.clone(), destination.clone(), workers).await?;
    // They were printed, and the manifest begins with them.
    let printed = planned.directory_warnings.len();
    // After the plan, so that a command that is refused leaves none.
    let journal = CommandJournal::open(state_dir, &folder, false).await?;
    if let Some(journal) = &journal
        && !take_over
    {
        resume::refuse_interrupted(journal, &destination, &id, &folder).await?;
    }
    let journal = journal.map(|journal| (journal, command));
    if !take_over {
        return Ok(Begun { ready: Ready::Planned(Box::new(planned)), printed, journal });
    }
    let store = match &journal {
        Some((journal, command)) => Some(journal.begin(command).await?),
        None => None,
    };
    let claimed = planned.take_over(status, store).await?;
    Ok(Begun { ready: Ready::Claimed(Box::new(claimed)), printed, journal })
}

/// Where the export is made or found, and its id.
pub(super) fn place(args: &ExportArgs) -> anyhow::Result<(Destination, ExportId)> {
    match (&args.resume, &args.to) {
        (Some(url), _) => Ok(resume::place(url).map_err(CommandError::usage)?),
        (None, Some(to)) => {
            let destination = Destination::parse(to).map_err(CommandError::usage)?;
            let id = args
                .id
                .as_deref()
                .map_or_else(|| Ok(ExportId::from_time(chrono::Utc::now())), ExportId::parse)
                .map_err(CommandError::usage)?;
            Ok((destination, id))
        }
        (None, None) => anyhow::bail!(CommandError::usage(anyhow::anyhow!("--to is missing"))),
    }
}

/// Opens the directories, loads the guest and plans the export: nothing is written.
async fn plan(
    args: ExportArgs,
    id: ExportId,
    destination: Destination,
    workers: &Workers,
) -> anyhow::Result<(Planned, CommandRecord)> {
    let Asked { request, authorized, exporter, command } = asked(args, id, destination).await?;
    let passed = PassedChecks::default();
    let planned = request.plan(authorized, &exporter, &passed, workers).await?;
    Ok((planned, command))
}

/// What a command asks for.
pub(super) struct Asked {
    pub request: Request,
    pub authorized: Authorized,
    pub exporter: NamedExporter,
    pub command: CommandRecord,
}

/// Opens the directories and loads the guests.
pub(super) async fn asked(
    args: ExportArgs,
    id: ExportId,
    destination: Destination,
) -> anyhow::Result<Asked> {
    let scope = args.scope.into_scope().map_err(CommandError::usage)?;
    let command = CommandRecord {
        data_dirs: args.data_dir,
        schema: args.schema,
        guest: args.guest,
        cache_dir: args.cache_dir,
        guest_cpu_seconds: args.guest_cpu_seconds,
        max_object_bytes: args.max_object_bytes.unwrap_or_default(),
        transforms: args.transforms,
    };
    let command = command.absolute()?;
    let Loaded { directory, exporter, transforms } = command.load().await?;
    let principal = Principal::on_command_line();
    let authorized = authorize(&AllowAll, &principal, directory, &scope)?;
    let (options, digest) = (args.guest_options, args.digest);
    let file_format = None;
    let request = Request { id, destination, scope, options, transforms, digest, file_format };
    Ok(Asked { request, authorized, exporter, command })
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
