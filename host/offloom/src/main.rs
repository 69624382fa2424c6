//! `offloom`: exports a Weaviate data directory to Parquet through a sandboxed guest.
//!
//! The story of an export is the crate `offloom_export`; here are its two callers. Read in this
//! order: `terminal` (all that is printed), `logging`, `cli` (the commands; `cli/export.rs` is the shorter caller),
//! `guest` with `built_in` and `max_object_bytes`, `schema_file` and `signals` (used by both), then the server: `config`
//! (its settings) with `users`, `guests` (rules for guests) and `setting_sources` (where each comes from), `app` (how it is composed), `api` (REST),
//! `backend` (where exports may be created), `scheduler` (the longer caller) with `scheduler_config`, `directory_cache` (what it
//! reads), `planned_guests` (guests of exports that are carried on), `export_index` and `journal_database` (the exports of
//! this server and what carries them on, on disk, in `state_database`), `lookup` (what is known of an export).
#![warn(clippy::print_stdout, clippy::print_stderr)] // `terminal` prints
mod api;
mod app;
mod backend;
mod backup_settings;
mod built_in;
mod cli;
mod config;
mod directory_cache;
mod export_index;
mod guest;
mod guests;
mod journal_database;
mod load;
mod logging;
mod lookup;
mod max_object_bytes;
mod metrics;
mod planned_guests;
mod quotas;
mod scheduler;
mod scheduler_config;
mod schema_file;
mod setting_sources;
mod signals;
mod state_database;
mod terminal;
mod users;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};
use terminal::errln;

/// Blocks and parts of many megabytes are allocated and freed on several threads. With one arena per
/// thread, glibc kept twice the memory (measured: 262 MB against 129 MB with one worker).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code)]
fn share_one_arena() {
    // SAFETY: mallopt takes two integers and changes only the allocator's own settings, under its
    // own lock. It is the first call in main, before another thread exists.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn share_one_arena() {}

fn main() -> ExitCode {
    share_one_arena();
    let cli = match config::check_variables().map(|()| Cli::try_parse()) {
        Ok(Ok(cli)) => cli,
        Ok(Err(error)) => {
            terminal::print_usage(&error);
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
        Err(error) => {
            errln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let traces = match logging::begin() {
        Ok(traces) => traces,
        Err(error) => {
            errln!("error: {}", error_line(&error));
            return ExitCode::from(2);
        }
    };
    if let Err(error) = signals::survive_file_size_limit() {
        tracing::warn!("a limit of file sizes will end the program: {error}");
    }
    // Every shard of a snapshot keeps files open. A low limit makes exports wait for one another.
    if let Err(error) = offloom_weaviate_disk::raise_descriptor_limit() {
        tracing::warn!("the limit of open files stays as it is: {error}");
    }
    let code = run(cli).unwrap_or_else(|error| {
        errln!("error: {}", error_line(&error));
        cli::exit_status::of_error(&error)
    });
    if let Some(traces) = traces {
        traces.end();
    }
    terminal::report_fault();
    code
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Export(args) => {
            // Before there are other threads.
            args.lower_priority();
            block_on(cli::export::run(*args))
        }
        Command::Inspect(args) => cli::inspect::run(args),
        Command::Config(args) => block_on(cli::config::run(args)),
        Command::Serve(args) => cli::serve::run(args),
        Command::Guest(args) => block_on(cli::guest::run(args)),
        Command::Gc(args) => block_on(cli::gc::run(args)),
        Command::Verify(args) => block_on(cli::verify::run(args)),
        Command::Completions { shell } => cli::manual::completions(shell),
        Command::Man(args) => cli::manual::pages(&args),
        Command::CompileGuest { limits } => {
            offloom_sandbox::compile_guest(&limits)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn block_on(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(command);
    // A guest that is being compiled, or a read that hangs, must not hold up the end.
    runtime.shutdown_background();
    ended
}

/// The error and its causes in one line. A cause that the line contains already is not repeated.
fn error_line(error: &anyhow::Error) -> String {
    let mut line = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}
