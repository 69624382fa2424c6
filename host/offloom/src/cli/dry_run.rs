//! `offloom export --dry-run`: shows what would be read and written.
use std::process::ExitCode;

use indicatif::{HumanBytes, HumanCount};
use offloom_export::{EstimatedClass, Workers};

use super::export::{Asked, ExportArgs, asked, place};
use crate::terminal::outln;

/// Shows it. Nothing is written, and the store is not touched.
pub async fn run(args: ExportArgs, workers: &Workers) -> anyhow::Result<ExitCode> {
    let (destination, id) = place(&args)?;
    let url = destination.url();
    let Asked { request, authorized, exporter, .. } = asked(args, id, destination).await?;
    let estimate = request.plan_only(authorized, &exporter, workers).await?.estimate();
    for class in &estimate.classes {
        let kind = if class.multi_tenant { "tenants" } else { "shards" };
        outln!(
            "{}: at most {} objects, {}, {} {kind}",
            class.name,
            HumanCount(class.objects),
            HumanBytes(class.bytes),
            HumanCount(class.shards),
        );
    }
    outln!(
        "{} classes: at most {} objects, {}, {} shards ({} tenants), {} requests that write to {url}",
        estimate.classes.len(),
        HumanCount(estimate.total(|class| class.objects)),
        HumanBytes(estimate.total(|class| class.bytes)),
        HumanCount(estimate.total(|class| class.shards)),
        HumanCount(estimate.total(EstimatedClass::tenants)),
        HumanCount(estimate.store_requests),
    );
    outln!("nothing was written (--dry-run)");
    Ok(ExitCode::SUCCESS)
}
