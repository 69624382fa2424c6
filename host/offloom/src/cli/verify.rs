//! `offloom verify`: proves that an export is complete, or lists the differences.
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use offloom_protocol::manifest::Manifest;
use offloom_protocol::store::Destination;
use offloom_verify::{Depth, OnProgress, Progress, Report, Unproved, verify};
use offloom_weaviate_disk::name_list;

use super::exit_status::{self, CommandError};
use super::missing;
use crate::terminal::{errln, outln};

/// What `offloom verify` takes.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The folder of the export, which `offloom export` prints last
    url: OsString,
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

/// Parts of an export that the last line names; the others are counted.
const NAMED: usize = 10;

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
    for unproved in report.unproved.iter().take(SHOWN) {
        errln!("note: {unproved}");
    }
    for difference in report.differences.iter().take(SHOWN) {
        errln!("difference: {difference}");
    }
    let found = report.differences.len();
    if found > 0 {
        anyhow::bail!("{} is not whole: differences: {found}", folder.url());
    }
    missing::print(&report.manifest.missing);
    let whole =
        if report.manifest.partial { "partial, and what its manifest says" } else { "whole" };
    let rows = report.manifest.files.iter().map(|file| file.rows).fold(0, u64::saturating_add);
    outln!(
        "{} is {whole}: {} files, {} rows; {}",
        folder.url(),
        report.manifest.files.len(),
        HumanCount(rows),
        proved(&report, depth),
    );
    if args.require_complete && report.manifest.partial {
        errln!("error: the export is partial, and --require-complete was given");
        return Ok(ExitCode::from(exit_status::PARTIAL));
    }
    Ok(ExitCode::SUCCESS)
}

/// What agrees, and what was not checked: `sizes and digests (BLAKE3) agree; not checked: rows and ids
/// of A.csv`.
fn proved(report: &Report, depth: Depth) -> String {
    let digests = match algorithms(report) {
        titles if titles.is_empty() => "digests".to_owned(),
        titles => format!("digests ({titles})"),
    };
    let agree = match (depth, report.has_proved_rows(), report.has_proved_ids()) {
        (Depth::Full, true, true) => format!("sizes, {digests}, rows and ids agree"),
        (Depth::Full, true, false) => format!("sizes, {digests} and rows agree"),
        (Depth::Full, false, _) => format!("sizes and {digests} agree"),
        (Depth::Quick, true, _) => "sizes and footers agree".to_owned(),
        (Depth::Quick, false, _) => "sizes agree".to_owned(),
    };
    if report.unproved.is_empty() {
        return agree;
    }
    let subjects: Vec<String> = report.unproved.iter().map(Unproved::subject).collect();
    let subjects = name_list(subjects.iter().map(String::as_str), NAMED);
    format!("{agree}; not checked: {subjects}")
}

/// How the objects of the export are digested, such as `BLAKE3`.
fn algorithms(report: &Report) -> String {
    let Manifest { files, attachments, .. } = &report.manifest;
    let attached = attachments.iter().map(|object| &object.digest);
    let digests = files.iter().map(|file| &file.digest).chain(attached);
    let titles: BTreeSet<_> = digests.map(|digest| digest.algorithm.title()).collect();
    titles.into_iter().collect::<Vec<_>>().join(" and ")
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
