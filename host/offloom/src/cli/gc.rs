//! `offloom gc`: removes what exports have left behind on a store.
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::HumanBytes;
use offloom_protocol::gc::{self, Garbage, Reason};
use offloom_protocol::store::Destination;

use super::exit_status::CommandError;
use crate::terminal::{errln, outln};

/// What `offloom gc` takes.
#[derive(Debug, Args)]
pub struct GcArgs {
    /// The folder that holds the folders of exports, as --to of `offloom export`
    url: OsString,
    /// Show what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// An export that has not ended is given up when nothing of it was written for this time, such as 36h. A
    /// file of many gigabytes appears in a bucket when it is complete, and not before
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = humantime::parse_duration)]
    older_than: Duration,
}

/// Runs the command.
pub async fn run(args: GcArgs) -> anyhow::Result<ExitCode> {
    let destination = Destination::parse(&args.url).map_err(CommandError::usage)?;
    let root = destination.as_export_folder()?;
    let found = gc::find(&root, args.older_than, chrono::Utc::now()).await?;
    for id in &found.running {
        errln!("left alone: {id} may be running");
    }
    for (id, reason) in &found.unreadable {
        errln!("left alone: {id}: its manifest cannot be read: {reason}");
    }
    if !found.lists_uploads && destination.local_path().is_none() {
        errln!("note: this store does not list unfinished uploads (docs/operations.md)");
    }
    let (mut objects, mut bytes) = (0_u64, 0_u64);
    let mut show = |garbage: &Garbage| {
        let why = match garbage.reason {
            Reason::Unlisted => "no manifest lists it",
            Reason::UnfinishedUpload => "an upload that was never completed",
            Reason::DeadClaim => "its export never ended",
        };
        outln!("{}{}/{}: {why}", destination.url(), garbage.id, garbage.key);
        objects = objects.saturating_add(1);
        bytes = bytes.saturating_add(garbage.size_bytes.unwrap_or_default());
    };
    if args.dry_run {
        found.garbage.iter().for_each(&mut show);
    } else {
        gc::remove(&root, destination.backend(), &found, &owner(), &mut show).await?;
    }
    let what = if args.dry_run { "would be removed" } else { "removed" };
    outln!("{what}: {objects} objects, {}", HumanBytes(bytes));
    Ok(ExitCode::SUCCESS)
}

fn owner() -> String {
    format!("offloom gc (process {})", std::process::id())
}
