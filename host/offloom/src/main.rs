//! `offloom`: exports a Weaviate data directory to Parquet through a sandboxed guest.
mod api;
mod app;
mod authz;
mod backend;
mod cli;
mod commit;
mod config;
mod export;
mod file;
mod guest;
mod index;
mod lookup;
mod plan;
mod scheduler;
mod schema;
mod scope;
mod signals;
mod status;
mod worker;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};
use tracing_subscriber::EnvFilter;

/// Blocks and parts of many megabytes come and go on several threads. With an arena a thread, glibc
/// kept two and a half times of what was in use (measured: 262 MB against 129 MB with one worker).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn share_one_arena() {
    // SAFETY: mallopt takes two integers and touches only the allocator's own settings, under its
    // own lock; it is called first in main, before another thread exists.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn share_one_arena() {}

fn main() -> ExitCode {
    share_one_arena();
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("OFFLOOM_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    // Each shard of a snapshot has files open. With fewer than there could be, it takes longer.
    if let Err(error) = offloom_weaviate_disk::raise_descriptor_limit() {
        tracing::warn!("the limit of open files stays as it is: {error}");
    }
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", told_once(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Export(args) => runtime()?.block_on(cli::export::run(args)),
        Command::Inspect(args) => cli::inspect::run(args),
        Command::Serve(args) => cli::serve::run(args),
        Command::Verify(args) => runtime()?.block_on(cli::verify::run(args)),
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// The error and its causes in one line; a cause that the text before it tells is not repeated.
fn told_once(error: &anyhow::Error) -> String {
    let mut told = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}
