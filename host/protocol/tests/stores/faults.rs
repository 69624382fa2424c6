//! Answers that are lost on the way, on each cloud, and networks that fail at random.
use bytes::Bytes;
use offloom_protocol::claim::{Claim, ClaimError};
use offloom_protocol::digest::{Digest, DigestAlgorithm};
use offloom_protocol::manifest::{Commit, Manifest};
use offloom_protocol::names::{Attempt, ExportId, ObjectKey};
use offloom_protocol::store::{Created, ExportFolder};
use offloom_protocol::upload::{Upload, Uploaded};
use offloom_test_parts::{Fault, Proxy, Requests, Script};

use crate::place::{Kind, Place};
use crate::{content, for_stores, id, key, sample};

const PART_BYTES: usize = 8 * 1024 * 1024;

for_stores! {
    s3: S3, gcs: Gcs, azure: Azure;
    a_write_whose_answer_was_lost_is_ours,
    a_completion_whose_answer_was_lost_counts,
    a_store_that_is_busy_for_a_while_is_waited_for,
    a_bit_that_changes_on_its_way_is_refused_or_contradicts_the_digest,
    faults_at_random_forge_nothing,
}

async fn a_write_whose_answer_was_lost_is_ours(kind: Kind) {
    let place = Place::new(kind);
    let proxy = kind.proxy();
    let folder = place.through(&proxy).export_folder(&id("e1")).unwrap();
    let claims = Requests::method("PUT").containing("claim");
    proxy.fault(claims.clone().first(1), Fault::DropReply);
    let claim = Claim::new(id("e1"), "a".to_owned(), "0.1.0".to_owned());
    claim.take(&folder).await.unwrap();
    assert_eq!(proxy.spoiled(), 1);
    assert_eq!(Claim::read(&folder).await.unwrap().unwrap().nonce, claim.nonce);

    // Another's is not taken for ours, whatever happens to the answer.
    proxy.fault(claims.first(1), Fault::DropReply);
    let theirs = folder
        .create(&ObjectKey::claim(Attempt::FIRST), Bytes::from_static(b"mine"))
        .await
        .unwrap();
    assert!(matches!(theirs, Created::Theirs(_)), "{theirs:?}");
    assert_eq!(proxy.spoiled(), 2);
}

/// What completes an upload.
fn completions(kind: Kind) -> Requests {
    match kind {
        Kind::Azure => Requests::method("PUT").containing("comp=blocklist"),
        _ => Requests::method("POST").containing("uploadId"),
    }
}

async fn a_completion_whose_answer_was_lost_counts(kind: Kind) {
    let place = Place::new(kind);
    let proxy = kind.proxy();
    proxy.fault(completions(kind).first(1), Fault::DropReply);
    let folder = place.through(&proxy).export_folder(&id("e1")).unwrap();
    let len = 2 * PART_BYTES + 1;
    let mut upload = Upload::start(&folder, key(), 0);
    upload.append(content(len)).await.unwrap();
    let uploaded = upload.finish().await.unwrap();
    assert_eq!(proxy.spoiled(), 1);
    assert_eq!(uploaded.digest, Digest::of(DigestAlgorithm::Blake3, &content(len)));
    assert!(place.read("exports/e1/Article.parquet") == content(len));
}

async fn a_store_that_is_busy_for_a_while_is_waited_for(kind: Kind) {
    let place = Place::new(kind);
    let proxy = kind.proxy();
    let code = if kind == Kind::Azure { "ServerBusy" } else { "SlowDown" };
    proxy.fault(Requests::method("PUT").first(3), Fault::Answer { status: 503, code });
    proxy.fault(completions(kind).first(1), Fault::Answer { status: 503, code });
    let folder = place.through(&proxy).export_folder(&id("e1")).unwrap();
    let mut upload = Upload::start(&folder, key(), 0);
    upload.append(content(3 * PART_BYTES)).await.unwrap();
    upload.finish().await.unwrap();
    assert_eq!(proxy.spoiled(), 4);
    assert!(place.read("exports/e1/Article.parquet") == content(3 * PART_BYTES));
}

async fn upload(folder: &ExportFolder, key: &ObjectKey, content: Bytes) -> Option<Uploaded> {
    let mut upload = Upload::start(folder, key.clone(), 0);
    upload.append(content).await.ok()?;
    upload.finish().await.ok()
}

/// The client sends checksums to S3 alone. What changes on its way to another store without TLS is found
/// by who compares the file with its digest, as `offloom verify` does.
async fn a_bit_that_changes_on_its_way_is_refused_or_contradicts_the_digest(kind: Kind) {
    let place = Place::new(kind);
    let proxy = kind.proxy();
    let folder = place.through(&proxy).export_folder(&id("e1")).unwrap();
    for (name, len) in [("small", 1_000), ("large", PART_BYTES + 1)] {
        let spoiled = proxy.spoiled();
        let puts = Requests::method("PUT").containing(name).first(1);
        proxy.fault(puts, Fault::FlipRequest { per_mille: 500 });
        let uploaded = upload(&folder, &ObjectKey::parse(name).unwrap(), content(len)).await;
        assert_eq!(proxy.spoiled(), spoiled + 1);
        let path = format!("exports/e1/{name}");
        if kind == Kind::S3 {
            assert_eq!(uploaded, None);
            assert!(!place.objects().contains_key(&path), "{path}");
        } else {
            let stored = Digest::of(DigestAlgorithm::Blake3, &place.read(&path));
            assert_ne!(stored, uploaded.unwrap().digest);
        }
    }
}

/// What came of the operations of all seeds.
#[derive(Debug, Default)]
struct Ends {
    faults: usize,
    succeeded: usize,
    failed: usize,
}

impl Ends {
    fn count<T>(&mut self, end: Option<T>) -> Option<T> {
        *(if end.is_some() { &mut self.succeeded } else { &mut self.failed }) += 1;
        end
    }
}

/// Whatever happens on the way: what was reported as written is there, and nothing is there by halves.
async fn faults_at_random_forge_nothing(kind: Kind) {
    let seeds = if std::env::var_os("OFFLOOM_SOAK").is_some() { 150 } else { 8 };
    let place = Place::new(kind);
    let mut ends = Ends::default();
    for seed in 0..seeds {
        let script = Script::new(seed).that_flips_answers();
        let proxy = kind.proxy();
        proxy.script(if kind == Kind::S3 { script.that_flips_requests() } else { script });
        run(&place, &proxy, &id(&format!("seed-{seed}")), &mut ends).await;
    }
    println!(
        "soak: {seeds} seeds of faults on {kind:?}: {} faults, {} operations succeeded, {} failed",
        ends.faults, ends.succeeded, ends.failed
    );
    assert!(ends.succeeded > 0 && ends.failed > 0, "{ends:?}");
}

/// A claim, two files of several parts and a manifest through the proxy, and then what is in the store.
async fn run(place: &Place, proxy: &Proxy, id: &ExportId, ends: &mut Ends) {
    let folder = place.through(proxy).export_folder(id).unwrap();
    let claim = Claim::new(id.clone(), "a".to_owned(), "0.1.0".to_owned());
    let taken = claim.take(&folder).await;
    let scripted = || format!("{id}: {:#?}", proxy.scripted());
    let is_ours = !matches!(taken, Err(ClaimError::IdInUse { .. }));
    assert!(is_ours, "nobody else is there: {taken:?}, {}", scripted());
    let taken = ends.count(taken.ok());

    // The second file has other bytes at each place.
    let files = [(1, content(2 * PART_BYTES + 1)), (2, content(2 * PART_BYTES).slice(3..))];
    let files = files.map(|(number, content)| {
        (ObjectKey::class_file("Article", number, "parquet", Attempt::FIRST).unwrap(), content)
    });
    let mut uploaded = Vec::new();
    for (key, content) in &files {
        uploaded.push(ends.count(upload(&folder, key, content.clone()).await));
    }
    let manifest = sample::manifest(id.as_str());
    let committed = manifest.clone().commit(&folder, None).await;
    assert!(!matches!(committed, Ok(Commit::Lost(_))), "{committed:?}, {}", scripted());
    let committed = ends.count(committed.ok());
    assert!(proxy.spoiled() > 0, "no fault took place: {}", scripted());
    ends.faults += proxy.spoiled();

    let outside = place.destination().export_folder(id).unwrap();
    let there = outside.list(10).await.unwrap();
    let is_there = |key: &str| there.iter().any(|object| object.key == key);
    for ((key, content), uploaded) in files.iter().zip(&uploaded) {
        assert!(is_there(key.as_str()) || uploaded.is_none(), "{key}: {}", scripted());
        if is_there(key.as_str()) {
            let stored = place.read(&format!("exports/{id}/{key}"));
            assert!(stored == *content, "{key} is not what was written: {}", scripted());
        }
        if let Some(uploaded) = uploaded {
            assert_eq!(uploaded.size_bytes, content.len() as u64);
            let digest = Digest::of(DigestAlgorithm::Blake3, content);
            assert_eq!(uploaded.digest, digest, "{key}: {}", scripted());
        }
    }
    let stored = Claim::read(&outside).await.unwrap();
    assert!(stored.is_none_or(|stored| stored.nonce == claim.nonce), "{}", scripted());
    assert!(is_there("_claim.json") || taken.is_none(), "{}", scripted());
    let is_committed = is_there(ObjectKey::manifest().as_str());
    assert!(is_committed || committed.is_none(), "{}", scripted());
    if is_committed {
        assert_eq!(Manifest::read(&outside).await.unwrap(), manifest, "{}", scripted());
    }
    for object in &there {
        outside.delete(&ObjectKey::parse(&object.key).unwrap()).await.unwrap();
    }
}
