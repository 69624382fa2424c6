//! `offloom inspect`: what data directories hold, for a person or as JSON.
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use offloom_weaviate_disk::{
    Check, Class, CopySurvey, DataDirectory, Finding, Node, ShardSurvey, Survey,
};
use serde_json::{Value, json};

use super::check_progress::CheckProgress;
use crate::terminal::{self, outln};

/// What `offloom inspect` takes.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Weaviate's data directory; it is only read. Several times: those of a cluster's nodes
    #[arg(long, value_name = "DIR", required = true)]
    data_dir: Vec<PathBuf>,
    /// A saved answer of GET /v1/schema
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    /// Read every byte: checksums, key trees, log records and objects. Without, only headers are
    /// checked
    #[arg(long)]
    check: bool,
}

/// What was found in all classes.
#[derive(Debug, Default)]
struct Found {
    /// Classes that cannot be exported, or not all of them, besides their shards.
    broken_classes: u64,
    /// Shards that cannot be exported, as far as headers show.
    broken_shards: u64,
    /// Damaged places.
    findings: u64,
    /// Objects that were read.
    objects: u64,
}

/// Runs the command. A shard that cannot be read and damage that is found are an error.
pub fn run(args: InspectArgs) -> anyhow::Result<ExitCode> {
    let directory = super::directories::open(&args.data_dir, args.schema)?;
    if !args.json {
        print_directory(&directory);
    }
    let mut classes = Vec::new();
    let mut found = Found::default();
    for class in directory.classes() {
        let mut survey = directory.survey(class);
        if args.check {
            check(&directory, class, &mut survey);
        }
        found.add(class, &survey);
        let shards = survey.shards;
        if args.json {
            classes.push(class_json(class, &shards));
        } else {
            print_class(class, &shards);
        }
    }
    if args.json {
        let warnings: Vec<String> = directory.warnings().iter().map(ToString::to_string).collect();
        let shown = json!({
            "directories": directory.nodes().iter().map(node_json).collect::<Vec<_>>(),
            "schemaFrom": directory.schema_from().to_string(),
            "classes": classes,
            "checked": args.check,
            "findings": args.check.then_some(found.findings),
            "warnings": warnings,
        });
        terminal::print_json(&shown);
    } else {
        for warning in directory.warnings() {
            outln!("note: {warning}");
        }
        if args.check {
            let objects = HumanCount(found.objects);
            outln!("checked: {objects} objects; damaged places: {}", found.findings);
        } else {
            outln!("headers were checked; --check reads checksums, key trees and objects too");
        }
    }
    if found.findings > 0 {
        anyhow::bail!("the directory is damaged: {} places are listed above", found.findings);
    }
    if found.broken_classes > 0 {
        anyhow::bail!("{} classes cannot be read: see BROKEN above", found.broken_classes);
    }
    if found.broken_shards > 0 {
        anyhow::bail!("{} shards cannot be exported: see BROKEN above", found.broken_shards);
    }
    Ok(ExitCode::SUCCESS)
}

impl Found {
    fn add(&mut self, class: &Class, survey: &Survey) {
        let is_broken = u64::from(!class.faults.is_empty());
        self.broken_classes = self.broken_classes.saturating_add(is_broken);
        let broken = survey.shards.iter().filter(|shard| shard.fault().is_some()).count();
        self.broken_shards = self.broken_shards.saturating_add(broken as u64);
        let copies = survey.shards.iter().flat_map(|shard| &shard.copies);
        for check in copies.filter_map(|copy| copy.check.as_ref()) {
            self.findings = self.findings.saturating_add(check.found());
            self.objects = self.objects.saturating_add(check.objects);
        }
    }
}

fn check(directory: &DataDirectory, class: &Class, survey: &mut Survey) {
    // Every file is read twice.
    let total_bytes = survey.file_bytes().saturating_mul(2);
    let mut progress = CheckProgress::new(&class.name, total_bytes);
    directory.check(class, survey, &mut |bytes| progress.add(bytes));
    progress.finish();
}

fn print_directory(directory: &DataDirectory) {
    for node in directory.nodes() {
        let names: Vec<&str> = node.names().iter().map(|name| &**name).collect();
        let called = match names.as_slice() {
            [] => String::new(),
            [name] => format!(", node {name}"),
            names => format!(", node {}", names.join(" or ")),
        };
        outln!("{}{called}: {}", node.path().display(), node.layout());
    }
    outln!("schema: {}", directory.schema_from());
    outln!("");
}

fn print_class(class: &Class, shards: &[ShardSurvey]) {
    let (kind, count) = if class.multi_tenant {
        ("multi-tenant, tenants", shards.len())
    } else {
        ("shards", shards.len())
    };
    let sum = |of: fn(&ShardSurvey) -> u64| shards.iter().map(of).fold(0, u64::saturating_add);
    outln!(
        "{}  ({kind}: {count}; at most {} objects, {})",
        class.name,
        HumanCount(sum(ShardSurvey::objects_estimate)),
        HumanBytes(sum(ShardSurvey::raw_bytes)),
    );
    for fault in class.faults.iter() {
        outln!("  BROKEN: {fault}");
    }
    for shard in shards {
        print_shard(shard);
    }
    outln!("");
}

fn print_shard(shard: &ShardSurvey) {
    let status = shard.status.as_ref().map(|status| format!("  {status}")).unwrap_or_default();
    if let Some(reason) = &shard.skip_reason {
        outln!("  {}{status}  left out: {reason}", shard.shard);
        return;
    }
    outln!(
        "  {}{status}  at most {} objects, {}",
        shard.shard,
        HumanCount(shard.objects_estimate()),
        HumanBytes(shard.raw_bytes()),
    );
    if let Some(fault) = &shard.not_found {
        outln!("    BROKEN: {fault}");
    }
    let several = shard.copies.len() > 1;
    for copy in &shard.copies {
        if several {
            outln!("    copy in {}", copy.directory.display());
        }
        print_copy(copy);
    }
}

fn print_copy(copy: &CopySurvey) {
    for segment in &copy.segments {
        outln!(
            "    {}  {}, {} keys, level {}, {}{}",
            segment.name,
            HumanBytes(segment.bytes),
            HumanCount(segment.keys),
            segment.level,
            if segment.version == 1 { "checksummed" } else { "no checksum" },
            if segment.leftover { ", a finished compaction that was not renamed" } else { "" },
        );
    }
    for log in &copy.logs {
        outln!("    {}  {}, {} records", log.name, HumanBytes(log.bytes), HumanCount(log.records));
        if log.dropped_bytes > 0 {
            outln!("      torn: the last {} bytes are no record", log.dropped_bytes);
        }
    }
    for file in &copy.ignored {
        outln!("    {}  not read: {}", file.name, file.reason);
    }
    if let Some(fault) = &copy.fault {
        outln!("    BROKEN: {fault}");
    }
    if let Some(Check { findings, more, .. }) = &copy.check {
        for finding in findings {
            outln!("    DAMAGED: {finding}");
        }
        if *more > 0 {
            outln!("    DAMAGED: {more} more places");
        }
    }
}

fn node_json(node: &Node) -> Value {
    let names: Vec<&str> = node.names().iter().map(|name| &**name).collect();
    json!({
        "path": node.path().display().to_string(),
        "layout": node.layout().to_string(),
        "nodeNames": names,
    })
}

fn class_json(class: &Class, shards: &[ShardSurvey]) -> Value {
    json!({
        "name": &*class.name,
        "directory": &*class.directory,
        "multiTenant": class.multi_tenant,
        "faults": class.faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "shards": shards.iter().map(shard_json).collect::<Vec<_>>(),
    })
}

fn shard_json(shard: &ShardSurvey) -> Value {
    json!({
        "name": shard.shard,
        "status": shard.status.as_ref().map(ToString::to_string),
        "skipReason": shard.skip_reason.as_ref().map(ToString::to_string),
        "objectsEstimate": shard.objects_estimate(),
        "rawBytes": shard.raw_bytes(),
        "fault": shard.fault().map(ToString::to_string),
        "copies": shard.copies.iter().map(copy_json).collect::<Vec<_>>(),
    })
}

fn copy_json(copy: &CopySurvey) -> Value {
    let segments = copy.segments.iter().map(|segment| {
        json!({
            "name": segment.name,
            "bytes": segment.bytes,
            "keys": segment.keys,
            "level": segment.level,
            "version": segment.version,
            "secondaryIndices": segment.secondary_indices,
            "leftover": segment.leftover,
        })
    });
    let logs = copy.logs.iter().map(|log| {
        json!({
            "name": log.name,
            "bytes": log.bytes,
            "records": log.records,
            "droppedBytes": log.dropped_bytes,
        })
    });
    let ignored = copy
        .ignored
        .iter()
        .map(|file| json!({ "name": file.name, "reason": file.reason.to_string() }));
    let mut shown = json!({
        "directory": copy.directory.display().to_string(),
        "segments": segments.collect::<Vec<_>>(),
        "logs": logs.collect::<Vec<_>>(),
        "ignored": ignored.collect::<Vec<_>>(),
        "fault": copy.fault.as_ref().map(ToString::to_string),
    });
    if let (Some(check), Some(shown)) = (&copy.check, shown.as_object_mut()) {
        shown.insert("objectsChecked".to_owned(), check.objects.into());
        shown.insert("findings".to_owned(), check.findings.iter().map(finding_json).collect());
        shown.insert("moreFindings".to_owned(), check.more.into());
    }
    shown
}

fn finding_json(finding: &Finding) -> Value {
    json!({
        "file": &*finding.place.file,
        "offset": finding.offset,
        "kind": finding.kind.name(),
        "reason": finding.reason,
    })
}
