//! Destinations, folders, claims and manifests on a real file system.
use std::sync::Arc;

use crate::faulty_store::{Fault, FaultyStore};
use crate::sample::{manifest, shard};
use bytes::Bytes;
use object_store::path::Path as StorePath;
use offloom_protocol::claim::{Claim, ClaimError};
use offloom_protocol::cloud::Cloud;
use offloom_protocol::error::{Cause, StoreError};
use offloom_protocol::manifest::{Commit, Manifest, ManifestError, Missing, Outcome};
use offloom_protocol::names::{Attempt, ExportId, ObjectKey};
use offloom_protocol::store::{Created, Destination, ExportFolder, StoreOptions};

fn id(text: &str) -> ExportId {
    ExportId::parse(text).unwrap()
}

fn folder(root: &std::path::Path) -> ExportFolder {
    let url = url::Url::from_directory_path(root).unwrap();
    Destination::parse(url.as_str()).unwrap().export_folder(&id("e1")).unwrap()
}

#[test]
fn urls_and_paths_name_the_same_folder() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().join("with space#1");
    let url = url::Url::from_directory_path(&root).unwrap();
    let by_url = Destination::parse(url.as_str()).unwrap();
    assert_eq!(by_url, Destination::parse(root.to_str().unwrap()).unwrap());
    assert_eq!(by_url.backend(), "filesystem");
    let folder = by_url.export_folder(&id("my-export")).unwrap();
    assert_eq!(folder.url(), format!("{url}my-export/"));
    assert!(root.is_dir(), "created on the way");
    assert!(!root.join("my-export").exists(), "appears with its first object");
}

#[test]
fn a_relative_path_starts_at_the_working_directory() {
    let relative = Destination::parse("some/where").unwrap();
    let here = std::env::current_dir().unwrap().join("some/where");
    assert_eq!(relative, Destination::parse(here.to_str().unwrap()).unwrap());
}

#[test]
fn what_is_no_destination_is_distinguished() {
    for scheme in ["s4", "http", "ftp"] {
        match Destination::parse(format!("{scheme}://user:secret@host/x")).unwrap_err() {
            error @ StoreError::UnknownScheme { .. } => {
                let message = error.to_string();
                assert!(message.contains(&format!("'{scheme}:'")), "{message}");
                assert!(message.contains("file:///absolute/path/"), "{message}");
                assert!(message.contains("s3://bucket/prefix/"), "{message}");
                assert!(!message.contains("secret"), "{message}");
            }
            other => panic!("{other}"),
        }
    }
    for text in ["file:relative", "file://host/x", "file:///x?y", "file:///x#y", ""] {
        let error = Destination::parse(text).unwrap_err();
        assert!(matches!(error, StoreError::BadDestination { .. }), "{text}: {error}");
    }
}

#[test]
fn a_destination_as_text_is_the_same_destination() {
    let root = tempfile::tempdir().unwrap();
    for (destination, text) in [
        (
            Destination::bucket(Cloud::S3, "my-bucket", "exports/2026").unwrap(),
            "s3://my-bucket/exports/2026/",
        ),
        (
            Destination::bucket(Cloud::S3, "my-bucket", "exports/").unwrap(),
            "s3://my-bucket/exports/",
        ),
        (Destination::bucket(Cloud::S3, "my-bucket", "ü 50%").unwrap(), "s3://my-bucket/ü 50%/"),
        (Destination::bucket(Cloud::S3, "my-bucket", "").unwrap(), "s3://my-bucket/"),
        (Destination::filesystem("/a/b c#?".as_ref()).unwrap(), "file:///a/b%20c%23%3F/"),
    ] {
        assert_eq!(destination.to_string(), text);
        assert_eq!(destination.url(), text);
        assert_eq!(Destination::parse(text).unwrap(), destination);
    }
    let folder = Destination::filesystem(root.path()).unwrap();
    assert_eq!(Destination::parse(folder.to_string()).unwrap(), folder);
    let bucket = Destination::parse("s3://my-bucket").unwrap();
    assert_eq!(bucket, Destination::bucket(Cloud::S3, "my-bucket", "").unwrap());
    assert_eq!(bucket.backend(), "s3");
}

#[test]
fn folders_in_a_bucket_lie_below_its_prefix() {
    let no_variables = || StoreOptions::from_iter([]);
    let folder = |destination: &str| {
        let destination = Destination::parse(destination).unwrap().with_options(no_variables());
        destination.export_folder(&id("my-export")).unwrap()
    };
    assert_eq!(folder("s3://abc").url(), "s3://abc/my-export/");
    assert_eq!(folder("s3://abc/a/b").url(), "s3://abc/a/b/my-export/");
    let key = ObjectKey::claim(Attempt::FIRST);
    assert_eq!(folder("s3://abc/a/").object_url(&key), "s3://abc/a/my-export/_claim.json");
    let read = Destination::parse("s3://abc/a/my-export/").unwrap().with_options(no_variables());
    assert_eq!(read.as_export_folder().unwrap().url(), "s3://abc/a/my-export/");
}

#[test]
fn buckets_and_prefixes_that_break_the_rules_are_refused_with_the_rule() {
    for (text, rule) in [
        ("s3://", "a bucket's name"),
        ("s3:///a", "a bucket's name"),
        ("s3://A_b/a", "a bucket's name"),
        ("s3://me:secret@host/a", "credentials do not belong"),
        ("s3://abc//", "a prefix is"),
        ("s3://abc/a//b", "a prefix is"),
        ("s3://abc/../b", "a prefix is"),
        ("s3://abc/a?versionId=1", "a prefix is"),
        ("s3://abc/a\nb", "a prefix is"),
    ] {
        let error = Destination::parse(text).unwrap_err();
        assert!(matches!(error, StoreError::BadDestination { .. }), "{text}: {error}");
        let message = error.to_string();
        assert!(message.contains(rule) && !message.contains('\n'), "{message}");
    }
}

#[tokio::test]
async fn access_to_a_folder_is_proved_and_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let new = root.path().join("a/b");
    Destination::filesystem(&new).unwrap().check_access().await.unwrap();
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    let file = root.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = Destination::filesystem(&file).unwrap().check_access().await.unwrap_err();
    assert_eq!(error.cause(), Some(Cause::NotADirectory), "{error}");
}

#[tokio::test]
async fn a_store_that_lets_two_win_is_refused() {
    let store = Arc::new(FaultyStore::new(Fault::NoConditions));
    let folder = ExportFolder::new(store, StorePath::default(), "faulty://".to_owned());
    let error = folder.check_access().await.unwrap_err();
    assert!(matches!(error, StoreError::NoConditionalWrites { .. }), "{error}");
    assert!(error.to_string().contains("two coordinators could both win"), "{error}");
    assert_eq!(folder.list(10).await.unwrap(), []);
}

#[test]
fn a_folder_to_read_must_be_there_and_be_a_folder() {
    let root = tempfile::tempdir().unwrap();
    let open = |path: &std::path::Path| {
        Destination::parse(path.to_str().unwrap()).unwrap().as_export_folder()
    };
    let missing = open(&root.path().join("none")).unwrap_err();
    assert_eq!(missing.cause(), Some(Cause::NotFound), "{missing}");
    assert!(missing.to_string().contains("/none/"), "{missing}");
    let file = root.path().join("file");
    std::fs::write(&file, "x").unwrap();
    assert_eq!(open(&file).unwrap_err().cause(), Some(Cause::NotADirectory));
    let below_file = Destination::parse(file.to_str().unwrap()).unwrap().export_folder(&id("e1"));
    let error = below_file.unwrap_err();
    assert!(error.to_string().contains("/file/"), "{error}");
}

#[tokio::test]
async fn objects_are_created_once_and_listed_relative_to_the_folder() {
    let root = tempfile::tempdir().unwrap();
    let folder = folder(root.path());
    assert_eq!(folder.list(10).await.unwrap(), [], "no folder yet");
    let key = ObjectKey::parse("quarantine/Article.jsonl").unwrap();
    let ours = Bytes::from_static(b"ours");
    assert_eq!(folder.create(&key, ours.clone()).await.unwrap(), Created::Ours);
    // The same content again is a write whose answer was lost.
    assert_eq!(folder.create(&key, ours.clone()).await.unwrap(), Created::Ours);
    let theirs = folder.create(&key, Bytes::from_static(b"other")).await.unwrap();
    assert_eq!(theirs, Created::Theirs(ours));
    let listed = folder.list(10).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].key.as_str(), listed[0].size_bytes), ("quarantine/Article.jsonl", 4));
    assert_eq!(folder.size_bytes(&key).await.unwrap(), Some(4));
    assert_eq!(folder.size_bytes(&ObjectKey::claim(Attempt::FIRST)).await.unwrap(), None);
    assert!(matches!(
        folder.read(&key, 3).await,
        Err(StoreError::TooLarge { size_bytes: 4, max_bytes: 3, .. })
    ));
}

#[tokio::test]
async fn an_id_is_claimed_once() {
    let root = tempfile::tempdir().unwrap();
    let folder = folder(root.path());
    let first = Claim::new(id("e1"), "host-1".to_owned(), "0.1.0".to_owned());
    first.take(&folder).await.unwrap();
    assert_eq!(Claim::read(&folder).await.unwrap().map(|claim| claim.nonce), Some(first.nonce));
    let second = Claim::new(id("e1"), "host-2".to_owned(), "0.1.0".to_owned());
    let error = second.take(&folder).await.unwrap_err();
    assert!(matches!(error, ClaimError::IdInUse { .. }));
    let message = error.to_string();
    assert!(message.contains("'e1'") && message.contains("'host-1'"), "{message}");
    assert!(message.contains(folder.url()), "{message}");
}

#[tokio::test]
async fn files_without_a_claim_use_the_id_too() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("e1")).unwrap();
    std::fs::write(root.path().join("e1/Article.parquet"), "x").unwrap();
    let claim = Claim::new(id("e1"), "host-1".to_owned(), "0.1.0".to_owned());
    let error = claim.take(&folder(root.path())).await.unwrap_err();
    assert!(error.to_string().contains("'Article.parquet'"), "{error}");
    assert!(!root.path().join("e1/_claim.json").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_claims_at_once_one_wins() {
    for _ in 0..200 {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path());
        let take = |owner: &str| {
            let folder = folder.clone();
            let claim = Claim::new(id("e1"), owner.to_owned(), "0.1.0".to_owned());
            tokio::spawn(async move { claim.take(&folder).await.map(|()| claim) })
        };
        let (a, b) = (take("a"), take("b"));
        let results = [a.await.unwrap(), b.await.unwrap()];
        let winners: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
        assert_eq!(winners.len(), 1);
        let stored = Claim::read(&folder).await.unwrap().unwrap();
        assert_eq!(stored.nonce, winners[0].nonce);
        assert!(results.iter().any(|r| matches!(r, Err(ClaimError::IdInUse { .. }))));
    }
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_recognised() {
    let store = Arc::new(FaultyStore::new(Fault::PutReply));
    let folder = ExportFolder::new(store, StorePath::from("e1"), "faulty://e1/".to_owned());
    let claim = Claim::new(id("e1"), "a".to_owned(), "0.1.0".to_owned());
    claim.take(&folder).await.unwrap();
}

#[tokio::test]
async fn a_conflict_with_a_write_that_failed_is_tried_again() {
    let store = Arc::new(FaultyStore::new(Fault::Conflict));
    let folder = ExportFolder::new(store, StorePath::from("e1"), "faulty://e1/".to_owned());
    let claim = Claim::new(id("e1"), "a".to_owned(), "0.1.0".to_owned());
    claim.take(&folder).await.unwrap();
}

#[tokio::test]
async fn a_claim_that_was_not_written_is_an_error() {
    let store = Arc::new(FaultyStore::new(Fault::Put));
    let folder = ExportFolder::new(store, StorePath::from("e1"), "faulty://e1/".to_owned());
    let claim = Claim::new(id("e1"), "a".to_owned(), "0.1.0".to_owned());
    let error = claim.take(&folder).await.unwrap_err();
    assert!(matches!(error, ClaimError::Store(_)), "{error}");
    assert!(error.to_string().contains("faulty://e1/_claim.json"), "{error}");
}

#[tokio::test]
async fn a_manifest_reads_back_as_it_was_committed() {
    let root = tempfile::tempdir().unwrap();
    let folder = folder(root.path());
    assert!(matches!(Manifest::read(&folder).await, Err(ManifestError::Missing { .. })));
    let committed = manifest("e1");
    assert_eq!(committed.clone().commit(&folder, None).await.unwrap(), Commit::Won);
    let read = Manifest::read(&folder).await.unwrap();
    assert_eq!(read, committed);
    assert_eq!(read.shards(&folder).await.unwrap(), committed.source.shards);
    let verified = Destination::parse(root.path().join("e1").to_str().unwrap()).unwrap();
    assert_eq!(Manifest::read(&verified.as_export_folder().unwrap()).await.unwrap(), committed);
}

#[tokio::test]
async fn one_outcome_wins() {
    let root = tempfile::tempdir().unwrap();
    let folder = folder(root.path());
    let mut canceled = manifest("e1");
    canceled.status = Outcome::Canceled;
    canceled.error = Some("canceled by alice".to_owned());
    assert_eq!(canceled.clone().commit(&folder, None).await.unwrap(), Commit::Won);
    assert_eq!(canceled.clone().commit(&folder, None).await.unwrap(), Commit::Won, "a lost answer");
    let lost = manifest("e1").commit(&folder, None).await.unwrap();
    assert_eq!(lost, Commit::Lost(Box::new(canceled.clone())));
    assert_eq!(Manifest::read(&folder).await.unwrap(), canceled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_success_and_cancel_at_once_one_wins_and_the_other_learns_it() {
    for _ in 0..200 {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path());
        let mut canceled = manifest("e1");
        canceled.status = Outcome::Canceled;
        let commit = |manifest: Manifest| {
            let folder = folder.clone();
            tokio::spawn(async move { manifest.commit(&folder, None).await.unwrap() })
        };
        let (success, cancel) = (commit(manifest("e1")), commit(canceled));
        let stored = match (success.await.unwrap(), cancel.await.unwrap()) {
            (Commit::Won, Commit::Lost(won)) if won.status == Outcome::Success => won,
            (Commit::Lost(won), Commit::Won) if won.status == Outcome::Canceled => won,
            other => panic!("{other:?}"),
        };
        assert_eq!(Manifest::read(&folder).await.unwrap(), *stored);
    }
}

#[tokio::test]
async fn many_shards_go_to_a_file_of_their_own() {
    let root = tempfile::tempdir().unwrap();
    let folder = folder(root.path());
    let mut large = manifest("e1");
    large.source.shards = (0..1_001).map(|n| shard("Article", &format!("t{n}"), 0)).collect();
    let shards = large.source.shards.clone();
    assert_eq!(large.commit(&folder, None).await.unwrap(), Commit::Won);
    let read = Manifest::read(&folder).await.unwrap();
    assert_eq!(read.source.shards, []);
    assert_eq!(read.source.shards_key.as_deref(), Some("shards.jsonl"));
    assert_eq!(read.attachments.len(), 1);
    assert_eq!(read.shards(&folder).await.unwrap(), shards);
    let text = std::fs::read_to_string(root.path().join("e1/shards.jsonl")).unwrap();
    assert_eq!(text.lines().count(), 1_001);
    assert_eq!(read.attachments[0].size_bytes, text.len() as u64);

    std::fs::write(root.path().join("e1/shards.jsonl"), "{}\n").unwrap();
    let error = read.shards(&folder).await.unwrap_err();
    assert!(error.to_string().contains("shards.jsonl") && error.to_string().contains("line 1"));
}

#[tokio::test]
async fn a_thousand_shards_stay_in_the_manifest_and_a_tombstone_writes_no_shards() {
    let root = tempfile::tempdir().unwrap();
    let mut largest = manifest("e1");
    largest.source.shards = (0..1_000).map(|n| shard("Article", &format!("t{n}"), 0)).collect();
    largest.commit(&folder(root.path()), None).await.unwrap();
    assert_eq!(Manifest::read(&folder(root.path())).await.unwrap().source.shards.len(), 1_000);
    assert!(!root.path().join("e1/shards.jsonl").exists());

    let root = tempfile::tempdir().unwrap();
    let mut failed = manifest("e1");
    failed.status = Outcome::Failed;
    failed.source.shards = (0..1_001).map(|n| shard("Article", &format!("t{n}"), 0)).collect();
    failed.commit(&folder(root.path()), None).await.unwrap();
    assert_eq!(Manifest::read(&folder(root.path())).await.unwrap().status, Outcome::Failed);
    assert!(!root.path().join("e1/shards.jsonl").exists());
}

#[tokio::test]
async fn a_broken_manifest_is_refused_with_its_place() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("e1")).unwrap();
    let path = root.path().join("e1/export_metadata.json");
    for broken in ["", "[]", "{\"id\": \"e1\"}", "{\"id\": \"../e1\"}", "\u{0}"] {
        std::fs::write(&path, broken).unwrap();
        match Manifest::read(&folder(root.path())).await.unwrap_err() {
            ManifestError::Malformed { url, reason } => {
                assert!(url.ends_with("/e1/export_metadata.json"), "{url}");
                assert!(reason.contains("line"), "{reason}");
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn manifests_follow_the_json_schema() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/export_metadata.schema.json");
    let schema = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let problems = |manifest: &serde_json::Value| -> Vec<String> {
        validator.iter_errors(manifest).map(|error| error.to_string()).collect()
    };
    let mut failed = manifest("e1");
    failed.status = Outcome::Failed;
    failed.error = Some("Article, shard s1: ...".to_owned());
    let mut partial = manifest("e1");
    partial.partial = true;
    partial.missing = vec![Missing {
        class: "Article".to_owned(),
        shard: None,
        objects: Some(2),
        reason: "torn".to_owned(),
    }];
    partial.source.shards = Vec::new();
    partial.source.shards_key = Some("shards.jsonl".to_owned());
    for good in [manifest("e1"), failed, partial] {
        let value = serde_json::to_value(&good).unwrap();
        assert_eq!(problems(&value), Vec::<String>::new());
    }
    // Manifests of earlier builds.
    let mut earlier = serde_json::to_value(manifest("e1")).unwrap();
    let file = earlier["files"][0].as_object_mut().unwrap();
    file.remove("digest");
    assert!(!problems(&earlier).is_empty(), "a file without a digest");
    earlier["files"][0]["sha256"] = "ab".repeat(32).into();
    assert_eq!(problems(&earlier), Vec::<String>::new());
    // Every field that the protocol names is required, and nothing else may appear.
    let good = serde_json::to_value(manifest("e1")).unwrap();
    // But for those that exports of whole classes, those without transforms, and those that were never
    // interrupted lack.
    let optional = ["tenants", "transforms", "resumed"];
    for field in good.as_object().unwrap().keys().filter(|field| !optional.contains(&&***field)) {
        let mut lacking = good.clone();
        lacking.as_object_mut().unwrap().remove(field);
        assert!(!problems(&lacking).is_empty(), "{field} may be missing");
    }
    for pointer in [
        "",
        "/files/0",
        "/files/0/blocks/0",
        "/files/0/digest",
        "/transforms/0",
        "/source",
        "/source/shards/0",
        "/source/shards/0/cutOff",
        "/source/shards/0/cutOff/sources/0",
        "/resumed",
        "/guest",
    ] {
        let mut more = good.clone();
        more.pointer_mut(pointer).unwrap()["password"] = "x".into();
        assert!(!problems(&more).is_empty(), "{pointer} may hold more");
    }
    let mut other = good.clone();
    other["status"] = "TRANSFERRING".into();
    assert!(!problems(&other).is_empty());
    other["status"] = "FAILED".into();
    assert!(!problems(&other).is_empty(), "a failure without its reason");
}
