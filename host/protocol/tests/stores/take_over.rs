//! What later attempts at an export need of every store: a tombstone that is replaced once, uploads that
//! are aborted or continued, and `gc`, which leaves alone what may be running.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use offloom_protocol::claim::Claim;
use offloom_protocol::gc::{self, Reason};
use offloom_protocol::manifest::{Commit, Manifest, ManifestError, Outcome};
use offloom_protocol::names::{Attempt, ObjectKey};
use offloom_protocol::store::ExportFolder;
use offloom_protocol::take_over::{abort_others, take_over};
use offloom_protocol::upload::Upload;

use crate::notes::{Log, PART, interrupted};
use crate::place::{Kind, Place};
use crate::{content, for_stores, id, key, sample};

for_stores! {
    filesystem: Filesystem, s3: S3, gcs: Gcs, azure: Azure;
    a_tombstone_is_replaced_by_one_of_two,
    who_is_taken_over_commits_nothing,
    gc_removes_what_no_manifest_lists_and_nothing_else,
    gc_gives_up_the_dead_and_leaves_the_living,
}

async fn claimed(folder: &ExportFolder) -> Claim {
    let claim = Claim::new(id("e1"), "first".to_owned(), "0.1.0".to_owned());
    claim.take(folder).await.unwrap();
    claim
}

fn manifest(status: Outcome) -> Manifest {
    let error = (status == Outcome::Failed).then(|| "it failed".to_owned());
    let of = sample::manifest("e1");
    Manifest { status, error, attachments: Vec::new(), resumed: None, ..of }
}

async fn a_tombstone_is_replaced_by_one_of_two(kind: Kind) {
    let place = Place::new(kind);
    let folder = place.folder();
    claimed(&folder).await;
    assert!(Manifest::tombstone(&folder).await.unwrap().is_none());
    assert_eq!(manifest(Outcome::Failed).commit(&folder, None).await.unwrap(), Commit::Won);
    let tombstone = Manifest::tombstone(&folder).await.unwrap().unwrap();
    let commit = |outcome| {
        let (folder, tombstone) = (place.folder(), tombstone.clone());
        tokio::spawn(async move { manifest(outcome).commit(&folder, Some(&tombstone)).await })
    };
    let (success, canceled) = tokio::join!(commit(Outcome::Success), commit(Outcome::Canceled));
    let ends = [success.unwrap().unwrap(), canceled.unwrap().unwrap()];
    let won = ends.iter().filter(|end| **end == Commit::Won).count();
    assert_eq!(won, 1, "{ends:?}");
    let read = Manifest::read(&folder).await.unwrap().status;
    let expected = if ends[0] == Commit::Won { Outcome::Success } else { Outcome::Canceled };
    assert_eq!(read, expected);
    // It is no tombstone any more.
    let again = manifest(Outcome::Failed).commit(&folder, Some(&tombstone)).await.unwrap();
    assert!(matches!(again, Commit::Lost(_)), "{again:?}");
    let ended = Manifest::tombstone(&folder).await.unwrap_err();
    assert!(matches!(ended, ManifestError::Ended { outcome, .. } if outcome == expected));
}

async fn who_is_taken_over_commits_nothing(kind: Kind) {
    let place = Place::new(kind);
    let first = place.folder();
    claimed(&first).await;
    let mut upload = Upload::start(&first, key(), 0);
    upload.append(content(3 * PART)).await.unwrap();
    let next = Claim::new(id("e1"), "second".to_owned(), "0.1.0".to_owned());
    let note = async |_: Attempt, _: Claim| Ok(());
    let (owned, theirs) = take_over(&place.folder(), next, note).await.unwrap();
    assert_eq!((owned.attempt, &*theirs.owner), (Attempt::new(2), "first"));
    if kind == Kind::S3 {
        assert_eq!(place.open_uploads(), Vec::<String>::new());
        upload.finish().await.unwrap_err();
    } else {
        // Its name is not that of the second attempt's file.
        drop(upload.finish().await);
    }
    let end = manifest(Outcome::Success).commit(&first, None).await.unwrap();
    assert!(matches!(&end, Commit::TakenOver(by) if by.contains("'second'")), "{end:?}");
    let second = place.folder().with_attempt(owned.attempt, owned.attempt);
    let written = ObjectKey::class_file("Article", 1, "parquet", second.names()).unwrap();
    assert_eq!(written.as_str(), "Article.a2.parquet");
    let mut upload = Upload::start(&second, written, 0);
    upload.append(content(100)).await.unwrap();
    upload.finish().await.unwrap();
    assert_eq!(manifest(Outcome::Success).commit(&second, None).await.unwrap(), Commit::Won);
    assert_eq!(place.read("exports/e1/Article.a2.parquet"), content(100));
}

/// All that lies below `exports/`.
fn keys(place: &Place) -> BTreeSet<String> {
    place.objects().into_keys().map(|key| key.replacen("exports/", "", 1)).collect()
}

async fn gc_removes_what_no_manifest_lists_and_nothing_else(kind: Kind) {
    let place = Place::new(kind);
    let folder = place.folder();
    claimed(&folder).await;
    for name in ["Article.parquet", "Article.a2.parquet", "README.md", "schema.a3.json"] {
        folder.create(&ObjectKey::parse(name).unwrap(), content(10)).await.unwrap();
    }
    assert_eq!(manifest(Outcome::Success).commit(&folder, None).await.unwrap(), Commit::Won);
    let root = place.destination().as_export_folder().unwrap();
    root.create(&ObjectKey::parse("other/Article.parquet").unwrap(), content(10)).await.unwrap();
    if kind == Kind::S3 {
        let open = interrupted(&place, PART + 1).await;
        assert_eq!(open.len(), 1);
    }
    let before = keys(&place);
    let found = gc::find(&root, Duration::ZERO, chrono::Utc::now()).await.unwrap();
    let names: Vec<&str> = found.garbage.iter().map(|garbage| &*garbage.key).collect();
    let mut expected = vec!["Article.a2.parquet", "schema.a3.json"];
    if kind == Kind::S3 {
        expected.push("Article.parquet");
        assert_eq!(found.garbage[2].reason, Reason::UnfinishedUpload);
    }
    assert_eq!(names, expected);
    assert_eq!(keys(&place), before, "nothing was removed yet");
    let mut removed = 0;
    gc::remove(&root, "s3", &found, "gc", |_| removed += 1).await.unwrap();
    assert_eq!(removed, expected.len());
    let left: Vec<String> = before.difference(&keys(&place)).cloned().collect();
    assert_eq!(left, ["e1/Article.a2.parquet", "e1/schema.a3.json"]);
    assert!(kind == Kind::Gcs || place.open_uploads().is_empty());
    assert!(gc::find(&root, Duration::ZERO, chrono::Utc::now()).await.unwrap().garbage.is_empty());
}

async fn gc_gives_up_the_dead_and_leaves_the_living(kind: Kind) {
    let place = Place::new(kind);
    let folder = place.folder();
    claimed(&folder).await;
    folder.create(&key(), content(10)).await.unwrap();
    let root = place.destination().as_export_folder().unwrap();
    let now = chrono::Utc::now();
    let day = Duration::from_secs(86_400);
    let found = gc::find(&root, day, now).await.unwrap();
    assert_eq!((found.garbage.len(), &*found.running), (0, &[id("e1")][..]));
    let found = gc::find(&root, day, now + day * 2).await.unwrap();
    let names: Vec<&str> = found.garbage.iter().map(|garbage| &*garbage.key).collect();
    assert_eq!((names, found.garbage[0].reason), (vec!["Article.parquet"], Reason::DeadClaim));
    gc::remove(&root, "s3", &found, "gc", |_| ()).await.unwrap();
    let left = keys(&place);
    let expected = ["e1/_claim.a2.json", "e1/_claim.json", "e1/export_metadata.json"];
    assert_eq!(left.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    assert_eq!(Manifest::read(&folder).await.unwrap().status, Outcome::Failed);
    // Its process, should it wake up, commits nothing.
    let late = manifest(Outcome::Success).commit(&folder, None).await.unwrap();
    assert!(matches!(late, Commit::TakenOver(_)), "{late:?}");
    // One that somebody takes over meanwhile is alive.
    let place = Place::new(kind);
    let folder = place.folder();
    claimed(&folder).await;
    folder.create(&key(), content(10)).await.unwrap();
    let root = place.destination().as_export_folder().unwrap();
    let found = gc::find(&root, Duration::ZERO, now + day).await.unwrap();
    let next = Claim::new(id("e1"), "second".to_owned(), "0.1.0".to_owned());
    next.take_over(&folder, Attempt::new(2)).await.unwrap();
    gc::remove(&root, "s3", &found, "gc", |_| panic!("it is alive")).await.unwrap();
    assert!(keys(&place).contains("e1/Article.parquet"));
    let none = BTreeMap::new();
    abort_others(&folder, &none, &BTreeSet::new(), &Log::default()).await.unwrap();
}
