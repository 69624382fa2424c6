//! `offloom export --resume`: an interrupted export from its journal.
use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::{Context, bail};
use offloom_export::{Claimed, Interrupted, Means, ResumeError, Status, Workers};
use offloom_protocol::access::PassedChecks;
use offloom_protocol::claim::Claim;
use offloom_protocol::manifest::{Manifest, ManifestError};
use offloom_protocol::names::ExportId;
use offloom_protocol::store::Destination;
use offloom_protocol::take_over::{OwnError, remove_leftovers};

use super::command_journal::{CommandJournal, CommandRecord, Loaded};

/// The destination and the id in the URL of an export's folder.
///
/// # Errors
/// It is none.
pub fn place(url: &OsStr) -> anyhow::Result<(Destination, ExportId)> {
    let text = url.to_str().context("the URL of an export is text")?;
    let trimmed = text.trim_end_matches('/');
    let (parent, id) = trimmed.rsplit_once('/').unwrap_or((".", trimmed));
    let id = ExportId::parse(id)
        .with_context(|| format!("'{text}' does not end with the id of an export"))?;
    let parent = if parent.is_empty() { "/" } else { parent };
    Ok((Destination::parse(format!("{parent}/"))?, id))
}

/// There is no journal of an export here. That is so of one that has ended, too.
///
/// # Errors
/// Always.
pub async fn no_journal<T>(
    destination: &Destination,
    id: &ExportId,
    folder: &str,
) -> anyhow::Result<T> {
    if let Some(folder) = destination.existing_export_folder(id)? {
        Manifest::tombstone(&folder).await?;
    }
    bail!(
        "there is no journal of {folder} here (--state-dir): resume the export where it was begun, as the \
         same user; or give --take-over with --data-dir and the other options of the export, which \
         writes every class again"
    )
}

/// Refuses to begin an export in the place of one that was interrupted: its journal would be lost.
///
/// # Errors
/// There is one.
pub async fn refuse_interrupted(
    journal: &CommandJournal,
    destination: &Destination,
    id: &ExportId,
    folder: &str,
) -> anyhow::Result<()> {
    if journal.read().await?.is_none() {
        return Ok(());
    }
    // Its folder may have been removed meanwhile.
    let claim = match destination.existing_export_folder(id)? {
        Some(folder) => Claim::read(&folder).await?,
        None => None,
    };
    match claim {
        Some(_) => bail!(
            "the export id '{id}' is in use, by an export that was interrupted: carry it on with `offloom \
             export --resume {folder}`, or choose another id"
        ),
        None => Ok(()),
    }
}

/// Carries the export at `place` (destination, id and URL) on. `data_dirs` are those of now, if they have
/// moved.
///
/// # Errors
/// It cannot be carried on.
pub async fn carry_on(
    journal: &CommandJournal,
    data_dirs: &[PathBuf],
    place: (&Destination, &ExportId, &str),
    workers: &Workers,
    status: &Status,
) -> anyhow::Result<(Claimed, CommandRecord)> {
    let (destination, id, folder) = place;
    let Some((mut command, records)) = journal.read().await? else {
        return no_journal(destination, id, folder).await;
    };
    let Some(interrupted) = Interrupted::read(records)? else {
        bail!("the export at {folder} had not begun: start it again")
    };
    if !data_dirs.is_empty() {
        command.data_dirs = data_dirs.to_vec();
    }
    let Loaded { directory, exporter, transforms } = command.load().await?;
    let means = Means {
        directory,
        exporter: &exporter,
        transforms,
        passed: &PassedChecks::default(),
        workers,
        status,
        journal: journal.store(),
    };
    match interrupted.resume(means).await {
        Ok(claimed) => Ok((claimed, command)),
        Err(error) => {
            if let ResumeError::Own(OwnError::Manifest(ManifestError::Ended { .. })) = &error {
                if let Some(folder) = destination.existing_export_folder(id)? {
                    remove_leftovers(&folder).await?;
                }
                journal.store().remove_all().await?;
            }
            Err(error.into())
        }
    }
}
