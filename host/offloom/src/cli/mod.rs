//! The command line: what each command is called, takes and prints.
mod check_progress;
mod command_journal;
pub mod config;
mod directories;
mod dry_run;
pub mod exit_status;
pub mod export;
pub mod gc;
pub mod guest;
mod guest_new;
pub mod inspect;
pub mod manual;
mod missing;
mod progress;
mod resume;
mod scope;
pub mod serve;
mod transform;
pub mod verify;

use clap::{Parser, Subcommand};

/// Exports the objects of a Weaviate data directory to Parquet.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    max_term_width = 100,
    after_help = "Exit status: 0 complete, 1 failed, 2 wrong usage, 3 partial, 129, 130 and 143 after SIGHUP, SIGINT and SIGTERM"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write one Parquet file per class, with every object of a data directory
    Export(Box<export::ExportArgs>),
    /// Show what a data directory holds, without exporting it
    Inspect(inspect::InspectArgs),
    /// Remove what exports have left behind: unfinished uploads, files that no manifest lists
    Gc(gc::GcArgs),
    /// Serve the REST API: start an export over HTTP, poll it, cancel it
    Serve(serve::ServeArgs),
    /// Show what the server would run with, and whether it could
    Config(config::ConfigArgs),
    /// Write, check and try guests, and manage those of a server
    Guest(guest::GuestArgs),
    /// Print what completes commands in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages, offloom.1 and one of each command
    Man(manual::ManArgs),
    /// Prove that an export is whole: files, digests, rows, ids
    Verify(verify::VerifyArgs),
    /// The process that compiles a guest, which the others start (`offloom_sandbox::compile_guest`)
    #[command(hide = true)]
    CompileGuest {
        /// Bytes of memory and seconds
        #[arg(num_args = 2)]
        limits: Vec<String>,
    },
}
