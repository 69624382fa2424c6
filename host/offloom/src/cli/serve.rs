//! `offloom serve`: the REST service.
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::app;
use crate::config::Settings;

/// What `offloom serve` takes. Every option is also a key of the file and a variable `OFFLOOM_<KEY>`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    settings: Settings,
    /// Settings as TOML: the options with `_` for `-`, such as data_dir = "/var/lib/weaviate"
    #[arg(long, env = "OFFLOOM_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the command until it is told to stop.
pub fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let config = args.settings.resolve(args.config.as_deref())?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    // Guests compute; the API, the store and the disk get threads that guests never hold.
    let guests = builder
        .worker_threads(config.scheduler.workers)
        .thread_name("guest")
        .enable_all()
        .build()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(app::serve(config, guests.handle().clone()))?;
    guests.shutdown_background();
    Ok(ExitCode::SUCCESS)
}
