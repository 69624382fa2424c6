//! `offloom serve`: the REST service.
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::app;
use crate::config::GivenSettings;

/// How long the end waits for reads and writes that have begun.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(1);

/// What `offloom serve` takes. Every option is also a key of the file and a variable `OFFLOOM_<KEY>`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    settings: GivenSettings,
    /// Settings as TOML: the options with `_` for `-`, such as data_dir = "/var/lib/weaviate"
    #[arg(long, env = "OFFLOOM_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the server until a signal.
pub fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let config = args.settings.over(args.config.as_deref())?;
    // Before there are other threads.
    config.load.lower_priority();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    // Guests compute for long. The API, the store and the disk have threads of their own.
    let guests = builder
        .worker_threads(usize::from(config.scheduler.workers))
        .thread_name("guest")
        .enable_all()
        .build()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(app::serve(config, guests.handle().clone()));
    // A guest at work, or a read that never returns, must not hold up the end.
    guests.shutdown_background();
    runtime.shutdown_timeout(SHUTDOWN_PATIENCE);
    ended.map(|()| ExitCode::SUCCESS)
}
