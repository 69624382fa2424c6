//! `offloom verify`: proves that an export is complete, or lists the differences.
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use offloom_protocol::store::Destination;
use offloom_verify::{Depth, OnProgress, Progress, verify};

use super::exit_status::{self, CommandError};
use super::missing;

/// What `offloom verify` takes.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The folder of the export, which `offloom export` prints last
    url: String,
    /// Compare sizes and the ends of files only
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Also compare every digest, row count and id; this is the default
    #[arg(long)]
    full: bool,
    /// Exit with status 3 if the export is partial, although it is what its manifest says
    #[arg(long)]
    require_complete: bool,
}

/// Differences that are shown one by one; the others are counted.
const SHOWN: usize = 100;

/// Runs the command. A difference is an error.
pub async fn run(args: VerifyArgs) -> anyhow::Result<ExitCode> {
    let depth = if args.quick { Depth::Quick } else { Depth::Full };
    let destination = Destination::parse(&args.url).map_err(CommandError::usage)?;
    let folder = destination.as_export_folder()?;
    let bar = std::io::stderr().is_terminal().then(bar);
    let report = verify(&folder, depth, on_progress(bar.clone())).await;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let report = report?;
    for unproved in &report.unproved {
        eprintln!("note: {unproved}");
    }
    for difference in report.differences.iter().take(SHOWN) {
        eprintln!("difference: {difference}");
    }
    let found = report.differences.len();
    if found > 0 {
        anyhow::bail!("{} is not whole: differences: {found}", folder.url());
    }
    missing::print(&report.manifest.missing);
    let whole =
        if report.manifest.partial { "partial, and what its manifest says" } else { "whole" };
    let rows = report.manifest.files.iter().map(|file| file.rows).fold(0, u64::saturating_add);
    let proved = match depth {
        Depth::Full => "sizes, digests, rows and ids",
        Depth::Quick => "sizes and footers",
    };
    println!(
        "{} is {whole}: {} files, {} rows; {proved} agree",
        folder.url(),
        report.manifest.files.len(),
        HumanCount(rows),
    );
    if args.require_complete && report.manifest.partial {
        eprintln!("error: the export is partial, and --require-complete was given");
        return Ok(ExitCode::from(exit_status::PARTIAL));
    }
    Ok(ExitCode::SUCCESS)
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{msg:8} {bar:30} {percent:>3}%  {eta} left") {
        bar.set_style(style);
    }
    bar
}

fn on_progress(bar: Option<ProgressBar>) -> OnProgress {
    Arc::new(move |progress| {
        let Some(bar) = &bar else { return };
        let (message, done, total) = match progress {
            Progress::Digests { done_bytes, total_bytes } => ("digests", done_bytes, total_bytes),
            Progress::Rows { done_rows, total_rows } => ("ids", done_rows, total_rows),
        };
        bar.set_message(message);
        bar.set_length(total);
        bar.set_position(done);
    })
}
