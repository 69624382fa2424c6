//! `verify` on exports with real Parquet files: whole ones, and every kind of damage by its place.
use std::sync::{Arc, Mutex};

use offloom_protocol::digest::{Digest, DigestAlgorithm};
use offloom_protocol::manifest::{
    Attachment, Manifest, ManifestError, Missing, Outcome, ProgressStatus,
};
use offloom_protocol::names::{Attempt, ObjectKey};
use offloom_protocol::store::Destination;
use offloom_verify::{Depth, Difference, FooterError, Progress, VerifyError, verify};

use crate::exported::{Exported, id, ids};

#[tokio::test]
async fn whole_exports_are_proved_whole() {
    let mut exported = Exported::new();
    // Several shards of one class, several files, shards that share row groups and that span them.
    let shards = [
        ("s1", ids((0..2_500).map(|n| n * 3))),
        ("s2", ids((0..700).map(|n| n * 3 + 1))),
        ("s3", ids([])),
        ("s4", ids((0..1_800).map(|n| n * 3 + 2))),
    ];
    exported.class("Article", &shards, false, 2);
    exported.class("Empty", &[("s1", ids([]))], false, 2);
    // The same ids in two tenants.
    exported.class("Shelf", &[("a", ids(0..1_200)), ("b", ids(0..10))], true, 9);
    assert_eq!(exported.manifest.files.len(), 5);
    for depth in [Depth::Quick, Depth::Full] {
        let report = exported.report(depth).await;
        assert!(report.is_whole(), "{:?}", report.differences);
        assert_eq!(report.unproved, []);
    }
}

#[tokio::test]
async fn progress_reaches_its_totals() {
    let mut exported = Exported::new();
    exported.class("Article", &[("s1", ids(0..10)), ("s2", ids(10..30))], false, 2);
    exported.class("Shelf", &[("a", ids(0..5)), ("b", ids(0..5))], true, 9);
    exported.report(Depth::Quick).await;
    let reported = Arc::new(Mutex::new(Vec::new()));
    let to = reported.clone();
    let on_progress = Arc::new(move |progress| to.lock().unwrap().push(progress));
    verify(&exported.folder(), Depth::Full, on_progress).await.unwrap();
    let reported = reported.lock().unwrap();
    let total_bytes = exported.manifest.files.iter().map(|file| file.size_bytes).sum();
    assert!(reported.contains(&Progress::Digests { done_bytes: total_bytes, total_bytes }));
    // The class with two shards is read twice.
    assert_eq!(reported.last(), Some(&Progress::Rows { done_rows: 70, total_rows: 70 }));
}

#[tokio::test]
async fn a_flipped_bit_in_a_page_is_found_by_its_digest() {
    let exported = Exported::of("Article", &[("s1", ids(0..2_000))]);
    let at = exported.manifest.files[0].blocks[1].offset as usize + 40;
    exported.change("Article.parquet", |bytes| bytes[at] ^= 4);
    let altered = std::fs::read(exported.path("Article.parquet")).unwrap();
    let found = Digest::of(DigestAlgorithm::Blake3, &altered);
    let expected = exported.manifest.files[0].digest.clone();
    let key = "Article.parquet".to_owned();
    assert_eq!(exported.found_by_full().await, [Difference::Digest { key, found, expected }]);
    let report = exported.report(Depth::Full).await;
    assert!(report.unproved[0].to_string().starts_with("Article:"), "{:?}", report.unproved);
}

#[tokio::test]
async fn a_flipped_bit_in_an_id_is_found_even_with_its_digest_made_right() {
    let mut exported = Exported::of("Article", &[("s1", ids(0..2_000))]);
    let at = exported.manifest.files[0].blocks[1].offset as usize + 40;
    exported.change("Article.parquet", |bytes| bytes[at] ^= 4);
    exported.seal();
    match &exported.found_by_full().await[..] {
        [Difference::Unreadable { key, row_group: 1, column, .. }] => {
            assert_eq!((key.as_str(), column.as_str()), ("Article.parquet", "id"));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_truncated_file_is_named_with_its_sizes() {
    let exported = Exported::of("Article", &[("s1", ids(0..100))]);
    let expected_bytes = exported.manifest.files[0].size_bytes;
    exported.change("Article.parquet", |bytes| bytes.truncate(1_000));
    let key = "Article.parquet".to_owned();
    let size = Difference::Size { key, found_bytes: 1_000, expected_bytes };
    assert_eq!(exported.found_either_way().await, [size]);
}

#[tokio::test]
async fn missing_and_unlisted_objects_are_named() {
    let exported = Exported::of("Article", &[("s1", ids(0..100))]);
    std::fs::rename(exported.path("Article.parquet"), exported.path("Article-2.parquet")).unwrap();
    let size_bytes = exported.manifest.files[0].size_bytes;
    assert_eq!(
        exported.found_either_way().await,
        [
            Difference::MissingObject { key: "Article.parquet".to_owned() },
            Difference::UnlistedObject { key: "Article-2.parquet".to_owned(), size_bytes },
        ]
    );
}

#[tokio::test]
async fn the_claim_is_no_unlisted_object() {
    let exported = Exported::of("Article", &[("s1", ids(0..100))]);
    std::fs::write(exported.path("_claim.json"), "{}").unwrap();
    assert_eq!(exported.found_either_way().await, []);
}

#[tokio::test]
async fn an_id_in_two_shards_is_found() {
    let shards = [("s1", ids((0..1_500).map(|n| n * 2))), ("s2", ids([1, 500, 777]))];
    let exported = Exported::of("Article", &shards);
    assert_eq!(
        exported.found_by_full().await,
        [Difference::DoubleId {
            class: "Article".to_owned(),
            id: id(500),
            shards: ("s1".to_owned(), "s2".to_owned()),
        }]
    );
}

#[tokio::test]
async fn many_ids_in_two_shards_are_counted() {
    let exported = Exported::of("Article", &[("s1", ids(0..1_500)), ("s2", ids(0..1_500))]);
    let differences = exported.found_by_full().await;
    assert_eq!(differences.len(), 21);
    let more = Difference::MoreDoubleIds { class: "Article".to_owned(), more: 1_480 };
    assert_eq!(differences.last(), Some(&more));
}

#[tokio::test]
async fn an_id_twice_in_a_shard_or_a_tenant_is_found() {
    for (multi_tenant, rows) in [(false, vec![0, 1, 1, 2]), (true, vec![0, 1, 1, 2])] {
        let mut exported = Exported::new();
        exported.class("Article", &[("a", ids(rows))], multi_tenant, 9);
        assert_eq!(
            exported.found_by_full().await,
            [Difference::DoubleId {
                class: "Article".to_owned(),
                id: id(1),
                shards: ("a".to_owned(), "a".to_owned()),
            }]
        );
    }
}

#[tokio::test]
async fn a_wrong_order_is_found_with_its_row() {
    let mut rows: Vec<u64> = (0..2_500).collect();
    rows.swap(2_100, 2_101);
    let mut exported = Exported::new();
    exported.class(
        "Article",
        &[("s1", ids(0..10)), ("s2", ids(rows.iter().map(|n| n + 10)))],
        false,
        2,
    );
    let order = Difference::Order {
        class: "Article".to_owned(),
        shard: "s2".to_owned(),
        key: "Article-2.parquet".to_owned(),
        row: 10 + 2_101 - 2_000,
        id: id(2_110),
        previous: id(2_111),
    };
    assert_eq!(exported.found_by_full().await, [order]);
    let report = exported.report(Depth::Full).await;
    assert_eq!(report.unproved.len(), 1, "{:?}", report.unproved);
}

#[tokio::test]
async fn a_row_of_another_tenant_is_found() {
    // The manifest swaps the names of two tenants.
    let mut exported = Exported::new();
    exported.class("Shelf", &[("a", ids(0..5)), ("b", ids(0..5))], true, 9);
    exported.manifest.source.shards[0].shard = "b".to_owned();
    exported.manifest.source.shards[1].shard = "a".to_owned();
    let tenant = |tenant: &str, found: &str, row| Difference::Tenant {
        class: "Shelf".to_owned(),
        tenant: tenant.to_owned(),
        found: found.to_owned(),
        key: "Shelf.parquet".to_owned(),
        row,
    };
    assert_eq!(exported.found_by_full().await, [tenant("b", "a", 0), tenant("a", "b", 5)]);
}

#[tokio::test]
async fn the_ends_of_a_run_must_be_those_of_the_manifest() {
    let mut exported = Exported::of("Article", &[("s1", ids(0..10)), ("s2", ids(20..30))]);
    exported.manifest.source.shards[0].first_id = Some(id(7));
    exported.manifest.source.shards[1].last_id = Some(id(7));
    let end = |shard: &str, end, row, found| Difference::EndOfRun {
        class: "Article".to_owned(),
        shard: shard.to_owned(),
        end,
        key: "Article.parquet".to_owned(),
        row,
        found: id(found),
        expected: id(7),
    };
    assert_eq!(
        exported.found_by_full().await,
        [end("s1", "first", 0, 0), end("s2", "last", 19, 29)]
    );
}

#[tokio::test]
async fn runs_of_other_lengths_do_not_pass() {
    // One row moves from the second run to the first: the sums stay right.
    let mut exported = Exported::of("Article", &[("s1", ids(0..10)), ("s2", ids(20..30))]);
    exported.manifest.source.shards[0].rows = 11;
    exported.manifest.source.shards[1].rows = 9;
    let places: Vec<(&str, u64)> = exported
        .found_by_full()
        .await
        .iter()
        .map(|difference| match difference {
            Difference::EndOfRun { end, row, .. } => (*end, *row),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(places, [("last", 10), ("first", 11)]);
}

/// Alters the manifest of a whole export; the contradiction is found at this place.
async fn assert_contradiction(place: &str, alter: impl FnOnce(&mut Manifest)) {
    let mut exported = Exported::of("Article", &[("s1", ids(0..10)), ("s2", ids(20..30))]);
    alter(&mut exported.manifest);
    let differences = exported.differences(Depth::Quick).await;
    let places: Vec<&str> = differences
        .iter()
        .filter_map(|difference| match difference {
            Difference::Manifest { place, .. } => Some(place.as_str()),
            _ => None,
        })
        .collect();
    assert!(places.contains(&place), "{place}: {differences:?}");
    assert!(!exported.report(Depth::Full).await.is_whole());
}

#[tokio::test]
async fn a_manifest_that_contradicts_itself_is_found_at_the_place() {
    assert_contradiction("files[0].rows", |m| m.files[0].rows += 1).await;
    assert_contradiction("files[0].key", |m| m.files[0].key = "Article-2.parquet".into()).await;
    assert_contradiction("files[0].key", |m| m.files[0].key = "../Article.parquet".into()).await;
    assert_contradiction("files[0].blocks[0]", |m| m.files[0].blocks[0].rows = 0).await;
    assert_contradiction("files[0].blocks", |m| m.files[0].blocks[0].length = u64::MAX).await;
    assert_contradiction("files[0].blocks[1]", |m| {
        let again = m.files[0].blocks[0];
        m.files[0].blocks.push(again);
    })
    .await;
    assert_contradiction("files", |m| m.files.clear()).await;
    assert_contradiction("files[0].class", |m| m.classes.clear()).await;
    assert_contradiction("classes", |m| m.classes.push("Article".into())).await;
    assert_contradiction("classes[0]", |m| m.classes.insert(0, "../A".into())).await;
    assert_contradiction("progress", |m| m.progress.clear()).await;
    assert_contradiction("progress.Article.objectsExported", |m| {
        m.progress.get_mut("Article").unwrap().objects_exported = 19;
    })
    .await;
    assert_contradiction("progress.Article", |m| {
        m.progress.get_mut("Article").unwrap().status = ProgressStatus::Transferring;
    })
    .await;
    assert_contradiction("shards", |m| m.source.shards[0].rows = 9).await;
    assert_contradiction("shards[1]", |m| m.source.shards[1].shard = "s1".into()).await;
    assert_contradiction("shards[0]", |m| m.source.shards[0].first_id = None).await;
    assert_contradiction("shards[0]", |m| m.source.shards[0].class = "Other".into()).await;
    assert_contradiction("source.shardsKey", |m| m.source.shards_key = Some("x.jsonl".into()))
        .await;
    assert_contradiction("attachments[0].key", |m| {
        let (key, digest) =
            ("Article.parquet".to_owned(), Digest::of(DigestAlgorithm::Blake3, b""));
        m.attachments.push(Attachment { key, size_bytes: 1, digest });
    })
    .await;
}

fn missing(shard: &str, objects: Option<u64>) -> Missing {
    let reason = "segment-1.db, offset 2: broken".to_owned();
    Missing { class: "Article".to_owned(), shard: Some(shard.to_owned()), objects, reason }
}

/// Of two shards one was not read to its end, and two objects of it were left out.
fn partial() -> Exported {
    let mut exported = Exported::of("Article", &[("s1", ids(0..10)), ("s2", ids(20..25))]);
    let shard = &mut exported.manifest.source.shards[1];
    shard.error = Some("segment-1.db, offset 2: broken".to_owned());
    shard.objects_left_out = Some(2);
    exported.manifest.partial = true;
    exported.manifest.missing = vec![missing("s2", None), missing("s2", Some(2))];
    exported
}

#[tokio::test]
async fn a_partial_export_is_proved_as_what_it_says() {
    let exported = partial();
    for depth in [Depth::Quick, Depth::Full] {
        let report = exported.report(depth).await;
        assert!(report.is_whole(), "{:?}", report.differences);
        assert_eq!(report.manifest.missing.len(), 2);
    }
}

#[tokio::test]
async fn a_partial_export_that_does_not_tell_what_it_lacks_is_found() {
    let found = async |alter: fn(&mut Manifest)| -> Vec<String> {
        let mut exported = partial();
        alter(&mut exported.manifest);
        let place = |difference| match difference {
            Difference::Manifest { place, .. } => place,
            other => panic!("{other}"),
        };
        exported.found_either_way().await.into_iter().map(place).collect()
    };
    assert_eq!(found(|manifest| manifest.partial = false).await, ["partial"]);
    assert_eq!(found(|manifest| manifest.missing.truncate(1)).await, ["missing"]);
    assert_eq!(found(|manifest| manifest.missing.clear()).await, ["partial", "missing", "missing"]);
    assert_eq!(found(|manifest| manifest.missing.push(missing("s2", None))).await, ["missing[2]"]);
    assert_eq!(found(|manifest| manifest.missing.push(missing("s1", None))).await, ["missing[2]"]);
    assert_eq!(
        found(|manifest| manifest.missing[1].objects = Some(1)).await,
        ["missing[1]", "missing"]
    );
    assert_eq!(found(|manifest| manifest.source.shards[1].error = None).await, ["missing[0]"]);
}

#[tokio::test]
async fn blocks_that_the_footer_does_not_tell_are_found() {
    let mut exported = Exported::of("Article", &[("s1", ids(0..2_000))]);
    let blocks = &mut exported.manifest.files[0].blocks;
    let border = blocks[1].offset;
    blocks[0].length += 1;
    blocks[1].offset += 1;
    blocks[1].length -= 1;
    let problem = FooterError::End { row_group: 0, found: border, expected: border + 1 };
    let key = "Article.parquet".to_owned();
    assert_eq!(exported.found_either_way().await, [Difference::Footer { key, problem }]);

    let mut exported = Exported::of("Article", &[("s1", ids(0..2_000))]);
    exported.manifest.files[0].blocks[0].rows -= 1;
    exported.manifest.files[0].blocks[1].rows += 1;
    let place = "row group 0".to_owned();
    let problem = FooterError::Rows { place, found: 1_000, expected: 999 };
    let key = "Article.parquet".to_owned();
    assert_eq!(exported.found_either_way().await, [Difference::Footer { key, problem }]);
}

#[tokio::test]
async fn what_is_no_parquet_file_is_said_to_be_none() {
    let mut exported = Exported::of("Article", &[("s1", ids(0..10))]);
    exported.change("Article.parquet", |bytes| bytes[0] = b'X');
    exported.seal();
    let key = "Article.parquet".to_owned();
    let none = Difference::Footer { key, problem: FooterError::NoParquet };
    assert_eq!(exported.found_either_way().await, [none]);

    let mut exported = Exported::of("Article", &[("s1", ids(0..10))]);
    exported.change("Article.parquet", |bytes| *bytes.last_mut().unwrap() = b'X');
    exported.seal();
    match &exported.found_either_way().await[..] {
        [Difference::Footer { problem: FooterError::Tail { .. }, .. }] => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn of_another_format_only_size_and_digest_are_compared_and_that_is_said() {
    let mut exported = Exported::of("Article", &[("s1", ids(0..10))]);
    std::fs::rename(exported.path("Article.parquet"), exported.path("Article.csv")).unwrap();
    let file = &mut exported.manifest.files[0];
    file.key = "Article.csv".to_owned();
    file.format.name = "csv".to_owned();
    file.format.extension = "csv".to_owned();
    file.format.media_type = "text/csv".to_owned();
    let report = exported.report(Depth::Full).await;
    assert!(report.is_whole(), "{:?}", report.differences);
    let [unproved] = report.unproved.as_slice() else { panic!("{report:?}") };
    assert_eq!(
        unproved.to_string(),
        "Article.csv: of the format 'csv' only size and digest are compared"
    );
    assert!(!report.has_proved_rows() && !report.has_proved_ids());
    exported.change("Article.csv", |bytes| bytes[50] ^= 1);
    match &exported.found_by_full().await[..] {
        [Difference::Digest { key, .. }] => assert_eq!(key, "Article.csv"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_tombstone_is_no_export() {
    let mut exported = Exported::of("Article", &[("s1", ids(0..10))]);
    exported.manifest.status = Outcome::Failed;
    exported.manifest.error = Some("disk full".to_owned());
    let failed = Difference::Outcome { outcome: Outcome::Failed, error: Some("disk full".into()) };
    assert!(failed.to_string().contains("disk full"));
    assert_eq!(exported.found_either_way().await, [failed]);
}

#[tokio::test]
async fn a_folder_without_a_manifest_is_no_export() {
    let root = tempfile::tempdir().unwrap();
    let folder = Destination::parse(root.path().to_str().unwrap()).unwrap();
    let verified =
        verify(&folder.as_export_folder().unwrap(), Depth::Quick, Arc::new(|_| {})).await;
    assert!(matches!(verified, Err(VerifyError::Manifest(ManifestError::Missing { .. }))));
}

#[tokio::test]
async fn shards_of_their_own_file_are_used_and_its_damage_is_found() {
    // 1,001 tenants of one row each: the list of shards moves out of the manifest.
    let names: Vec<&'static str> =
        (0..1_001).map(|n| &*Box::leak(format!("t{n:04}").into_boxed_str())).collect();
    let shards: Vec<_> = names.iter().map(|name| (*name, ids([7]))).collect();
    let mut exported = Exported::new();
    exported.class("Shelf", &shards, true, 9);
    assert!(exported.report(Depth::Full).await.is_whole());
    assert!(exported.path("shards.jsonl").exists());

    let folder = exported.folder();
    let full = async || verify(&folder, Depth::Full, Arc::new(|_| {})).await.unwrap().differences;
    exported.change("shards.jsonl", |bytes| {
        // A tenant with another name: the list stays readable.
        let at = bytes.windows(5).position(|five| five == b"t0500").unwrap();
        bytes[at + 4] = b'x';
    });
    match &full().await[..] {
        [Difference::Digest { key, .. }, Difference::Tenant { tenant, found, row: 500, .. }] => {
            assert_eq!(key, ObjectKey::shards(Attempt::FIRST).as_str());
            assert_eq!((tenant.as_str(), found.as_str()), ("t050x", "t0500"));
        }
        other => panic!("{other:?}"),
    }
    std::fs::remove_file(exported.path("shards.jsonl")).unwrap();
    let missing = Difference::MissingObject { key: "shards.jsonl".to_owned() };
    assert_eq!(full().await, [missing]);
}

/// Bytes of a hostile guest: whatever they are, the proof ends and finds something, or the change
/// did not touch what a proof reads.
#[tokio::test]
async fn mutated_files_with_digests_made_right_end_in_an_answer() {
    let shards = [("s1", ids((0..1_500).map(|n| n * 2))), ("s2", ids((0..500).map(|n| n * 2 + 1)))];
    let mut exported = Exported::of("Article", &shards);
    let whole = std::fs::read(exported.path("Article.parquet")).unwrap();
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let (mut found, mut unreadable) = (0, 0);
    for _ in 0..600 {
        let mut bytes = whole.clone();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            bytes[at] =
                if random(2) == 0 { random(256) as u8 } else { bytes[at] ^ (1 << random(8)) };
        }
        std::fs::write(exported.path("Article.parquet"), &bytes).unwrap();
        exported.seal();
        let differences = exported.differences(Depth::Full).await;
        found += usize::from(!differences.is_empty());
        // parquet 60.1 panics on some pages ("range end index 4 out of range"): that is an answer
        // too, and the process lives on.
        let is_reading = |difference: &&Difference| {
            matches!(difference, Difference::Unreadable { .. } | Difference::ReaderPanicked { .. })
        };
        unreadable += differences.iter().filter(is_reading).count();
    }
    assert!(found > 80 && unreadable > 40, "{found} found, {unreadable} of them while reading");
}
