//! `offloom completions` and `offloom man`: what shells and `man` know of the command line.
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use crate::terminal::{outln, print_text};

/// What `offloom man` takes.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The folder for the pages, such as /usr/local/share/man/man1
    dir: PathBuf,
}

/// Prints the completions of a shell.
pub fn completions(shell: Shell) -> anyhow::Result<ExitCode> {
    let (mut command, mut script) = (Cli::command(), Vec::new());
    clap_complete::generate(shell, &mut command, "offloom", &mut script);
    print_text(&String::from_utf8(script)?);
    Ok(ExitCode::SUCCESS)
}

/// Writes the manual pages.
pub fn pages(args: &ManArgs) -> anyhow::Result<ExitCode> {
    let dir = args.dir.display();
    std::fs::create_dir_all(&args.dir).with_context(|| format!("cannot make the folder {dir}"))?;
    let written = clap_mangen::generate_to(Cli::command(), &args.dir);
    written.with_context(|| format!("cannot write to {dir}"))?;
    outln!("{dir}");
    Ok(ExitCode::SUCCESS)
}
