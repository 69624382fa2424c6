//! A manifest with every part that an export of one class has.
use std::collections::BTreeMap;

use offloom_protocol::digest::{Digest, DigestAlgorithm};
use offloom_protocol::manifest::{
    AppliedTransform, Block, ClassFile, ClassProgress, CoveredTenants, CutOff, FileFormat, Guest,
    Manifest, Outcome, ProgressStatus, Resumed, Shard, Source, SourceCutOff,
};
use offloom_protocol::names::ExportId;

/// A shard whose ids count from 0.
pub fn shard(class: &str, name: &str, rows: u64) -> Shard {
    let id = |n: u64| format!("00000000-0000-4000-8000-{n:012x}");
    Shard {
        class: class.to_owned(),
        shard: name.to_owned(),
        rows,
        first_id: (rows > 0).then(|| id(0)),
        last_id: (rows > 0).then(|| id(rows - 1)),
        cut_off: Some(CutOff {
            at: "2026-11-23T06:30:01Z".parse().unwrap(),
            newest_segment: Some("segment-1732343400000000000.db".to_owned()),
            sources: vec![SourceCutOff {
                name: "segment-1732343401000000000.wal".to_owned(),
                size_bytes: 19,
                modified_at: "2024-11-23T06:30:02Z".parse().unwrap(),
                header_crc: "0a1b2c3d".to_owned(),
                bytes_read: 17,
                crc: Some("01234567".to_owned()),
            }],
        }),
        skip_reason: None,
        error: None,
        objects_left_out: None,
        copies: None,
    }
}

/// An export of one class with one file of 3 rows.
pub fn manifest(id: &str) -> Manifest {
    Manifest {
        id: ExportId::parse(id).unwrap(),
        backend: "filesystem".to_owned(),
        started_at: "2026-11-23T06:30:00.123Z".parse().unwrap(),
        completed_at: "2026-11-23T06:30:02Z".parse().unwrap(),
        status: Outcome::Success,
        error: None,
        classes: vec!["Article".to_owned()],
        progress: [(
            "Article".to_owned(),
            ClassProgress {
                status: ProgressStatus::Success,
                objects_exported: 3,
                objects_total: Some(3),
                file_size_bytes: Some(1_000),
                error: None,
                skip_reason: None,
            },
        )]
        .into(),
        version: "0.1.0".to_owned(),
        files: vec![ClassFile {
            class: "Article".to_owned(),
            key: "Article.parquet".to_owned(),
            format: FileFormat {
                name: "parquet".to_owned(),
                extension: "parquet".to_owned(),
                media_type: "application/vnd.apache.parquet".to_owned(),
            },
            size_bytes: 1_000,
            digest: Digest { algorithm: DigestAlgorithm::Blake3, value: "ab".repeat(32) },
            rows: 3,
            counters: [("nonFiniteNumbers".to_owned(), 1)].into(),
            blocks: vec![Block { offset: 4, length: 500, rows: 3 }],
        }],
        attachments: Vec::new(),
        guest: Guest {
            name: "parquet".to_owned(),
            digest: "cd".repeat(32),
            options: [("zstd-level".to_owned(), "3".to_owned())].into(),
        },
        transforms: vec![AppliedTransform {
            name: "redact".to_owned(),
            digest: "ef".repeat(32),
            options: [("key".to_owned(), "(secret)".to_owned())].into(),
            required: true,
            classes: vec!["Article".to_owned()],
            rows_in: 5,
            rows_kept: 3,
            rows_refused: 1,
            counters: [("masked".to_owned(), 3)].into(),
        }],
        source: Source {
            directories: vec!["/var/lib/weaviate".to_owned()],
            schema_from: "file".to_owned(),
            shards: vec![shard("Article", "s1", 3)],
            shards_key: None,
        },
        warnings: vec!["Article, shard s1: 3 bytes dropped from a log".to_owned()],
        resumed: Some(Resumed { attempt: 2, classes_kept: 1, ..Resumed::default() }),
        partial: false,
        missing: Vec::new(),
        tenants: BTreeMap::from([("Shelf".to_owned(), CoveredTenants::of(vec!["a".to_owned()]))]),
    }
}
