//! Very many tenants, and more files than may be open: one file per class, in bounded memory.
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use offloom_encoder::{
    DirectoryWriter, NameStyle, Node, Object, ObjectOptions, SegmentOptions, scale, write_tenants,
};

use crate::program::{offloom, program, said};

pub fn manifest(folder: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(folder.join("export_metadata.json")).unwrap()).unwrap()
}

/// Waits for the end of a process, and returns its peak memory.
pub fn peak_mib(mut child: Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    loop {
        let lines = std::fs::read_to_string(&status).unwrap_or_default();
        let peak = lines.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        if let Some(kib) = peak.and_then(|peak| peak.split_whitespace().next()) {
            peak_kib = kib.parse().unwrap();
        }
        if let Some(ended) = child.try_wait().unwrap() {
            assert!(ended.success());
            return peak_kib / 1024;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Exports `data` of a folder into its `lake`, and returns the peak memory in MiB and the time.
pub fn measured_export(folder: &Path, workers: &str, id: &str) -> (u64, Duration) {
    let begun = Instant::now();
    let export = program()
        .args(["export", "--workers", workers, "--progress", "none", "--id", id])
        .args(["--schema".as_ref(), folder.join("schema.json").as_os_str()])
        .args(["--data-dir".as_ref(), folder.join("data").as_os_str()])
        .args(["--to".as_ref(), folder.join("lake").as_os_str()])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    (peak_mib(export), begun.elapsed())
}

#[test]
fn tenants_that_are_logs_alone_become_one_file() {
    let source = tempfile::tempdir().unwrap();
    let count = scale(10_000, 100_000);
    write_tenants(count, source.path()).unwrap();
    let folder = source.path().join("lake/many");
    let (peak_mib, took) = measured_export(source.path(), "2", "many");
    let pace = count as f64 / took.as_secs_f64();
    println!(
        "soak: {count} tenants in {took:?}, {pace:.0} a second, {peak_mib} MiB with two workers"
    );
    assert!(peak_mib < 2 * 200, "{peak_mib} MiB with two workers");
    let manifest = manifest(&folder);
    assert_eq!(manifest["files"].as_array().unwrap().len(), 1);
    assert_eq!(manifest["progress"]["Shelf"]["objectsExported"], count);
    assert_eq!(manifest["source"]["shardsKey"], "shards.jsonl");
    offloom(["verify".as_ref(), folder.as_os_str()]).expect_success();
}

/// A hundred tenants of three segments each, and 64 files that may be open: they go in waves.
#[test]
fn with_few_descriptors_shards_are_taken_in_waves() {
    let source = tempfile::tempdir().unwrap();
    let data = source.path().join("data");
    let mut directory = DirectoryWriter::create(&data).unwrap();
    let class = directory.class("Shelf", true).unwrap();
    for tenant in 0..100 {
        let shard = class.shard(&format!("tenant-{tenant:03}")).unwrap();
        for segment in 0..3_u64 {
            let id = 1_795_000_000_000_000_000 + segment;
            let options = SegmentOptions::default();
            let mut writer = shard.segment(id, NameStyle::Long, options).unwrap();
            let mut object = Object::new(u128::from(segment + 1).to_be_bytes(), "Shelf");
            object.properties = Some(b"{}".to_vec());
            writer.append(&Node::live(&object, &ObjectOptions::default()).unwrap()).unwrap();
            writer.finish().unwrap();
        }
    }
    let lake = source.path().join("lake");
    let mut command = Command::new("bash");
    command
        .args(["-c", "ulimit -n 64; exec \"$@\"", "bash"])
        .arg(program().get_program())
        .args(["export", "--workers", "2", "--progress", "none", "--id", "waves"])
        .args(["--data-dir".as_ref(), data.as_os_str(), "--to".as_ref(), lake.as_os_str()]);
    for (name, value) in program().get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    said(&mut command).expect_success();
    let manifest = manifest(&lake.join("waves"));
    assert_eq!(manifest["progress"]["Shelf"]["objectsExported"], 300);
    for shard in manifest["source"]["shards"].as_array().unwrap() {
        assert!(shard["cutOff"]["at"].is_string(), "{shard}");
        assert_eq!(shard["rows"], 3, "{shard}");
    }
    offloom(["verify".as_ref(), lake.join("waves").as_os_str()]).expect_success();
}
