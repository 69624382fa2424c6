//! `offloom inspect`: what a data directory holds, for a person or as JSON.
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use offloom_weaviate_disk::{Class, ShardSurvey};
use serde_json::{Value, json};

/// What `offloom inspect` takes.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Weaviate's data directory; it is only read
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// A saved answer of GET /v1/schema
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command. It exits with a status other than 0 when a shard could not be exported.
pub fn run(args: InspectArgs) -> anyhow::Result<ExitCode> {
    let directory = super::export::open(&args.data_dir, args.schema)?;
    let mut classes = Vec::new();
    let mut whole = true;
    for class in directory.classes() {
        let shards = directory.survey(class)?.shards;
        whole &= shards.iter().all(|shard| shard.fault.is_none());
        if args.json {
            classes.push(class_json(class, &shards));
        } else {
            print_class(class, &shards);
        }
    }
    if args.json {
        let warnings: Vec<String> = directory.warnings().iter().map(ToString::to_string).collect();
        println!("{:#}", json!({ "classes": classes, "warnings": warnings }));
    } else {
        for warning in directory.warnings() {
            println!("note: {warning}");
        }
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_class(class: &Class, shards: &[ShardSurvey]) {
    let (kind, count) = if class.multi_tenant {
        ("multi-tenant, tenants", shards.len())
    } else {
        ("shards", shards.len())
    };
    let objects = shards.iter().map(|shard| shard.objects_estimate).fold(0, u64::saturating_add);
    let raw_bytes = shards.iter().map(|shard| shard.raw_bytes).fold(0, u64::saturating_add);
    println!(
        "{}  ({kind}: {count}; at most {} objects, {})",
        class.name,
        HumanCount(objects),
        HumanBytes(raw_bytes),
    );
    for shard in shards {
        print_shard(shard);
    }
    println!();
}

fn print_shard(shard: &ShardSurvey) {
    println!(
        "  {}  at most {} objects, {}, segments: {}, logs: {}",
        shard.shard,
        HumanCount(shard.objects_estimate),
        HumanBytes(shard.raw_bytes),
        shard.segments.len(),
        shard.logs.len(),
    );
    for segment in &shard.segments {
        println!(
            "    {}  {}, {} keys, level {}, {}{}",
            segment.name,
            HumanBytes(segment.bytes),
            HumanCount(segment.keys),
            segment.level,
            if segment.version == 1 { "checksummed" } else { "no checksum" },
            if segment.leftover { ", a finished compaction that was not renamed" } else { "" },
        );
    }
    for log in &shard.logs {
        println!(
            "    {}  {}, {} records",
            log.name,
            HumanBytes(log.bytes),
            HumanCount(log.records)
        );
        if log.dropped_bytes > 0 {
            println!("      torn: the last {} bytes are no record", log.dropped_bytes);
        }
    }
    for file in &shard.ignored {
        println!("    {}  not read: {}", file.name, file.reason);
    }
    if let Some(fault) = &shard.fault {
        println!("    BROKEN: {fault}");
    }
}

fn class_json(class: &Class, shards: &[ShardSurvey]) -> Value {
    json!({
        "name": &*class.name,
        "directory": &*class.directory,
        "multiTenant": class.multi_tenant,
        "shards": shards.iter().map(shard_json).collect::<Vec<_>>(),
    })
}

fn shard_json(shard: &ShardSurvey) -> Value {
    let segments = shard.segments.iter().map(|segment| {
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
    let logs = shard.logs.iter().map(|log| {
        json!({
            "name": log.name,
            "bytes": log.bytes,
            "records": log.records,
            "droppedBytes": log.dropped_bytes,
        })
    });
    let ignored = shard
        .ignored
        .iter()
        .map(|file| json!({ "name": file.name, "reason": file.reason.to_string() }));
    json!({
        "name": shard.shard,
        "objectsEstimate": shard.objects_estimate,
        "rawBytes": shard.raw_bytes,
        "segments": segments.collect::<Vec<_>>(),
        "logs": logs.collect::<Vec<_>>(),
        "ignored": ignored.collect::<Vec<_>>(),
        "fault": shard.fault.as_ref().map(ToString::to_string),
    })
}
